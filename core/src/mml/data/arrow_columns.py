"""Arrow columns seen as NumPy arrays and the reverse, without a copy where that is possible.

Three layouts exist: primitive columns (one scalar a sample), fixed-shape tensors, and dictionaries of
strings. Booleans are bit-packed in Arrow and therefore unpacked once; nulls (tags only) cost a copy too.
Columns of several chunks are the business of `chunked_columns`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mml.data.rows import Rows
from mml.errors import DataError

STRING_TYPE = pa.dictionary(pa.int32(), pa.string())

# Arrow's own conversion to NumPy dtypes goes through pandas in the older versions that MML runs with.
_NUMBERS = {
    pa.bool_(): np.dtype(np.bool_),
    pa.int8(): np.dtype(np.int8),
    pa.int16(): np.dtype(np.int16),
    pa.int32(): np.dtype(np.int32),
    pa.int64(): np.dtype(np.int64),
    pa.uint8(): np.dtype(np.uint8),
    pa.uint16(): np.dtype(np.uint16),
    pa.uint32(): np.dtype(np.uint32),
    pa.uint64(): np.dtype(np.uint64),
    pa.float16(): np.dtype(np.float16),
    pa.float32(): np.dtype(np.float32),
    pa.float64(): np.dtype(np.float64),
}


def spec_of(arrow_type: pa.DataType) -> tuple[np.dtype | None, tuple[int, ...]] | None:
    """Return dtype and sample shape of a stored type, or None where MML does not store it."""
    if isinstance(arrow_type, pa.FixedShapeTensorType):
        return _tensor_spec(arrow_type)
    if pa.types.is_dictionary(arrow_type):
        return (None, ()) if pa.types.is_string(arrow_type.value_type) else None
    dtype = _scalar_dtype(arrow_type)
    return None if dtype is None else (dtype, ())


def stored_type(arrow_type: pa.DataType) -> pa.DataType | None:
    """Return the one type under which MML stores such values, or None where it does not store them."""
    spec = spec_of(arrow_type)
    if spec is None or spec[0] is None:
        return None if spec is None else STRING_TYPE
    if not isinstance(arrow_type, pa.FixedShapeTensorType):
        return arrow_type
    # Names of axes would be all that distinguishes tensors of equal values.
    return pa.fixed_shape_tensor(arrow_type.value_type, list(spec[1])) if spec[1] else arrow_type.value_type


def time_zone(arrow_type: pa.DataType) -> str | None:
    """Return the time zone of timestamps, or of tensors of them; None where there is none."""
    if isinstance(arrow_type, pa.FixedShapeTensorType):
        arrow_type = arrow_type.value_type
    return arrow_type.tz if pa.types.is_timestamp(arrow_type) else None


def _tensor_spec(arrow_type: pa.FixedShapeTensorType) -> tuple[np.dtype, tuple[int, ...]] | None:
    dtype = _scalar_dtype(arrow_type.value_type)
    order = arrow_type.permutation
    in_order = order is None or list(order) == sorted(order)
    return (dtype, tuple(arrow_type.shape)) if dtype is not None and in_order else None


def _scalar_dtype(arrow_type: pa.DataType) -> np.dtype | None:
    dtype: np.dtype | None = None
    if pa.types.is_timestamp(arrow_type):
        dtype = np.dtype(f"datetime64[{arrow_type.unit}]")
    elif pa.types.is_duration(arrow_type):
        dtype = np.dtype(f"timedelta64[{arrow_type.unit}]")
    elif pa.types.is_date32(arrow_type):
        dtype = np.dtype("datetime64[D]")
    else:
        dtype = _NUMBERS.get(arrow_type)
    return dtype


def tensor_array(values: np.ndarray, *, zone: str | None = None) -> pa.Array:
    """Return an owned ``(n, *shape)`` array as an Arrow column over the same memory.

    Parameters
    ----------
    values : numpy.ndarray
        C-contiguous, native byte order, of a numeric dtype; must not change afterwards.
    zone : str, optional
        The time zone of points in time, which NumPy holds in UTC.
    """
    flat = pa.array(values.reshape(-1), from_pandas=False)
    if zone is not None:
        flat = flat.view(pa.timestamp(flat.type.unit, zone))
    if values.ndim == 1:
        return flat
    return tensor_from_flat(flat, values.shape[1:])


def tensor_from_flat(flat: pa.Array, shape: tuple[int, ...]) -> pa.Array:
    """Return flat values as a column of fixed-shape tensors over the same memory."""
    storage = pa.FixedSizeListArray.from_arrays(flat, math.prod(shape))
    return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(flat.type, list(shape)), storage)


def empty_array(arrow_type: pa.DataType) -> pa.Array:
    """Return a column of this type without rows."""
    if isinstance(arrow_type, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(arrow_type, pa.array([], arrow_type.storage_type))
    return pa.array([], arrow_type)


def single_chunk(column: pa.ChunkedArray) -> pa.Array:
    """Return a column as one array: itself where it has one chunk, else combined (one copy)."""
    if column.num_chunks == 1:
        return column.chunk(0)
    if not isinstance(column.type, pa.BaseExtensionType):
        if pa.types.is_dictionary(column.type):
            column = column.unify_dictionaries()
        combined = column.combine_chunks()
        return combined if isinstance(combined, pa.Array) else pa.concat_arrays(combined.chunks)
    storage = [chunk.storage for chunk in column.chunks] or [pa.array([], column.type.storage_type)]
    return pa.ExtensionArray.from_storage(column.type, pa.concat_arrays(storage))


@dataclass(frozen=True, slots=True)
class DecodedColumn:
    """One column as NumPy sees it.

    ``values`` is ``(n, *shape)``; for strings it holds the int32 codes, and ``categories`` (object,
    the last entry None) what they stand for.
    """

    values: np.ndarray
    categories: np.ndarray | None = None

    def take(self, rows: Rows, out: np.ndarray | None = None) -> np.ndarray:
        """Return rows as ``(k, *shape)``: a view for a slice, else one `numpy.take`."""
        if self.categories is not None:
            codes = self.values[rows] if isinstance(rows, slice) else self.values.take(rows)
            return self.categories.take(codes, out=out)
        if isinstance(rows, slice):
            block = self.values[rows]
            if out is None:
                return block
            np.copyto(out, block)
            return out
        # With mode="raise" NumPy buffers `out`; callers have checked the rows, so "clip" changes nothing.
        return self.values.take(rows, axis=0, out=out, mode="clip")


def decode_array(array: pa.Array) -> DecodedColumn:
    """Return stored values for NumPy; aliases Arrow's memory unless they are boolean, dates or have nulls."""
    if isinstance(array.type, pa.FixedShapeTensorType):
        flat = array.storage.flatten()
        return DecodedColumn(_read_only(_primitive(flat).reshape(len(array), *array.type.shape)))
    if pa.types.is_dictionary(array.type):
        return _decode_strings(array)
    return DecodedColumn(_read_only(_primitive(array)))


