"""Arrow columns of users turned into those that MML stores: over the same memory, but for text.

Lists become fixed-shape tensors where all have one length; text becomes a dictionary. Nulls and ragged
samples are found chunk by chunk and named by their row in the whole column.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import pyarrow as pa

from mml.data.arrow_columns import empty_array, spec_of, stored_type, tensor_from_flat
from mml.data.ingest_errors import no_elements, no_samples, nothing_known, null_error, ragged
from mml.data.schema import ColumnName
from mml.data.text_columns import stored_text
from mml.data.unsupported_types import unsupported_arrow, unsupported_lists

_Convert: TypeAlias = Callable[[pa.Array, ColumnName, int], pa.Array]


def from_arrow(values: pa.Array | pa.ChunkedArray, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    """Return Arrow values in the layout that MML stores: text as dictionaries, lists as tensors."""
    arrow_type = values.type
    if pa.types.is_dictionary(arrow_type):
        return _from_dictionary(values, name)
    if isinstance(arrow_type, pa.FixedShapeTensorType):
        return _from_tensors(values, name)
    if spec_of(arrow_type) is not None:
        return values
    if pa.types.is_null(arrow_type):
        raise nothing_known(name) if len(values) else no_samples(name)
    if _is_text(arrow_type):
        return stored_text(values.dictionary_encode())
    if pa.types.is_fixed_size_list(arrow_type) or _is_list(arrow_type):
        return _per_chunk(values, name, _list_chunk)
    raise unsupported_arrow(name, arrow_type)


def _from_dictionary(values: pa.Array | pa.ChunkedArray, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    value_type = values.type.value_type
    if _is_text(value_type):
        return stored_text(values)
    if pa.types.is_null(value_type) and len(values):
        raise nothing_known(name)
    if spec_of(value_type) is None:
        raise unsupported_arrow(name, values.type)
    return values.cast(value_type)


def _from_tensors(values: pa.Array | pa.ChunkedArray, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    stored = stored_type(values.type)
    if stored is None:
        raise unsupported_arrow(name, values.type)
    if 0 in values.type.shape:
        raise no_elements(name)
    return values if stored == values.type else _per_chunk(values, name, _tensor_chunk)


def _tensor_chunk(array: pa.Array, name: ColumnName, start: int) -> pa.Array:
    null_seen = _first_null(array)
    if null_seen is not None:
        raise null_error(name, start + null_seen)
    flat, shape = array.storage.flatten(), tuple(array.type.shape)
    return tensor_from_flat(flat, shape) if shape else flat


def _list_chunk(array: pa.Array, name: ColumnName, start: int) -> pa.Array:
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
        raise unsupported_lists(name, array.type)
    if n_samples and 0 in shape:
        raise no_elements(name)
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


def _per_chunk(
    values: pa.Array | pa.ChunkedArray, name: ColumnName, convert: _Convert
) -> pa.Array | pa.ChunkedArray:
    """Return each chunk converted, given the number of rows before it."""
    if isinstance(values, pa.Array):
        return convert(values, name, 0)
    chunks: list[pa.Array] = []
    start = 0
    for chunk in values.chunks:
        if not len(chunk):
            continue
        chunks.append(convert(chunk, name, start))
        if chunks[-1].type != chunks[0].type:
            raise ragged(name, start, tuple(chunks[0].type.shape), tuple(chunks[-1].type.shape))
        start += len(chunk)
    return pa.chunked_array(chunks) if chunks else convert(empty_array(values.type), name, 0)


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
    if storage.null_count == 0:
        return None
    return int(np.argmax(storage.is_null().to_numpy(zero_copy_only=False)))
