"""Rows told apart by the values of one or more columns: integer codes, vectorised.

Splitters and samplers share this, so that "the same group" means the same everywhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import numpy as np
import pyarrow as pa

from mml.data import FeatureSetView
from mml.data.coded_strings import CodedStrings, coded_strings
from mml.data.schema import RAW
from mml.errors import DataError


def as_columns(columns: str | Iterable[str] | None, *, setting: str = "group_by") -> tuple[str, ...]:
    """Return a setting such as ``group_by``, named for messages, as a tuple of names; empty for None.

    Raises
    ------
    DataError
        If it is something else.
    """
    if columns is None:
        return ()
    names: tuple[object, ...] = (columns,)
    if not isinstance(columns, str) and isinstance(columns, Iterable):
        names = tuple(columns)
    if not all(isinstance(name, str) for name in names):
        raise DataError(
            f"Columns to {setting.replace('_', ' ')} are given by name.",
            expected="a string or a list of strings",
            found=_told(columns),
            hint=f"Make the values a column of the FeatureSet, such as a tag, and name it: {setting}='...'.",
        )
    return cast("tuple[str, ...]", names)


def _told(given: object) -> str:
    """Describe what is no name; of arrays, whose values say nothing here, the shape."""
    shape = getattr(given, "shape", None)
    return repr(given)[:80] if shape is None else f"{type(given).__name__} of shape {tuple(shape)}"


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
    for number, column in enumerate(columns):
        own = _numbered(_scalars(view, column))
        if number and len(own):
            # Renumbered after each column, so that the product of group counts cannot overflow.
            own = _numbered(codes * (int(own.max()) + 1) + own)
        codes = own
    return codes.astype(np.int64, copy=False)


def count_pairs(groups: np.ndarray, strata: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which groups and strata meet, and in how many rows: int64 ``(n_pairs,)`` each, by group."""
    n_strata = int(strata.max()) + 1
    met = pa.array(groups * n_strata + strata).dictionary_encode()
    pairs, rows = met.dictionary.to_numpy(), np.bincount(met.indices.to_numpy())
    order = np.argsort(pairs, kind="stable")
    return pairs[order] // n_strata, pairs[order] % n_strata, rows[order]


def group_values(view: FeatureSetView, column: str) -> np.ndarray:
    """Return the values that rows are grouped by, ``(n,)``; strings as objects.

    Raises
    ------
    DataError
        For tensors, and for missing values.
    """
    values = _scalars(view, column)
    return values.categories.take(values.codes) if isinstance(values, CodedStrings) else values


def _numbered(values: np.ndarray | CodedStrings) -> np.ndarray:
    """Return integers from 0 on by first appearance, equal where the values are."""
    if isinstance(values, CodedStrings):
        values = _distinct(values)
    if values.dtype == object:
        numbers: dict[object, int] = {}
        own = (numbers.setdefault(value, len(numbers)) for value in values.tolist())
        return np.fromiter(own, dtype=np.int64, count=len(values))
    if values.dtype.kind == "f":
        # Arrow tells -0.0 from 0.0, and knows no halves.
        values = values.astype(np.promote_types(values.dtype, np.float32), copy=False) + np.float32(0)
    elif values.dtype.kind in "mM":
        values = values.view(np.int64)
    return np.asarray(pa.array(values).dictionary_encode().indices.to_numpy())


def _distinct(strings: CodedStrings) -> np.ndarray:
    """Return codes that are equal only where the strings are: Arrow lets a category stand twice."""
    categories = strings.categories.tolist()
    if len(set(categories)) == len(categories):
        return strings.codes
    numbers: dict[object, int] = {}
    same = [numbers.setdefault(one, len(numbers)) for one in categories]
    return np.array(same, dtype=np.int64).take(strings.codes)


def _scalars(view: FeatureSetView, column: str) -> np.ndarray | CodedStrings:
    rep = None if column.rpartition(".")[2] in (RAW, "transformed") else RAW
    names = view.schema.select([column], rep=rep)
    if len(names) != 1:
        raise DataError(f"{column!r} fits {len(names)} columns.", hint="Name each column.")
    source = view.featureset.snapshot()
    strings = coded_strings(source, names[0], view.row_index)
    if strings is not None:
        _require_present(view, column, strings.codes == strings.missing)
        return strings
    values = source.take(names[0], view.row_index)
    if values.size != len(values):
        raise DataError(
            f"The samples of {column!r} are tensors and have no single value to group by.",
            found=f"shape {values.shape[1:]}",
        )
    values = values.reshape(-1)
    _require_present(view, column, _missing(values))
    return values


def _require_present(view: FeatureSetView, column: str, missing: np.ndarray) -> None:
    if missing.any():
        row = int(view.rows[int(np.argmax(missing))])
        raise DataError(
            f"{column!r} has missing values, which belong to no group.",
            where={"view": view.label, "row": row},
            found=f"{int(missing.sum())} of {len(missing)}",
            hint="Filter them out, or fill them before the data goes in.",
        )


def _missing(values: np.ndarray) -> np.ndarray:
    if values.dtype == object:
        return np.fromiter((value is None for value in values.tolist()), dtype=bool, count=len(values))
    if values.dtype.kind in "mM":
        return np.asarray(np.isnat(values))
    # Only a NaN differs from itself.
    return np.asarray(values != values)  # noqa: PLR0124
