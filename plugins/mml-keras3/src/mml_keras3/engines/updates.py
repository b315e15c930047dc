"""The update of one learner's parameters inside a step: pure, over arrays that the step carries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from mml_keras3.engines.compiling import CompilingEngine
from mml_keras3.framework import keras
from mml_keras3.learner import Learner

ops = keras.ops

_NARROW = ("float16", "bfloat16")


class Held(NamedTuple):
    """What steps change: arrays in the order of the plan's parameters and the form's buffers."""

    parameters: list[Any]
    slots: list[dict[str, Any]]
    waiting: list[Any]
    buffers: list[Any]


class UpdateControls(NamedTuple):
    """What changes from step to step in a learner's update.

    Parameters
    ----------
    numbers : array, shape (parameters, numbers)
    apply : bool scalar, or None where every step updates
    has : array of bool, shape (parameters,), or None where every step updates
        Which parameters the step updates, if it does.
    """

    numbers: Any
    apply: Any
    has: Any


class LearnerUpdate:
    """Takes one learner's gradients in, and updates its parameters.

    Parameters
    ----------
    learner : Learner
    first : int
        The place of its first parameter among those that the steps carry.
    engine : CompilingEngine
    """

    def __init__(self, learner: Learner, first: int, engine: CompilingEngine) -> None:
        self.learner = learner
        self.engine = engine
        self.places = range(first, first + len(learner.parameters))
        self.constraints = [one.variable.constraint for one in learner.parameters]

    def apply(self, moved: Held, gradients: Sequence[Any], controls: UpdateControls) -> None:
        """Update every parameter that has a gradient; `moved` is changed in place."""
        present = [number for number, one in enumerate(gradients) if one is not None]
        chosen = self.learner.clipped([gradients[number] for number in present])
        for number, gradient in zip(present, chosen, strict=True):
            self._update(moved, number, gradient, controls.numbers)

    def accumulate(self, moved: Held, gradients: Sequence[Any], controls: UpdateControls) -> None:
        """Add gradients to those that wait, and where the step ends a window, update and wait for nothing."""
        for place, gradient in zip(self.places, gradients, strict=True):
            if gradient is not None:
                moved.waiting[place] = moved.waiting[place] + gradient
        part = slice(self.places.start, self.places.stop)

        def end() -> Any:
            after = Held(*(list(one) for one in moved))
            for number, gradient in enumerate(self.learner.clipped(moved.waiting[part])):
                self._update_if(after, number, gradient, controls)
            return after.parameters[part], after.slots[part], after.waiting[part]

        def keep() -> Any:
            return moved.parameters[part], moved.slots[part], moved.waiting[part]

        ended = self.engine.cond(controls.apply, end, keep)
        moved.parameters[part], moved.slots[part], moved.waiting[part] = ended

    def _update_if(self, moved: Held, number: int, gradient: Any, controls: UpdateControls) -> None:
        place, has = self.places[number], controls.has[number]
        before = moved.parameters[place], moved.slots[place]
        self._update(moved, number, gradient, controls.numbers)
        moved.parameters[place] = ops.where(has, moved.parameters[place], before[0])
        moved.slots[place] = {
            name: ops.where(has, value, before[1][name]) for name, value in moved.slots[place].items()
        }
        moved.waiting[place] = ops.zeros_like(gradient)

    def _update(self, moved: Held, number: int, gradient: Any, numbers: Any) -> None:
        """Step one parameter; what is kept in 16 bits is computed in 32."""
        place = self.places[number]
        variable, slots = moved.parameters[place], moved.slots[place]
        kept = keras.backend.standardize_dtype(variable.dtype)
        wide = "float32" if kept in _NARROW else kept
        sent = {
            name: ops.cast(numbers[number, column], wide)
            for column, name in enumerate(self.learner.number_names)
        }
        new, changed = self.learner.apply(
            number,
            ops.cast(variable, wide),
            ops.cast(gradient, wide),
            {name: _widened(value, kept, wide) for name, value in slots.items()},
            sent,
        )
        constraint = self.constraints[number]
        moved.parameters[place] = ops.cast(new if constraint is None else constraint(new), kept)
        moved.slots[place] = {
            name: ops.cast(changed[name], value.dtype) if name in changed else value
            for name, value in slots.items()
        }


def _widened(value: Any, kept: str, wide: str) -> Any:
    return ops.cast(value, wide) if keras.backend.standardize_dtype(value.dtype) == kept else value
