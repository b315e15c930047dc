"""Row numbers in their cheapest form: a slice where they are contiguous, else an int64 array.

Views, snapshots and gatherers share these functions, so that "contiguous" has one definition.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np

from mml.errors import DataError

Rows: TypeAlias = "slice | np.ndarray"


def compact(rows: Rows) -> Rows:
    """Return contiguous ascending rows as a slice, others as they are.

    Parameters
    ----------
    rows : slice or numpy.ndarray
        Absolute row numbers, int64 of shape ``(n,)``; a slice has a start, a stop and no step.
    """
    if isinstance(rows, slice) or not len(rows):
        return rows if isinstance(rows, slice) else slice(0, 0)
    first, last = int(rows[0]), int(rows[-1])
    # The ends alone rule out nearly every shuffled array; only the rest is looked at element by element.
    if first < 0 or last - first != len(rows) - 1 or not bool((rows[1:] - rows[:-1] == 1).all()):
        return rows
    return slice(first, last + 1)


def as_array(rows: Rows) -> np.ndarray:
    """Return row numbers as int64 of shape ``(n,)``."""
    return np.arange(rows.start, rows.stop, dtype=np.int64) if isinstance(rows, slice) else rows


def count(rows: Rows) -> int:
    """Return the number of rows."""
    return max(rows.stop - rows.start, 0) if isinstance(rows, slice) else len(rows)


def pick(rows: Rows, positions: Rows) -> Rows:
    """Return the rows at these positions: a view of a view is one index."""
    if isinstance(rows, slice):
        if isinstance(positions, slice):
            return slice(rows.start + positions.start, rows.start + positions.stop)
        return compact(positions + rows.start)
    return compact(rows[positions])


def marked(rows: Rows, n_rows: int) -> np.ndarray:
    """Return which of ``n_rows`` rows are among these: bool of shape ``(n_rows,)``."""
    mask = np.zeros(n_rows, dtype=bool)
    mask[rows] = True
    return mask


def distinct(rows: np.ndarray, n_rows: int) -> np.ndarray:
    """Return each row once, where it stands first."""
    if np.count_nonzero(marked(rows, n_rows)) == len(rows):
        return rows
    return rows[np.sort(np.unique(rows, return_index=True)[1])]


def checked_positions(positions: object, n_rows: int) -> Rows:
    """Return positions that a user gave as int64 or a slice; negative ones count from the end.

    Raises
    ------
    DataError
        If they are not integers, or the first that lies outside of ``n_rows``.
    """
    if isinstance(positions, slice):
        return _of_slice(positions, n_rows)
    if np.ma.is_masked(positions):
        raise DataError(
            "Some of these positions are masked.",
            found=repr(positions)[:80],
            hint="Take those that are not: positions.compressed().",
        )
    try:
        array = np.asarray(positions)
    except (TypeError, ValueError) as cause:
        raise DataError(
            "Rows are numbered by a flat list of integers.", found=repr(positions)[:80]
        ) from cause
    if array.dtype == bool and array.shape == (n_rows,):
        return compact(np.flatnonzero(array))
    if array.size == 0:
        return slice(0, 0)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise DataError(
            "Rows are numbered by a flat list of integers.",
            found=f"{array.dtype} of shape {array.shape}",
            expected=f"integers, or a boolean mask of shape ({n_rows},)",
        )
    lowest, highest = int(array.min()), int(array.max())
    if highest >= n_rows or lowest < -n_rows:
        raise DataError(f"There is no row {_first_outside(array, n_rows)}.", found=f"{n_rows} rows")
    array = array.astype(np.int64)
    if lowest >= 0:
        return compact(array)
    return compact(np.where(array < 0, array + n_rows, array))


def _of_slice(positions: slice, n_rows: int) -> Rows:
    try:
        start, stop, step = positions.indices(n_rows)
    except (TypeError, ValueError) as cause:
        raise DataError(
            "Rows are sliced by integers, with a step other than 0.", found=repr(positions)[:80]
        ) from cause
    if step == 1:
        return slice(start, max(start, stop))
    return np.arange(start, stop, step, dtype=np.int64)


def _first_outside(array: np.ndarray, n_rows: int) -> int:
    outside = array >= n_rows
    if array.dtype.kind == "i":
        outside |= array < -n_rows
    return int(array[outside][0])
