"""What users hand in, turned into Arrow columns: NumPy copied once, Arrow aliased, everything checked.

Each function raises `DataError` with the key, the first bad row and what was expected. Python work per value
happens only where the input itself is Python objects (lists, object arrays).
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import numpy as np
import pyarrow as pa

from mml.data.arrow_columns import spec_of, tensor_array
from mml.data.arrow_ingest import from_arrow, refuse_nulls
from mml.data.ingest_errors import SUPPORTED, null_error, ragged, unsupported
from mml.data.schema import TAGS, ColumnName
from mml.errors import DataError


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
        raise unsupported(name, str(column.type))
    if name.domain != TAGS or isinstance(column.type, pa.FixedShapeTensorType):
        refuse_nulls(column, name)
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
        return from_arrow(arrow, name)
    return _from_any_sequence(values, name)


def _from_any_sequence(values: Any, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    if hasattr(values, "__array__"):
        return _from_numpy(np.asarray(values), name)
    # A set has no order that could be the order of samples; a mapping's values are not what was named.
    if isinstance(values, (str, bytes, Mapping, Set)) or not hasattr(values, "__len__"):
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
            raise unsupported(name, f"strings of shape {values.shape[1:]}")
        return pa.array(values.astype(object), pa.string()).dictionary_encode()
    if values.dtype.kind not in "biufMm" or (values.dtype.kind == "f" and values.dtype.itemsize > 8):
        raise unsupported(name, str(values.dtype))
    # The one copy: what the user does to the array afterwards must not reach the FeatureSet.
    owned = np.array(values, dtype=values.dtype.newbyteorder("="), order="C", copy=True)
    owned.flags.writeable = False
    try:
        return tensor_array(owned)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as cause:
        raise unsupported(name, str(values.dtype)) from cause


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
    raise null_error(name, int(np.argmax(masked_rows)))


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
        raise null_error(name, 0)
    if all(issubclass(kind, str) or kind is type(None) for kind in kinds):
        return pa.array(items, pa.string()).dictionary_encode()
    if has_missing:
        if name.domain != TAGS:
            raise null_error(name, next(row for row, item in enumerate(items) if item is None))
        return from_arrow(_arrow_from_items(items, name), name)
    try:
        stacked = np.asarray(items)
    except ValueError as cause:
        raise _ragged_or_mixed(items, name) from cause
    if stacked.dtype.kind in "OUS":
        return from_arrow(_arrow_from_items(items, name), name)
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
            return ragged(name, row, first, shape)
    kinds = [type(item).__name__ for item in items]
    odd = next((row for row, kind in enumerate(kinds) if kind != kinds[0]), 0)
    return DataError(
        f"{name.key!r} mixes types that no column holds together.",
        where={"column": str(name), "row": odd},
        expected=f"{kinds[0]} in every row" if odd else SUPPORTED,
        found=kinds[odd],
    )


def _shape_of(item: Any) -> tuple[int, ...] | None:
    try:
        return tuple(np.shape(item))
    except ValueError:
        return None
