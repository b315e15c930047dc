"""Arrays across the border between NumPy and the engine: equal bits, owned memory, refusals by name.

Outside of programs every shared dtype exists. Inside, an engine may compute in 32 bits only, and what enters
there is held to be exact: a number that would change is refused.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mml.errors import BackendError
from mml_keras3.engines import engine

# What NumPy has no dtype for is written down as integers of the same size.
_BITS = {1: np.dtype("uint8"), 2: np.dtype("int16"), 4: np.dtype("int32")}
_KINDS = "biufc"


def to_array(array: Any, *, device: str | None = None) -> Any:
    """Return a native array of equal dtype, shape and bits that owns its memory.

    Parameters
    ----------
    array : ndarray
        Of any layout in memory; it is only read.
    device : str, optional
    """
    if not isinstance(array, np.ndarray | np.generic):
        raise BackendError(
            "Only NumPy arrays become arrays of Keras' engine.",
            expected="numpy.ndarray",
            found=_full_name(type(array)),
        )
    require_dtype(array.dtype)
    return engine().to_array(np.array(array, order="C", copy=True, subok=False), device=device)


def to_numpy(array: Any) -> np.ndarray:
    """Return an array of equal dtype, shape and bits that owns its memory."""
    require_native(array)
    host = engine().to_numpy(array)
    if host.dtype.kind not in _KINDS:
        raise BackendError(
            "NumPy has no such dtype.", found=f"an array of {host.dtype}", hint="Cast it, e.g. to float32."
        )
    return host


def require_native(array: Any) -> None:
    """Refuse what is no array of this process' engine."""
    if not engine().is_native(array):
        raise BackendError(
            f"This is no array of Keras' engine {engine().name!r}.",
            expected=f"an array of {engine().name}",
            found=_full_name(type(array)),
        )


def require_dtype(dtype: np.dtype[Any]) -> None:
    """Refuse a dtype that the engine does not share with NumPy."""
    if dtype.kind not in _KINDS or not dtype.isnative or not engine().has_dtype(dtype):
        raise BackendError(
            f"Keras' engine {engine().name!r} has no such dtype.",
            expected="bool, integers, and floating or complex numbers of up to 64 bits a part",
            found=f"an array of dtype {dtype!r}",
            hint="Convert the column to numbers in native byte order first.",
        )


def for_program(array: np.ndarray, *, name: str) -> np.ndarray:
    """Return the array in the dtype that programs compute in, the same one where that is its own.

    Parameters
    ----------
    array : ndarray
    name : str
        What the values are called, for messages.

    Raises
    ------
    BackendError
        If the engine has no such dtype, or a number would change.
    """
    require_dtype(array.dtype)
    dtype = engine().program_dtype(array.dtype)
    if dtype == array.dtype:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = array.astype(dtype)
        changed = narrow.astype(array.dtype) != array
    if array.dtype.kind in "fc":
        changed &= ~np.isnan(array)
    if changed.any():
        raise BackendError(
            f"Keras on {engine().name!r} computes in 32 bits here, and a value would change.",
            where={"values": name},
            expected=f"numbers that {dtype} holds",
            found=f"{array[changed].flat[0]!r}, of dtype {array.dtype}",
            hint="Ingest the column in 32 bits, or set JAX_ENABLE_X64=1 before Python starts.",
        )
    return narrow


def bits_of(value: Any) -> np.ndarray:
    """Return `to_numpy`'s array, or one of integers with the same bits where NumPy lacks the dtype."""
    host = engine().to_numpy(value)
    return host if host.dtype.kind in _KINDS else host.view(_BITS[host.dtype.itemsize])


def from_bits(array: np.ndarray, like: Any) -> Any:
    """Return the native array that `bits_of` wrote down, with the dtype of another one."""
    host = np.array(array, order="C", copy=True)
    dtype = engine().numpy_dtype(like)
    return engine().to_array(host if host.dtype == dtype else host.view(dtype))


def bits_dtype(like: Any) -> np.dtype[Any]:
    """Return the dtype in which `bits_of` writes such an array down."""
    dtype = engine().numpy_dtype(like)
    return dtype if dtype.kind in _KINDS else _BITS[dtype.itemsize]


def dtype_name(value: Any) -> str:
    """Return NumPy's name of a native array's dtype."""
    return str(engine().numpy_dtype(value).name)


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
