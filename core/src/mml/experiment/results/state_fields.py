"""Reading of recorded state: each field is checked before anything is changed.

State comes from files, so that a missing or misshapen field is an error naming it, never a surprise later.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from mml.errors import StateError


def field(state: Mapping[str, Any], key: str, *, kind: type | tuple[type, ...]) -> Any:
    """Return ``state[key]`` if it is there and of that type; else raise a `StateError`."""
    if not isinstance(state, Mapping) or key not in state:
        raise StateError(f"The state of results has no field {key!r}.", expected=f"a field {key!r}")
    value = state[key]
    if not isinstance(value, kind):
        names = kind.__name__ if isinstance(kind, type) else " or ".join(one.__name__ for one in kind)
        raise StateError(
            f"Field {key!r} of the state is of a wrong type.", expected=names, found=type(value).__name__
        )
    return value


def array_field(
    state: Mapping[str, Any], key: str, *, dtype: DTypeLike, length: int | None = None
) -> NDArray[Any]:
    """Return an owned copy of a one-dimensional array of exactly that dtype (and length)."""
    array: NDArray[Any] = field(state, key, kind=np.ndarray)
    if array.dtype != np.dtype(dtype) or array.ndim != 1 or length not in (None, len(array)):
        size = "n" if length is None else str(length)
        raise StateError(
            f"Array {key!r} of the state does not fit.",
            expected=f"{np.dtype(dtype)} of shape ({size},)",
            found=f"{array.dtype} of shape {array.shape}",
        )
    return array.copy()


def names_field(state: Mapping[str, Any], key: str, *, length: int | None = None) -> list[str]:
    """Return a list of strings (of that length)."""
    names: list[str] = field(state, key, kind=list)
    if not all(isinstance(one, str) for one in names):
        raise StateError(f"Field {key!r} of the state is not a list of strings.")
    if length not in (None, len(names)):
        raise StateError(
            f"Field {key!r} of the state does not fit.", expected=f"{length} names", found=str(len(names))
        )
    return list(names)


def codes_field(state: Mapping[str, Any], key: str, *, n_names: int, length: int) -> NDArray[np.int32]:
    """Return codes into a list of `n_names` names."""
    codes: NDArray[np.int32] = array_field(state, key, dtype=np.int32, length=length)
    if length and (codes.min() < 0 or codes.max() >= n_names):
        raise StateError(f"Array {key!r} of the state points outside its {n_names} names.")
    return codes
