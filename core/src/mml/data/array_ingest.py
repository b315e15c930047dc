"""NumPy arrays turned into Arrow columns: numbers and times copied once, text encoded.

The copy is there because what users write into their arrays later must not reach the FeatureSet. Arrays of
Python objects are the business of `object_ingest`.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from mml.data.arrow_columns import tensor_array
from mml.data.ingest_errors import no_elements
from mml.data.schema import ColumnName
from mml.data.text_columns import text_of_items
from mml.data.unsupported_types import unsupported, unsupported_dtype


def from_array(values: np.ndarray, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    """Return an array ``(n, *shape)`` of any dtype but object as it is stored."""
    if 0 in values.shape[1:]:
        raise no_elements(name, f"shape {values.shape}")
    if values.dtype.kind in "UT":
        return _from_text(values, name)
    try:
        return tensor_array(_owned(values, name))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as cause:
        raise unsupported_dtype(name, values.dtype) from cause


def from_masked_array(values: np.ma.MaskedArray, name: ColumnName) -> pa.Array:
    """Return numbers or times ``(n,)`` of a tag, null where they are masked."""
    owned = _owned(np.ma.getdata(values), name)
    try:
        return pa.array(owned, mask=np.ma.getmaskarray(values))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as cause:
        raise unsupported_dtype(name, values.dtype) from cause


def _owned(values: np.ndarray, name: ColumnName) -> np.ndarray:
    if values.dtype.kind not in "biufMm" or (values.dtype.kind == "f" and values.dtype.itemsize > 8):
        raise unsupported_dtype(name, values.dtype)
    owned = np.array(values, dtype=values.dtype.newbyteorder("="), order="C", copy=True)
    owned.flags.writeable = False
    return owned


def _from_text(values: np.ndarray, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    if values.ndim > 1:
        raise unsupported(
            name,
            f"strings of shape {values.shape[1:]}",
            hint="Hand over each text of a sample as a column of its own.",
        )
    items = values.astype(object)
    if not hasattr(values.dtype, "na_object"):
        return text_of_items(items, name)
    missing = values.dtype.na_object
    known = [item if isinstance(item, str) and item is not missing else None for item in items]
    return text_of_items(known, name)
