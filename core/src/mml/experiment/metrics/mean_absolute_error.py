"""Mean absolute error, over rows and columns alike."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, final

import numpy as np
from numpy.typing import ArrayLike

from mml.experiment.metrics.regression import numeric_rows
from mml.experiment.metrics.row_mean import Floats, RowMeanMetric


@final
class MeanAbsoluteError(RowMeanMetric):
    """Weighted mean of abs(output - target); columns count equally.

    Outputs and targets are numbers of equal shape, (n_rows,) or (n_rows, ...).

    Examples
    --------
    >>> metric = MeanAbsoluteError()
    >>> metric.update([1.0, 2.0], [4.0, 5.0])
    >>> metric.compute()
    3.0
    """

    name: ClassVar[str] = "mae"
    mode: ClassVar[Literal["min", "max"]] = "min"

    def settings(self) -> dict[str, Any]:
        """Return the constructor's keywords: there are none."""
        return {}

    def row_values(
        self, outputs: ArrayLike, targets: ArrayLike, weights: ArrayLike | None
    ) -> tuple[Floats, Floats]:
        """Return the errors of rows, the mean over columns."""
        rows = numeric_rows(outputs, targets, weights=weights, metric=self.name)
        return np.abs(rows.outputs - rows.targets).mean(axis=1), rows.weights

    def compute(self) -> float:
        """Return the value over everything gathered."""
        return self.mean()
