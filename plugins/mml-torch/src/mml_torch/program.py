"""`TorchProgram`: a segment as an eager loop over its modules, step by step.

It owns one step: seed, forward, losses, gradients, update. Rows that are not live never reach a module. It
reads the modules' values when a run starts and changes them in place; what a step does depends on the step
alone, never on the block or range that it is part of.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mml.backends import Block, BlockResult, Controls, Program, Segment
from mml.errors import BackendError, LossError, listed
from mml_torch import random_state
from mml_torch.base_model import TorchBaseModel
from mml_torch.calls import CONTEXT, CompiledCall, Values, compile_calls, compile_losses
from mml_torch.learner import Learner
from mml_torch.modes import ModeSwitch
from mml_torch.staging import StagedBlock, stage

if TYPE_CHECKING:
    from mml_torch.backend import TorchBackend


@dataclass(frozen=True, slots=True)
class Division:
    """What happens to the calls behind learning nodes, for one choice of losses with live rows.

    Parameters
    ----------
    reached : list of CompiledCall
        Gradients flow through them.
    idle : list of CompiledCall
        No loss with live rows asks for them, nor for any call after them; they run last, in inference mode.
    inference : ModeSwitch
        For the modules of the idle calls.
    """

    reached: list[CompiledCall]
    idle: list[CompiledCall]
    inference: ModeSwitch


class TorchProgram(Program):
    """A segment, ready to run.

    Parameters
    ----------
    backend : TorchBackend
    segment : Segment
        Its models are built; they are moved to the segment's device.
    """

    def __init__(self, backend: TorchBackend, segment: Segment) -> None:
        if segment.mode == "fit":
            raise BackendError(
                f"The backend {backend.name!r} fits nothing: its models learn by gradient.",
                where={"nodes": ", ".join(segment.learning) or None},
                hint="Train these nodes in a TrainPhase.",
            )
        self.backend = backend
        self.segment = segment
        self.trains = segment.mode == "train"
        modules = _modules_of(segment)
        self.device = _device_of(backend, segment, modules)
        for module in modules.values():
            module.to(self.device)
        for loss in segment.losses:
            if hasattr(loss.function, "to"):
                loss.function.to(self.device)
        learning = set(segment.learning) if self.trains else set()
        self.constant, self.behind_learning = compile_calls(segment, backend.ops)
        self.losses = compile_losses(segment)
        self.modes = ModeSwitch((module, node in learning) for node, module in modules.items())
        self.all_live = Division(self.behind_learning, [], ModeSwitch([]))
        self._divisions: dict[tuple[bool, ...], Division] = {}
        learning_modules = {node: module for node, module in modules.items() if node in learning}
        _refuse_shared(segment, modules, learning)
        self.learners = [Learner(one, learning_modules, backend.ops) for one in segment.optimizers]
        self.tells_context = any(loss.context for loss in segment.losses)
        self.is_bf16 = segment.precision == "bf16"
        self.precision = (
            partial(torch.autocast, self.device.type, torch.bfloat16) if self.is_bf16 else nullcontext
        )
        self.missing = torch.full((), torch.nan, device=self.device)

    def stage(self, block: Block) -> StagedBlock:
        """Copy a block's inputs to the device, once each."""
        return stage(block, self.segment.inputs, self.device)

    def run(self, staged: StagedBlock, start: int, stop: int, controls: Controls) -> BlockResult:
        """Execute a range of steps, one after the other.

        A run that fails leaves generators and modes as they were, and no gradient waiting.
        """
        losses: list[Tensor] = []
        outputs: dict[str, list[Any]] = {key: [] for key in self.segment.outputs}
        with self.backend.scope(deterministic=self.segment.deterministic):
            try:
                self.modes.enter()
                with torch.set_grad_enabled(self.trains):
                    self._run_steps(staged, range(start, stop), controls, losses, outputs)
            except BaseException:
                for learner in self.learners:
                    learner.forget()
                raise
            finally:
                self.modes.leave()
        return BlockResult(losses=self._stacked(losses, stop - start), outputs=outputs)

    def _run_steps(
        self,
        staged: StagedBlock,
        steps: range,
        controls: Controls,
        losses: list[Tensor],
        outputs: dict[str, list[Any]],
    ) -> None:
        for learner in self.learners:
            learner.begin()
        variables = [one for learner in self.learners for one in learner.variables]
        first, last = steps.start, steps.stop
        seeds, rates = controls.seeds[first:last].tolist(), controls.rates[first:last].tolist()
        applied = _listed(controls.apply, steps)
        windows = _listed(controls.accumulated, steps)
        for step, seed, rate, apply, window in zip(steps, seeds, rates, applied, windows, strict=True):
            random_state.seed_generators(seed, self.device)
            rows, values = staged.rows[step], dict(staged.values[step])
            if self.tells_context:
                values[CONTEXT] = None if controls.contexts is None else controls.contexts[step]
            # For one step at a time: autocasting keeps its copies of the weights until it ends.
            with self.precision():
                self._forward(values, rows)
                total = self._losses(values, rows, window, losses)
            for key, kept in outputs.items():
                value = values.get(key)
                kept.append(None if value is None else self._recorded(value))
            if self.trains:
                if total is not None and not total.requires_grad:
                    self._refuse_detached(values)
                self._learn(_gradients(total, variables), rate, apply)

    def _recorded(self, value: Tensor) -> Tensor:
        return value.detach().float() if value.dtype is torch.bfloat16 and self.is_bf16 else value.detach()

    def _forward(self, values: Values, rows: list[int]) -> None:
        if self.constant:
            with torch.no_grad():
                for call in self.constant:
                    if rows[call.rows]:
                        values[call.key] = call.run(values, rows[call.rows])
        # A count of 0 is rare, and the search for one costs a step next to nothing.
        division = self._divided(rows) if self.trains and 0 in rows else self.all_live
        for call in division.reached:
            if rows[call.rows]:
                values[call.key] = call.run(values, rows[call.rows])
        if division.idle:
            self._run_idle(division, values, rows)

    def _run_idle(self, division: Division, values: Values, rows: list[int]) -> None:
        try:
            division.inference.enter()
            with torch.no_grad():
                for call in division.idle:
                    if rows[call.rows]:
                        values[call.key] = call.run(values, rows[call.rows])
        finally:
            division.inference.leave()

    def _divided(self, rows: list[int]) -> Division:
        """Return how to run the calls of a step: what no live loss reaches moves no running statistics."""
        live = tuple(rows[loss.rows] > 0 for loss in self.losses)
        if all(live):
            return self.all_live
        if live not in self._divisions:
            scored = [loss for loss, counts in zip(self.segment.losses, live, strict=True) if counts]
            keys = self.segment.reached_by(scored)
            idle = [call for call in self.behind_learning if call.key not in keys]
            modules = [call.module for call in idle if call.module is not None]
            self._divisions[live] = Division(
                reached=[call for call in self.behind_learning if call.key in keys],
                idle=idle,
                inference=ModeSwitch((module, False) for module in modules),
            )
        return self._divisions[live]

    def _losses(
        self, values: Values, rows: list[int], window: list[int] | None, record: list[Tensor]
    ) -> Tensor | None:
        """Record each loss and return their weighted total, None where none has a live row."""
        total: Tensor | None = None
        for index, loss in enumerate(self.losses):
            count = rows[loss.rows]
            if not count:
                record.append(self.missing)
                continue
            value = loss.run(values, count)
            record.append(value.detach())
            scale = loss.weight
            if window is not None and not loss.is_sum:
                scale *= count / max(window[index], 1)
            if scale != 1.0:
                value = value * scale
            total = value if total is None else total + value
        return total

    def _refuse_detached(self, values: Values) -> None:
        """Raise where outputs carry gradients and no loss does: training would run and change nothing."""
        if any(isinstance(one, Tensor) and one.requires_grad for one in values.values()):
            raise LossError(
                "No gradient flows from the losses back to what learns.",
                where={"loss": ", ".join(loss.label for loss in self.segment.losses)},
                expected="a loss made of differentiable operations on the outputs",
                found="values cut off from the outputs, as by detach(), item(), argmax() or NumPy",
                hint="Compute it with PyTorch's operations; what is only to be watched is a metric.",
            )

    def _learn(
        self, gradients: tuple[Tensor | None, ...], rates: list[float], applied: list[bool] | None
    ) -> None:
        first = 0
        for index, learner in enumerate(self.learners):
            last = first + len(learner.variables)
            apply = applied is None or applied[index]
            learner.step(gradients[first:last], rates[index], apply=apply)
            first = last

    def _stacked(self, losses: list[Tensor], n_steps: int) -> Tensor:
        if not losses:
            return torch.empty(n_steps, len(self.losses), device=self.device)
        return torch.stack(losses).view(n_steps, len(self.losses))


