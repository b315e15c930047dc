"""Root of the mean squared error, over rows and columns alike."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal, final

from numpy.typing import ArrayLike

from mml.experiment.metrics.regression import numeric_rows
from mml.experiment.metrics.row_mean import Floats, RowMeanMetric


@final
class RootMeanSquaredError(RowMeanMetric):
    """Root of the weighted mean of ``(output - target)**2``; columns count equally.

    Outputs and targets are numbers of equal shape, (n_rows,) or (n_rows, ...).

    Examples
    --------
    >>> metric = RootMeanSquaredError()
    >>> metric.update([1.0, 2.0], [4.0, 5.0])
    >>> metric.compute()
    3.0
    """

    name: ClassVar[str] = "rmse"
    mode: ClassVar[Literal["min", "max"]] = "min"

    def settings(self) -> dict[str, Any]:
        """Return the constructor's keywords: there are none."""
        return {}

    def row_values(
        self, outputs: ArrayLike, targets: ArrayLike, weights: ArrayLike | None
    ) -> tuple[Floats, Floats]:
        """Return the errors of rows, the mean over columns."""
        rows = numeric_rows(outputs, targets, weights=weights, metric=self.name)
        return ((rows.outputs - rows.targets) ** 2).mean(axis=1), rows.weights

    def compute(self) -> float:
        """Return the value over everything gathered."""
        return math.sqrt(self.mean())
