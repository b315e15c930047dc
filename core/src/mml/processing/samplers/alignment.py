"""Which row of one FeatureSet belongs to which of another: equal UUIDs, or equal values in columns."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from mml.data import FeatureSetView
from mml.data.schema import RAW
from mml.errors import SamplerError
from mml.processing.samplers.joint_codes import joint_codes

BY_UUID = ("sample_uuid", "sample_uuids")


def partner_positions(view: FeatureSetView, other: FeatureSetView, *, by: tuple[str, ...]) -> np.ndarray:
    """Return for each row of a view the position of its match in another, -1 where it has none.

    Parameters
    ----------
    view, other : FeatureSetView
    by : tuple of str
        Columns that both have, or ``("sample_uuid",)``.

    Returns
    -------
    numpy.ndarray
        int64 ``(len(view),)``.

    Raises
    ------
    ColumnError
        If a column does not exist.
    SamplerError
        If its values cannot be compared, one is missing, or one that is asked for stands in several rows of
        the other view.
    """
    mine, theirs, values = _codes(view, other, by)
    order = np.argsort(theirs, kind="stable")
    ranked = theirs[order]
    first = np.searchsorted(ranked, mine, side="left")
    n_found = np.searchsorted(ranked, mine, side="right") - first
    if (n_found > 1).any():
        row = int(np.argmax(n_found > 1))
        raise SamplerError(
            f"{', '.join(map(repr, by))} tells the rows of {other.label} not apart.",
            expected="one row for each value",
            found=f"{int(n_found[row])} rows with {values(row)}",
            hint="Align by further columns, or make the other FeatureSet the primary one.",
        )
    if not len(order):
        return np.full(len(mine), -1, dtype=np.int64)
    return np.where(n_found == 1, order[np.minimum(first, len(order) - 1)], -1)


def _codes(
    view: FeatureSetView, other: FeatureSetView, by: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray, Callable[[int], str]]:
    """Return codes that agree where the keys of two rows do, and a function that tells a row's key."""
    if by[0] in BY_UUID:
        mine, theirs = _uuid_codes(view, other)
        return mine, theirs, lambda row: f"UUID {bytes(view.sample_uuids[row]).hex()}"
    joint = np.zeros(len(view) + len(other), dtype=np.int64)
    columns = []
    for column in by:
        pair = (_column(view, column), _column(other, column))
        columns.append(pair[0])
        own = joint_codes(column, pair, (view.label, other.label))
        joint = np.unique(joint * (int(own.max(initial=0)) + 1) + own, return_inverse=True)[1].reshape(-1)
    return joint[: len(view)], joint[len(view) :], lambda row: ", ".join(str(one[row]) for one in columns)


def _uuid_codes(view: FeatureSetView, other: FeatureSetView) -> tuple[np.ndarray, np.ndarray]:
    if view.featureset.snapshot().collection is other.featureset.snapshot().collection:
        return view.rows, other.rows
    words = np.concatenate([view.sample_uuids, other.sample_uuids]).view(np.uint64).reshape(-1, 2)
    order = np.lexsort((words[:, 1], words[:, 0]))
    changed = np.any(words[order[1:]] != words[order[:-1]], axis=1)
    codes = np.empty(len(order), dtype=np.int64)
    codes[order] = np.concatenate([[0], np.cumsum(changed)])
    return codes[: len(view)], codes[len(view) :]


def _column(view: FeatureSetView, column: str) -> Any:
    """Return the values of a scalar column: NumPy numbers and times, Arrow strings; none of them missing."""
    table = view.get_data([column], RAW, fmt="arrow")
    values = table.column(0).combine_chunks()
    if isinstance(values, pa.ChunkedArray):
        values = values.chunk(0) if values.num_chunks else pa.array([], values.type)
    if isinstance(values, pa.FixedShapeTensorArray) and math.prod(values.type.shape) == 1:
        values = values.storage.flatten()
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    text = pa.types.is_string(values.type) or pa.types.is_large_string(values.type)
    if (
        len(table.column_names) != 1
        or isinstance(values, pa.ExtensionArray)
        or pa.types.is_nested(values.type)
    ):
        raise SamplerError(
            f"Rows are aligned by one value; {column!r} has several.",
            where={"view": view.label},
            found=str(values.type),
        )
    import pyarrow.compute as pc  # here: it takes longer to import than all of MML

    missing = np.asarray(pc.is_null(values, nan_is_null=not text))
    if missing.any():
        raise SamplerError(
            f"{column!r} has missing values, which match nothing.",
            where={"view": view.label, "row": int(view.rows[int(np.argmax(missing))])},
            found=f"{int(missing.sum())} of {len(missing)}",
        )
    return values.cast(pa.large_string()) if text else values.to_numpy(zero_copy_only=False)
