"""Which values of one column are among those asked for: strings, numbers, times, and missing values.

A value that the column's type cannot hold is in no row; one of another kind altogether is an error. Strings
are compared by category and numbers as arrays, so that a comparison costs no Python work per row.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np

from mml.data.coded_strings import CodedStrings
from mml.data.schema import ColumnSpec
from mml.errors import DataError

_ZONED = re.compile(r"(?P<moment>.*\d[T ]\d.*?)(?:Z|(?P<sign>[+-])(?P<hours>\d\d)(?::?(?P<minutes>\d\d))?)")
"""A point in time with its zone, as ISO 8601 writes it."""


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
    wanted = _flat(wanted) if isinstance(wanted, np.ndarray) else wanted
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
    if value is None or type(value).__name__ in ("NaTType", "NAType", "MaskedConstant"):
        return True
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return bool(np.isnat(value))
    return isinstance(value, (float, np.floating)) and bool(np.isnan(value))


def _flat(wanted: np.ndarray) -> np.ndarray | list[Any]:
    """Return the values of an array of any rank: as a list where they are no numbers, or some are masked."""
    flat = wanted.reshape(-1)
    if isinstance(flat, np.ma.MaskedArray):
        return list(flat)
    return flat.tolist() if flat.dtype.kind in "OUS" else flat


def _strings(values: CodedStrings, wanted: Iterable[Any], spec: ColumnSpec) -> np.ndarray:
    present = [None if is_missing(one) else one for one in wanted]
    for one in present:
        if not isinstance(one, str | None):
            raise _incomparable(one, spec)
    allowed = set(present)
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
    for one, given in zip(exact, wanted, strict=True):
        # Months and years of a duration have no length in seconds.
        if one.dtype.kind != dtype.kind or not np.can_cast(one.dtype, dtype, "same_kind"):
            raise _incomparable(given, spec)
    # Back in its own unit: NumPy wraps around where a unit is too fine for a point in time.
    held = [one.astype(dtype) for one in exact if one.astype(dtype).astype(one.dtype) == one]
    return np.array(held, dtype=dtype)


def _time(value: Any, spec: ColumnSpec) -> np.datetime64 | np.timedelta64:
    has_zone = bool(_ZONED.fullmatch(value)) if isinstance(value, str) else _has_zone(value)
    if has_zone and spec.zone is None:
        raise DataError(
            f"'{spec.name}' has no time zone and cannot be compared with a time that has one.",
            found=repr(value)[:80],
            hint="Give the time as it stands in the column.",
        )
    try:
        return _exact(value)
    except (TypeError, ValueError, OverflowError) as cause:
        raise _incomparable(value, spec) from cause


def _has_zone(value: Any) -> bool:
    return getattr(value, "tzinfo", None) is not None


def _exact(value: Any) -> np.datetime64 | np.timedelta64:
    """Return a duration, or a point in time, in UTC where it has a zone."""
    # Those of pandas have nanoseconds, which Python's own would lose.
    convert = getattr(value, "to_datetime64", None) or getattr(value, "to_timedelta64", None)
    if convert is not None:
        value = convert()
    if isinstance(value, (timedelta, np.timedelta64)):
        return np.timedelta64(value)
    if isinstance(value, str):
        return _read_time(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        value = value.astimezone(UTC).replace(tzinfo=None)
    if isinstance(value, (date, np.datetime64)):
        return np.datetime64(value)
    raise TypeError("neither a point in time nor a duration")


def _read_time(text: str) -> np.datetime64:
    zoned = _ZONED.fullmatch(text)
    if zoned is None:
        return np.datetime64(text)
    # NumPy warns of zones although it understands them.
    minutes = 60 * int(zoned["hours"] or 0) + int(zoned["minutes"] or 0)
    ahead = np.timedelta64(-minutes if zoned["sign"] == "-" else minutes, "m")
    return np.datetime64(zoned["moment"]) - ahead


def _incomparable(value: Any, spec: ColumnSpec) -> DataError:
    expected = "a string" if spec.dtype is None else f"a value like {spec.dtype}"
    if spec.dtype is not None and spec.dtype.kind == "M":
        expected = "a datetime, a numpy.datetime64, or a string such as '2024-05-01T12:00'"
    several = isinstance(value, Iterable) and not isinstance(value, (str, bytes))
    return DataError(
        f"'{spec.name}' cannot be compared with {type(value).__name__ if several else repr(value)[:80]}.",
        expected=expected,
        found=type(value).__name__,
        hint="Pass several values as a list." if several else None,
    )
