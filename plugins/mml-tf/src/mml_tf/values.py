"""The values inside a model, by name: parameters, buffers, and the positions of its generators."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from mml.backends import VariableSpec
from mml.errors import StateError, listed
from mml.protocols import State
from mml_tf import convert
from mml_tf.native import Native, Value


def variable_specs(native: Native) -> tuple[VariableSpec, ...]:
    """Describe every value."""
    return tuple(
        VariableSpec(
            name=name, role=role, shape=tuple(variable.shape), dtype=tf.as_dtype(variable.dtype).name
        )
        for name, (variable, role) in native.values().items()
    )


def read_values(native: Native) -> State:
    """Return owned copies of all values."""
    return {name: convert.bits_of(one.variable) for name, one in native.values().items()}


def write_values(native: Native, state: State, *, label: str) -> None:
    """Put values back in place, bit for bit.

    Raises
    ------
    StateError
        If an entry is missing, unknown, or of another shape or dtype; nothing is changed then.
    """
    values = native.values()
    _check_names(state, values, label)
    tensors = {name: _checked(state[name], one.variable, name, label) for name, one in values.items()}
    for name, tensor in tensors.items():
        values[name].variable.assign(tensor)


def copy_values(source: Native, target: Native, *, label: str) -> None:
    """Give one model the values of an equal one."""
    write_values(target, read_values(source), label=label)


def _check_names(state: State, known: dict[str, Value], label: str) -> None:
    missing = [name for name in known if name not in state]
    unknown = [name for name in state if name not in known]
    if missing or unknown:
        raise StateError(
            "The state does not fit the model.",
            where={"node": label or None},
            expected=f"the entries {listed(known)}",
            found="; ".join(
                part
                for part in (
                    f"missing {listed(missing)}" if missing else "",
                    f"unknown {listed(unknown)}" if unknown else "",
                )
                if part
            ),
        )


def _checked(entry: Any, variable: tf.Variable, name: str, label: str) -> tf.Tensor:
    wanted = (tuple(variable.shape), convert.bits_dtype(variable.dtype))
    found = (entry.shape, entry.dtype) if isinstance(entry, np.ndarray) else None
    if found != wanted:
        raise StateError(
            f"The state's entry {name!r} does not fit the model.",
            where={"node": label or None},
            expected=f"an array of shape {wanted[0]} and dtype {wanted[1]}",
            found=type(entry).__name__ if found is None else f"shape {found[0]} and dtype {found[1]}",
        )
    return convert.from_bits(entry, variable.dtype)
