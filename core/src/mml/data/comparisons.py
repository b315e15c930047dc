"""Which values of one column are among those asked for: strings, numbers, times, and missing values.

A value that the column's type cannot hold is in no row; one of another kind altogether is an error. Strings
are compared by category and numbers as arrays, so that a comparison costs no Python work per row.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from mml.data.coded_strings import CodedStrings
from mml.data.schema import ColumnSpec
from mml.errors import DataError


def is_one_of(values: np.ndarray | CodedStrings, wanted: Iterable[Any], spec: ColumnSpec) -> np.ndarray:
    """Return which values are among those wanted, bool ``(n,)``.

    Parameters
    ----------
    values : numpy.ndarray or CodedStrings
        One scalar a row, ``(n,)``.
    wanted : iterable
        None, NaN and NaT stand for every missing value.
    spec : ColumnSpec
        The column's.

    Raises
    ------
    DataError
        If the column's values cannot be compared with one of them.
    """
    wanted = wanted.tolist() if isinstance(wanted, np.ndarray) and wanted.dtype.kind in "OUS" else wanted
    if isinstance(values, CodedStrings):
        return _strings(values, wanted, spec)
    if isinstance(wanted, np.ndarray) and values.dtype.kind in "biuf" and wanted.dtype.kind in "biuf":
        missing = np.isnan(wanted)
        among = np.isin(values, _held(wanted[~missing], values.dtype))
        return among | _missing(values) if missing.any() else among
    wanted = list(wanted)
    present = [one for one in wanted if not is_missing(one)]
    mask: np.ndarray = _missing(values) if len(present) < len(wanted) else np.zeros(len(values), dtype=bool)
    if not present:
        return mask
    if values.dtype == object:
        allowed = set(_numbers(present, spec))
        found = (value in allowed for value in values.tolist())
        mask |= np.fromiter(found, dtype=bool, count=len(values))
        return mask
    if values.dtype.kind in "mM":
        return mask | np.isin(values, _times(present, values.dtype, spec))
    return np.asarray(mask | np.isin(values, _held_numbers(_numbers(present, spec), values.dtype)))


def is_missing(value: Any) -> bool:
    """Return whether a value stands for a missing one: None, NaN, NaT."""
    if value is None or type(value).__name__ in ("NaTType", "NAType"):
        return True
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return bool(np.isnat(value))
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def _strings(values: CodedStrings, wanted: Iterable[Any], spec: ColumnSpec) -> np.ndarray:
    allowed = {None if is_missing(one) else one for one in wanted}
    for one in allowed:
        if not isinstance(one, str | None):
            raise _incomparable(one, spec)
    found = (category in allowed for category in values.categories.tolist())
    return values.where(np.fromiter(found, dtype=bool, count=len(values.categories)))


def _missing(values: np.ndarray) -> np.ndarray:
    if values.dtype == object:
        return np.fromiter((value is None for value in values.tolist()), dtype=bool, count=len(values))
    if values.dtype.kind in "mM":
        return np.asarray(np.isnat(values))
    return np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)


def _numbers(wanted: list[Any], spec: ColumnSpec) -> list[int | float]:
    for one in wanted:
        if not isinstance(one, (bool, int, float, np.bool_, np.integer, np.floating)):
            raise _incomparable(one, spec)
    return [one.item() if isinstance(one, np.generic) else one for one in wanted]


def _held_numbers(wanted: list[int | float], dtype: np.dtype) -> np.ndarray:
    """Return those numbers that the type can hold; one array of all would round integers beside floats."""
    if dtype.kind == "f":
        largest = sys.float_info.max
        floats = [float(one) for one in wanted if isinstance(one, float) or abs(one) <= largest]
        return _held(np.array(floats, dtype=np.float64), dtype)
    lowest, highest = _limits(dtype)
    integers = [int(one) for one in wanted if one % 1 == 0 and lowest <= one <= highest]
    return np.array(integers, dtype=dtype)


def _held(wanted: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return those numbers that the type can hold, as that type; floats are rounded to it."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            rounded: np.ndarray = wanted.astype(dtype)
        return np.asarray(rounded[np.isfinite(rounded) == np.isfinite(wanted)])
    wanted = wanted.astype(np.uint8) if wanted.dtype.kind == "b" else wanted
    lowest, highest = _limits(dtype)
    wanted = wanted[(wanted >= lowest) & (wanted < highest + 1) & (wanted == np.floor(wanted))]
    return np.asarray(wanted.astype(dtype))


def _limits(dtype: np.dtype) -> tuple[int, int]:
    return (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


def _times(wanted: list[Any], dtype: np.dtype, spec: ColumnSpec) -> np.ndarray:
    """Return those points in time, or durations, that the type can hold."""
    exact = [_time(one, spec) for one in wanted]
    if any(one.dtype.kind != dtype.kind for one in exact):
        raise _incomparable(wanted, spec)
    return np.array([one.astype(dtype) for one in exact if one.astype(dtype) == one], dtype=dtype)


def _time(value: Any, spec: ColumnSpec) -> np.datetime64 | np.timedelta64:
    zone = getattr(spec.arrow_type, "tz", None)
    if isinstance(value, datetime) and value.tzinfo is not None:
        if zone is None:
            raise DataError(
                f"'{spec.name}' has no time zone and cannot be compared with a time that has one.",
                found=repr(value),
            )
        value = value.astimezone(UTC).replace(tzinfo=None) if type(value) is datetime else value
    if hasattr(value, "to_datetime64"):
        # A pandas timestamp has nanoseconds, which a Python one loses.
        value = value.to_datetime64()
    is_time = isinstance(value, (np.datetime64, np.timedelta64, date, timedelta, str))
    try:
        if is_time:
            return np.timedelta64(value) if isinstance(value, timedelta) else _as_time(value)
    except ValueError as cause:
        raise _incomparable(value, spec) from cause
    raise _incomparable(value, spec)


def _as_time(value: Any) -> np.datetime64 | np.timedelta64:
    return value if isinstance(value, np.timedelta64) else np.datetime64(value)


def _incomparable(value: Any, spec: ColumnSpec) -> DataError:
    expected = "a string" if spec.dtype is None else f"a value like {spec.dtype}"
    if spec.dtype is not None and spec.dtype.kind == "M":
        expected = "a datetime, a numpy.datetime64, or a string such as '2024-05-01T12:00'"
    return DataError(
        f"'{spec.name}' cannot be compared with {value!r}.", expected=expected, found=type(value).__name__
    )
