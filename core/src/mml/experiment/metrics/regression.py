"""Errors of numeric outputs as float64 columns: what the regression metrics have in common."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mml.errors import ShapeError
from mml.experiment.metrics.rows import Rows, weighted_rows


def numeric_rows(outputs: ArrayLike, targets: ArrayLike, *, weights: ArrayLike | None, metric: str) -> Rows:
    """Pair outputs and targets of equal shape as float64 of shape (n_rows, n_columns).

    (N,) and (N, 1) are the same thing here; further axes are columns.

    Raises
    ------
    ShapeError
        If the shapes differ otherwise. Nothing is broadcast.
    """
    given = np.shape(outputs), np.shape(targets)
    rows = weighted_rows(outputs, targets, weights=weights, metric=metric)
    if _trailing(given[0]) != _trailing(given[1]) or 0 in _trailing(given[0]):
        raise ShapeError(
            "Outputs and targets need one shape, with at least one column.",
            where={"metric": metric},
            found=f"outputs {given[0]}, targets {given[1]}",
        )
    return Rows(_columns(rows.outputs), _columns(rows.targets), rows.weights)


def _trailing(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape[1:] or (1,)


def _columns(array: NDArray[np.generic]) -> NDArray[np.float64]:
    width = int(np.prod(_trailing(array.shape)))
    return array.reshape(len(array), width).astype(np.float64)
