"""Rows told apart by the values of one or more columns: integer codes, vectorised.

Splitters and samplers share this, so that "the same group" means the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mml.data import FeatureSetView
from mml.data.schema import RAW
from mml.errors import DataError


def as_columns(columns: str | Iterable[str] | None) -> tuple[str, ...]:
    """Return a setting such as ``group_by`` as a tuple of names; empty for None."""
    if columns is None:
        return ()
    return (columns,) if isinstance(columns, str) else tuple(columns)


def group_codes(view: FeatureSetView, columns: tuple[str, ...]) -> np.ndarray:
    """Return the group of each row: int64 of shape ``(n,)``, numbered by first appearance.

    Parameters
    ----------
    view : FeatureSetView
        The rows.
    columns : tuple of str
        Scalar columns, as they were ingested; rows are one group where all of them are equal.

    Raises
    ------
    DataError
        For tensors, and for missing values: they belong to no group.
    """
    codes = np.zeros(view.n_samples, dtype=np.int64)
    for column in columns:
        own, n_own = _codes(_scalars(view, column))
        # Renumbered after each column, so that the product of group counts cannot overflow.
        codes = np.unique(codes * n_own + own, return_inverse=True)[1].reshape(-1)
    return _by_first_appearance(codes)


def _codes(values: np.ndarray) -> tuple[np.ndarray, int]:
    if values.dtype == object:
        numbers: dict[object, int] = {}
        codes = np.fromiter(
            (numbers.setdefault(value, len(numbers)) for value in values.tolist()),
            dtype=np.int64,
            count=len(values),
        )
        return codes, max(len(numbers), 1)
    distinct, codes = np.unique(values, return_inverse=True)
    return codes.reshape(-1), max(len(distinct), 1)


def _by_first_appearance(codes: np.ndarray) -> np.ndarray:
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first, kind="stable")] = np.arange(len(first))
    return rank[inverse.reshape(-1)]


def _scalars(view: FeatureSetView, column: str) -> np.ndarray:
    rep = None if column.rpartition(".")[2] in (RAW, "transformed") else RAW
    data = view.get_data([column], rep, fmt="dict_numpy")
    if len(data) != 1:
        raise DataError(f"{column!r} fits {len(data)} columns.", hint="Name each column.")
    values: np.ndarray = next(iter(data.values()))
    if values.size != len(values):
        raise DataError(
            f"The samples of {column!r} are tensors and have no single value to group by.",
            found=f"shape {values.shape[1:]}",
        )
    values = values.reshape(-1)
    missing = _missing(values)
    if missing.any():
        row = int(view.rows[int(np.argmax(missing))])
        raise DataError(
            f"{column!r} has missing values, which belong to no group.",
            where={"view": view.label, "row": row},
            found=f"{int(missing.sum())} of {len(values)}",
            hint="Filter them out, or fill them before the data goes in.",
        )
    return values


def _missing(values: np.ndarray) -> np.ndarray:
    if values.dtype == object:
        return np.fromiter((value is None for value in values.tolist()), dtype=bool, count=len(values))
    if values.dtype.kind in "mM":
        return np.asarray(np.isnat(values))
    # Only a NaN differs from itself.
    return np.asarray(values != values)  # noqa: PLR0124
