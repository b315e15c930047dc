"""pandas DataFrames whose groups of rows are the samples: rows become the sample's axis.

Everything is done on whole columns: groups are numbered, rows are brought together by one stable sort, and a
column is one take and one reshape. pandas itself is only reached through the frame that the user gave.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mml.data.arrow_columns import tensor_array, time_zone
from mml.data.chunked_columns import decode, take_arrow
from mml.data.columns_given import Columns, Keys, columns_of_frame, keys_of, require_known
from mml.data.ingest import to_column
from mml.data.schema import TAGS, ColumnName
from mml.errors import DataError


def columns_of_sorted_frame(
    frame: Any, keys: Keys, *, group_by: Any = None, sort_by: Any = None, constant_cols: Any = ()
) -> Columns:
    """Yield the columns of a DataFrame.

    Parameters
    ----------
    frame : pandas.DataFrame
    keys : mapping of str to str or iterable of str
        Domain → columns of the frame.
    group_by : str or iterable of str, optional
        Columns whose equal values make one sample out of their rows; samples come in order of first
        appearance, and these columns become tags where no domain names them.
    sort_by : str or iterable of str, optional
        Columns that order the rows, within each group where there are groups; equal ones keep their order.
    constant_cols : str or iterable of str
        Features and targets that have one value in all rows of a group, and one a sample.
    """
    wanted = list(columns_of_frame(frame, keys))
    known = list(frame.columns)
    groups = _asked(group_by, known, "group_by")
    constant = _constant(constant_cols, wanted, groups)
    order = _sorted_rows(frame, _asked(sort_by, known, "sort_by"))
    if not groups:
        for name, values in wanted:
            yield name, values if order is None else _rows_of(values, name, order)
        return
    grouping = _grouping(frame, groups, order)
    taken = {name.key for name, _ in wanted}
    wanted += [(ColumnName(TAGS, key), frame[key]) for key in groups if key not in taken]
    for name, values in wanted:
        if name.domain == TAGS or name.key in constant:
            yield name, _value_of_groups(values, name, grouping, frame, groups)
        else:
            yield name, _tensor(values, name, grouping)


@dataclass(frozen=True, slots=True)
class _Grouping:
    """Rows of a frame by group: ``rows`` is ``(n_groups, rows_per_group)``, or None for 0, 1, 2, ..."""

    rows: np.ndarray | None
    shape: tuple[int, int]

    @property
    def first_rows(self) -> np.ndarray:
        """The first row of each group in the order asked for, int64 ``(n_groups,)``."""
        if self.rows is None:
            return np.arange(0, self.shape[0] * self.shape[1], self.shape[1])
        return self.rows[:, 0]

    def row(self, group: int, place: int) -> int:
        """Return the row of the frame at a place of a group."""
        return int(group * self.shape[1] + place if self.rows is None else self.rows[group, place])

    def arrange(self, values: np.ndarray) -> np.ndarray:
        """Return values per row, ``(n_rows, *shape)``, as ``(n_groups, rows_per_group, *shape)``."""
        if self.rows is not None:
            return values.take(self.rows, axis=0)
        return values.reshape(*self.shape, *values.shape[1:])


def _asked(given: Any, known: list[Any], argument: str) -> list[Any]:
    if given is None:
        return []
    asked = keys_of(given, argument=argument)
    require_known(asked, known, argument=argument)
    return asked


def _constant(given: Any, wanted: Sequence[tuple[ColumnName, Any]], groups: Sequence[Any]) -> frozenset[Any]:
    """Return the keys of the features and targets that have one value a group."""
    asked = keys_of(given, argument="constant_cols")
    require_known(asked, [name.key for name, _ in wanted if name.domain != TAGS], argument="constant_cols")
    if asked and not groups:
        raise DataError(
            "Columns are constant within groups, and there are none.",
            where={"argument": "constant_cols"},
            hint="Say which rows make a sample, group_by='...', or leave constant_cols out.",
        )
    return frozenset(asked)


def _sorted_rows(frame: Any, keys: list[Any]) -> np.ndarray | None:
    if not keys:
        return None
    try:
        order = frame[keys].reset_index(drop=True).sort_values(keys, kind="stable").index.to_numpy()
    except (TypeError, ValueError, pa.ArrowException) as cause:
        raise DataError(
            f"The rows cannot be sorted by {keys!r}: {cause}", where={"argument": "sort_by"}
        ) from cause
    return np.asarray(order, dtype=np.int64)


def _grouping(frame: Any, keys: list[Any], order: np.ndarray | None) -> _Grouping:
    numbers = _group_numbers(frame, keys)
    if not len(numbers):
        raise DataError("A FeatureSet needs at least one sample.", found="a DataFrame without rows")
    lengths = np.bincount(numbers)
    odd = np.flatnonzero(lengths != lengths[0])
    if len(odd):
        row = int(np.argmax(numbers == odd[0]))
        raise DataError(
            f"The groups differ in length, {_shown(frame, keys, row)} first.",
            where={"group_by": keys[0] if len(keys) == 1 else tuple(keys), "row": row},
            expected=f"{lengths[0]} row(s), as in {_shown(frame, keys, 0)}",
            found=f"{lengths[odd[0]]} row(s), the first of them row {row}",
            hint="Pad or cut the groups to one length.",
        )
    shape = (len(lengths), int(lengths[0]))
    if order is None:
        if bool((numbers[1:] >= numbers[:-1]).all()):
            return _Grouping(None, shape)
        return _Grouping(np.argsort(numbers, kind="stable").reshape(shape), shape)
    return _Grouping(order[np.argsort(numbers[order], kind="stable")].reshape(shape), shape)


def _group_numbers(frame: Any, keys: list[Any]) -> np.ndarray:
    """Return the number of each row's group, counted in order of first appearance."""
    numbers = np.zeros(len(frame), dtype=np.int64)
    for key in keys:
        codes, values = _factorized(frame[key], {"argument": "group_by"})
        if len(codes) and int(codes.min()) < 0:
            row = int(np.argmin(codes))
            raise DataError(
                f"{key!r} has a missing value in row {row}.",
                where={"argument": "group_by", "row": row},
                expected="a value in every row, which says to which sample the row belongs",
            )
        # The product of two counts of groups is at most the square of the number of rows: int64 holds it.
        numbers = codes if key is keys[0] else _in_order_of_appearance(numbers * len(values) + codes)
    return numbers


