"""The program that every backend has for nothing: step by step, through the backend's `gradients`.

It brings row counts, weights, accumulation, clipping and the update rules; the backend brings one step's
values and gradients. It keeps nothing between two steps: what an unfinished accumulation window holds lies
among the optimizer's slots, so that a checkpoint taken there resumes to the bit.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from mml.backends.program import Block, BlockResult, Controls, Program
from mml.backends.segment import Call, Segment, SegmentOptimizer
from mml.errors import BackendError, StateError, listed

if TYPE_CHECKING:
    from mml.backends.base_model import BaseModel
    from mml.backends.contract import ComputeBackend, StepGradients

_STEP = "step"
_ACCUMULATED = "accumulated"


class DefaultProgram(Program):
    """A segment run step by step.

    Parameters
    ----------
    backend : ComputeBackend
    segment : Segment
    """

    def __init__(self, backend: ComputeBackend, segment: Segment) -> None:
        if segment.mode == "fit":
            raise BackendError(
                f"The backend {backend.name!r} fits nothing.",
                where={"nodes": ", ".join(segment.learning)},
                hint="Train its nodes in a TrainPhase.",
            )
        self.backend = backend
        self.segment = segment
        self._learning: dict[tuple[bool, ...], tuple[Call, ...]] = {}
        self.models: dict[str, BaseModel] = {
            call.node: call.model for call in segment.calls if call.model is not None
        }

    def stage(self, block: Block) -> Block:
        """Convert host arrays to native ones, one array of live rows a step."""
        values: dict[str, list[Any]] = {}
        for entry in self.segment.inputs:
            value = block.values[entry.name]
            if isinstance(value, list):
                values[entry.name] = value
                continue
            counts = block.rows[:, entry.rows]
            values[entry.name] = [
                self.backend.to_array(value[step, :count], device=self.segment.device) if count else None
                for step, count in enumerate(counts)
            ]
        return Block(values=values, rows=block.rows.copy())

    def run(self, staged: Block, start: int, stop: int, controls: Controls) -> BlockResult:
        """Execute a range of steps, one after the other; losses come back as a host array of float64."""
        with self.backend.scope(deterministic=self.segment.deterministic):
            return self._run(staged, start, stop, controls)

    def _run(self, staged: Block, start: int, stop: int, controls: Controls) -> BlockResult:
        losses = np.full((stop - start, len(self.segment.losses)), np.nan)
        outputs: dict[str, list[Any]] = {key: [] for key in self.segment.outputs}
        for position, step in enumerate(range(start, stop)):
            result = self._step(staged, step, controls)
            for index, loss in enumerate(result.losses):
                if loss is not None:
                    losses[position, index] = float(self.backend.to_numpy(loss))
            for key in self.segment.outputs:
                outputs[key].append(result.outputs.get(key))
        return BlockResult(losses=losses, outputs=outputs)

    def _step(self, staged: Block, step: int, controls: Controls) -> StepGradients:
        rows, segment = staged.rows[step], self._told(step, controls)
        values = {
            entry.name: staged.values[entry.name][step]
            for entry in self.segment.inputs
            if staged.values[entry.name][step] is not None
        }
        seed = int(controls.seeds[step])
        if self.segment.mode == "eval":
            return self.backend.forward(segment, values, rows, seed=seed)
        scales = self._scales(rows, step, controls)
        segment = self._reached(segment, tuple(bool(rows[loss.rows]) for loss in self.segment.losses))
        result = self.backend.gradients(segment, values, rows, seed=seed, scales=scales)
        for index, optimizer in enumerate(self.segment.optimizers):
            self._update(
                optimizer,
                result.gradients,
                rate=float(controls.rates[step, index]),
                apply=controls.apply is None or bool(controls.apply[step, index]),
            )
        return result

    def _told(self, step: int, controls: Controls) -> Segment:
        """Return the segment with this step's context in the losses that take one."""
        if not any(loss.context for loss in self.segment.losses):
            return self.segment
        context = None if controls.contexts is None else controls.contexts[step]
        losses = tuple(
            replace(loss, function=partial(loss.function, context=context)) if loss.context else loss
            for loss in self.segment.losses
        )
        return replace(self.segment, losses=losses)

    def _reached(self, segment: Segment, live: tuple[bool, ...]) -> Segment:
        """Let only calls learn that a loss with live rows reaches: others would move running statistics."""
        if all(live):
            return segment
        if live not in self._learning:
            losses = [loss for loss, counts in zip(self.segment.losses, live, strict=True) if counts]
            reached = self.segment.reached_by(losses)
            self._learning[live] = tuple(
                replace(call, learns=call.learns and call.key in reached) for call in self.segment.calls
            )
        return replace(segment, calls=self._learning[live])

    def _scales(self, rows: np.ndarray, step: int, controls: Controls) -> list[float]:
        scales = []
        for index, loss in enumerate(self.segment.losses):
            scale = loss.weight
            if controls.accumulated is not None:
                scale *= float(rows[loss.rows]) / max(float(controls.accumulated[step, index]), 1.0)
            scales.append(scale)
        return scales

    def _update(
        self, optimizer: SegmentOptimizer, found: dict[str, Any], *, rate: float, apply: bool
    ) -> None:
        """Take in one step's gradients of an optimizer's nodes, and step the variables if it is time."""
        slots: dict[str, dict[str, Any]] = {}
        gradients: dict[str, Any] = {}
        for name in self._parameters(optimizer):
            slots[name] = self._slots(optimizer, name)
            parts = [slots[name].pop(_ACCUMULATED, None), found.get(name)]
            parts = [part for part in parts if part is not None]
            if parts:
                gradients[name] = parts[0] + parts[1] if len(parts) > 1 else parts[0]
        if not apply:
            for name, gradient in gradients.items():
                slots[name][_ACCUMULATED] = gradient
            return
        for name, gradient in self._clipped(gradients, optimizer).items():
            self._apply(optimizer, name, gradient, slots=slots[name], rate=rate)

    def _parameters(self, optimizer: SegmentOptimizer) -> list[str]:
        return [
            f"{node}/{spec.name}"
            for node in optimizer.nodes
            if node in self.models
            for spec in self.models[node].variables()
            if spec.role == "param"
        ]

    def _slots(self, optimizer: SegmentOptimizer, name: str) -> dict[str, Any]:
        """Return a variable's slots, made at first sight; restored ones become native arrays in place."""
        node, _, parameter = name.partition("/")

        def fresh() -> dict[str, Any]:
            variable = self.backend.variable(self.models[node], parameter)
            zeros = {slot: self.backend.ops.zeros_like(variable) for slot in optimizer.rule.slot_names}
            return {_STEP: 0, **zeros}

        slots = optimizer.slots.slots_of(name, fresh)
        missing = {_STEP, *optimizer.rule.slot_names} - set(slots)
        if missing:
            raise StateError(
                "The optimizer's state is of another kind of optimizer.",
                where={"variable": name},
                expected=f"slots {listed((_STEP, *optimizer.rule.slot_names))}",
                found=listed(slots),
                hint="Restore the state into an optimizer with the same settings.",
            )
        shape = tuple(self.backend.variable(self.models[node], parameter).shape)
        for slot, value in slots.items():
            if slot == _STEP:
                continue
            if tuple(np.shape(value)) != shape:
                raise StateError(
                    f"The optimizer's slot {slot!r} has another shape than the variable.",
                    where={"variable": name},
                    expected=str(shape),
                    found=str(tuple(np.shape(value))),
                )
            if not self.backend.is_native(value):
                slots[slot] = self.backend.to_array(value, device=self.segment.device)
        return slots

    def _apply(
        self, optimizer: SegmentOptimizer, name: str, gradient: Any, *, slots: dict[str, Any], rate: float
    ) -> None:
        node, _, parameter = name.partition("/")
        variable = self.backend.variable(self.models[node], parameter)
        step = int(slots[_STEP]) + 1
        new, moved = optimizer.rule.update(self.backend.ops, variable, gradient, slots, rate=rate, step=step)
        slots.update(moved, step=step)
        self.backend.assign(self.models[node], parameter, new)

    def _clipped(self, gradients: dict[str, Any], optimizer: SegmentOptimizer) -> dict[str, Any]:
        """Cut each element to ±clip_value, then scale all by min(1, clip_norm / (norm + 1e-6))."""
        ops = self.backend.ops
        if optimizer.clip_value is not None:
            limit = optimizer.clip_value
            gradients = {
                name: ops.maximum(-ops.maximum(-gradient, -limit), -limit)
                for name, gradient in gradients.items()
            }
        if optimizer.clip_norm is not None and gradients:
            squares = [
                float(self.backend.to_numpy(ops.sum(gradient * gradient))) for gradient in gradients.values()
            ]
            factor = min(1.0, optimizer.clip_norm / (float(np.sqrt(sum(squares))) + 1e-6))
            gradients = {name: gradient * factor for name, gradient in gradients.items()}
        return gradients
