"""Scores and class indices: how outputs of classifiers are read by the classification metrics.

Outputs are integer labels (N,) or (N, 1), scores of the positive class in the same shapes, or scores per
class (N, C). Targets are class indices (N,) or (N, 1), or one-hot rows (N, C).
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mml.errors import ConfigError, DataError, ShapeError
from mml.experiment.metrics.rows import weighted_rows

NO_CLASS = -1
"""Predicted class of a row whose scores hold NaN: it never equals a target."""

_PROBABILITY_TOLERANCE = 1e-6
_SUM_TOLERANCE = 1e-5


class ScoredRows(NamedTuple):
    """Scores (n_rows,) of the positive class or (n_rows, C), class indices, and weights (n_rows,)."""

    scores: NDArray[Any]
    actual: NDArray[np.int64]
    weights: NDArray[np.float64]


class ClassRows(NamedTuple):
    """Predicted and actual class indices and weights, shape (n_rows,) each."""

    predicted: NDArray[np.int64]
    actual: NDArray[np.int64]
    weights: NDArray[np.float64]


def scored_rows(
    outputs: ArrayLike, targets: ArrayLike, *, weights: ArrayLike | None, metric: str, labels: bool = True
) -> ScoredRows:
    """Pair scores with class indices.

    `labels` says whether integer outputs are decisions already, in which case any class is allowed.

    Raises
    ------
    ShapeError
        If outputs are not (N,), (N, 1) or (N, C), or targets do not go with them.
    DataError
        If targets are not class indices that the outputs have a score for.
    """
    rows = weighted_rows(outputs, targets, weights=weights, metric=metric)
    if rows.outputs.ndim > 2 or rows.outputs.shape[1:] == (0,):
        raise ShapeError(
            "Outputs of a classifier have one or two axes.",
            where={"metric": metric},
            expected="(N,), (N, 1) or (N, C)",
            found=f"{rows.outputs.shape}",
        )
    single = rows.outputs.ndim == 1 or rows.outputs.shape[1] == 1
    scores = rows.outputs.reshape(-1) if single else rows.outputs
    actual = _class_indices(rows.targets, n_classes=1 if single else scores.shape[1], metric=metric)
    if not (labels and single and scores.dtype.kind in "iub"):
        _check_range(actual, n_classes=2 if single else scores.shape[1], single=single, metric=metric)
    return ScoredRows(scores, actual, rows.weights)


def class_rows(rows: ScoredRows, *, from_logits: bool | None, threshold: float, metric: str) -> ClassRows:
    """Decide for a class in every row.

    Integer outputs are the decision already. One score is positive above the threshold, which is a
    probability; of several scores the highest wins, and the first of equal ones.

    Raises
    ------
    ConfigError
        If one score per row is given and nobody said whether it is a logit.
    """
    scores = rows.scores
    if scores.ndim == 2:
        predicted = np.where(np.isnan(scores).any(axis=1), NO_CLASS, scores.argmax(axis=1))
    elif scores.dtype.kind in "iub":
        predicted = scores.astype(np.int64)
    else:
        border = _border(scores, from_logits=from_logits, threshold=threshold, metric=metric)
        predicted = np.where(np.isnan(scores), NO_CLASS, scores.astype(np.float64) > border)
    return ClassRows(predicted.astype(np.int64), rows.actual, rows.weights)


def are_probabilities(scores: NDArray[Any]) -> bool:
    """Return whether every row (n_rows, C) is a distribution over the classes."""
    sums = scores.sum(axis=1, dtype=np.float64)
    return bool((scores >= 0).all() and (np.abs(sums - 1) <= _SUM_TOLERANCE).all())


def ask_for_logits(metric: str) -> ConfigError:
    """Return the error of a metric that was not told what its scores are."""
    return ConfigError(
        "It is not known whether the outputs are logits or probabilities.",
        where={"metric": metric},
        hint="Give the metric from_logits=True for logits, or from_logits=False for probabilities, as in "
        f"{{{metric!r}: {{'from_logits': True}}}}.",
    )


def check_threshold(threshold: float) -> float:
    """Return the threshold if it is a probability strictly between 0 and 1."""
    if not isinstance(threshold, (int, float)) or not 0 < threshold < 1:
        raise ConfigError(
            "A threshold is a probability, whatever the outputs are.",
            expected="a number between 0 and 1",
            found=repr(threshold),
        )
    return float(threshold)


def check_from_logits(from_logits: bool | None) -> bool | None:
    """Return the setting if it is True, False or None."""
    if from_logits not in (True, False, None):
        raise ConfigError(
            "from_logits says whether outputs are logits.",
            expected="True, False or None",
            found=repr(from_logits),
        )
    return None if from_logits is None else bool(from_logits)


def _border(scores: NDArray[Any], *, from_logits: bool | None, threshold: float, metric: str) -> float:
    if from_logits is None:
        raise ask_for_logits(metric)
    if from_logits:
        return math.log(threshold) - math.log1p(-threshold)
    low, high = -_PROBABILITY_TOLERANCE, 1 + _PROBABILITY_TOLERANCE
    if ((scores < low) | (scores > high)).any():
        raise DataError(
            "Outputs that should be probabilities lie outside 0 to 1.",
            where={"metric": metric},
            found=f"{np.nanmin(scores):.6g} to {np.nanmax(scores):.6g}",
            hint="Use from_logits=True if they are logits.",
        )
    return threshold


def _class_indices(targets: NDArray[Any], *, n_classes: int, metric: str) -> NDArray[np.int64]:
    if targets.ndim == 2 and n_classes > 1 and targets.shape[1] == n_classes:
        if not (((targets == 0) | (targets == 1)).all() and (targets.sum(axis=1) == 1).all()):
            raise DataError(
                "Targets with a column per class must be one-hot.",
                where={"metric": metric},
                expected="a single 1 in each row",
            )
        indices: NDArray[np.int64] = targets.argmax(axis=1).astype(np.int64)
        return indices
    if targets.ndim > 2 or targets.shape[1:] not in ((), (1,)):
        raise ShapeError(
            "Targets do not go with the outputs of a classifier.",
            where={"metric": metric},
            expected="class indices (N,) or (N, 1)" + (f", or (N, {n_classes})" if n_classes > 1 else ""),
            found=f"{targets.shape}",
        )
    flat = targets.reshape(-1)
    if flat.dtype.kind == "f" and not (np.isfinite(flat) & (flat == np.rint(flat))).all():
        bad = flat[~(np.isfinite(flat) & (flat == np.rint(flat)))][0]
        raise DataError("A target is not a class index.", where={"metric": metric}, found=f"{bad}")
    return flat.astype(np.int64)


def _check_range(actual: NDArray[np.int64], *, n_classes: int, single: bool, metric: str) -> None:
    outside = actual[(actual < 0) | (actual >= n_classes)]
    if len(outside):
        raise DataError(
            f"A target names class {outside[0]}, for which there is no score.",
            where={"metric": metric},
            expected=f"0 to {n_classes - 1}",
            hint="One score per row is that of class 1; several classes need outputs (N, C)."
            if single
            else None,
        )