def _primitive(array: pa.Array) -> np.ndarray:
    if array.null_count == 0:
        if pa.types.is_boolean(array.type):
            return np.asarray(array.to_numpy(zero_copy_only=False))
        if pa.types.is_date32(array.type):
            return np.asarray(array.cast(pa.int32()).to_numpy().astype("datetime64[D]"))
        return np.asarray(array.to_numpy(zero_copy_only=True))
    if pa.types.is_floating(array.type) or pa.types.is_temporal(array.type):
        return np.asarray(array.to_numpy(zero_copy_only=False))
    # Integers and booleans have no missing value of their own; turning them into floats would be a lie.
    values = np.empty(len(array), dtype=object)
    values[:] = array.to_pylist()
    return values


def _decode_strings(array: pa.DictionaryArray) -> DecodedColumn:
    n_categories = len(array.dictionary)
    categories = np.empty(n_categories + 1, dtype=object)
    categories[:n_categories] = array.dictionary.to_pylist()
    codes = array.indices
    if codes.null_count:
        codes = (
            codes.fill_null(n_categories) if codes.type == pa.int32() else _wide_codes(codes, n_categories)
        )
    return DecodedColumn(_read_only(np.asarray(codes.to_numpy(zero_copy_only=True))), categories)


def _wide_codes(codes: pa.Array, n_categories: int) -> pa.Array:
    return codes.cast(pa.int32()).fill_null(n_categories)


def _read_only(values: np.ndarray) -> np.ndarray:
    if values.flags.writeable:
        values = values.view()
        values.flags.writeable = False
    return values


def to_arrow(values: np.ndarray) -> pa.Array:
    """Return gathered values ``(n, *shape)`` as an Arrow column of the layout that MML stores."""
    if values.dtype == object:
        items = values.tolist()
        if all(item is None or isinstance(item, str) for item in items):
            return pa.array(items, STRING_TYPE)
        return pa.array(items)
    try:
        return tensor_array(np.ascontiguousarray(values))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as cause:
        raise DataError(f"Arrow does not hold {values.dtype} of shape {values.shape}.") from cause
