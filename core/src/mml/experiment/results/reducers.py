"""Grouping of a series' entries, and the reductions that combine a group into one value.

Everything here is whole-array work over integer group numbers, so that a million entries take
milliseconds. Sums run in entry order, which makes the bits a function of the entries alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mml.errors import ResultError, ShapeError
from mml.experiment.results.axis import Axis, Codes

_DENSE_FACTOR = 4
_DENSE_MINIMUM = 65536


class Groups(NamedTuple):
    """Which group each entry belongs to.

    Attributes
    ----------
    ids : ndarray of int64, shape (n_entries,)
        Group number per entry.
    n : int
        Number of groups.
    codes : list of ndarray of int32, shape (n_groups,) each
        Codes of the kept axes, per group.
    collapsed : sequence of Axis
        The axes along which entries are combined.
    """

    ids: NDArray[np.int64]
    n: int
    codes: list[Codes]
    collapsed: Sequence[Axis]

    def sequence(self) -> NDArray[np.int64]:
        """Order entries along the collapsed axes, keeping the order of recording among equals."""
        order = np.arange(len(self.ids))
        for axis in reversed(self.collapsed):
            codes = axis.codes[order]
            if bool((codes[1:] >= codes[:-1]).all()):
                continue
            # NumPy sorts 16-bit integers by radix, about six times faster than wider ones.
            narrow = codes.astype(np.uint16) if len(axis.vocabulary) <= 65536 else codes
            order = order[np.argsort(narrow, kind="stable")]
        return order


class Reduced(NamedTuple):
    """Values and row counts after a reduction, one per group."""

    values: NDArray[Any]
    rows: NDArray[np.int64] | None


Reducer = Callable[[NDArray[Any], "NDArray[np.int64] | None", Groups], Reduced]


def group_entries(kept: Sequence[Axis], collapsed: Sequence[Axis], *, n_entries: int) -> Groups:
    """Group entries that agree on the kept axes; groups come in code order.

    Parameters
    ----------
    kept, collapsed : sequence of Axis
        The axes that stay, and those along which entries are combined.
    n_entries : int
        Number of entries.
    """
    sizes = [len(axis.vocabulary) for axis in kept]
    space = 1
    for size in sizes:
        space *= size
    if space >= 2**62:
        table = np.stack([axis.codes for axis in kept], axis=1)
        distinct, ids = np.unique(table, axis=0, return_inverse=True)
        codes = [np.ascontiguousarray(column) for column in distinct.T]
        return Groups(ids.reshape(-1).astype(np.int64), len(distinct), codes, collapsed)
    key = combined_key(kept, n_entries=n_entries)
    if space <= _DENSE_FACTOR * n_entries + _DENSE_MINIMUM:
        occupied = np.bincount(key, minlength=space) > 0
        present = np.flatnonzero(occupied)
        ids = key if len(present) == space else (np.cumsum(occupied) - 1)[key]
    else:
        present, ids = np.unique(key, return_inverse=True)
    codes = [part.astype(np.int32) for part in np.unravel_index(present, sizes)] if sizes else []
    return Groups(ids, len(present), codes, collapsed)


def combined_key(axes: Sequence[Axis], *, n_entries: int) -> NDArray[np.int64]:
    """Number the coordinates of each entry in lexicographic code order; shape (n_entries,)."""
    key = np.zeros(n_entries, dtype=np.int64)
    for axis in axes:
        key *= len(axis.vocabulary)
        key += axis.codes
    return key


def _row_counts(rows: NDArray[np.int64] | None, groups: Groups) -> NDArray[np.int64] | None:
    if rows is None:
        return None
    return np.bincount(groups.ids, weights=rows, minlength=groups.n).astype(np.int64)


def _mean(values: NDArray[Any], rows: NDArray[np.int64] | None, groups: Groups) -> Reduced:
    if rows is None:
        totals = np.bincount(groups.ids, weights=values, minlength=groups.n)
        return Reduced(totals / np.bincount(groups.ids, minlength=groups.n), None)
    totals = np.bincount(groups.ids, weights=values * rows, minlength=groups.n)
    counts = np.bincount(groups.ids, weights=rows, minlength=groups.n)
    return Reduced(totals / counts, counts.astype(np.int64))


def _sum(values: NDArray[Any], rows: NDArray[np.int64] | None, groups: Groups) -> Reduced:
    totals = np.bincount(groups.ids, weights=values, minlength=groups.n)
    return Reduced(totals, _row_counts(rows, groups))


def _min(values: NDArray[Any], rows: NDArray[np.int64] | None, groups: Groups) -> Reduced:
    lowest = np.full(groups.n, np.inf)
    np.minimum.at(lowest, groups.ids, values)
    return Reduced(lowest, _row_counts(rows, groups))


def _max(values: NDArray[Any], rows: NDArray[np.int64] | None, groups: Groups) -> Reduced:
    highest = np.full(groups.n, -np.inf)
    np.maximum.at(highest, groups.ids, values)
    return Reduced(highest, _row_counts(rows, groups))


def _pick(
    values: NDArray[Any], rows: NDArray[np.int64] | None, groups: Groups, sequence: NDArray[np.int64]
) -> Reduced:
    chosen = np.zeros(groups.n, dtype=np.int64)
    # Of several assignments to one place the last one stays.
    chosen[groups.ids[sequence]] = sequence
    return Reduced(values[chosen], None if rows is None else rows[chosen])


def _first(values: NDArray[Any], rows: NDArray[np.int64] | None, groups: Groups) -> Reduced:
    return _pick(values, rows, groups, groups.sequence()[::-1])


def _last(values: NDArray[Any], rows: NDArray[np.int64] | None, groups: Groups) -> Reduced:
    return _pick(values, rows, groups, groups.sequence())


def _concat(values: NDArray[Any], rows: NDArray[np.int64] | None, groups: Groups) -> Reduced:
    members: list[list[NDArray[Any]]] = [[] for _ in range(groups.n)]
    for entry in groups.sequence().tolist():
        members[groups.ids[entry]].append(values[entry])
    joined = np.empty(groups.n, dtype=object)
    for group, arrays in enumerate(members):
        joined[group] = concatenate_rows(arrays)
    return Reduced(joined, _row_counts(rows, groups))


def concatenate_rows(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Concatenate arrays along their first axis; those that do not fit raise a `ShapeError`."""
    try:
        return np.concatenate(arrays, axis=0)
    except ValueError as cause:
        raise ShapeError(
            "Recorded arrays of these shapes cannot be concatenated along their rows.",
            found=", ".join(dict.fromkeys(str(array.shape) for array in arrays)),
            hint="Read them one by one with at(epoch=..., batch=...).",
        ) from cause


_REDUCERS: dict[str, Reducer] = {
    "mean": _mean,
    "sum": _sum,
    "min": _min,
    "max": _max,
    "first": _first,
    "last": _last,
    "concat": _concat,
}


def reducer(name: str) -> Reducer:
    """Return the reduction of that name."""
    try:
        return _REDUCERS[name]
    except KeyError as cause:
        raise ResultError(f"There is no reducer {name!r}.", hint=f"Known: {', '.join(_REDUCERS)}.") from cause
