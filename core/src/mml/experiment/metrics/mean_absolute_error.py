"""Mean absolute error, over rows and columns alike."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self, final

import numpy as np
from numpy.typing import ArrayLike

from mml.experiment.metrics.metric import Metric
from mml.experiment.metrics.regression import numeric_rows
from mml.experiment.metrics.weighted_mean import WeightedMean
from mml.protocols import State


@final
class MeanAbsoluteError(Metric):
    """Weighted mean of abs(output - target); columns count equally.

    Examples
    --------
    >>> metric = MeanAbsoluteError()
    >>> metric.update([1.0, 2.0], [4.0, 5.0])
    >>> metric.compute()
    3.0
    """

    name: ClassVar[str] = "mae"
    mode: ClassVar[Literal["min", "max"]] = "min"

    def __init__(self) -> None:
        self._errors = WeightedMean()

    def settings(self) -> dict[str, Any]:
        """Return the constructor's keywords: there are none."""
        return {}

    def update(self, outputs: ArrayLike, targets: ArrayLike, *, weights: ArrayLike | None = None) -> None:
        """Take in a batch: numbers of equal shape, (N,) or (N, ...)."""
        rows = numeric_rows(outputs, targets, weights=weights, metric=self.name)
        self._errors.add(np.abs(rows.outputs - rows.targets).mean(axis=1), rows.weights)

    def merge(self, other: Self) -> None:
        """Add the sums of another one."""
        self._check_mergeable(other)
        self._errors.merge(other._errors)

    def compute(self) -> float:
        """Return the value over everything gathered."""
        mean = self._errors.value()
        if mean is None:
            raise self._nothing_gathered()
        return mean

    def get_state(self) -> State:
        """Return the sum of errors and the sum of weights."""
        return self._errors.get_state()

    def set_state(self, state: State) -> None:
        """Put back what :meth:`get_state` returned."""
        self._errors.set_state(state)
