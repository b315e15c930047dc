"""The formats in which columns are handed out.

``numpy``, ``dict_numpy``, ``arrow``, ``pandas``, ``polars``, ``list``, and the name of every backend.
A copy is made where the rows are not contiguous, where a column is transformed, and where the partner needs
one: ``list`` always; pandas and polars for tensors and strings; backends unless ``copy=False`` is asked for.

NumPy knows no time zones: timestamps are UTC there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from typing import Any

import numpy as np
import pyarrow as pa

from mml.backends import Backend, get_backend
from mml.data.frames import to_pandas, to_polars
from mml.data.stacking import assemble
from mml.errors import DataError, did_you_mean
from mml.plugins.install import missing_hint


def is_made_of_arrow(fmt: object) -> bool:
    """Return whether a format is made of Arrow columns, by `deliver_table`; others are made of arrays."""
    return isinstance(fmt, str) and fmt in _MADE_OF_ARROW


def deliver_table(table: pa.Table, fmt: str, *, with_nulls: Set[str]) -> Any:
    """Return columns in a format that is made of Arrow.

    Parameters
    ----------
    table : pyarrow.Table
        Columns in the layouts that MML stores, called as in the result.
    fmt : str
        ``arrow``, ``pandas`` or ``polars``.
    with_nulls : set of str
        The columns that hold missing values, in these rows or in others.
    """
    if fmt == "pandas":
        return to_pandas(table, with_nulls=with_nulls)
    return table if fmt == "arrow" else to_polars(table)


def deliver(columns: Mapping[str, np.ndarray], fmt: str, *, copy: bool = True) -> Any:
    """Return columns in a format that is made of NumPy arrays.

    Parameters
    ----------
    columns : mapping of str to numpy.ndarray
        What each is called in the result → ``(n, *shape)``; at least one for ``numpy`` and backends.
    fmt : str
        One of the other formats above.
    copy : bool
        Whether a backend's array owns its memory; False lets it share that of the columns where it can.

    Raises
    ------
    DataError
        For an unknown format, and for columns that do not stack into one array where one is asked for.
    """
    if not isinstance(fmt, str):
        raise DataError("A format is asked for by name.", found=repr(fmt))
    writer = _WRITERS.get(fmt)
    if writer is not None:
        return writer(columns)
    if fmt in Backend:
        backend, array = get_backend(fmt), _numeric(_one_array(columns), fmt)
        return backend.to_array(array) if copy else backend.share(array)
    # A format may be the name of a backend whose plugin is not there.
    known = [*_WRITERS, *_MADE_OF_ARROW, *(str(one) for one in Backend)]
    near = did_you_mean(fmt, known)
    raise DataError(
        f"There is no format {fmt!r}.", hint=near if near.startswith("Did") else missing_hint(fmt) or near
    )


def _one_array(columns: Mapping[str, np.ndarray]) -> np.ndarray:
    if not columns:
        raise DataError("No column is selected.", hint="Name at least one, or ask for fmt='dict_numpy'.")
    if len(columns) == 1:
        return next(iter(columns.values()))
    arrays = list(columns.values())
    reason = _why_not_stacked(arrays)
    if reason is None:
        stacked = np.asarray(assemble(arrays))
        if stacked.dtype.kind not in "mM" or _are_kept(arrays, stacked):
            return stacked
        reason = f"not all of these times are in the range of {stacked.dtype}"
    raise DataError(
        f"These columns do not stack into one array: {reason}.",
        found=", ".join(f"{name} {array.dtype}{array.shape[1:]}" for name, array in columns.items()),
        hint="Ask for one column, or for fmt='dict_numpy'.",
    )


def _why_not_stacked(arrays: list[np.ndarray]) -> str | None:
    if len({array.shape[1:] for array in arrays}) > 1:
        return "their shapes differ"
    if len({"number" if array.dtype.kind in "biuf" else array.dtype.kind for array in arrays}) > 1:
        return "they are of different kinds"
    dtypes = {array.dtype for array in arrays}
    if all(one.kind in "biu" for one in dtypes) and np.result_type(*dtypes).kind == "f":
        return "no integer type holds both, and floats would round them"
    return None


def _are_kept(arrays: list[np.ndarray], stacked: np.ndarray) -> bool:
    """Return whether times are still the same: NumPy wraps around where a unit is too fine for one."""
    return all(
        array.dtype == stacked.dtype
        or np.array_equal(stacked[:, place].astype(array.dtype), array, equal_nan=True)
        for place, array in enumerate(arrays)
    )


def _numeric(array: np.ndarray, fmt: str) -> np.ndarray:
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"The format {fmt!r} holds numbers only.", found=str(array.dtype), hint="Ask for fmt='numpy'."
        )
    return array


def _to_list(columns: Mapping[str, np.ndarray]) -> Any:
    if len(columns) == 1:
        return _python_values(next(iter(columns.values())))
    return {name: _python_values(array) for name, array in columns.items()}


def _python_values(array: np.ndarray) -> list[Any]:
    if array.dtype.kind in "mM" and np.datetime_data(array.dtype)[0] == "ns":
        # Python's own times end at microseconds, and NumPy would give bare integers.
        return list(array) if array.ndim == 1 else [_python_values(one) for one in array]
    return list(array.tolist())


_WRITERS: dict[str, Callable[[Mapping[str, np.ndarray]], Any]] = {
    "numpy": _one_array,
    "dict_numpy": dict,
    "list": _to_list,
}
_MADE_OF_ARROW = ("arrow", "pandas", "polars")
