"""Lists and arrays of Python objects turned into Arrow columns: the only place where values cost Python work.

NumPy makes arrays of numbers; Arrow reads the rest. What the one would round, and the other would cut short
or read in any order (times of several kinds, sets), is refused by row.
"""

from __future__ import annotations

import math
from datetime import date, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from mml.data.array_ingest import from_array
from mml.data.arrow_columns import tensor_from_flat
from mml.data.arrow_ingest import from_arrow
from mml.data.exact_integers import are_mixed, exact_floats, exact_numbers, unsigned
from mml.data.ingest_errors import mixed, no_samples, nothing_known, null_error, ragged, unreadable
from mml.data.schema import TAGS, ColumnName
from mml.data.text_columns import text_of_items
from mml.data.unsupported_types import unsupported, unsupported_object
from mml.errors import DataError

# What stands where a value is missing, by the names of its type: nobody's library is imported for it.
_MISSING = ("NoneType", "NaTType", "NAType", "MaskedConstant")


def from_items(items: list[Any], name: ColumnName) -> pa.Array | pa.ChunkedArray:
    """Return one object per sample as they are stored: numbers, texts, times, nested lists, arrays."""
    if not items:
        raise no_samples(name)
    # Types are looked at without a step of Python per value: lists of a million numbers are usual.
    items, kinds, has_missing = _marked(items)
    if not kinds:
        raise nothing_known(name)
    if all(issubclass(kind, str) for kind in kinds):
        return text_of_items(items, name)
    if not has_missing:
        return _from_complete(items, kinds, name)
    if name.domain != TAGS:
        raise null_error(name, _first_missing(items))
    if all(issubclass(kind, (np.datetime64, np.timedelta64)) for kind in kinds):
        no_time = next(iter(kinds))("NaT")
        return from_array(np.asarray([no_time if item is None else item for item in items]), name)
    return from_arrow(_arrow_of(items, name), name)


def _marked(items: list[Any]) -> tuple[list[Any], set[type], bool]:
    """Return items with None wherever something is missing, the types of the others, and whether it is."""
    kinds = set(map(type, items))
    missing = {kind for kind in kinds if kind.__name__ in _MISSING}
    if missing - {type(None)}:
        items = [None if type(item) in missing else item for item in items]
    return items, kinds - missing, bool(missing)


def _from_complete(items: list[Any], kinds: set[type], name: ColumnName) -> pa.Array | pa.ChunkedArray:
    if any(issubclass(kind, np.ma.MaskedArray) for kind in kinds):
        _refuse_masked(items, name)
    try:
        stacked = np.asarray(items)
    except ValueError as cause:
        raise _differing(items, name) from cause
    except Exception as cause:  # what objects raise that are to become arrays is their own
        raise unreadable(name, cause, type(items[0]).__name__) from cause
    if stacked.dtype.kind == "f":
        return from_array(exact_numbers(stacked, items, kinds, name), name)
    if stacked.dtype.kind in "OUS":
        return _from_objects(np.asarray(items, dtype=object), name)
    return from_array(stacked, name)


def _refuse_masked(items: list[Any], name: ColumnName) -> None:
    row = next((row for row, item in enumerate(items) if np.ma.is_masked(item)), None)
    if row is not None:
        raise null_error(name, row)


def _from_objects(stacked: np.ndarray, name: ColumnName) -> pa.Array | pa.ChunkedArray:
    """Return objects ``(n, *shape)`` of which NumPy makes no numbers."""
    shape = stacked.shape[1:]
    per_sample = math.prod(shape)
    flat, kinds, has_missing = _marked(stacked.reshape(-1).tolist())
    if has_missing:
        raise null_error(name, _first_missing(flat) // per_sample)
    if shape and all(issubclass(kind, str) for kind in kinds):
        raise unsupported(
            name, f"strings of shape {shape}", hint="Hand over each text of a sample as a column of its own."
        )
    column = from_arrow(_arrow_of(flat, name, per_sample), name)
    return tensor_from_flat(column, shape) if shape else column


def _arrow_of(items: list[Any], name: ColumnName, per_sample: int = 1) -> pa.Array | pa.ChunkedArray:
    """Return what Arrow reads in objects, ``per_sample`` of which make one sample."""
    kinds = {type(item) for item in items} - {type(None)}
    if any(issubclass(kind, (set, frozenset)) for kind in kinds):
        row = next(row for row, item in enumerate(items) if isinstance(item, (set, frozenset)))
        raise unsupported(name, "set", row=row // per_sample, hint="A set has no order: take sorted lists.")
    if any(issubclass(kind, date) for kind in kinds):
        _refuse_mixed_times(items, name, per_sample)
    if are_mixed(kinds):
        return pa.array(exact_floats(items, name, per_sample), pa.float64())
    try:
        return _with_nanoseconds(pa.array(items), items)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as cause:
        if all(issubclass(kind, (int, np.integer)) and kind is not bool for kind in kinds):
            return pa.array(unsigned(items, name, per_sample), pa.uint64())
        raise _differing(items, name, per_sample) from cause


def _refuse_mixed_times(items: list[Any], name: ColumnName, per_sample: int) -> None:
    # Arrow takes the first for all: later times of day would be lost, and times without a zone become UTC.
    kinds = [(row, _time_kind(item)) for row, item in enumerate(items) if item is not None]
    first = kinds[0][1]
    for row, kind in kinds:
        if kind != first:
            raise mixed(name, row // per_sample, first, kind, hint="Bring all of them into one form.")


def _time_kind(item: object) -> str:
    if isinstance(item, datetime):
        return "a time without a time zone" if item.tzinfo is None else "a time with a time zone"
    return "a date" if isinstance(item, date) else type(item).__name__


def _with_nanoseconds(array: pa.Array, items: list[Any]) -> pa.Array:
    """Return times in nanoseconds where they have some, which Arrow would cut off."""
    if pa.types.is_timestamp(array.type) and any(getattr(item, "nanosecond", 0) for item in items):
        return pa.array(items, pa.timestamp("ns", array.type.tz))
    if pa.types.is_duration(array.type) and any(getattr(item, "nanoseconds", 0) for item in items):
        return pa.array(items, pa.duration("ns"))
    return array


def _first_missing(items: list[Any]) -> int:
    return next(row for row, item in enumerate(items) if item is None)


def _differing(items: list[Any], name: ColumnName, per_sample: int = 1) -> DataError:
    """Find the first sample that differs from the first one in shape, else in type."""
    present = [(row, item) for row, item in enumerate(items) if item is not None]
    row, first = present[0]
    shape = _shape_of(first)
    for other_row, other in present:
        other_shape = _shape_of(other)
        if other_shape != shape or other_shape is None:
            return ragged(name, other_row // per_sample, shape, other_shape)
    kind = type(first).__name__
    odd = next(((row, type(item).__name__) for row, item in present if type(item) is not type(first)), None)
    if odd is None:
        return unsupported_object(name, row // per_sample, first)
    return mixed(name, odd[0] // per_sample, kind, odd[1])


def _shape_of(item: Any) -> tuple[int, ...] | None:
    try:
        return tuple(np.shape(item))
    except ValueError:
        return None
