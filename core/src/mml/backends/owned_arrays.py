"""Which NumPy arrays enter a backend, and owned copies of them, for backends on NumPy's own arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from mml.errors import BackendError

_KINDS = "biufc"
_LONG = "gG"


def owned_array(array: Any) -> np.ndarray:
    """Return an owned, writable copy with equal dtype, shape and bits; errors as of `checked_array`."""
    return np.array(checked_array(array))


def checked_array(array: Any) -> np.ndarray:
    """Return an array as it is, where it may enter a backend.

    Raises
    ------
    BackendError
        If it is no NumPy array, or of a dtype that no framework shares: objects, text, dates, long doubles,
        foreign byte order.
    """
    if not isinstance(array, np.ndarray | np.generic):
        raise BackendError(
            "Only NumPy arrays enter a backend.",
            expected="numpy.ndarray",
            found=f"{type(array).__module__}.{type(array).__qualname__}",
        )
    dtype = array.dtype
    if dtype.kind not in _KINDS or dtype.char in _LONG:
        raise BackendError(
            "This dtype does not enter a backend.", expected="bool, int, float or complex", found=repr(dtype)
        )
    if not dtype.isnative:
        raise BackendError(
            "Arrays of foreign byte order do not enter a backend.",
            found=repr(dtype),
            hint="Convert with array.astype(array.dtype.newbyteorder('=')).",
        )
    return np.asarray(array)
