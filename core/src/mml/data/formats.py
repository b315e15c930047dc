"""The formats in which columns are handed out.

``numpy``, ``dict_numpy``, ``arrow``, ``pandas``, ``polars``, ``list``, and the name of every backend.
A copy is made where the rows are not contiguous, where a column is transformed, and where the partner needs
one: ``list`` always; pandas and polars for tensors and strings; backends as their ``to_array`` says.

NumPy knows no time zones: timestamps are UTC there. pandas and polars get the zone of the column back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa

from mml.backends import Backend, get_backend
from mml.data.arrow_columns import to_arrow
from mml.data.stacking import assemble
from mml.errors import DataError, did_you_mean
from mml.plugins.install import missing_hint


def deliver(columns: Mapping[str, np.ndarray], fmt: str, *, zones: Mapping[str, str] | None = None) -> Any:
    """Return columns in a format.

    Parameters
    ----------
    columns : mapping of str to numpy.ndarray
        What each is called in the result → ``(n, *shape)``; at least one for ``numpy`` and backends.
    fmt : str
        One of the formats above.
    zones : mapping of str to str, optional
        The time zones of columns that have one.

    Raises
    ------
    DataError
        For an unknown format, and for columns that do not stack into one array where one is asked for.
    """
    if not isinstance(fmt, str):
        raise DataError("A format is asked for by name.", found=repr(fmt))
    if fmt in _FRAMES:
        return _FRAMES[fmt](columns, zones or {})
    writer = _WRITERS.get(fmt)
    if writer is not None:
        return writer(columns)
    if fmt in Backend:
        return get_backend(fmt).to_array(_numeric(_one_array(columns), fmt))
    # A format may be the name of a backend whose plugin is not there.
    known = [*_WRITERS, *_FRAMES, *(str(one) for one in Backend)]
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
    alike = len({array.shape[1:] for array in arrays}) == 1
    text = {array.dtype == object for array in arrays}
    if not alike or len(text) > 1:
        raise DataError(
            "These columns do not stack into one array.",
            found=", ".join(f"{name} {array.dtype}{array.shape[1:]}" for name, array in columns.items()),
            hint="Ask for one column, or for fmt='dict_numpy'.",
        )
    stacked = assemble(arrays)
    if not isinstance(stacked, np.ndarray):
        raise DataError("These columns do not stack into one array.")
    return stacked


def _numeric(array: np.ndarray, fmt: str) -> np.ndarray:
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"The format {fmt!r} holds numbers only.", found=str(array.dtype), hint="Ask for fmt='numpy'."
        )
    return array


def _to_arrow(columns: Mapping[str, np.ndarray]) -> pa.Table:
    return pa.table({name: to_arrow(array) for name, array in columns.items()})


def _to_pandas(columns: Mapping[str, np.ndarray], zones: Mapping[str, str]) -> Any:
    pandas = _partner("pandas")
    frame = pandas.DataFrame(
        {name: array if array.ndim == 1 else list(array) for name, array in columns.items()}
    )
    for name, zone in zones.items():
        if columns[name].ndim == 1:
            with _zone_of(name, zone, "pandas"):
                frame[name] = frame[name].dt.tz_localize("UTC").dt.tz_convert(zone)
    return frame


def _to_polars(columns: Mapping[str, np.ndarray], zones: Mapping[str, str]) -> Any:
    polars = _partner("polars")
    series = []
    for name, array in columns.items():
        one = _polars_series(polars, name, array)
        if name in zones and array.ndim == 1:
            with _zone_of(name, zones[name], "polars"):
                one = one.dt.replace_time_zone("UTC").dt.convert_time_zone(zones[name])
        series.append(one)
    return polars.DataFrame(series)


@contextmanager
def _zone_of(name: str, zone: str, partner: str) -> Iterator[None]:
    try:
        yield
    except Exception as cause:  # each partner has errors of its own for this
        raise DataError(
            f"{partner} does not know the time zone {zone!r}.",
            where={"column": name},
            hint="Ask for fmt='arrow', which keeps it, or fmt='numpy' for UTC.",
        ) from cause


def _polars_series(polars: Any, name: str, array: np.ndarray) -> Any:
    if array.dtype == object:
        return polars.Series(name, array.tolist())
    if array.dtype.kind not in "mM":
        return polars.Series(name, np.ascontiguousarray(array))
    unit = np.datetime_data(array.dtype)[0]
    if unit == "s":
        array = array.astype(f"{array.dtype.kind}8[ms]")
    if array.ndim == 1:
        return polars.Series(name, np.ascontiguousarray(array))
    # polars makes tensors of numbers only, and then of these what they mean.
    flat = _polars_series(polars, name, array.reshape(-1))
    return flat.reshape(array.shape)


def _to_list(columns: Mapping[str, np.ndarray]) -> Any:
    if len(columns) == 1:
        return _python_values(next(iter(columns.values())))
    return {name: _python_values(array) for name, array in columns.items()}


def _python_values(array: np.ndarray) -> list[Any]:
    if array.dtype.kind in "mM" and np.datetime_data(array.dtype)[0] == "ns":
        # Python's own times end at microseconds, and NumPy would give bare integers.
        return list(array) if array.ndim == 1 else [_python_values(one) for one in array]
    return list(array.tolist())


def _partner(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as cause:
        raise DataError(
            f"The format {name!r} needs {name}, which is not installed.", hint=f"pip install {name}"
        ) from cause


_WRITERS: dict[str, Callable[[Mapping[str, np.ndarray]], Any]] = {
    "numpy": _one_array,
    "dict_numpy": dict,
    "arrow": _to_arrow,
    "list": _to_list,
}

_FRAMES: dict[str, Callable[[Mapping[str, np.ndarray], Mapping[str, str]], Any]] = {
    "pandas": _to_pandas,
    "polars": _to_polars,
}
