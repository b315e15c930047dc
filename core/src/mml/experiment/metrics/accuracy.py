"""Accuracy: the weighted share of rows that are classified rightly."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, final

import numpy as np
from numpy.typing import ArrayLike

from mml.experiment.metrics.classification import (
    check_from_logits,
    check_threshold,
    class_rows,
    scored_rows,
)
from mml.experiment.metrics.row_mean import Floats, RowMeanMetric


@final
class Accuracy(RowMeanMetric):
    """Share of rows whose predicted class is the target's.

    Outputs are labels or scores, (n_rows,), (n_rows, 1) or (n_rows, n_classes); targets are class indices or
    one-hot rows.

    Parameters
    ----------
    from_logits : bool, optional
        Whether scores are logits. It matters for one score per row only; None leaves it to whoever knows.
    threshold : float
        Probability above which one score per row means class 1; 0.5 is a logit of 0.

    Examples
    --------
    >>> metric = Accuracy(from_logits=True)
    >>> metric.update([-1.2, 0.3, 2.0, -0.1], [0, 1, 1, 1])
    >>> metric.compute()
    0.75
    """

    name: ClassVar[str] = "accuracy"
    mode: ClassVar[Literal["min", "max"]] = "max"

    def __init__(self, *, from_logits: bool | None = None, threshold: float = 0.5) -> None:
        super().__init__()
        self.from_logits = check_from_logits(from_logits)
        self.threshold = check_threshold(threshold)

    def settings(self) -> dict[str, Any]:
        """Return the constructor's keywords."""
        return {"from_logits": self.from_logits, "threshold": self.threshold}

    def row_values(
        self, outputs: ArrayLike, targets: ArrayLike, weights: ArrayLike | None
    ) -> tuple[Floats, Floats]:
        """Return 1 for rows that are classified rightly and 0 for the others."""
        scored = scored_rows(outputs, targets, weights=weights, metric=self.name)
        rows = class_rows(scored, from_logits=self.from_logits, threshold=self.threshold, metric=self.name)
        return (rows.predicted == rows.actual).astype(np.float64), rows.weights

    def compute(self) -> float:
        """Return the share over everything gathered."""
        return self.mean()