def _listed(values: np.ndarray | None, steps: range) -> list[Any]:
    """Return one row of a control for each step, None where the control is left out."""
    return [None] * len(steps) if values is None else values[steps.start : steps.stop].tolist()


def _gradients(total: Tensor | None, variables: list[Tensor]) -> tuple[Tensor | None, ...]:
    if total is None or not variables or not total.requires_grad:
        return (None,) * len(variables)
    return torch.autograd.grad(total, variables, allow_unused=True)


def _modules_of(segment: Segment) -> dict[str, nn.Module]:
    modules: dict[str, nn.Module] = {}
    for call in segment.calls:
        if call.model is None:
            continue
        if not isinstance(call.model, TorchBaseModel) or not call.model.is_built:
            raise BackendError(
                "A program of PyTorch runs built modules.",
                where={"node": call.node},
                found=f"{type(call.model).__name__}, built: {call.model.is_built}",
            )
        modules[call.node] = call.model.native
    return modules


def _refuse_shared(segment: Segment, modules: dict[str, nn.Module], learning: set[str]) -> None:
    """Refuse a parameter that two nodes hold and that not the same optimizer steps for both."""
    stepped_by = {node: index for index, one in enumerate(segment.optimizers) for node in one.nodes}
    holders: dict[int, str] = {}
    for node, module in modules.items():
        for parameter in module.parameters():
            other = holders.setdefault(id(parameter), node)
            same = (other in learning, stepped_by.get(other)) == (node in learning, stepped_by.get(node))
            if learning and not same:
                raise BackendError(
                    "Two nodes hold the same parameter, and not the same optimizer steps it for both.",
                    where={"nodes": f"{other}, {node}"},
                    hint="Freeze both or neither, or give the second node a copy of the module.",
                )


def _device_of(backend: TorchBackend, segment: Segment, modules: dict[str, nn.Module]) -> torch.device:
    """Return the device asked for, or else the one that the modules are on."""
    if segment.device is not None:
        device = torch.device(backend.device_name(segment.device) or "cpu")
        if device.type == "cuda":
            torch.cuda.init()  # type: ignore[no-untyped-call]  # so that its generators are among those that every scope restores
        return device
    found = {
        value.device for module in modules.values() for value in (*module.parameters(), *module.buffers())
    }
    if len(found) > 1:
        raise BackendError(
            "The modules of one segment are on several devices.",
            where={"nodes": ", ".join(modules)},
            found=listed(sorted(map(str, found))),
            hint="Give the phase or the nodes one device.",
        )
    return found.pop() if found else torch.device("cpu")
