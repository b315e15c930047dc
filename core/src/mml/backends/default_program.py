"""The program that every backend has for nothing: step by step, through the backend's `gradients`.

It brings row counts, weights, accumulation, clipping and the update rules; the backend brings one step's
values and gradients.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mml.backends.program import Block, BlockResult, Controls, Program
from mml.backends.segment import Segment, SegmentOptimizer
from mml.errors import BackendError

if TYPE_CHECKING:
    from mml.backends.base_model import BaseModel
    from mml.backends.contract import ComputeBackend, StepGradients


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
        self.models: dict[str, BaseModel] = {
            call.node: call.model for call in segment.calls if call.model is not None
        }
        self.pending: dict[str, Any] = {}

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
        """Execute a range of steps, one after the other."""
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
        rows = staged.rows[step]
        values = {
            entry.name: staged.values[entry.name][step]
            for entry in self.segment.inputs
            if staged.values[entry.name][step] is not None
        }
        seed = int(controls.seeds[step])
        if self.segment.mode == "eval":
            return self.backend.forward(self.segment, values, rows, seed=seed)
        scales = self._scales(rows, step, controls)
        result = self.backend.gradients(self.segment, values, rows, seed=seed, scales=scales)
        self._accumulate(result.gradients)
        for index, optimizer in enumerate(self.segment.optimizers):
            if controls.apply is None or controls.apply[step, index]:
                self._apply(optimizer, float(controls.rates[step, index]))
        return result

    def _scales(self, rows: np.ndarray, step: int, controls: Controls) -> list[float]:
        scales = []
        for index, loss in enumerate(self.segment.losses):
            scale = loss.weight
            if controls.accumulated is not None:
                scale *= float(rows[loss.rows]) / max(float(controls.accumulated[step, index]), 1.0)
            scales.append(scale)
        return scales

    def _accumulate(self, gradients: dict[str, Any]) -> None:
        for name, gradient in gradients.items():
            self.pending[name] = self.pending[name] + gradient if name in self.pending else gradient

    def _apply(self, optimizer: SegmentOptimizer, rate: float) -> None:
        names = [name for name in self.pending if name.partition("/")[0] in optimizer.nodes]
        gradients = {name: self.pending.pop(name) for name in names}
        for name, gradient in self._clipped(gradients, optimizer).items():
            node, _, parameter = name.partition("/")
            variable = self.backend.variable(self.models[node], parameter)
            slots = optimizer.slots.slots_of(name, lambda: self._fresh_slots(optimizer, variable))  # noqa: B023 -- called at once
            slots["step"] = int(slots["step"]) + 1
            new, moved = optimizer.rule.update(
                self.backend.ops, variable, gradient, slots, rate=rate, step=slots["step"]
            )
            slots.update(moved)
            self.backend.assign(self.models[node], parameter, new)

    def _fresh_slots(self, optimizer: SegmentOptimizer, variable: Any) -> dict[str, Any]:
        slots = {name: self.backend.ops.zeros_like(variable) for name in optimizer.rule.slot_names}
        return {"step": 0, **slots}

    def _clipped(self, gradients: dict[str, Any], optimizer: SegmentOptimizer) -> dict[str, Any]:
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
