"""The slots of an optimizer: a flat tensor for each slot of a group of parameters, and parts of it for core.

An update over one long vector is a third of the operations of one over each parameter, so a program keeps the
parameters of a node together. Core's dictionaries hold `Slice`s of these vectors, which always show the
current values; whatever else stands there (restored arrays, another program's slices) is gathered anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from mml.backends import SegmentOptimizer
from mml.errors import StateError, listed
from mml_tf import convert

STEP = "step"
ACCUMULATED = "accumulated"
Slots = dict[str, Any]


class FlatSlots:
    """One slot of several parameters, one behind the other; a run puts the next tensor in its place."""

    __slots__ = ("tensor",)

    def __init__(self) -> None:
        self.tensor: tf.Tensor | None = None


class Slice:
    """One parameter's part of a flat slot.

    Parameters
    ----------
    home : FlatSlots
    start : int
        Where it begins.
    shape : tuple of int
    """

    __slots__ = ("home", "shape", "start")

    def __init__(self, home: FlatSlots, start: int, shape: tuple[int, ...]) -> None:
        self.home = home
        self.start = start
        self.shape = shape

    def read(self) -> tf.Tensor:
        """Return the current values."""
        assert self.home.tensor is not None  # slices are handed out with values behind them
        return tf.reshape(self.home.tensor[self.start : self.start + math.prod(self.shape)], self.shape)


class GroupSlots:
    """The slots of parameters that are updated together.

    Parameters
    ----------
    optimizer : SegmentOptimizer
    names : sequence of str
        ``<node>/<parameter>`` each.
    variables : sequence of tf.Variable
        Of one dtype.
    """

    def __init__(
        self, optimizer: SegmentOptimizer, names: Sequence[str], variables: Sequence[tf.Variable]
    ) -> None:
        self.optimizer = optimizer
        self.names = list(names)
        self.slot_names = tuple(optimizer.rule.slot_names)
        self.dtype = variables[0].dtype
        self.shapes = [tuple(one.shape) for one in variables]
        self.size = sum(map(math.prod, self.shapes))
        self._makes = [slot_maker(self.slot_names, shape, self.dtype) for shape in self.shapes]
        self._homes: dict[str, FlatSlots] = {}
        self._slices: dict[str, list[Slice]] = {}
        self._held: list[Slots] = []

    def load(self) -> list[tf.Tensor]:
        """Return the flat tensors of the rule's slots, in order, as core's dictionaries hold them now."""
        slots_of = self.optimizer.slots.slots_of
        self._held = [slots_of(name, make) for name, make in zip(self.names, self._makes, strict=True)]
        return [self._loaded(slot) for slot in self.slot_names]

    @property
    def count(self) -> int:
        """The number of updates so far; after `load`."""
        return int(self._held[0][STEP])

    @property
    def is_waiting(self) -> bool:
        """Whether gradients wait for their update; after `load`."""
        return ACCUMULATED in self._held[0]

    def load_accumulated(self) -> tf.Tensor:
        """Return the flat gradients that wait for their update, zeros where none do; after `load`."""
        return self._loaded(ACCUMULATED) if self.is_waiting else tf.zeros([self.size], self.dtype)

    def store(
        self, tensors: Sequence[tf.Tensor], *, count: int, accumulated: tf.Tensor | None = None
    ) -> None:
        """Put new values behind the slices that core holds, and the number of updates beside them.

        Parameters
        ----------
        tensors : sequence of flat tensor
            In the order of the rule's slots.
        count : int
        accumulated : flat tensor or None
            Gradients that go on waiting.
        """
        for slot, tensor in zip(self.slot_names, tensors, strict=True):
            self._homes[slot].tensor = tensor
        for held in self._held:
            held[STEP] = count
            held.pop(ACCUMULATED, None)
        if accumulated is not None:
            self._place(ACCUMULATED, accumulated)

    def _loaded(self, slot: str) -> tf.Tensor:
        slices = self._slices.get(slot)
        held = [one.get(slot) for one in self._held]
        if slices is None or any(one is not mine for one, mine in zip(held, slices, strict=True)):
            parts = [tf.reshape(self._native(value, slot, number), [-1]) for number, value in enumerate(held)]
            self._place(slot, tf.concat(parts, 0))
        return self._homes[slot].tensor

    def _place(self, slot: str, tensor: tf.Tensor) -> None:
        home = self._homes[slot] = FlatSlots()
        home.tensor = tensor
        starts = np.cumsum([0, *map(math.prod, self.shapes)]).tolist()
        slices = [Slice(home, start, shape) for start, shape in zip(starts, self.shapes, strict=False)]
        self._slices[slot] = slices
        for held, one in zip(self._held, slices, strict=True):
            held[slot] = one

    def _native(self, value: Any, slot: str, number: int) -> tf.Tensor:
        if isinstance(value, Slice):
            value = value.read()
        elif isinstance(value, np.ndarray):
            value = convert.to_tensor(value)
        if not isinstance(value, tf.Tensor) or tuple(value.shape) != self.shapes[number]:
            raise StateError(
                f"The optimizer's slot {slot!r} does not fit the variable.",
                where={"variable": self.names[number]},
                expected=f"an array of shape {self.shapes[number]}",
                found=f"shape {tuple(value.shape)}" if isinstance(value, tf.Tensor) else type(value).__name__,
            )
        return tf.cast(value, self.dtype)


def check_slots(optimizer: SegmentOptimizer, name: str, held: Slots) -> None:
    """Refuse the state of another kind of optimizer.

    Raises
    ------
    StateError
        Naming the variable and the slots that it lacks.
    """
    wanted = (STEP, *optimizer.rule.slot_names)
    if any(one not in held for one in wanted):
        raise StateError(
            "The optimizer's state is of another kind of optimizer.",
            where={"variable": name},
            expected=f"slots {listed(wanted)}",
            found=listed(held),
            hint="Restore the state into an optimizer with the same settings.",
        )


def slot_maker(
    names: Sequence[str], shape: tuple[int, ...], dtype: tf.DType
) -> Callable[[], Mapping[str, Any]]:
    """Return what makes a variable's slots before its first update."""
    return lambda: {STEP: 0, **{name: tf.zeros(shape, dtype) for name in names}}
