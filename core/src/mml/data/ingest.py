"""What users hand in, turned into Arrow columns: NumPy copied once, Arrow aliased, everything checked.

Each function raises `DataError` with the key, the first bad row and what was expected. Python work per value
happens only where the input itself is Python objects (lists, object arrays).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from mml.data.arrow_columns import STRING_TYPE, spec_of, tensor_array, tensor_from_flat
from mml.data.schema import TAGS, ColumnName
from mml.errors import DataError

_NUMERIC = "booleans, integers, floats of 16 to 64 bits"
_SUPPORTED = f"{_NUMERIC}, strings, timestamps, durations, and tensors of numbers with one shape for all"


def to_column(values: Any, *, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    """Return one column in the layout that MML stores.

    Parameters
    ----------
    values : array-like
        NumPy array ``(n, *shape)`` (copied once), Arrow array or anything with an Arrow C interface
        (aliased), or a sequence of scalars, strings or equally shaped arrays.
    name : ColumnName
        Where it goes; features and targets take no nulls.

    Raises
    ------
    DataError
        For ragged samples, nulls, and types that MML does not store.
    """
    try:
        column = _convert(values, name)
    except pa.ArrowException as cause:
        raise DataError(
            f"The values of {name.key!r} cannot be read: {str(cause).partition(chr(10))[0]}",
            where={"column": str(name)},
            found=type(values).__name__,
        ) from cause
    if spec_of(column.type) is None:
        raise _unsupported(name, str(column.type))
    if name.domain != TAGS or isinstance(column.type, pa.FixedShapeTensorType):
        _refuse_nulls(column, name)
    return column


def _convert(values: Any, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, np.ma.MaskedArray):
        return _from_masked(values, name)
    if isinstance(values, np.ndarray):
        return _from_numpy(values, name)
    if type(values).__module__.partition(".")[0] == "pandas":
        return _from_pandas(values, name)
    arrow = _as_arrow(values)
    if arrow is not None:
        return _from_arrow(arrow, name)
    return _from_any_sequence(values, name)


def _from_any_sequence(values: Any, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    if hasattr(values, "__array__"):
        return _from_numpy(np.asarray(values), name)
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__len__"):
        raise _no_column(values, name)
    return _from_sequence(values, name)


def _no_column(values: Any, name: ColumnName) -> DataError:
    return DataError(
        f"The values of {name.key!r} are no column.",
        where={"column": str(name)},
        expected="an array or a list with one entry per sample",
        found=repr(values)[:80],
    )


def _as_arrow(values: Any) -> pa.Array | pa.ChunkedArray | None:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    if hasattr(values, "__arrow_c_stream__"):
        return pa.chunked_array(values)
    return pa.array(values) if hasattr(values, "__arrow_c_array__") else None


def _from_numpy(values: np.ndarray, name: ColumnName) -> pa.Array:
    if values.ndim == 0:
        raise DataError(
            f"{name.key!r} is a single value.", where={"column": str(name)}, expected="one entry per sample"
        )
    if values.dtype.kind == "O":
        return _from_objects(values, name)
    if 0 in values.shape[1:]:
        raise DataError(
            f"The samples of {name.key!r} hold no elements.",
            where={"column": str(name)},
            found=f"shape {values.shape}",
        )
    if values.dtype.kind in "UT":
        if values.ndim > 1:
            raise _unsupported(name, f"strings of shape {values.shape[1:]}")
        return pa.array(values.astype(object), pa.string()).dictionary_encode()
    if values.dtype.kind not in "biufMm" or (values.dtype.kind == "f" and values.dtype.itemsize > 8):
        raise _unsupported(name, str(values.dtype))
    # The one copy: what the user does to the array afterwards must not reach the FeatureSet.
    owned = np.array(values, dtype=values.dtype.newbyteorder("="), order="C", copy=True)
    owned.flags.writeable = False
    try:
        return tensor_array(owned)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as cause:
        raise _unsupported(name, str(values.dtype)) from cause


def _from_pandas(values: Any, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    if not hasattr(values, "dtype"):
        raise _no_column(values, name)
    # pandas' own Arrow export turns NaN into null; a NaN that came in as a number stays a number.
    if isinstance(values.dtype, np.dtype) and values.dtype.kind != "O":
        return _from_numpy(values.to_numpy(), name)
    try:
        arrow = pa.array(values, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError):
        # Objects that Arrow does not know, tensors among them, are looked at one by one.
        return _from_sequence(values.tolist(), name)
    if pa.types.is_floating(arrow.type) and isinstance(values.dtype, np.dtype):
        return _from_sequence(values.tolist(), name)
    return _convert(arrow, name)


def _from_masked(values: np.ma.MaskedArray[Any, Any], name: ColumnName) -> pa.Array | pa.ChunkedArray:
    if not np.ma.is_masked(values):
        return _from_numpy(np.asarray(values), name)
    if values.ndim == 1 and name.domain == TAGS:
        return _convert(pa.array(values.data, mask=np.ma.getmaskarray(values)), name)
    masked_rows = np.ma.getmaskarray(values).reshape(len(values), -1).any(axis=1)
    raise _null_error(name, int(np.argmax(masked_rows)))


def _from_objects(values: np.ndarray, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    items = values.tolist() if values.ndim == 1 else list(values)
    return _from_sequence(items, name)


def _from_sequence(values: Any, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    items = list(values)
    if not items:
        raise DataError(f"{name.key!r} holds no samples.", where={"column": str(name)})
    # Types are looked at without a step of Python per value: lists of a million numbers are usual.
    kinds = set(map(type, items))
    has_missing = type(None) in kinds
    if kinds == {type(None)}:
        raise _null_error(name, 0)
    if all(issubclass(kind, str) or kind is type(None) for kind in kinds):
        return pa.array(items, pa.string()).dictionary_encode()
    if has_missing:
        if name.domain != TAGS:
            raise _null_error(name, next(row for row, item in enumerate(items) if item is None))
        return _from_arrow(_arrow_from_items(items, name), name)
    try:
        stacked = np.asarray(items)
    except ValueError as cause:
        raise _ragged_or_mixed(items, name) from cause
    if stacked.dtype.kind in "OUS":
        return _from_arrow(_arrow_from_items(items, name), name)
    return _from_numpy(stacked, name)


def _arrow_from_items(items: list[Any], name: ColumnName) -> pa.Array:
    try:
        return pa.array(items)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError) as cause:
        raise _ragged_or_mixed(items, name) from cause


def _ragged_or_mixed(items: list[Any], name: ColumnName) -> DataError:
    """Find the first sample that differs from the first one in shape, else in type."""
    first = _shape_of(items[0])
    for row, item in enumerate(items):
        shape = _shape_of(item)
        if shape != first or shape is None:
            return _ragged(name, row, first, shape)
    kinds = [type(item).__name__ for item in items]
    odd = next((row for row, kind in enumerate(kinds) if kind != kinds[0]), 0)
    return DataError(
        f"{name.key!r} mixes types that no column holds together.",
        where={"column": str(name), "row": odd},
        expected=f"{kinds[0]} in every row" if odd else _SUPPORTED,
        found=kinds[odd],
    )


def _shape_of(item: Any) -> tuple[int, ...] | None:
    try:
        return tuple(np.shape(item))
    except ValueError:
        return None


def _ragged(
    name: ColumnName, row: int, expected: tuple[int, ...] | None, found: tuple[int, ...] | None
) -> DataError:
    return DataError(
        f"The samples of {name.key!r} differ in shape: row {row} is the first that does.",
        where={"column": str(name), "row": row},
        expected="one rectangular shape for all samples" if expected is None else f"shape {expected}",
        found="a ragged sample" if found is None else f"shape {found}",
        hint="Pad or cut the samples to one length.",
    )


# Arrow


def _from_arrow(values: pa.Array | pa.ChunkedArray, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    arrow_type = values.type
    if spec_of(arrow_type) is not None:
        return values
    if pa.types.is_null(arrow_type):
        if not len(values):
            raise DataError(f"{name.key!r} holds no samples.", where={"column": str(name)})
        raise _null_error(name, 0)
    if _is_text(arrow_type):
        return _from_dictionary(values.dictionary_encode(), name)
    if pa.types.is_dictionary(arrow_type):
        return _from_dictionary(values, name)
    if pa.types.is_fixed_size_list(arrow_type) or _is_list(arrow_type):
        return _per_chunk(values, name)
    raise _unsupported(name, str(arrow_type))


def _from_dictionary(values: pa.Array | pa.ChunkedArray, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    value_type = values.type.value_type
    if pa.types.is_string(value_type):
        return values
    if _is_text(value_type):
        return values.cast(STRING_TYPE)
    if spec_of(value_type) is None:
        raise _unsupported(name, str(values.type))
    return values.cast(value_type)


def _from_lists(array: pa.Array, name: ColumnName, start: int) -> pa.Array:
    """Return lists of one length as tensors over the same memory."""
    shape: list[int] = []
    null_seen = _first_null(array)
    if null_seen is not None:
        raise _null_error(name, start + null_seen)
    n_samples, rows_per_sample = len(array), 1
    while pa.types.is_fixed_size_list(array.type) or _is_list(array.type):
        length = _common_length(array, name, start, rows_per_sample)
        shape.append(length)
        rows_per_sample *= length
        array = array.flatten()
        null_seen = _first_null(array)
        if null_seen is not None:
            raise _null_error(name, start + null_seen // max(rows_per_sample, 1))
    inner = spec_of(array.type)
    if inner is None or inner[0] is None or inner[1]:
        raise _unsupported(name, f"lists of {array.type}")
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
        raise _ragged(
            name, start + position // rows_per_sample, (int(lengths[0]),), (int(lengths[position]),)
        )
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
            raise _ragged(name, start, tuple(chunks[0].type.shape), tuple(chunks[-1].type.shape))
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


def _refuse_nulls(column: pa.Array | pa.ChunkedArray, name: ColumnName) -> None:
    start = 0
    for chunk in [column] if isinstance(column, pa.Array) else column.chunks:
        row = _first_null(chunk)
        if row is not None:
            raise _null_error(name, start + row)
        if isinstance(chunk.type, pa.FixedShapeTensorType):
            inner = _first_null(chunk.storage.flatten())
            if inner is not None:
                raise _null_error(name, start + inner // int(np.prod(chunk.type.shape)))
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


def _null_error(name: ColumnName, row: int) -> DataError:
    allowed = " (tags may have some)" if name.domain != TAGS else ", or a column with a type"
    return DataError(
        f"{name.key!r} has a missing value in row {row}.",
        where={"column": str(name), "row": row},
        expected=f"no nulls in {name.domain}{allowed}",
        hint="Drop or fill the row, or use NaN for a float that is not known.",
    )


def _unsupported(name: ColumnName, found: str) -> DataError:
    return DataError(
        f"MML does not store the type of {name.key!r}.",
        where={"column": str(name), "row": 0},
        expected=_SUPPORTED,
        found=found,
    )