def _factorized(values: Any, where: dict[str, Any]) -> tuple[np.ndarray, Any]:
    try:
        codes, distinct = values.factorize()
    except (TypeError, pa.ArrowException) as cause:
        first_line = str(cause).partition("\n")[0]
        raise DataError(
            f"The values of {values.name!r} cannot be told apart: {first_line}",
            where=where,
            expected="one number, text or time in every row",
            found=type(values.iloc[0]).__name__,
        ) from cause
    return np.asarray(codes), distinct


def _in_order_of_appearance(numbers: np.ndarray) -> np.ndarray:
    _, first_rows, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    place = np.empty(len(first_rows), dtype=np.int64)
    place[np.argsort(first_rows)] = np.arange(len(first_rows))
    return place[inverse.reshape(-1)]


def _tensor(values: Any, name: ColumnName, grouping: _Grouping) -> np.ndarray | pa.Array:
    """Return a feature or target of ``(n_groups, rows_per_group, *shape)``."""
    if _is_plain(values):
        return grouping.arrange(values.to_numpy())
    column = _ingested(values, name)
    flat = decode(column).take(slice(0, len(column)))
    if flat.dtype == object:
        raise DataError(
            f"The samples of {name.key!r} would be tensors of text.",
            where={"column": str(name), "row": 0},
            expected="numbers, booleans or timestamps, which the rows of a group make a tensor of",
            hint="Name it among the tags where it is the same in all rows of a group.",
        )
    # As Arrow, because NumPy would lose the zone of times.
    return tensor_array(np.ascontiguousarray(grouping.arrange(flat)), zone=time_zone(column.type))


def _rows_of(values: Any, name: ColumnName, rows: np.ndarray) -> Any:
    """Return rows of a column; what is wrong with it is found, and named, before they change places."""
    return values.iloc[rows] if _is_plain(values) else take_arrow(_ingested(values, name), rows)


def _is_plain(values: Any) -> bool:
    """Return whether a column holds numbers of NumPy, in which nothing can be wrong in one row alone."""
    return isinstance(values.dtype, np.dtype) and values.dtype.kind in "biuf"


def _ingested(values: Any, name: ColumnName) -> pa.ChunkedArray:
    column = to_column(values, name=name)
    return column if isinstance(column, pa.ChunkedArray) else pa.chunked_array([column])


def _value_of_groups(
    values: Any, name: ColumnName, grouping: _Grouping, frame: Any, groups: Sequence[Any]
) -> Any:
    """Return the value of each group of a tag or constant column, which is the same in all of its rows."""
    codes = grouping.arrange(_factorized(values, {"column": str(name)})[0])
    differs = codes != codes[:, :1]
    if differs.any():
        group, place = (int(one) for one in np.argwhere(differs)[0])
        row, other = grouping.row(group, 0), grouping.row(group, place)
        is_tag = name.domain == TAGS
        raise DataError(
            f"The {'tag' if is_tag else 'constant column'} {name.key!r} varies within "
            f"{_shown(frame, groups, row)}.",
            where={"column": str(name), "row": row},
            expected="one value per group, because a tag is a scalar of its sample"
            if is_tag
            else "one value per group, which becomes that of the sample",
            found=f"{values.iloc[row]} in row {row}, {values.iloc[other]} in row {other}",
            hint="Name it among the features to keep all values, or group by it as well."
            if is_tag
            else "Leave it out of constant_cols to keep all values, or group by it as well.",
        )
    return _rows_of(values, name, grouping.first_rows)


def _shown(frame: Any, keys: Sequence[Any], row: int) -> str:
    return "the group " + ", ".join(f"{key}={frame[key].iloc[row]}" for key in keys)
