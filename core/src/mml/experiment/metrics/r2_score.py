"""R²: the share of the variance of the targets that the outputs explain."""

from __future__ import annotations

from typing import Any, ClassVar, Literal, NamedTuple, Self, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mml.errors import ResultError, ShapeError, StateError
from mml.experiment.metrics.metric import Metric
from mml.experiment.metrics.regression import numeric_rows
from mml.experiment.results.state_fields import array_field
from mml.protocols import State

_Columns = NDArray[np.float64]


class _Moments(NamedTuple):
    """Weight, and per column: mean of targets, their squared deviations from it, squared residuals."""

    weight: float
    mean: _Columns
    deviations: _Columns
    residuals: _Columns


@final
class R2Score(Metric):
    """Coefficient of determination, the mean over columns where there are several.

    A column of constant targets counts as 1 if it is predicted exactly, else as 0.

    References
    ----------
    Chan, Golub, LeVeque (1983), Algorithms for computing the sample variance: the update by which partial
    means and squared deviations are merged.

    Examples
    --------
    >>> metric = R2Score()
    >>> metric.update([1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    >>> metric.compute()
    1.0
    """

    name: ClassVar[str] = "r2"
    mode: ClassVar[Literal["min", "max"]] = "max"

    def __init__(self) -> None:
        self._n_rows = 0
        self._moments: _Moments | None = None

    def settings(self) -> dict[str, Any]:
        """Return the constructor's keywords: there are none."""
        return {}

    def update(self, outputs: ArrayLike, targets: ArrayLike, *, weights: ArrayLike | None = None) -> None:
        """Take in a batch: numbers of equal shape, (N,) or (N, ...)."""
        rows = numeric_rows(outputs, targets, weights=weights, metric=self.name)
        if not len(rows.weights):
            return
        weight = float(rows.weights.sum())
        # Shifting by the first row makes the deviations of constant targets exactly zero.
        shift = rows.targets[0]
        mean = shift + rows.weights @ (rows.targets - shift) / weight
        self._add(
            _Moments(
                weight,
                mean,
                rows.weights @ (rows.targets - mean) ** 2,
                rows.weights @ (rows.outputs - rows.targets) ** 2,
            ),
            n_rows=len(rows.weights),
        )

    def merge(self, other: Self) -> None:
        """Combine the moments of both."""
        self._check_mergeable(other)
        if other._moments is not None:
            self._add(other._moments, n_rows=other._n_rows)

    def compute(self) -> float:
        """Return the value over everything gathered; one row has no variance and is an error."""
        if self._moments is None:
            raise self._nothing_gathered()
        if self._n_rows < 2:
            raise ResultError("R² needs two rows or more.", found="1 row")
        deviations, residuals = self._moments.deviations, self._moments.residuals
        varies = deviations > 0
        constant = np.where(residuals == 0, 1.0, 0.0)
        # NaN deviations compare false as well and must not read as constant targets.
        scores = np.where(varies, 1 - residuals / np.where(varies, deviations, 1.0), constant)
        return float(np.where(np.isnan(deviations) | np.isnan(residuals), np.nan, scores).mean())

    def get_state(self) -> State:
        """Return the moments, float64 of shape (n_columns,) each."""
        nothing = _Moments(0.0, np.zeros(0), np.zeros(0), np.zeros(0))
        moments = nothing if self._moments is None else self._moments
        return {
            "n_rows": np.array([self._n_rows], dtype=np.int64),
            "weight": np.array([moments.weight]),
            "mean": moments.mean.copy(),
            "deviations": moments.deviations.copy(),
            "residuals": moments.residuals.copy(),
        }

    def set_state(self, state: State) -> None:
        """Put back what :meth:`get_state` returned; a state that does not fit changes nothing."""
        n_rows = int(array_field(state, "n_rows", dtype=np.int64, length=1)[0])
        weight = float(array_field(state, "weight", dtype=np.float64, length=1)[0])
        mean = array_field(state, "mean", dtype=np.float64)
        deviations = array_field(state, "deviations", dtype=np.float64, length=len(mean))
        residuals = array_field(state, "residuals", dtype=np.float64, length=len(mean))
        if n_rows < 0 or (n_rows > 0) != (len(mean) > 0):
            raise StateError("The moments in the state of R² do not fit its number of rows.")
        self._n_rows = n_rows
        self._moments = _Moments(weight, mean, deviations, residuals) if n_rows else None

    def _add(self, part: _Moments, *, n_rows: int) -> None:
        mine = self._moments
        if mine is None:
            self._moments, self._n_rows = part, n_rows
            return
        if mine.mean.shape != part.mean.shape:
            raise ShapeError(
                "Batches of R² differ in their number of columns.",
                found=f"{len(mine.mean)} and {len(part.mean)}",
            )
        weight = mine.weight + part.weight
        gap = part.mean - mine.mean
        self._moments = _Moments(
            weight,
            mine.mean + gap * (part.weight / weight),
            mine.deviations + part.deviations + gap**2 * (mine.weight * part.weight / weight),
            mine.residuals + part.residuals,
        )
        self._n_rows += n_rows
