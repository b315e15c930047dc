"""One run of a range of steps through executables: values in, controls for each part, values out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from mml.backends import Controls
from mml_keras3.engines.steps import NO_SHIFT, Fixed, StepFunction
from mml_keras3.engines.updates import Held
from mml_keras3.random_state import generator_states
from mml_keras3.slots import ACCUMULATED, STEP, waiting_gradient

if TYPE_CHECKING:
    from mml_keras3.engines.compiled import CompiledRunner, Part


class RangeRun:
    """A run in progress.

    Variables and slots are read when it starts and written by `commit`: a run that fails changes nothing.

    Parameters
    ----------
    runner : CompiledRunner
    controls : Controls
        Of the whole block.
    """

    def __init__(self, runner: CompiledRunner, controls: Controls) -> None:
        self.runner = runner
        self.plan = runner.plan
        self.engine = runner.engine
        self.controls = controls
        self.accumulates = self.plan.trains and controls.apply is not None
        value_of = self.engine.value_of
        self._values = {id(one): value_of(one) for one in runner.variables}
        self._moved: set[int] = set()
        self._read_slots()
        self._losses: list[Any] = []
        self.outputs: dict[str, list[Any]] = {key: [] for key in self.plan.segment.outputs}

    def steps(self, part: Part, first: int, last: int) -> None:
        """Execute the steps ``first`` to ``last - 1`` of the block, which lie in one part."""
        function = self._function(part)
        fixed = self._fixed(function, part, first, last)
        run = self.runner.executable(function)
        held, losses, outputs = run(first - part.first, last - part.first, self._held(function), fixed)
        for variables, values in (
            (function.parameters, held.parameters),
            (function.buffers, held.buffers),
        ):
            for one, value in zip(variables, values, strict=True):
                self._values[id(one)] = value
                self._moved.add(id(one))
        self._arrays, self._waiting = held.slots, held.waiting
        self._losses.extend(losses)
        for key, kept in self.outputs.items():
            place = function.outputs.index(key) if key in function.outputs else None
            made = [None if place is None else step[place] for step in outputs]
            kept.extend(self._live(key, made, part, first) if part.form.is_padded else made)

    def _live(self, key: str, made: list[Any], part: Part, first: int) -> list[Any]:
        """Cut what padded steps gave to the live rows."""
        column = next(call.rows for call in self.plan.segment.calls if call.key == key)
        counts = part.rows[first - part.first :, column].tolist()
        return [
            None if one is None else self.engine.joined([(one, 0, count)])
            for one, count in zip(made, counts, strict=False)
        ]

    def losses(self) -> Any:
        """Return the losses of all steps as one array of the engine."""
        return self.engine.joined(self._losses)

    def commit(self) -> None:
        """Give variables and slots their new values."""
        for one in self.runner.variables:
            if id(one) in self._moved:
                self.engine.set_value(one, self._values[id(one)])
        counts, waits = self._counts.tolist(), self._waits.tolist()
        for place, held in enumerate(self._slots):
            held.update(self._arrays[place])
            held[STEP] = counts[place]
            if waits[place]:
                held[ACCUMULATED] = self._waiting[place]
            elif self.accumulates:
                held.pop(ACCUMULATED, None)

    def _read_slots(self) -> None:
        learners = self.plan.learners
        self._slots = [held for one in learners for held in one.slots()]
        names = [one.slot_names for one in learners for _ in one.parameters]
        self._arrays = [
            {name: held[name] for name in chosen} for held, chosen in zip(self._slots, names, strict=True)
        ]
        self._counts = np.array([held[STEP] for held in self._slots], dtype=np.int64)
        self._waits = np.array([ACCUMULATED in held for held in self._slots], dtype=bool)
        variables = [one.variable for learner in learners for one in learner.parameters]
        self._waiting = (
            [waiting_gradient(held, one) for held, one in zip(self._slots, variables, strict=True)]
            if self.accumulates
            else []
        )

    def _function(self, part: Part) -> StepFunction:
        function = self.runner.function(part, accumulates=self.accumulates)
        contexts = self.controls.contexts
        function.contexts = None if contexts is None else contexts[part.first : part.first + part.count]
        if function.differentiated is None:
            function.prepare(self._held(function), self._constants(function), part.data)
        return function

    def _held(self, function: StepFunction) -> Held:
        values = self._values
        return Held(
            [values[id(one)] for one in function.parameters],
            self._arrays,
            self._waiting,
            [values[id(one)] for one in function.buffers],
        )

    def _constants(self, function: StepFunction) -> list[Any]:
        return [self._values[id(one)] for one in function.constants]

    def _fixed(self, function: StepFunction, part: Part, first: int, last: int) -> Fixed:
        """Return data and controls of a part; only the rows of the range mean anything."""
        rows, length = slice(first - part.first, last - part.first), part.length
        controls, dtype = self.controls, self.plan.dtype
        numbers, has = self._numbers(function.updated, first, last)
        return Fixed(
            constants=self._constants(function),
            data=part.data,
            states=_spread(
                generator_states(controls.seeds[first:last], len(self.plan.generators)), rows, length
            ),
            numbers=[_spread(one.astype(dtype), rows, length) for one in numbers],
            scales=_spread(self._scales(part, first, last).astype(dtype), rows, length)
            if self.accumulates
            else None,
            apply=_spread(controls.apply[first:last], rows, length) if self.accumulates else None,
            has=[_spread(one, rows, length) for one in has],
            counts=_spread(part.rows[rows].astype(np.int32), rows, length) if part.form.is_padded else None,
            shift=NO_SHIFT if part.form.is_padded else None,
        )

    def _numbers(
        self, updated: list[bool], first: int, last: int
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Count the updates of a range, and return their numbers and who gets one, by learner."""
        reached = np.array(updated, dtype=bool)
        has = self._who_updates(reached, first, last)
        counts = self._counts + np.cumsum(has, axis=0)
        self._counts = counts[-1]
        counts = np.maximum(counts, 1)
        numbers, of_learners, start = [], [], 0
        for index, learner in enumerate(self.plan.learners):
            chosen = slice(start, start + len(learner.parameters))
            numbers.append(
                learner.numbers(counts[:, chosen], self.controls.rates[first:last, index].tolist())
            )
            of_learners.append(has[:, chosen])
            start = chosen.stop
        return numbers, of_learners if self.accumulates else []

    def _who_updates(self, reached: np.ndarray, first: int, last: int) -> np.ndarray:
        """Return, for each step and parameter, whether the step updates it."""
        if not self.accumulates:
            return np.broadcast_to(reached, (last - first, len(reached)))
        assert self.controls.apply is not None  # that is what accumulating is
        of_parameter = np.repeat(
            np.arange(len(self.plan.learners)), [len(one.parameters) for one in self.plan.learners]
        )
        has = np.zeros((last - first, len(reached)), dtype=bool)
        for place, applies in enumerate(self.controls.apply[first:last]):
            waits, ends = self._waits | reached, applies[of_parameter]
            has[place] = waits & ends
            self._waits = waits & ~ends
        return has

    def _scales(self, part: Part, first: int, last: int) -> np.ndarray:
        """Return the factor of each loss in each step's total, and that of what models add of their own."""
        assert self.controls.accumulated is not None  # beside `apply`
        rows = part.rows[first - part.first : last - part.first]
        counts = rows[:, [loss.rows for loss in self.plan.losses]].astype(np.float64)
        shares = counts / np.maximum(self.controls.accumulated[first:last], 1)
        # What models add as losses of their own counts once a window, by its steps' shares of rows.
        own = np.where(counts > 0, shares, 0.0).max(axis=1, initial=0.0, keepdims=True)
        shares[:, [loss.is_sum for loss in self.plan.losses]] = 1.0
        weights = np.array([loss.weight for loss in self.plan.losses])
        return np.concatenate([shares * weights, own], axis=1)


def _spread(rows: np.ndarray, where: slice, length: int) -> np.ndarray:
    """Return an array of a part's length that holds some rows in their place."""
    if where == slice(0, length):
        return rows
    spread = np.zeros((length, *rows.shape[1:]), dtype=rows.dtype)
    spread[where] = rows
    return spread
