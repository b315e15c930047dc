"""Arrow columns of users turned into those that MML stores: over the same memory, but for text.

Lists become fixed-shape tensors where all have one length; text becomes a dictionary. Nulls and ragged
samples are found chunk by chunk and named by their row in the whole column.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mml.data.arrow_columns import STRING_TYPE, spec_of, tensor_from_flat
from mml.data.ingest_errors import null_error, ragged, unsupported
from mml.data.schema import ColumnName
from mml.errors import DataError


def from_arrow(values: pa.Array | pa.ChunkedArray, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    """Return Arrow values in the layout that MML stores: text as dictionaries, lists as tensors."""
    arrow_type = values.type
    if spec_of(arrow_type) is not None:
        return values
    if pa.types.is_null(arrow_type):
        if not len(values):
            raise DataError(f"{name.key!r} holds no samples.", where={"column": str(name)})
        raise null_error(name, 0)
    if _is_text(arrow_type):
        return _from_dictionary(values.dictionary_encode(), name)
    if pa.types.is_dictionary(arrow_type):
        return _from_dictionary(values, name)
    if pa.types.is_fixed_size_list(arrow_type) or _is_list(arrow_type):
        return _per_chunk(values, name)
    raise unsupported(name, str(arrow_type))


def _from_dictionary(values: pa.Array | pa.ChunkedArray, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    value_type = values.type.value_type
    if pa.types.is_string(value_type):
        return values
    if _is_text(value_type):
        return values.cast(STRING_TYPE)
    if spec_of(value_type) is None:
        raise unsupported(name, str(values.type))
    return values.cast(value_type)


def _from_lists(array: pa.Array, name: ColumnName, start: int) -> pa.Array:
    """Return lists of one length as tensors over the same memory."""
    shape: list[int] = []
    null_seen = _first_null(array)
    if null_seen is not None:
        raise null_error(name, start + null_seen)
    n_samples, rows_per_sample = len(array), 1
    while pa.types.is_fixed_size_list(array.type) or _is_list(array.type):
        length = _common_length(array, name, start, rows_per_sample)
        shape.append(length)
        rows_per_sample *= length
        array = array.flatten()
        null_seen = _first_null(array)
        if null_seen is not None:
            raise null_error(name, start + null_seen // max(rows_per_sample, 1))
    inner = spec_of(array.type)
    if inner is None or inner[0] is None or inner[1]:
        raise unsupported(name, f"lists of {array.type}")
    if n_samples and 0 in shape:
        raise DataError(f"The samples of {name.key!r} hold no elements.", where={"column": str(name)})
    return tensor_from_flat(array, tuple(shape))


def _common_length(array: pa.Array, name: ColumnName, start: int, rows_per_sample: int) -> int:
    if pa.types.is_fixed_size_list(array.type):
        return int(array.type.list_size)
    lengths = array.value_lengths().to_numpy(zero_copy_only=False)
    if not len(lengths):
        return 1
    different = lengths != lengths[0]
    if different.any():
        position = int(np.argmax(different))
        raise ragged(name, start + position // rows_per_sample, (int(lengths[0]),), (int(lengths[position]),))
    return int(lengths[0])


def _per_chunk(values: pa.Array | pa.ChunkedArray, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, pa.Array):
        return _from_lists(values, name, 0)
    chunks: list[pa.Array] = []
    start = 0
    for chunk in values.chunks:
        if not len(chunk):
            continue
        chunks.append(_from_lists(chunk, name, start))
        if chunks[-1].type != chunks[0].type:
            raise ragged(name, start, tuple(chunks[0].type.shape), tuple(chunks[-1].type.shape))
        start += len(chunk)
    return pa.chunked_array(chunks) if chunks else _from_lists(pa.array([], values.type), name, 0)


def _is_list(arrow_type: pa.DataType) -> bool:
    return bool(pa.types.is_list(arrow_type) or pa.types.is_large_list(arrow_type))


def _is_text(arrow_type: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(arrow_type)
        or pa.types.is_large_string(arrow_type)
        or pa.types.is_string_view(arrow_type)
    )


def refuse_nulls(column: pa.Array | pa.ChunkedArray, name: ColumnName) -> None:
    """Raise DataError for the first row that is missing, or holds something missing."""
    start = 0
    for chunk in [column] if isinstance(column, pa.Array) else column.chunks:
        row = _first_null(chunk)
        if row is not None:
            raise null_error(name, start + row)
        if isinstance(chunk.type, pa.FixedShapeTensorType):
            inner = _first_null(chunk.storage.flatten())
            if inner is not None:
                raise null_error(name, start + inner // int(np.prod(chunk.type.shape)))
        start += len(chunk)


def _first_null(array: pa.Array) -> int | None:
    storage = array.storage if isinstance(array, pa.ExtensionArray) else array
    if pa.types.is_dictionary(storage.type):
        # A dictionary may hold a null among its values; the codes alone do not show it.
        nulls = (
            storage.is_null() if not storage.dictionary.null_count else storage.dictionary_decode().is_null()
        )
    elif storage.null_count == 0:
        return None
    else:
        nulls = storage.is_null()
    found = np.flatnonzero(nulls.to_numpy(zero_copy_only=False))
    return int(found[0]) if len(found) else None
