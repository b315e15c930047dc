"""How wide an estimator's output will be, as far as its parameters tell before it is fitted.

What is told here is a promise that nodes below are built on; the model checks it once real output exists.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Shape = tuple[int, ...]

# With these, `n_components` is an upper bound, or one of several things that decide.
_UNSURE = frozenset(
    {"DictionaryLearning", "MiniBatchDictionaryLearning", "SparseCoder", "FastICA", "Nystroem"}
)
_CLUSTER_DISTANCES = frozenset({"KMeans", "MiniBatchKMeans", "BisectingKMeans", "FeatureAgglomeration"})


def promised_shape(estimator: Any, output: str, n_features: int) -> Shape | None:
    """Return the shape of one output row if the parameters fix it, else None.

    Parameters
    ----------
    estimator : sklearn estimator
    output : str
        The method that gives the output.
    n_features : int
        Width of the input.
    """
    if output == "transform":
        width = _width(estimator, n_features)
        return None if width is None else (width,)
    if output == "score_samples" or (output == "predict" and _gives_labels(estimator)):
        return (1,)
    return None


def fitted_shape(estimator: Any, output: str) -> Shape | None:
    """Return the shape of one output row as a fitted estimator tells it without running, else None."""
    if output == "transform":
        names = getattr(estimator, "get_feature_names_out", None)
        return None if names is None else _counted(names)
    classes = getattr(estimator, "classes_", None)
    if output in ("predict_proba", "predict_log_proba") and isinstance(classes, np.ndarray):
        return (len(classes),)
    return None


def _counted(names: Any) -> Shape | None:
    try:
        return (len(names()),)
    except (AttributeError, TypeError, ValueError):
        # Combinations of estimators know their names only if every part does; then output tells.
        return None


def _width(estimator: Any, n_features: int) -> int | None:
    from sklearn.base import OneToOneFeatureMixin

    if hasattr(estimator, "steps"):
        return _chained(estimator.steps, n_features)
    name = type(estimator).__name__
    if isinstance(estimator, OneToOneFeatureMixin) and _overrides_nothing(estimator, OneToOneFeatureMixin):
        return n_features
    parameter = "n_clusters" if name in _CLUSTER_DISTANCES else "n_components"
    value = None if name in _UNSURE else getattr(estimator, parameter, None)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _overrides_nothing(estimator: Any, mixin: type) -> bool:
    # A class that names its outputs otherwise does not promise one for each input.
    return type(estimator).get_feature_names_out is mixin.get_feature_names_out  # type: ignore[attr-defined]


def _chained(steps: list[tuple[str, Any]], n_features: int) -> int | None:
    width: int | None = n_features
    for _, step in steps:
        if width is None or step is None or step == "passthrough":
            continue
        width = _width(step, width)
    # A later step may fix the width whatever came before it.
    last = steps[-1][1]
    return width if width is not None or isinstance(last, str | None) else _width_from_parameters(last)


def _width_from_parameters(step: Any) -> int | None:
    with_few, with_many = _width(step, 1), _width(step, 2)
    return with_few if with_few == with_many else None


def _gives_labels(estimator: Any) -> bool:
    from sklearn.base import ClusterMixin, OutlierMixin

    return isinstance(estimator, ClusterMixin | OutlierMixin)
