"""`RowMeanMetric`: a metric that comes from the weighted mean of one value a row, gathered as two sums."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mml.experiment.metrics.metric import Metric
from mml.experiment.results.state_fields import array_field
from mml.protocols import State

Floats = NDArray[np.float64]


class RowMeanMetric(Metric):
    """Base of metrics that give each row one value and take the weighted mean."""

    def __init__(self) -> None:
        self._total = 0.0
        self._weight = 0.0

    @abstractmethod
    def row_values(
        self, outputs: ArrayLike, targets: ArrayLike, weights: ArrayLike | None
    ) -> tuple[Floats, Floats]:
        """Return the values of the rows that count, and their weights, float64 of shape (n_rows,) each."""

    def update(self, outputs: ArrayLike, targets: ArrayLike, *, weights: ArrayLike | None = None) -> None:
        """Take in a batch, of the shapes that the class names."""
        values, counted = self.row_values(outputs, targets, weights)
        self._total += float((values * counted).sum())
        self._weight += float(counted.sum())

    def merge(self, other: Self) -> None:
        """Add the sums of another one."""
        self._check_mergeable(other)
        self._total += other._total
        self._weight += other._weight

    def mean(self) -> float:
        """Return the weighted mean over everything gathered.

        Raises
        ------
        ResultError
            If nothing was gathered.
        """
        if not self._weight:
            raise self._nothing_gathered()
        return self._total / self._weight

    def get_state(self) -> State:
        """Return the sum of weighted values and the sum of weights, float64 of shape (2,)."""
        return {"sums": np.array([self._total, self._weight])}

    def set_state(self, state: State) -> None:
        """Put back what :meth:`get_state` returned."""
        self._total, self._weight = array_field(state, "sums", dtype=np.float64, length=2).tolist()
