"""Accuracy: the weighted share of rows that are classified rightly."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self, final

import numpy as np
from numpy.typing import ArrayLike

from mml.experiment.metrics.classification import (
    check_from_logits,
    check_threshold,
    class_rows,
    scored_rows,
)
from mml.experiment.metrics.metric import Metric
from mml.experiment.metrics.weighted_mean import WeightedMean
from mml.protocols import State


@final
class Accuracy(Metric):
    """Share of rows whose predicted class is the target's.

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
        self.from_logits = check_from_logits(from_logits)
        self.threshold = check_threshold(threshold)
        self._hits = WeightedMean()

    def settings(self) -> dict[str, Any]:
        """Return the constructor's keywords."""
        return {"from_logits": self.from_logits, "threshold": self.threshold}

    def update(self, outputs: ArrayLike, targets: ArrayLike, *, weights: ArrayLike | None = None) -> None:
        """Take in a batch: labels or scores (N,), (N, 1) or (N, C), and class indices or one-hot rows."""
        scored = scored_rows(outputs, targets, weights=weights, metric=self.name)
        rows = class_rows(scored, from_logits=self.from_logits, threshold=self.threshold, metric=self.name)
        self._hits.add((rows.predicted == rows.actual).astype(np.float64), rows.weights)

    def merge(self, other: Self) -> None:
        """Add the counts of another one."""
        self._check_mergeable(other)
        self._hits.merge(other._hits)

    def compute(self) -> float:
        """Return the share over everything gathered."""
        share = self._hits.value()
        if share is None:
            raise self._nothing_gathered()
        return share

    def get_state(self) -> State:
        """Return the weights of the right rows and of all rows."""
        return self._hits.get_state()

    def set_state(self, state: State) -> None:
        """Put back what :meth:`get_state` returned."""
        self._hits.set_state(state)
