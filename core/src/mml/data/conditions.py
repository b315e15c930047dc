"""Conditions on columns, evaluated to a mask over rows.

A condition looks at raw values unless its column name says otherwise, so that the same condition means
the same rows before and after a scaler. Missing values match nothing but an explicit None or NaN.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from mml.data.coded_strings import CodedStrings, coded_strings
from mml.data.comparisons import is_one_of
from mml.data.expressions import fulfilled, is_expression
from mml.data.rows import count
from mml.data.schema import RAW
from mml.errors import ColumnError, DataError

if TYPE_CHECKING:
    import pyarrow.compute as pc

    from mml.data.access import ColumnAccess, Window

Conditions: TypeAlias = "Mapping[str, Any] | pc.Expression"
MANY = (set, frozenset, list, tuple, range, np.ndarray)
"""The types whose values stand for "one of these"."""


def matches(rows: ColumnAccess, conditions: Conditions) -> np.ndarray:
    """Return which rows of a FeatureSet or a view fulfil all conditions, bool ``(n,)``; see `matching`."""
    with rows._reading():
        return matching(rows._window(), conditions)


def matching(window: Window, conditions: Conditions) -> np.ndarray:
    """Return which rows of a window fulfil all conditions, bool of shape ``(n,)``.

    Parameters
    ----------
    window : Window
        What is looked at.
    conditions : mapping of str to condition, or pyarrow.compute.Expression
        Column → a scalar (equal), a set or list (one of), a callable (the column's array to a mask, or one
        value to True or False), or an expression. An expression names columns as selections do. Times are
        compared with datetimes, `numpy.datetime64` or ISO strings; in a column with a time zone, those
        without one are UTC.

    Raises
    ------
    ColumnError
        If a column does not exist.
    DataError
        If a column cannot be compared with a value, or a callable fails or gives no truth values.
    """
    if is_expression(conditions):
        return fulfilled(window, conditions)
    if not isinstance(conditions, Mapping):
        raise DataError(
            "Conditions are a mapping from columns, or a pyarrow expression.", found=repr(conditions)[:80]
        )
    mask = np.ones(count(window.rows), dtype=bool)
    for column, condition in conditions.items():
        if is_expression(condition):
            mask &= fulfilled(window, condition)
        else:
            mask &= _one(window, _full_name(window, column), condition)
    return mask


def _full_name(window: Window, column: str) -> str:
    names: tuple[str, ...] = ()
    with suppress(ColumnError):
        names = window.schema.select([column], rep=RAW)
    # A column without raw values is meant by its key; what cannot be selected at all fails again.
    names = names or window.schema.select([column])
    if len(names) != 1:
        raise ColumnError(f"A condition is on one column; {column!r} fits {len(names)}.")
    return names[0]


def _one(window: Window, column: str, condition: Any) -> np.ndarray:
    strings = coded_strings(window.source, column, window.rows)
    if callable(condition):
        return _called(window.source.take(column, window.rows), condition, column, strings=strings)
    values = strings or _scalars(window.source.take(column, window.rows), column)
    wanted = condition if isinstance(condition, MANY) else [condition]
    return is_one_of(values, wanted, window.schema[column])


def _scalars(values: np.ndarray, column: str) -> np.ndarray:
    if values.size == len(values):
        return values.reshape(-1)
    raise DataError(
        f"The samples of {column!r} are tensors; comparing them needs a function.",
        found=f"shape {values.shape[1:]}",
        hint="Give a callable that takes the array (n, ...) and returns a mask (n,).",
    )


def _called(
    values: np.ndarray, condition: Callable[[Any], Any], column: str, *, strings: CodedStrings | None
) -> np.ndarray:
    whole: np.ndarray | None = None
    failure: Exception | None = None
    try:
        whole = np.asarray(condition(values))
    except Exception as error:  # noqa: BLE001 - a function of one value may fail on an array in any way
        failure = error
    if whole is not None and whole.shape == (len(values),) and whole.dtype == bool:
        return whole
    if strings is None:
        return _answers(values, condition, column, failure)
    # Equal strings get one answer: the function is asked once for each that is there.
    present = np.flatnonzero(np.bincount(strings.codes, minlength=len(strings.categories)))
    allowed = np.zeros(len(strings.categories), dtype=bool)
    allowed[present] = _answers(strings.categories[present], condition, column, failure)
    return strings.where(allowed)


def _answers(
    values: np.ndarray, condition: Callable[[Any], Any], column: str, failure: Exception | None
) -> np.ndarray:
    """Ask a function for each value by itself."""
    try:
        answers = [condition(value) for value in values]
    except Exception as cause:
        raise DataError(f"The condition on {column!r} failed: {cause}", found=repr(failure)) from cause
    wrong = [answer for answer in answers if not isinstance(answer, (bool, np.bool_))]
    if wrong:
        raise DataError(
            f"The condition on {column!r} gives no truth values.",
            expected="True or False per value, or a boolean mask for the array",
            found=repr(wrong[0])[:80],
        )
    return np.array(answers, dtype=bool)
