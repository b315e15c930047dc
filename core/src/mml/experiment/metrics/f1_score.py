"""F1: the harmonic mean of precision and recall."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mml.errors import ConfigError, StateError
from mml.experiment.metrics.classification import (
    NO_CLASS,
    check_from_logits,
    check_threshold,
    class_rows,
    scored_rows,
)
from mml.experiment.metrics.metric import Metric
from mml.experiment.results.state_fields import array_field, field
from mml.protocols import State

_AVERAGES = ("binary", "macro")


@final
class F1Score(Metric):
    """F1 of class 1, or the mean F1 of all classes.

    Parameters
    ----------
    average : {"binary", "macro"}
        ``binary``: of class 1, with classes 0 and 1 only. ``macro``: unweighted mean over the classes that
        were predicted or expected at least once.
    from_logits, threshold
        As in :class:`Accuracy`.

    Notes
    -----
    A class that is expected but never predicted rightly has an F1 of 0, and so has class 1 under ``binary``
    if it never appears.

    Examples
    --------
    >>> metric = F1Score()
    >>> metric.update([1, 1, 0, 1], [1, 0, 0, 1])
    >>> metric.compute()
    0.8
    """

    name: ClassVar[str] = "f1"
    mode: ClassVar[Literal["min", "max"]] = "max"

    def __init__(
        self,
        *,
        average: Literal["binary", "macro"] = "binary",
        from_logits: bool | None = None,
        threshold: float = 0.5,
    ) -> None:
        if average not in _AVERAGES:
            raise ConfigError(f"F1 has no average {average!r}.", expected="'binary' or 'macro'")
        self.average = average
        self.from_logits = check_from_logits(from_logits)
        self.threshold = check_threshold(threshold)
        self._gathered = False
        self._counts: dict[int, NDArray[np.float64]] = {}

    def settings(self) -> dict[str, Any]:
        """Return the constructor's keywords."""
        return {"average": self.average, "from_logits": self.from_logits, "threshold": self.threshold}

    def update(self, outputs: ArrayLike, targets: ArrayLike, *, weights: ArrayLike | None = None) -> None:
        """Take in a batch: labels or scores (N,), (N, 1) or (N, C), and class indices or one-hot rows."""
        scored = scored_rows(outputs, targets, weights=weights, metric=self.name)
        rows = class_rows(scored, from_logits=self.from_logits, threshold=self.threshold, metric=self.name)
        if not len(rows.weights):
            return
        classes, codes = np.unique(np.concatenate([rows.predicted, rows.actual]), return_inverse=True)
        if self.average == "binary" and not np.isin(classes, (NO_CLASS, 0, 1)).all():
            raise ConfigError(
                "F1 with average='binary' knows classes 0 and 1 only.",
                found=f"class {classes[~np.isin(classes, (NO_CLASS, 0, 1))][0]}",
                hint="Use average='macro' for several classes, as in {'f1': {'average': 'macro'}}.",
            )
        predicted, actual = np.split(codes.reshape(-1), 2)
        hit = predicted == actual
        counts = np.stack(
            [
                np.bincount(actual[hit], weights=rows.weights[hit], minlength=len(classes)),
                np.bincount(predicted[~hit], weights=rows.weights[~hit], minlength=len(classes)),
                np.bincount(actual[~hit], weights=rows.weights[~hit], minlength=len(classes)),
            ],
            axis=1,
        )
        self._gathered = True
        self._add(dict(zip(classes.tolist(), counts, strict=True)))

    def merge(self, other: Self) -> None:
        """Add the counts of another one."""
        self._check_mergeable(other)
        self._gathered = self._gathered or other._gathered
        self._add(other._counts)

    def compute(self) -> float:
        """Return the value over everything gathered."""
        if not self._gathered:
            raise self._nothing_gathered()
        if self.average == "binary":
            return _f1(self._counts.get(1, np.zeros(3)))
        scores = [_f1(counts) for one, counts in sorted(self._counts.items()) if one != NO_CLASS]
        return float(np.mean(scores))

    def get_state(self) -> State:
        """Return classes, int64 (k,), and their hits, false alarms and misses, float64 (k,) each."""
        classes = sorted(self._counts)
        table = np.array([self._counts[one] for one in classes], dtype=np.float64).reshape(-1, 3)
        return {
            "gathered": self._gathered,
            "classes": np.array(classes, dtype=np.int64),
            "hits": table[:, 0].copy(),
            "false_alarms": table[:, 1].copy(),
            "misses": table[:, 2].copy(),
        }

    def set_state(self, state: State) -> None:
        """Put back what :meth:`get_state` returned; a state that does not fit changes nothing."""
        classes = array_field(state, "classes", dtype=np.int64).tolist()
        columns = [
            array_field(state, key, dtype=np.float64, length=len(classes))
            for key in ("hits", "false_alarms", "misses")
        ]
        gathered = field(state, "gathered", kind=bool)
        if len(set(classes)) < len(classes):
            raise StateError("The state of F1 holds a class twice.")
        self._gathered = gathered
        self._counts = dict(zip(classes, np.stack(columns, axis=1), strict=True))

    def _add(self, counts: dict[int, NDArray[np.float64]]) -> None:
        for one, part in counts.items():
            self._counts[one] = self._counts.get(one, np.zeros(3)) + part


def _f1(counts: NDArray[np.float64]) -> float:
    hits, false_alarms, misses = counts.tolist()
    whole = 2 * hits + false_alarms + misses
    return 2 * hits / whole if whole else 0.0
