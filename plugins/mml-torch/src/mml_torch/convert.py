"""Arrays across the border between NumPy and PyTorch: equal bits, owned memory, refusals by name."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mml.errors import BackendError

# What NumPy has no dtype for is written down as integers of the same size.
_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


@lru_cache(maxsize=64)
def torch_dtype(dtype: np.dtype[Any]) -> torch.dtype:
    """Return the equal dtype of the framework.

    Raises
    ------
    BackendError
        If it has none: text, objects, dates, long doubles, foreign byte orders.
    """
    try:
        return torch.from_numpy(np.empty(0, dtype=dtype)).dtype
    except (TypeError, ValueError) as cause:
        raise BackendError(
            "PyTorch has no such dtype.",
            expected="bool, integers, and floating or complex numbers of up to 64 bits a part",
            found=f"an array of dtype {dtype!r}",
            hint="Convert the column to numbers in native byte order first.",
        ) from cause


def to_tensor(array: Any, *, device: torch.device | str | None = None) -> Tensor:
    """Return a tensor of equal dtype, shape and bits that owns its memory.

    Parameters
    ----------
    array : ndarray
        Of any layout in memory; it is only read.
    device : torch.device or str, optional
    """
    if not isinstance(array, np.ndarray | np.generic):
        raise BackendError(
            "Only NumPy arrays become tensors.", expected="numpy.ndarray", found=_full_name(type(array))
        )
    torch_dtype(array.dtype)
    # The copy comes first: sharing memory fails for negative strides and warns for read-only arrays.
    tensor = torch.from_numpy(np.array(array, order="C", copy=True, subok=False))
    return tensor if device is None else tensor.to(device)


def shared_tensor(array: Any) -> Tensor:
    """Return a tensor over an array's own memory, which nobody may write into; a copy for odd layouts."""
    if not isinstance(array, np.ndarray) or not array.flags.c_contiguous:
        # Importing an array with negative strides ends the process.
        return to_tensor(array)
    torch_dtype(array.dtype)
    try:
        # Not `from_numpy`, which warns of read-only memory.
        return torch.from_dlpack(array)
    except (BufferError, RuntimeError, TypeError):
        return to_tensor(array)


def to_numpy(tensor: Any) -> np.ndarray:
    """Return an array of equal dtype, shape and bits that owns its memory."""
    host = _on_host(tensor)
    try:
        return host.numpy().copy()
    except TypeError as cause:
        raise BackendError(
            "NumPy has no such dtype.", found=f"a tensor of {host.dtype}", hint="Cast it, e.g. to float32."
        ) from cause


def bits_of(tensor: Tensor) -> np.ndarray:
    """Return `to_numpy`'s array, or one of integers with the same bits where NumPy lacks the dtype."""
    host = _on_host(tensor)
    return (host if _has_numpy_dtype(host.dtype) else host.view(_BITS[host.element_size()])).numpy().copy()


def from_bits(array: np.ndarray, like: Tensor) -> Tensor:
    """Return the tensor that `bits_of` wrote down, with the dtype of another one, on the host."""
    tensor = to_tensor(array)
    return tensor if _has_numpy_dtype(like.dtype) else tensor.view(like.dtype)


def bits_dtype(like: Tensor) -> np.dtype[Any]:
    """Return the dtype in which `bits_of` writes such a tensor down."""
    dtype = like.dtype if _has_numpy_dtype(like.dtype) else _BITS[like.element_size()]
    return torch.empty(0, dtype=dtype).numpy().dtype


def dtype_name(dtype: torch.dtype) -> str:
    """Return NumPy's name of a dtype; the framework's, without its prefix, where NumPy has none."""
    return str(dtype).removeprefix("torch.")


@lru_cache(maxsize=64)
def _has_numpy_dtype(dtype: torch.dtype) -> bool:
    try:
        torch.empty(0, dtype=dtype).numpy()
    except TypeError:
        return False
    return True


def _on_host(tensor: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise BackendError(
            "This is no tensor of PyTorch.", expected="torch.Tensor", found=_full_name(type(tensor))
        )
    if tensor.layout is not torch.strided or tensor.is_quantized:
        raise BackendError(
            "Only dense tensors become NumPy arrays.", expected="a dense tensor", found=str(tensor.layout)
        )
    return tensor.detach().cpu().resolve_conj().resolve_neg()


def _full_name(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
