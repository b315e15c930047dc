"""A series as a pandas or pyarrow table; pandas is imported only when somebody asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from mml.errors import ResultError
from mml.experiment.results.axis import Axis


def to_pandas(axes: Mapping[str, Axis], values: NDArray[Any], rows: NDArray[np.int64] | None) -> Any:
    """Build a DataFrame: a column per axis, ``value``, and ``rows`` where they are known."""
    try:
        import pandas as pd
    except ImportError as cause:
        raise ResultError(
            "to_pandas() needs pandas, which is not installed.",
            hint="pip install pandas, or use to_arrow().",
        ) from cause
    columns: dict[str, Any] = {}
    for name, axis in axes.items():
        with_gaps = None in axis.vocabulary and all(
            one is None or type(one) is int for one in axis.vocabulary
        )
        decoded = axis.decode()
        columns[name] = pd.array(decoded.tolist(), dtype="Int64") if with_gaps else decoded
    columns["value"] = values.copy()
    if rows is not None:
        columns["rows"] = rows.copy()
    return pd.DataFrame(columns)


def to_arrow(axes: Mapping[str, Axis], values: NDArray[Any], rows: NDArray[np.int64] | None) -> pa.Table:
    """Build a pyarrow Table; names are dictionary-encoded, arrays become flat lists plus ``shape``."""
    columns = {name: _arrow_axis(axis) for name, axis in axes.items()}
    if values.dtype != object:
        columns["value"] = pa.array(values)
    elif all(isinstance(one, np.ndarray) for one in values):
        columns["value"] = _arrow_values([one.reshape(-1) for one in values])
        columns["shape"] = pa.array([list(one.shape) for one in values], type=pa.list_(pa.int64()))
    else:
        columns["value"] = _arrow_values(values.tolist())
    if rows is not None:
        columns["rows"] = pa.array(rows)
    return pa.table(columns)


def _arrow_axis(axis: Axis) -> Any:
    codes = pa.array(axis.codes)
    if axis.vocabulary and all(isinstance(one, str) for one in axis.vocabulary):
        return pa.DictionaryArray.from_arrays(codes, pa.array(axis.vocabulary))
    return pa.array(axis.vocabulary).take(codes)


def _arrow_values(values: list[Any]) -> Any:
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as cause:
        raise ResultError(
            "These values have no Arrow form.",
            found=", ".join(sorted({type(one).__name__ for one in values})),
            hint="Use select() or to_pandas().",
        ) from cause
