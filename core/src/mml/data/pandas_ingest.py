"""Columns of pandas turned into Arrow columns, without importing pandas.

What pandas keeps in NumPy's memory is copied once, like any array: a later write to the frame must not reach
the FeatureSet. NaN among numbers is a number; among other objects it is how pandas marks what is missing.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from mml.data.array_ingest import from_array
from mml.data.arrow_ingest import from_arrow
from mml.data.object_ingest import from_items
from mml.data.schema import ColumnName

# Beside these, NaN cannot be a value.
_NO_NUMBERS = (str, bool, np.bool_, date, timedelta, np.datetime64, np.timedelta64)


def from_series(values: Any, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    """Return a Series, an Index or an array of pandas as it is stored."""
    dtype = values.dtype
    if isinstance(dtype, np.dtype):
        return from_array(values.to_numpy(), name) if dtype.kind != "O" else _from_objects(values, name)
    if type(dtype).__name__ == "SparseDtype":
        return _from_sparse(values, name)
    # Arrow would alias what lies in NumPy's memory. Of columns that lie in Arrow's, this copies nothing.
    owned = values.copy(deep=True) if hasattr(values, "array") else values.copy()
    try:
        arrow = pa.array(owned, from_pandas=True)
    except (pa.ArrowException, TypeError, ValueError):
        # Types of other libraries that Arrow does not know are looked at one by one.
        return from_items(values.tolist(), name)
    return from_arrow(arrow, name)


def _from_sparse(values: Any, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    dense = np.asarray(values, dtype=values.dtype.subtype)
    return from_array(dense, name) if dense.dtype.kind != "O" else from_items(dense.tolist(), name)


def _from_objects(values: Any, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    items = values.tolist()
    kinds = set(map(type, items))
    if any(issubclass(kind, float) for kind in kinds) and any(
        issubclass(kind, _NO_NUMBERS) for kind in kinds
    ):
        items = [None if isinstance(item, float) and item != item else item for item in items]  # noqa: PLR0124
    return from_items(items, name)
