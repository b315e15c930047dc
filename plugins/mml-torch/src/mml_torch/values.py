"""The values inside a module, by name: parameters, buffers, and what a module calls its extra state.

Buffers that a module keeps out of its `state_dict` are values too: without them a run would not continue
with the same bits.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mml.backends import VariableSpec
from mml.errors import StateError, listed
from mml.protocols import State
from mml_torch import convert

_EXTRA = "_extra_state"


def named_values(module: nn.Module) -> dict[str, Tensor]:
    """Return parameters and then buffers by name; a shared one once, under its first name."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def variable_specs(module: nn.Module) -> tuple[VariableSpec, ...]:
    """Describe every value."""
    return tuple(
        VariableSpec(
            name=name,
            role="param" if isinstance(value, nn.Parameter) else "buffer",
            shape=tuple(value.shape),
            dtype=convert.dtype_name(value.dtype),
        )
        for name, value in named_values(module).items()
    )


def read_values(module: nn.Module, *, label: str) -> State:
    """Return owned copies of all values."""
    state: State = {name: convert.bits_of(value) for name, value in named_values(module).items()}
    for name, holder in _holders_of_extra_state(module).items():
        state[name] = _written(holder.get_extra_state(), name, label)
    return state


def write_values(module: nn.Module, state: State, *, label: str) -> None:
    """Put values back in place, bit for bit.

    Raises
    ------
    StateError
        If an entry is missing, unknown, or of another shape or dtype; nothing is changed then.
    """
    values, extra = named_values(module), _holders_of_extra_state(module)
    _check_names(state, {**values, **extra}, label)
    tensors = {name: _checked(state[name], value, name, label) for name, value in values.items()}
    with torch.no_grad():
        for name, tensor in tensors.items():
            values[name].copy_(tensor)
    for name, holder in extra.items():
        was_tensor = isinstance(holder.get_extra_state(), Tensor)
        holder.set_extra_state(convert.to_tensor(state[name]) if was_tensor else state[name])


def copy_values(source: nn.Module, target: nn.Module, *, label: str) -> None:
    """Give one module the values of an equal one."""
    write_values(target, read_values(source, label=label), label=label)


def _check_names(state: State, known: dict[str, Any], label: str) -> None:
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


def _checked(entry: Any, value: Tensor, name: str, label: str) -> Tensor:
    wanted = (tuple(value.shape), convert.bits_dtype(value))
    found = (entry.shape, entry.dtype) if isinstance(entry, np.ndarray) else None
    if found != wanted:
        raise StateError(
            f"The state's entry {name!r} does not fit the model.",
            where={"node": label or None},
            expected=f"an array of shape {wanted[0]} and dtype {wanted[1]}",
            found=type(entry).__name__ if found is None else f"shape {found[0]} and dtype {found[1]}",
        )
    return convert.from_bits(entry, value)


def _holders_of_extra_state(module: nn.Module) -> dict[str, nn.Module]:
    return {
        f"{prefix}.{_EXTRA}" if prefix else _EXTRA: one
        for prefix, one in module.named_modules()
        if type(one).get_extra_state is not nn.Module.get_extra_state
    }


def _written(extra: Any, name: str, label: str) -> Any:
    if isinstance(extra, Tensor):
        return convert.to_numpy(extra)
    try:
        return json.loads(json.dumps(extra))
    except (TypeError, ValueError) as cause:
        raise StateError(
            f"The module's extra state {name!r} cannot be written down.",
            where={"node": label or None},
            expected="a tensor or JSON",
            found=type(extra).__name__,
            hint="Return a tensor or JSON from get_extra_state, or register a buffer.",
        ) from cause
