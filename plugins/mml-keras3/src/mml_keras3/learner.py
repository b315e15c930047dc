"""Who learns in a segment: the parameters of one optimizer, their slots, and the numbers of their updates.

Parameters belong to the user's models, slots to core. What depends on the learning rate and on a parameter's
own count of updates is computed here in float64, once a range, and sent to the program as data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mml.backends import SegmentOptimizer
from mml_keras3.engines import engine
from mml_keras3.slots import ACCUMULATED, STEP, Slots, fresh_slots, make_native


@dataclass(frozen=True, slots=True)
class Parameter:
    """A trainable variable of a learning node: ``<node>/<name>``, and the variable."""

    name: str
    node: str
    variable: Any


class Learner:
    """The learning parameters of one optimizer.

    Parameters
    ----------
    optimizer : SegmentOptimizer
    parameters : sequence of Parameter
    """

    def __init__(self, optimizer: SegmentOptimizer, parameters: Sequence[Parameter]) -> None:
        self.optimizer = optimizer
        self.rule = optimizer.rule
        self.parameters = list(parameters)
        self.variables = [one.variable for one in parameters]
        bind = getattr(optimizer.rule, "bound_to", None)
        self._bound = None if bind is None else [bind(one) for one in self.variables]
        self._makers = [self._maker(place) for place in range(len(self.parameters))]
        self._shapes: list[dict[str, tuple[int, ...]]] | None = None
        self._slot_names: tuple[str, ...] | None = None
        self._number_names: tuple[str, ...] | None = None

    @property
    def number_names(self) -> tuple[str, ...]:
        """Names of the numbers that an update takes, in the order in which they are sent."""
        if self._number_names is None:
            self._number_names = tuple(self.coefficients(rate=1.0, step=1))
        return self._number_names

    @property
    def slot_names(self) -> tuple[str, ...]:
        """Names of the arrays that the rule keeps for each parameter."""
        if self._slot_names is None:
            self._slot_names = tuple(self._shapes_of(0)) if self.variables else ()
        return self._slot_names

    def slots(self) -> list[Slots]:
        """Return the slots of each parameter as core holds them now, with native arrays in them."""
        store = self.optimizer.slots
        found = [
            store.slots_of(one.name, make) for one, make in zip(self.parameters, self._makers, strict=True)
        ]
        if self._shapes is None:
            self._shapes = [self._shapes_of(place) for place in range(len(self.parameters))]
        for one, held, shapes in zip(self.parameters, found, self._shapes, strict=True):
            if not _is_native(held, shapes):
                make_native(held, shapes, label=one.name)
            if ACCUMULATED in held:
                make_native(held, {ACCUMULATED: tuple(one.variable.shape)}, label=one.name)
        return found

    def numbers(self, counts: np.ndarray, rates: Sequence[float]) -> np.ndarray:
        """Return the numbers of each step's updates.

        Parameters
        ----------
        counts : ndarray of int64, shape (steps, parameters)
            The number of each update, from 1.
        rates : sequence of float, one a step

        Returns
        -------
        ndarray of float64, shape (steps, parameters, numbers)
        """
        made = np.zeros((*counts.shape, len(self.number_names)))
        known: dict[tuple[int, ...], list[list[float]]] = {}
        for index, column in enumerate(counts.T.tolist()):
            key = tuple(column)
            if key not in known:
                known[key] = [
                    list(self.coefficients(rate=rate, step=step).values())
                    for rate, step in zip(rates, column, strict=True)
                ]
            made[:, index] = known[key]
        return made

    def apply(
        self, place: int, value: Any, gradient: Any, slots: Mapping[str, Any], numbers: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """Return the new value and slots of one parameter; arrays in, arrays out.

        Parameters
        ----------
        place : int
            Which parameter it is; a canonical rule gives the same for all.
        value, gradient : native array
        slots : mapping of str to native array
        numbers : mapping of str to number or native scalar
            By the names of `number_names`.
        """
        if self._bound is not None:
            new, moved = self._bound[place].apply(value, gradient, slots, numbers)
        elif hasattr(self.rule, "apply"):
            new, moved = self.rule.apply(engine().ops, value, gradient, slots, numbers)
        else:
            new, moved = self.rule.update(
                engine().ops, value, gradient, slots, rate=numbers["rate"], step=numbers["step"]
            )
        return new, dict(moved)

    def clipped(self, gradients: Sequence[Any]) -> list[Any]:
        """Cut each element to ±clip_value, then scale all by min(1, clip_norm / (norm + 1e-6))."""
        ops, limit, norm = engine().ops, self.optimizer.clip_value, self.optimizer.clip_norm
        found = list(gradients)
        if limit is not None:
            found = [ops.maximum(-ops.maximum(-one, -limit), -limit) for one in found]
        if norm is not None and found:
            squares = [ops.sum(one * one) for one in found]
            total = ops.sqrt(ops.sum(ops.stack([_like(one, squares[0]) for one in squares], 0)))
            factor = -ops.maximum(-(norm / (total + 1e-6)), -1.0)
            found = [one * _like(factor, one) for one in found]
        return found

    def coefficients(self, *, rate: float, step: int) -> Mapping[str, float]:
        """Return the numbers of one update."""
        if hasattr(self.rule, "coefficients"):
            found: Mapping[str, float] = self.rule.coefficients(rate=rate, step=step)
            return found
        return {"rate": rate, STEP: float(step)}

    def _maker(self, place: int) -> Callable[[], Mapping[str, Any]]:
        if self._bound is not None:
            bound = self._bound[place]
            return lambda: {STEP: 0, **bound.make_slots()}
        return lambda: fresh_slots(self.rule.slot_names, self.variables[place])

    def _shapes_of(self, place: int) -> dict[str, tuple[int, ...]]:
        if self._bound is not None:
            return {name: tuple(one.shape) for name, one in self._bound[place].kept.items()}
        return dict.fromkeys(self.rule.slot_names, tuple(self.variables[place].shape))


def _like(value: Any, other: Any) -> Any:
    return engine().cast(value, other)


def _is_native(held: Slots, shapes: Mapping[str, tuple[int, ...]]) -> bool:
    is_native = engine().is_native
    return type(held.get(STEP)) is int and all(
        is_native(held.get(name)) and tuple(held[name].shape) == shape for name, shape in shapes.items()
    )
