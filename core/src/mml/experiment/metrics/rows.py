"""What metrics are updated with: one entry per row, and a weight that says how much the row counts.

Rows of zero weight are dropped before anything looks at their values, so that masked rows may hold
anything, NaN included.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mml.errors import DataError, ShapeError


class Rows(NamedTuple):
    """Outputs and targets of the rows that count, first axes of equal length, and their weights."""

    outputs: NDArray[Any]
    targets: NDArray[Any]
    weights: NDArray[np.float64]


def weighted_rows(outputs: ArrayLike, targets: ArrayLike, *, weights: ArrayLike | None, metric: str) -> Rows:
    """Pair outputs, targets and weights row by row.

    Parameters
    ----------
    outputs, targets : array-like, shape (n_rows, ...)
        Numbers or booleans.
    weights : array-like of float, shape (n_rows,) or (n_rows, 1), optional
        Finite and not negative; 1 by default.
    metric : str
        Name of the metric, for messages.

    Raises
    ------
    DataError
        If values are not real numbers, or weights are negative or not finite.
    ShapeError
        If the numbers of rows differ.
    """
    predicted, actual = _numbers("outputs", outputs, metric), _numbers("targets", targets, metric)
    if len(predicted) != len(actual):
        raise ShapeError(
            "Outputs and targets differ in their number of rows.",
            where={"metric": metric},
            found=f"outputs {predicted.shape}, targets {actual.shape}",
        )
    if weights is None:
        return Rows(predicted, actual, np.ones(len(predicted)))
    given = _numbers("weights", weights, metric).astype(np.float64)
    if given.shape not in ((len(predicted),), (len(predicted), 1)):
        raise ShapeError(
            "Weights do not fit the rows.",
            where={"metric": metric},
            expected=f"shape ({len(predicted)},)",
            found=f"shape {given.shape}",
        )
    given = given.reshape(-1)
    if not np.isfinite(given).all() or (given < 0).any():
        raise DataError("Weights must be finite and not negative.", where={"metric": metric})
    live = given > 0
    return Rows(predicted[live], actual[live], given[live])


def _numbers(what: str, values: ArrayLike, metric: str) -> NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"The {what} of a metric must be real numbers.",
            where={"metric": metric},
            expected="integers, floats or booleans",
            found=f"dtype {array.dtype}",
        )
    if array.ndim == 0:
        raise ShapeError(
            f"The {what} of a metric need a row axis.", where={"metric": metric}, expected="(n_rows, ...)"
        )
    return array
