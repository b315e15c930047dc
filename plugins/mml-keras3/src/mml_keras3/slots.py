"""The slots of an optimizer as native arrays: made, and restored from NumPy.

Slots live in dictionaries that core owns and every program shares; whatever is converted here is put back
into them, so that the next program finds it. ``step`` is a Python number, the others are arrays, and
``accumulated`` is there while gradients wait for their update.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mml.errors import StateError, listed
from mml_keras3 import convert
from mml_keras3.engines import engine

Slots = dict[str, Any]

STEP = "step"
ACCUMULATED = "accumulated"


def fresh_slots(names: Sequence[str], variable: Any) -> Mapping[str, Any]:
    """Return the slots of a Keras variable before its first update: zeros of its shape, and a count of 0."""
    return {STEP: 0, **{name: zeros_like(variable) for name in names}}


def waiting_gradient(slots: Slots, variable: Any) -> Any:
    """Return the gradient that waits for its update, zeros where none does."""
    held = slots.get(ACCUMULATED)
    return zeros_like(variable) if held is None else held


def zeros_like(variable: Any) -> Any:
    """Return zeros of a Keras variable's shape and dtype, where the variable is."""
    return engine().ops.zeros_like(engine().value_of(variable))


def make_native(slots: Slots, shapes: Mapping[str, tuple[int, ...]], *, label: str) -> None:
    """Turn restored NumPy arrays into native ones, in place.

    Parameters
    ----------
    slots : dict
    shapes : mapping of str to tuple of int
        By name, the shape that the slot must have.
    label : str
        The variable's name, for messages.

    Raises
    ------
    StateError
        If a slot is missing, or shaped otherwise than it must be.
    """
    missing = [name for name in (STEP, *shapes) if name not in slots and name != ACCUMULATED]
    if missing:
        raise StateError(
            "The optimizer's state is of another kind of optimizer.",
            where={"variable": label},
            expected=f"slots {listed([STEP, *shapes])}",
            found=listed(slots),
            hint="Restore the state into an optimizer with the same settings.",
        )
    for name, wanted in shapes.items():
        value = slots.get(name)
        if value is None:
            continue
        if isinstance(value, np.ndarray | np.generic):
            value = slots[name] = convert.to_array(value)
        shape = tuple(getattr(value, "shape", ()))
        if not engine().is_native(value) or shape != wanted:
            raise StateError(
                f"The optimizer's slot {name!r} does not fit the variable {label!r}.",
                expected=f"an array of shape {wanted}",
                found=f"shape {shape}" if engine().is_native(value) else type(value).__name__,
            )
    if type(slots[STEP]) is not int:
        slots[STEP] = int(slots[STEP])
