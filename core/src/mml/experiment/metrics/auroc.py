"""AUROC: the probability that a positive row is scored above a negative one, ties counting half.

It is exact: all scores are kept, 24 bytes a row, and sorted once when the value is asked for.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mml.errors import ResultError, ShapeError, StateError
from mml.experiment.metrics.classification import (
    are_probabilities,
    ask_for_logits,
    check_from_logits,
    scored_rows,
)
from mml.experiment.metrics.metric import Metric
from mml.experiment.results.state_fields import array_field, field
from mml.protocols import State


@final
class AUROC(Metric):
    """Area under the ROC curve; with more than two classes, the mean of one class against the rest.

    Parameters
    ----------
    from_logits : bool, optional
        Whether scores per class (N, C) are logits, of which the softmax is ranked. It makes no difference
        to one score per row, nor to two. None leaves it to whoever knows; rows that sum to 1 without a
        negative score are probabilities, as those of `predict_proba`.

    References
    ----------
    Hanley, McNeil (1982), The meaning and use of the area under a ROC curve.

    Examples
    --------
    >>> metric = AUROC()
    >>> metric.update([0.1, 0.4, 0.4, 0.8], [0, 0, 1, 1])
    >>> metric.compute()
    0.875
    """

    name: ClassVar[str] = "auroc"
    mode: ClassVar[Literal["min", "max"]] = "max"

    def __init__(self, *, from_logits: bool | None = None) -> None:
        self.from_logits = check_from_logits(from_logits)
        self._blocks: list[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]] = []

    def settings(self) -> dict[str, Any]:
        """Return the constructor's keywords."""
        return {"from_logits": self.from_logits}

    def update(self, outputs: ArrayLike, targets: ArrayLike, *, weights: ArrayLike | None = None) -> None:
        """Take in a batch: scores (N,), (N, 1) or (N, C), and class indices or one-hot rows."""
        rows = scored_rows(outputs, targets, weights=weights, metric=self.name, labels=False)
        if len(rows.weights):
            self._append(self._ranked(rows.scores.astype(np.float64)), rows.actual, rows.weights)

    def merge(self, other: Self) -> None:
        """Take over the scores of another one."""
        self._check_mergeable(other)
        for block in other._blocks:
            self._append(*block)

    def compute(self) -> float:
        """Return the area over everything gathered; NaN if a score is NaN.

        Raises
        ------
        ResultError
            If nothing was gathered, or a class has no row or all rows.
        """
        if not self._blocks:
            raise self._nothing_gathered()
        scores, actual, weights = (np.concatenate(part) for part in zip(*self._blocks, strict=True))
        if scores.shape[1] == 1:
            return _area(scores[:, 0], actual == 1, weights, positive=1)
        areas = [
            _area(scores[:, one], actual == one, weights, positive=one) for one in range(scores.shape[1])
        ]
        return float(np.mean(areas))

    def get_state(self) -> State:
        """Return all rows: scores float64 (n * n_columns,), classes int64 (n,), weights float64 (n,)."""
        columns = self._blocks[0][0].shape[1] if self._blocks else 1
        nothing = (np.zeros((0, columns)), np.zeros(0, dtype=np.int64), np.zeros(0))
        scores, actual, weights = (np.concatenate(part) for part in zip(nothing, *self._blocks, strict=True))
        return {"n_columns": columns, "scores": scores.reshape(-1), "actual": actual, "weights": weights}

    def set_state(self, state: State) -> None:
        """Put back what :meth:`get_state` returned; a state that does not fit changes nothing."""
        columns = field(state, "n_columns", kind=int)
        actual = array_field(state, "actual", dtype=np.int64)
        weights = array_field(state, "weights", dtype=np.float64, length=len(actual))
        if columns < 1:
            raise StateError("The state of AUROC has no column of scores.", found=str(columns))
        scores = array_field(state, "scores", dtype=np.float64, length=len(actual) * columns)
        self._blocks = [(scores.reshape(-1, columns), actual, weights)] if len(actual) else []

    def _ranked(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what is ranked: (n, 1) for two classes, else one column per class."""
        if scores.ndim == 1:
            return scores[:, None]
        if scores.shape[1] == 2 and self.from_logits is not False:
            # The difference of two logits orders rows as the softmax does, without its rounding; that of two
            # probabilities, 2p - 1, as p does.
            return scores[:, 1:] - scores[:, :1]
        if self.from_logits is None and not are_probabilities(scores):
            raise ask_for_logits(self.name)
        if scores.shape[1] == 2:
            return scores[:, 1:]
        if self.from_logits:
            powers = np.exp(scores - scores.max(axis=1, keepdims=True))
            return np.asarray(powers / powers.sum(axis=1, keepdims=True))
        return scores

    def _append(
        self, scores: NDArray[np.float64], actual: NDArray[np.int64], weights: NDArray[np.float64]
    ) -> None:
        if self._blocks and self._blocks[0][0].shape[1] != scores.shape[1]:
            raise ShapeError(
                "Batches of AUROC differ in their number of classes.",
                found=f"{self._blocks[0][0].shape[1]} and {scores.shape[1]} columns",
            )
        self._blocks.append((scores, actual, weights))


def _area(
    scores: NDArray[np.float64],
    is_positive: NDArray[np.bool_],
    weights: NDArray[np.float64],
    *,
    positive: int,
) -> float:
    if is_positive.all() or not is_positive.any():
        raise ResultError(
            f"AUROC is not defined: class {positive} has {'every row' if is_positive.all() else 'no row'}.",
            expected="rows of the class, and rows of others",
            hint="Evaluate on a split that holds all classes; split with stratify_by to get one.",
        )
    if np.isnan(scores).any():
        return float("nan")
    _, codes = np.unique(scores, return_inverse=True)
    positives = np.bincount(codes, weights=weights * is_positive)
    negatives = np.bincount(codes, weights=weights * ~is_positive)
    below = np.cumsum(negatives) - negatives
    won = (positives * (below + 0.5 * negatives)).sum()
    return float(won / (positives.sum() * negatives.sum()))
