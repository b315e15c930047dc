"""One step of a segment as a pure function of arrays, for engines that compile: values in, values out.

Keras is told each variable's value for the time of the call and asked for the new ones, so nothing of the
user's is touched while a program is traced or runs. The function is written once; what differentiates,
chooses and loops comes from the engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mml.errors import LossError
from mml_keras3.calls import CompiledCall, CompiledLoss, Padding
from mml_keras3.engines.compiling import CompilingEngine, Differentiated
from mml_keras3.engines.forms import Form
from mml_keras3.engines.updates import Held, LearnerUpdate, UpdateControls
from mml_keras3.framework import keras
from mml_keras3.plan import StepPlan

ops = keras.ops

NO_SHIFT = np.float32(0.0)
"""What padding is moved by in a step that counts."""


class Fixed(NamedTuple):
    """What steps only read: variables that do not move, and one row a step of data and controls.

    Parameters
    ----------
    constants : list
    data : list
        One array ``(steps, rows, ...)`` for each input that is live.
    states : array of uint32, shape (steps, generators, 2)
    numbers : list of array, each (steps, parameters of a learner, numbers)
    scales : array, shape (steps, losses + 1), or None where the losses' weights are all there is
        The last one is the share of the step in what models add as losses of their own.
    apply : array of bool, shape (steps, learners), or None where every step updates
    has : list of array of bool, each (steps, parameters of a learner)
        Which parameters the step updates, where gradients accumulate; empty where they do not.
    counts : array of int32, shape (steps, columns), or None
        Live rows by column, where a form is padded.
    shift : float scalar
        See `mml_keras3.calls.Padding`.
    """

    constants: list[Any]
    data: list[Any]
    states: Any
    numbers: list[Any]
    scales: Any
    apply: Any
    has: list[Any]
    counts: Any = None
    shift: Any = None


class StepFunction:
    """The steps of one form.

    Parameters
    ----------
    plan : StepPlan
    form : Form
    engine : CompilingEngine
    accumulates : bool
        Gradients may wait for a later step's update.
    """

    def __init__(self, plan: StepPlan, form: Form, engine: CompilingEngine, *, accumulates: bool) -> None:
        self.plan = plan
        self.form = form
        self.engine = engine
        self.accumulates = accumulates
        self.division = plan.division(form.live)
        self.inputs = [one for one in plan.segment.inputs if form.counts[one.rows]]
        self.outputs = [key for key in plan.segment.outputs if key in self._computed()]
        self.parameters = [one.variable for learner in plan.learners for one in learner.parameters]
        self.buffers = plan.buffers_of(self.division.learning)
        moving = {id(one) for one in (*self.parameters, *self.buffers)}
        self.constants = [one for one in plan.all_variables() if id(one) not in moving]
        nodes = {one.node for learner in plan.learners for one in learner.parameters}
        self.learns = plan.trains and bool(self.division.losses) and bool(nodes & self.division.learning)
        starts = np.cumsum([0, *(len(one.parameters) for one in plan.learners)]).tolist()
        self._updates = [
            LearnerUpdate(one, first, engine) for one, first in zip(plan.learners, starts, strict=False)
        ]
        self.differentiated: Differentiated | None = None
        self.contexts: Sequence[Any] | None = None
        self._more: dict[str, Any] = {}
        self._rehearses = False

    @property
    def updated(self) -> list[bool]:
        """For each parameter, whether a gradient reaches it in steps of this form; known once prepared."""
        if self.differentiated is None or not self.learns:
            return [False] * len(self.parameters)
        return self.differentiated.reached

    def prepare(self, held: Held, constants: list[Any], data: list[Any]) -> None:
        """Trace the step's gradient once for arrays like these, to know whom it reaches and how it loops."""
        states = np.zeros((1, len(self.plan.generators), 2), dtype=np.uint32)
        counts = np.ones((1, len(self.form.counts)), dtype=np.int32) if self.form.is_padded else None
        scales = np.ones((1, len(self.plan.losses) + 1), dtype=self.plan.dtype) if self.accumulates else None
        self._rehearses = self.plan.has_context
        example = self._rest(0, held, Fixed(constants, data, states, [], scales, None, [], counts, NO_SHIFT))
        self.differentiated = self.engine.differentiate(
            self._compute, held.parameters, example, learns=self.learns, eager=self.plan.has_context
        )
        self._rehearses = False
        self._refuse_detached()

    def evaluate(self, held: Held, fixed: Fixed) -> tuple[list[Any], Any]:
        """Run the first step once, without its update; return gradients, and losses, buffers and outputs."""
        if self.differentiated is None:
            self.prepare(held, fixed.constants, fixed.data)
        assert self.differentiated is not None  # just prepared
        return self.differentiated.once(held.parameters, self._rest(0, held, fixed))

    def step(self, number: Any, held: Held, fixed: Fixed) -> tuple[Held, Any, list[Any]]:
        """Run one step.

        Parameters
        ----------
        number : native scalar or int
            Its row in data and controls.
        held : Held
        fixed : Fixed

        Returns
        -------
        Held, losses of shape (losses,), one array for each of `outputs`
        """
        assert self.differentiated is not None  # prepared by whoever compiles
        if self.contexts is not None:
            self._more = {"context": self.contexts[int(number)]}
        rest = self._rest(number, held, fixed)
        gradients, (losses, buffers, outputs) = self.differentiated.run(held.parameters, rest)
        moved = Held(list(held.parameters), list(held.slots), list(held.waiting), buffers)
        if self.learns:
            self._learn(moved, gradients, number, fixed)
        return moved, losses, outputs

    def _rest(self, number: Any, held: Held, fixed: Fixed) -> dict[str, Any]:
        at = self.engine.at
        return {
            "buffers": held.buffers,
            "constants": fixed.constants,
            "data": [at(array, number) for array in fixed.data],
            "states": at(fixed.states, number),
            "scales": None if fixed.scales is None else at(fixed.scales, number),
            "padding": Padding(at(fixed.counts, number), fixed.shift) if self.form.is_padded else None,
        }

    def _compute(self, parameters: Sequence[Any], rest: Mapping[str, Any]) -> tuple[Any, tuple[Any, ...]]:
        """Return the weighted total of the losses, and each loss, the buffers and the outputs."""
        values = {one.name: array for one, array in zip(self.inputs, rest["data"], strict=True)}
        with keras.StatelessScope(self._mapping(parameters, rest), collect_losses=True) as scope:
            padding = rest["padding"]
            self._call(self.division.constant, values, scope, padding, training=False)
            penalties = self._call(self.division.reached, values, scope, padding, training=True)
            penalties += [one.regularizer(one) for one in self.division.regularized]
            found = {
                number: self._loss(number, loss, values, padding) for number, loss in self.division.losses
            }
            total = self._total(found, penalties, rest["scales"])
            buffers = [scope.get_current_value(one) for one in self.buffers]
            self._call(self.division.idle, values, scope, padding, training=False)
        return total, (self._listed(found), buffers, [values[key] for key in self.outputs])

    def _loss(self, number: int, loss: CompiledLoss, values: dict[str, Any], padding: Padding | None) -> Any:
        if loss.context and self._rehearses:
            # Whoever asks for a context wants to see values; a trace has none, and needs the inputs only.
            read = [values[name] for name in self.plan.segment.losses[number].arguments]
            return sum(ops.sum(ops.cast(one, self.plan.dtype)) for one in read)
        more = self._more if loss.context else {}
        return loss.run(values, self.form.counts[loss.rows], more, padding)

    def _call(
        self,
        calls: Sequence[CompiledCall],
        values: dict[str, Any],
        scope: Any,
        padding: Padding | None,
        *,
        training: bool,
    ) -> list[Any]:
        """Run calls; return what those that learn added as losses of their own, in Keras' way."""
        added: list[Any] = []
        for call in calls:
            before = list(scope.losses)
            count, trains = self.form.counts[call.rows], training and call.learns
            values[call.key] = call.run(values, count, trains, padding)
            if training and call.learns:
                known = {id(one) for one in before}
                added += [one for one in scope.losses if id(one) not in known]
        return added

    def _mapping(self, parameters: Sequence[Any], rest: Mapping[str, Any]) -> list[tuple[Any, Any]]:
        states = [rest["states"][index] for index in range(len(self.plan.generators))]
        variables = (*self.parameters, *self.buffers, *self.constants, *self.plan.generators)
        values = (*parameters, *rest["buffers"], *rest["constants"], *states)
        return list(zip(variables, values, strict=True))

    def _total(self, found: Mapping[int, Any], penalties: Sequence[Any], scales: Any) -> Any:
        total: Any = None
        for number, loss in self.division.losses:
            value = found[number]
            if scales is not None:
                value = value * ops.cast(scales[number], value.dtype)
            elif loss.weight != 1.0:
                value = value * loss.weight
            total = value if total is None else total + ops.cast(value, total.dtype)
        for penalty in penalties if total is not None else ():
            share = 1.0 if scales is None else ops.cast(scales[len(self.plan.losses)], total.dtype)
            total = total + share * ops.cast(ops.sum(penalty), total.dtype)
        return total

    def _listed(self, found: Mapping[int, Any]) -> Any:
        dtype = self.plan.dtype
        missing = ops.convert_to_tensor(float("nan"), dtype=dtype)
        values = [
            ops.cast(found[number], dtype) if number in found else missing
            for number in range(len(self.plan.losses))
        ]
        return ops.stack(values) if values else ops.zeros((0,), dtype=dtype)

    def _learn(self, moved: Held, gradients: Sequence[Any], number: Any, fixed: Fixed) -> None:
        """Take each learner's gradients in, and update its parameters if the step does."""
        at = self.engine.at
        for index, update in enumerate(self._updates):
            found = gradients[update.places.start : update.places.stop]
            numbers = at(fixed.numbers[index], number)
            if self.accumulates:
                apply, has = at(fixed.apply, number)[index], at(fixed.has[index], number)
                update.accumulate(moved, found, UpdateControls(numbers, apply, has))
            else:
                update.apply(moved, found, UpdateControls(numbers, None, None))

    def _computed(self) -> set[str]:
        division = self.division
        return {call.key for call in (*division.constant, *division.reached, *division.idle)}

    def _refuse_detached(self) -> None:
        """Raise where losses are cut off from all that learns: training would run and change nothing."""
        if not self.learns or any(self.updated):
            return
        raise LossError(
            "No gradient flows from the losses back to what learns.",
            where={"loss": self.plan.labels_of(self.division)},
            expected="a loss made of differentiable operations on the outputs",
            found="values cut off from the outputs, as by stop_gradient(), argmax() or NumPy",
            hint="Compute it with keras.ops or the engine's own; what is only to be watched is a metric.",
        )
