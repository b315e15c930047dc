"""Named arrays as safetensors, without copying them.

The library's own functions gather all tensors into one more copy when writing, and copy each when reading.
Here the writer hands out the header and then the arrays' own buffers, and the reader returns views of the
buffer that it is given, which may be a mapped file. Every header is checked as if an enemy had written it.
The tests hold the library against both directions.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from mml.errors import ArchiveError
from mml.files.state_codec import array_bytes

_CODES = {
    "bool": "BOOL",
    "int8": "I8",
    "int16": "I16",
    "int32": "I32",
    "int64": "I64",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "float16": "F16",
    "float32": "F32",
    "float64": "F64",
}
_DTYPES = {code: np.dtype(name).newbyteorder("<") for name, code in _CODES.items()}
_ALIGNMENT = 64
_MAX_HEADER = 100_000_000  # the format's own limit


class _Tensor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def tensor_parts(arrays: Mapping[str, np.ndarray]) -> list[bytes | memoryview]:
    """Return the pieces whose concatenation is a safetensors file.

    Parameters
    ----------
    arrays : mapping of str to numpy.ndarray
        Any shapes; dtypes bool, (u)int8 to 64, float16 to 64. C-contiguous little-endian arrays are not
        copied: the pieces are views of them.

    Returns
    -------
    list of bytes-like
        The header first, of a length that is a multiple of 64 bytes, so that a file mapped at an aligned
        offset has aligned tensors.

    Raises
    ------
    ArchiveError
        For a dtype that is not listed above, or the reserved name ``__metadata__``.
    """
    for name, array in arrays.items():
        if array.dtype.name not in _CODES or name == "__metadata__":
            raise ArchiveError(
                f"The array {name!r} cannot be stored.",
                expected=f"dtypes {', '.join(_CODES)}; any name but '__metadata__'",
                found=f"dtype {array.dtype}",
            )
    # Largest items first: each tensor then starts at a multiple of its item size, without holes.
    ordered = sorted(arrays.items(), key=lambda item: (-item[1].dtype.itemsize, item[0]))
    header: dict[str, Any] = {}
    end = 0
    for name, array in ordered:
        start, end = end, end + array.nbytes
        header[name] = {
            "dtype": _CODES[array.dtype.name],
            "shape": array.shape,
            "data_offsets": (start, end),
        }
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    return [struct.pack("<Q", len(text)) + text, *(array_bytes(array) for _, array in ordered)]


def save_tensors(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return named arrays as the bytes of a safetensors file; see :func:`tensor_parts`.

    Examples
    --------
    >>> load_tensors(save_tensors({"w": np.arange(3)}))["w"]
    array([0, 1, 2])
    """
    return b"".join(tensor_parts(arrays))


def load_tensors(data: Any) -> dict[str, np.ndarray]:
    """Read safetensors bytes as views of them.

    Parameters
    ----------
    data : bytes-like
        A whole safetensors file. The arrays share its memory, are writable where it is, and keep it alive.

    Returns
    -------
    dict of str to numpy.ndarray
        In the order of the header; shapes and dtypes as they were saved.

    Raises
    ------
    ArchiveError
        If the header is not one, or sizes, shapes and offsets disagree.
    """
    view = memoryview(data).cast("B")
    header, start = _header(view)
    size = len(view) - start
    tensors = []
    for name, raw in header.items():
        if name != "__metadata__":
            tensors.append((name, _tensor(name, raw)))
    position = 0
    for name, tensor in sorted(tensors, key=lambda item: item[1].data_offsets):
        # The format allows neither holes nor overlaps: both would be places to hide things.
        if tensor.data_offsets[0] != position:
            raise ArchiveError(f"The tensor {name!r} does not start where the one before it ends.")
        position = tensor.data_offsets[1]
    if position != size:
        raise ArchiveError(
            "The tensors do not fill their file.", expected=f"{position} bytes", found=f"{size}"
        )
    return {name: _view(view, name, tensor, start) for name, tensor in tensors}


def _header(view: memoryview) -> tuple[dict[str, Any], int]:
    if len(view) < 8:
        raise ArchiveError("The tensors' header is cut off.", found=f"{len(view)} bytes")
    (length,) = struct.unpack_from("<Q", view)
    if length > min(_MAX_HEADER, len(view) - 8):
        raise ArchiveError("The tensors' header is longer than its file.", found=f"{length} bytes")
    try:
        return msgspec.json.decode(view[8 : 8 + length], type=dict[str, Any]), 8 + length
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise ArchiveError(f"The tensors' header is not readable: {error}.") from error


def _tensor(name: str, raw: Any) -> _Tensor:
    try:
        tensor = msgspec.convert(raw, _Tensor)
    except msgspec.ValidationError as error:
        raise ArchiveError(f"The tensor {name!r} is described wrongly: {error}.") from error
    begin, end = tensor.data_offsets
    if tensor.dtype not in _DTYPES:
        raise ArchiveError(
            f"The tensor {name!r} has an unknown dtype.", expected=", ".join(_DTYPES), found=tensor.dtype
        )
    needed = math.prod(tensor.shape) * _DTYPES[tensor.dtype].itemsize
    if begin < 0 or min(tensor.shape, default=0) < 0 or end - begin != needed:
        raise ArchiveError(
            f"The tensor {name!r} does not have the size of its shape.",
            expected=f"{needed} bytes for {tensor.shape} of {tensor.dtype}",
            found=f"{end - begin} bytes",
        )
    return tensor


def _view(view: memoryview, name: str, tensor: _Tensor, start: int) -> np.ndarray:
    begin, end = tensor.data_offsets
    flat = np.frombuffer(view[start + begin : start + end], dtype=np.uint8)
    dtype = _DTYPES[tensor.dtype]
    try:
        return flat.view(dtype).reshape(tensor.shape)
    except (ValueError, MemoryError, OverflowError) as error:  # too many dimensions, or an absurd empty shape
        raise ArchiveError(f"The tensor {name!r} has an impossible shape: {error}.") from error
