"""The runner of an engine that does not compile: steps one after the other, on the user's own tensors.

Rows that are not live never reach a model. Variables change in place; what a step does depends on the step
alone, never on the block or range that it is part of.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mml.backends import Block, BlockResult, Controls
from mml.errors import LossError
from mml_keras3 import convert
from mml_keras3.engines import engine
from mml_keras3.engines.direct import layers_that_add_losses
from mml_keras3.engines.flat import FlatLearner
from mml_keras3.framework import keras
from mml_keras3.plan import Division, StepPlan
from mml_keras3.random_state import generator_states
from mml_keras3.staging import LINE

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class StagedSteps:
    """A block on the device: for each step, live rows by input name, and counts of live rows."""

    values: list[Values]
    rows: list[tuple[int, ...]]


class EagerRunner:
    """Steps through a segment.

    Parameters
    ----------
    plan : StepPlan
    """

    def __init__(self, plan: StepPlan) -> None:
        self.plan = plan
        self.device = plan.segment.device
        self.learners = [FlatLearner(one) for one in plan.learners]
        self.generators = [one.value for one in plan.generators]
        self.adding = {
            node: layers for node, model in plan.models.items() if (layers := layers_that_add_losses(model))
        }
        self.missing = torch.full((), torch.nan, device=self.device)

    def stage(self, block: Block) -> StagedSteps:
        """Copy a block's inputs to the device, once each."""
        rows = [tuple(one) for one in block.rows.tolist()]
        steps: list[Values] = [{} for _ in rows]
        for entry in self.plan.segment.inputs:
            values = block.values[entry.name]
            arrays = values if isinstance(values, list) else self._steps_of(values, entry.name)
            for step, (counts, array) in enumerate(zip(rows, arrays, strict=True)):
                count = counts[entry.rows]
                if count and array is not None:
                    steps[step][entry.name] = self._placed(array[:count])
        return StagedSteps(steps, rows)

    def run(self, staged: StagedSteps, start: int, stop: int, controls: Controls) -> BlockResult:
        """Execute a range of steps, one after the other."""
        run = _EagerRun(self, controls)
        kept = [one.clone() for one in self.generators]
        try:
            with torch.set_grad_enabled(self.plan.trains):
                run.steps(staged, range(start, stop))
        finally:
            with torch.no_grad():
                for state, before in zip(self.generators, kept, strict=True):
                    state.copy_(before)
            for learner in self.learners:
                learner.end()
        return BlockResult(losses=run.stacked(stop - start), outputs=run.outputs)

    def _placed(self, tensor: Tensor) -> Tensor:
        convert.require_native(tensor)
        return tensor if self.device is None else tensor.to(self.device)

    def _steps_of(self, values: np.ndarray, name: str) -> tuple[Tensor, ...]:
        """Copy ``(steps, capacity, ...)`` and return one view a step, each at the start of a memory line.

        Some kernels give other bits for another alignment; a step must not depend on its place in a block.
        """
        values = convert.for_program(values, name=name)
        n_steps, shape = values.shape[0], values.shape[1:]
        size = math.prod(shape)
        line = max(1, LINE // values.dtype.itemsize)
        buffer = engine().to_array(
            np.empty((n_steps, max(line, -(-size // line) * line)), dtype=values.dtype)
        )
        staged = buffer[:, :size].view(n_steps, *shape)
        np.copyto(staged.numpy(), values)
        return staged.unbind(0)


def _taken_losses(layers: Sequence[Any]) -> list[Tensor]:
    """Return what layers added as losses in their last call, and let none of it stay."""
    found = [loss for layer in layers for loss in layer._losses]
    for layer in layers:
        layer._losses.clear()
        layer._loss_ids.clear()
    return found


class _EagerRun:
    """A run in progress: what its steps record."""

    def __init__(self, runner: EagerRunner, controls: Controls) -> None:
        self.runner = runner
        self.plan = runner.plan
        self.controls = controls
        self.outputs: dict[str, list[Any]] = {key: [] for key in self.plan.segment.outputs}
        self._losses: list[Tensor] = []

    def steps(self, staged: StagedSteps, steps: range) -> None:
        """Execute steps."""
        controls, learners = self.controls, self.runner.learners
        part = slice(steps.start, steps.stop)
        for learner in learners:
            learner.begin()
        variables = [one for learner in learners for one in learner.variables]
        seeds = controls.seeds[part]
        states = torch.from_numpy(generator_states(seeds, len(self.runner.generators)).astype(np.int64))
        rates = controls.rates[part].tolist()
        for place, (step, seed) in enumerate(zip(steps, seeds.tolist(), strict=True)):
            self._seed(seed, states[place])
            rows, values = staged.rows[step], dict(staged.values[step])
            division = self.plan.division(tuple([count > 0 for count in rows]))
            total = self._forward(division, values, rows, step)
            for key, kept in self.outputs.items():
                value = values.get(key)
                kept.append(None if value is None else value.detach())
            if self.plan.trains:
                self._learn(total, variables, division, rates[place], step)

    def stacked(self, n_steps: int) -> Tensor:
        """Return the losses of all steps as one tensor."""
        if not self._losses:
            return torch.empty(n_steps, len(self.plan.losses))
        return torch.stack(self._losses).view(n_steps, len(self.plan.losses))

    def _seed(self, seed: int, states: Tensor) -> None:
        engine().seed_generators(seed)
        for variable, state in zip(self.runner.generators, states, strict=True):
            variable.copy_(state)

    def _forward(self, division: Division, values: Values, rows: Sequence[int], step: int) -> Tensor | None:
        """Run the calls and losses of a step, and return the weighted total of those with live rows."""
        if division.constant:
            # Whatever a model would assign outside of training is dropped.
            with torch.no_grad(), keras.StatelessScope():
                for call in division.constant:
                    values[call.key] = call.run(values, rows[call.rows], False, None)
        penalties: list[Tensor] = []
        for call in division.reached:
            if not call.learns:
                with keras.StatelessScope():
                    values[call.key] = call.run(values, rows[call.rows], False, None)
                continue
            values[call.key] = call.run(values, rows[call.rows], True, None)
            if call.node in self.runner.adding:
                penalties += _taken_losses(self.runner.adding[call.node])
        total = self._total(division, values, rows, step)
        if total is not None:
            total = self._with_penalties(total, penalties, division, rows, step)
        if division.idle:
            with torch.no_grad(), keras.StatelessScope():
                for call in division.idle:
                    values[call.key] = call.run(values, rows[call.rows], False, None)
        return total

    def _total(self, division: Division, values: Values, rows: Sequence[int], step: int) -> Tensor | None:
        total: Tensor | None = None
        found: list[Tensor] = [self.runner.missing] * len(self.plan.losses)
        window = self.controls.accumulated
        for number, loss in division.losses:
            count = rows[loss.rows]
            value = loss.run(values, count, self._more(step) if loss.context else {}, None)
            found[number] = value.detach()
            scale = loss.weight
            if window is not None and not loss.is_sum:
                scale *= count / max(int(window[step, number]), 1)
            if scale != 1.0:
                value = value * scale
            total = value if total is None else total + value
        self._losses.extend(found)
        return total

    def _with_penalties(
        self, total: Tensor, penalties: list[Tensor], division: Division, rows: Sequence[int], step: int
    ) -> Tensor:
        """Add what models add as losses of their own: once a window, by the step's share of its rows."""
        penalties += [one.regularizer(one.value) for one in division.regularized]
        if not penalties:
            return total
        share, window = 1.0, self.controls.accumulated
        if window is not None:
            share = max(rows[loss.rows] / max(int(window[step, index]), 1) for index, loss in division.losses)
        for penalty in penalties:
            total = total + share * penalty.sum()
        return total

    def _more(self, step: int) -> dict[str, Any]:
        contexts = self.controls.contexts
        return {} if contexts is None else {"context": contexts[step]}

    def _learn(
        self, total: Tensor | None, variables: list[Tensor], division: Division, rates: list[float], step: int
    ) -> None:
        gradients = self._gradients(total, variables, division)
        apply, first = self.controls.apply, 0
        for index, learner in enumerate(self.runner.learners):
            last = first + len(learner.variables)
            ends = apply is None or bool(apply[step, index])
            learner.step(gradients[first:last], rates[index], apply=ends)
            first = last

    def _gradients(
        self, total: Tensor | None, variables: list[Tensor], division: Division
    ) -> Sequence[Tensor | None]:
        if total is None or not variables:
            return [None] * len(variables)
        if not total.requires_grad:
            self._refuse_detached(division)
            return [None] * len(variables)
        return torch.autograd.grad(total, variables, allow_unused=True)

    def _refuse_detached(self, division: Division) -> None:
        """Raise where losses are cut off from all that learns: training would run and change nothing."""
        nodes = {one.node for learner in self.plan.learners for one in learner.parameters}
        if not nodes & division.learning:
            return
        raise LossError(
            "No gradient flows from the losses back to what learns.",
            where={
                "loss": ", ".join(self.plan.segment.losses[number].label for number, _ in division.losses)
            },
            expected="a loss made of differentiable operations on the outputs",
            found="values cut off from the outputs, as by stop_gradient(), argmax() or NumPy",
            hint="Compute it with keras.ops or the engine's own; what is only to be watched is a metric.",
        )
