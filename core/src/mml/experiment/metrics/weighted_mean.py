"""A weighted mean that is gathered in parts: two sums, which merge by addition."""

from __future__ import annotations

from typing import final

import numpy as np
from numpy.typing import NDArray

from mml.experiment.results.state_fields import array_field
from mml.protocols import State


@final
class WeightedMean:
    """Sum of weighted values, and sum of weights."""

    __slots__ = ("_total", "_weight")

    def __init__(self) -> None:
        self._total = 0.0
        self._weight = 0.0

    def add(self, values: NDArray[np.float64], weights: NDArray[np.float64]) -> None:
        """Take in values and weights, float64 of shape (n_rows,) each."""
        self._total += float((values * weights).sum())
        self._weight += float(weights.sum())

    def merge(self, other: WeightedMean) -> None:
        """Take in the sums of another one."""
        self._total += other._total
        self._weight += other._weight

    def value(self) -> float | None:
        """Return the mean, or None if nothing was taken in."""
        return self._total / self._weight if self._weight else None

    def get_state(self) -> State:
        """Return both sums, float64 (2,)."""
        return {"sums": np.array([self._total, self._weight])}

    def set_state(self, state: State) -> None:
        """Put back what :meth:`get_state` returned."""
        self._total, self._weight = array_field(state, "sums", dtype=np.float64, length=2).tolist()
