"""Arrays in and out of the reference backend: owned copies with equal dtype, shape and bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from mml.errors import BackendError

_KINDS = "biufc"
_LONG = "gG"


def to_array(array: Any) -> np.ndarray:
    """Return an owned, writable copy of a NumPy array; refuse dtypes that no framework shares."""
    if not isinstance(array, np.ndarray | np.generic):
        raise BackendError(
            "Only NumPy arrays enter the reference backend.",
            expected="numpy.ndarray",
            found=f"{type(array).__module__}.{type(array).__qualname__}",
        )
    dtype = array.dtype
    if dtype.kind not in _KINDS or dtype.char in _LONG:
        raise BackendError(
            "This dtype does not enter a backend.", expected="bool, int, float", found=str(dtype)
        )
    if not dtype.isnative:
        raise BackendError(
            "Arrays of foreign byte order do not enter a backend.",
            found=str(dtype),
            hint="Convert with array.astype(array.dtype.newbyteorder('=')).",
        )
    return np.array(array)
