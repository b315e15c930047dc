"""What users hand in, turned into Arrow columns: NumPy copied once, Arrow aliased, everything checked.

Here it is decided what something is; each kind has a module of its own. All raise `DataError` with the key,
the first bad row and what was expected.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Set
from typing import Any

import numpy as np
import pyarrow as pa

from mml.data.array_ingest import from_array, from_masked_array
from mml.data.arrow_columns import spec_of
from mml.data.arrow_ingest import from_arrow, refuse_nulls
from mml.data.ingest_errors import null_error, unreadable
from mml.data.object_ingest import from_items
from mml.data.pandas_ingest import from_series
from mml.data.schema import TAGS, ColumnName
from mml.data.unsupported_types import unsupported_arrow, unsupported_dtype
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
        raise unreadable(name, cause, type(values).__name__) from cause
    if spec_of(column.type) is None:
        raise unsupported_arrow(name, column.type)
    if name.domain != TAGS or isinstance(column.type, pa.FixedShapeTensorType):
        refuse_nulls(column, name)
    return column


def _convert(values: Any, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    if isinstance(values, np.ndarray):
        return _from_numpy(values, name)
    if type(values).__module__.partition(".")[0] == "pandas":
        if not hasattr(values, "dtype"):
            raise _no_column(values, name)
        return from_series(values, name)
    arrow = _as_arrow(values)
    if arrow is not None:
        return from_arrow(arrow, name)
    if hasattr(values, "__array__") or isinstance(values, (array, memoryview)):
        return _from_numpy(_as_numpy(values, name), name)
    return from_items(_listed(values, name), name)


def _as_arrow(values: Any) -> pa.Array | pa.ChunkedArray | None:
    if isinstance(values, (pa.Array, pa.ChunkedArray)):
        return values
    if hasattr(values, "__arrow_c_stream__"):
        return pa.chunked_array(values)
    return pa.array(values) if hasattr(values, "__arrow_c_array__") else None


def _as_numpy(values: Any, name: ColumnName) -> np.ndarray:
    try:
        return np.asarray(values)
    except Exception as cause:  # what an array of another library raises is its own
        raise unreadable(name, cause, type(values).__name__) from cause


def _from_numpy(values: np.ndarray, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    if values.ndim == 0:
        raise DataError(
            f"{name.key!r} is a single value.", where={"column": str(name)}, expected="one entry per sample"
        )
    if isinstance(values, np.ma.MaskedArray):
        return _from_masked(values, name)
    return from_array(values, name) if values.dtype.kind != "O" else from_items(values.tolist(), name)


def _from_masked(values: np.ma.MaskedArray[Any, Any], name: ColumnName) -> pa.Array | pa.ChunkedArray:
    if values.dtype.names is not None:
        raise unsupported_dtype(name, values.dtype)
    mask = np.ma.getmaskarray(values)
    if not mask.any():
        return _from_numpy(np.ma.getdata(values), name)
    if values.ndim > 1 or name.domain != TAGS:
        raise null_error(name, int(np.argmax(mask.reshape(len(values), -1).any(axis=1))))
    # The list of a masked array has None where it is masked.
    return (
        from_items(values.tolist(), name) if values.dtype.kind in "OUT" else from_masked_array(values, name)
    )


def _listed(values: Any, name: ColumnName) -> list[Any]:
    if hasattr(values, "toarray"):
        raise DataError(
            f"The values of {name.key!r} are sparse.",
            where={"column": str(name)},
            expected="one array for all samples",
            found=type(values).__name__,
            hint="Hand over values.toarray().",
        )
    # A set has no order that could be the order of samples; a mapping's values are not what was named.
    if isinstance(values, (str, bytes, Mapping, Set)) or not hasattr(values, "__len__"):
        raise _no_column(values, name)
    try:
        return list(values)
    except TypeError as cause:
        raise _no_column(values, name) from cause


def _no_column(values: Any, name: ColumnName) -> DataError:
    return DataError(
        f"The values of {name.key!r} are no column.",
        where={"column": str(name)},
        expected="an array or a list with one entry per sample",
        found=repr(values)[:80],
    )
