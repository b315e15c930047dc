"""Columns as frames of pandas and polars, types and missing values kept.

Scalars of polars lie over Arrow's memory. pandas gets NumPy's numbers and times, in which a missing float is
NaN; integers and booleans with missing values get pandas' own types for these. Tensors become arrays,
one a row. Points in time keep their zone.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa

from mml.data.chunked_columns import decode
from mml.data.coded_strings import plain_strings
from mml.errors import DataError

_WITH_NULLS = {
    pa.bool_(): "boolean",
    pa.int8(): "Int8",
    pa.int16(): "Int16",
    pa.int32(): "Int32",
    pa.int64(): "Int64",
    pa.uint8(): "UInt8",
    pa.uint16(): "UInt16",
    pa.uint32(): "UInt32",
    pa.uint64(): "UInt64",
}


def to_pandas(table: pa.Table, *, with_nulls: Set[str]) -> Any:
    """Return a pandas DataFrame.

    Parameters
    ----------
    table : pyarrow.Table
        Columns in the layouts that MML stores.
    with_nulls : set of str
        The columns whose type must be able to hold missing values.
    """
    pandas = _partner("pandas")
    columns = zip(table.column_names, table.columns, strict=True)
    return pandas.DataFrame(
        {name: _pandas_column(pandas, name, column, name in with_nulls) for name, column in columns}
    )


def to_polars(table: pa.Table) -> Any:
    """Return a polars DataFrame."""
    polars = _partner("polars")
    columns = zip(table.column_names, table.columns, strict=True)
    return polars.DataFrame([_polars_column(polars, name, column) for name, column in columns])


def _pandas_column(pandas: Any, name: str, column: pa.ChunkedArray, with_nulls: bool) -> Any:
    if pa.types.is_dictionary(column.type):
        return _pandas_text(pandas, column)
    if with_nulls and column.type in _WITH_NULLS:
        dtype = pandas.api.types.pandas_dtype(_WITH_NULLS[column.type])
        return dtype.__from_arrow__(column)
    values, zone = _values(column), _zone(column.type)
    if zone is not None:
        moments = pandas.Series(values.reshape(-1)).dt.tz_localize("UTC")
        with _known_zone(name, zone, "pandas"):
            moments = moments.dt.tz_convert(zone)
        if values.ndim == 1:
            return moments
        values = moments.astype(object).to_numpy().reshape(values.shape)
    return values if values.ndim == 1 else list(values)


def _pandas_text(pandas: Any, column: pa.ChunkedArray) -> Any:
    dtype = pandas.Series([""]).dtype
    if isinstance(dtype, np.dtype):
        # What pandas before version 3 makes of text.
        return _values(column)
    return pandas.array(plain_strings(column), dtype=dtype)


def _polars_column(polars: Any, name: str, column: pa.ChunkedArray) -> Any:
    if isinstance(column.type, pa.FixedShapeTensorType):
        return _polars_tensors(polars, name, column)
    if pa.types.is_dictionary(column.type):
        column = plain_strings(column)
    with _known_zone(name, _zone(column.type), "polars"):
        return polars.Series(name, column)


def _polars_tensors(polars: Any, name: str, column: pa.ChunkedArray) -> Any:
    values = _values(column)
    if values.dtype.kind not in "mM":
        return polars.Series(name, np.ascontiguousarray(values))
    # polars makes tensors of numbers only, and then of these what they mean.
    flat = pa.chunked_array([pa.array(values.reshape(-1), column.type.value_type)])
    return _polars_column(polars, name, flat).reshape(values.shape)


def _values(column: pa.ChunkedArray) -> np.ndarray:
    return decode(column).take(slice(0, len(column)))


def _zone(arrow_type: pa.DataType) -> str | None:
    zone: str | None = getattr(getattr(arrow_type, "value_type", arrow_type), "tz", None)
    return zone


@contextmanager
def _known_zone(name: str, zone: str | None, partner: str) -> Iterator[None]:
    try:
        yield
    except Exception as cause:  # each partner has errors of its own for this
        if zone is None:
            raise
        raise DataError(
            f"{partner} does not know the time zone {zone!r}.",
            where={"column": name},
            hint="Ask for fmt='arrow', which keeps it, or fmt='numpy' for UTC.",
        ) from cause


def _partner(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as cause:
        raise DataError(
            f"The format {name!r} needs {name}, which is not installed.", hint=f"pip install {name}"
        ) from cause
