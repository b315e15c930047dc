"""The values inside a model, by name: read as NumPy arrays, and put back bit for bit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mml.backends import VariableSpec
from mml.errors import StateError, listed
from mml.protocols import State
from mml_keras3 import convert
from mml_keras3.engines import engine
from mml_keras3.structure import NamedVariable, named_variables


def variable_specs(model: Any) -> tuple[VariableSpec, ...]:
    """Describe every value."""
    return tuple(
        VariableSpec(
            name=one.name,
            role=one.role,
            shape=tuple(one.variable.shape),
            dtype=convert.dtype_name(engine().value_of(one.variable)),
        )
        for one in named_variables(model)
    )


def read_values(model: Any) -> State:
    """Return owned copies of all values."""
    return {one.name: convert.bits_of(engine().value_of(one.variable)) for one in named_variables(model)}


def write_values(model: Any, state: State, *, label: str) -> None:
    """Put values back, bit for bit.

    Raises
    ------
    StateError
        If an entry is missing, unknown, or of another shape or dtype; nothing is changed then.
    """
    named = named_variables(model)
    _check_names(state, named, label)
    arrays = [_checked(state[one.name], one, label) for one in named]
    for one, array in zip(named, arrays, strict=True):
        engine().set_value(one.variable, array)


def copy_values(source: Any, target: Any, *, label: str) -> None:
    """Give one model the values of an equal one."""
    write_values(target, read_values(source), label=label)


def _check_names(state: State, named: Sequence[NamedVariable], label: str) -> None:
    known = [one.name for one in named]
    missing = [name for name in known if name not in state]
    unknown = [name for name in state if name not in known]
    if not missing and not unknown:
        return
    parts = [f"missing {listed(missing)}"] if missing else []
    parts += [f"unknown {listed(unknown)}"] if unknown else []
    raise StateError(
        "The state does not fit the model.",
        where={"node": label or None},
        expected=f"the entries {listed(known)}",
        found="; ".join(parts),
    )


def _checked(entry: Any, one: NamedVariable, label: str) -> Any:
    value = engine().value_of(one.variable)
    wanted = (tuple(one.variable.shape), convert.bits_dtype(value))
    found = (entry.shape, entry.dtype) if isinstance(entry, np.ndarray) else None
    if found != wanted:
        raise StateError(
            f"The state's entry {one.name!r} does not fit the model.",
            where={"node": label or None},
            expected=f"an array of shape {wanted[0]} and dtype {wanted[1]}",
            found=type(entry).__name__ if found is None else f"shape {found[0]} and dtype {found[1]}",
        )
    return convert.from_bits(entry, value)
