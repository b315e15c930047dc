"""Which types a saved estimator may be made of, and the checks of what skops trusts only by name.

skops knows which types are harmless to build; a few more, all of them plain holders of fitted numbers, are
needed to bring every estimator back. Trees are indexed by scikit-learn without bounds checks, so a tree from
a file is read node by node before anything runs on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from types import FunctionType
from typing import Any

import numpy as np

from mml.errors import PluginError, StateError
from mml.plugins import registry

_KERNELS = "sklearn.gaussian_process.kernels"
_METRICS = "sklearn.metrics._dist_metrics"
_LINKS = ("Interval", "IdentityLink", "LogLink", "LogitLink", "HalfLogitLink", "MultinomialLogit")
_LOSSES = (
    *("HalfSquaredError", "AbsoluteError", "PinballLoss", "HuberLoss", "HalfPoissonLoss", "HalfGammaLoss"),
    *("HalfTweedieLoss", "HalfTweedieLossIdentity", "HalfBinomialLoss", "HalfMultinomialLoss"),
    "ExponentialLoss",
)

# Each is a class of scikit-learn, NumPy or SciPy that holds numbers, or a function of theirs that an
# estimator keeps as an attribute; building it runs nothing that the file brings.
HARMLESS: tuple[str, ...] = (
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.neighbors._kd_tree.KDTree64",
    "sklearn.neighbors._kd_tree.KDTree32",
    "sklearn.neighbors._ball_tree.BallTree",
    "sklearn.neighbors._ball_tree.BallTree64",
    "sklearn.neighbors._ball_tree.BallTree32",
    *(
        f"{_METRICS}.{name}{suffix}"
        for name in (
            *("EuclideanDistance", "SEuclideanDistance", "ManhattanDistance", "ChebyshevDistance"),
            *("MinkowskiDistance", "MahalanobisDistance", "HammingDistance", "CanberraDistance"),
            *("BrayCurtisDistance", "JaccardDistance", "HaversineDistance"),
        )
        for suffix in ("", "64", "32")
    ),
    *(
        f"{_KERNELS}.{name}"
        for name in (
            *("RBF", "ConstantKernel", "WhiteKernel", "Matern", "RationalQuadratic", "ExpSineSquared"),
            *("DotProduct", "PairwiseKernel", "CompoundKernel", "Sum", "Product", "Exponentiation"),
            "Hyperparameter",
        )
    ),
    *(f"sklearn.metrics._scorer.{name}" for name in ("_Scorer", "_CurveScorer", "_PassthroughScorer")),
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils._metadata_requests.MetadataRequest",
    "sklearn.utils._metadata_requests.MethodMetadataRequest",
    "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
    "sklearn.calibration._CalibratedClassifier",
    "sklearn.calibration._SigmoidCalibration",
    "sklearn.cluster._bisect_k_means._BisectingTree",
    "sklearn.cluster._kmeans._kmeans_single_lloyd",
    "sklearn.cluster._kmeans._kmeans_single_elkan",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
    *(
        f"sklearn._loss.{place}{name}"
        for place, name in (
            *(("link.", name) for name in _LINKS),
            *(("loss.", name) for name in _LOSSES),
            *(("_loss.Cy", name) for name in _LOSSES),
        )
    ),
    "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
    "scipy.interpolate._bsplines.BSpline",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",
    "scipy.sparse._csr.csr_matrix",
    "scipy.sparse._csr.csr_array",
    "numpy.dtype",
    "numpy.mean",
)

_HAND_ON = {
    "sklearn.ensemble._forest",
    "sklearn.ensemble._gb",
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting",
}


def trusted_types(estimator: Any) -> list[str]:
    """List the names of types that a state of this estimator may hold besides those that skops trusts.

    They are `HARMLESS`, scikit-learn's public scores and splitters, the classes that the user registered, and
    the classes and functions that stand in the estimator at hand: the user's own code brought these.
    """
    return sorted({*HARMLESS, *_scores_and_splitters(), *_registered(), *_at_hand(estimator)})


def check_structure(estimator: Any) -> None:
    """Refuse trees whose nodes point out of bounds, anywhere inside a loaded estimator.

    Raises
    ------
    StateError
        Naming the kind of tree.
    """
    for value, n_features in parts_inside(estimator):
        kind = type(value).__name__
        if kind == "Tree" and type(value).__module__.startswith("sklearn.tree."):
            _check_tree(value, n_features)
        elif kind == "TreePredictor":
            _check_predictor(value, n_features)
        elif hasattr(value, "get_arrays") and type(value).__module__.startswith("sklearn.neighbors."):
            _check_neighbors(value)


@cache
def _scores_and_splitters() -> tuple[str, ...]:
    import sklearn.feature_selection
    import sklearn.metrics
    import sklearn.model_selection

    modules = (sklearn.feature_selection, sklearn.metrics, sklearn.model_selection)
    # Looked up past the modules' __getattr__, which raises for names of experiments.
    found = [vars(module).get(name) for module in modules for name in module.__all__]
    return tuple(_path(one) for one in found if isinstance(one, FunctionType) or hasattr(one, "split"))


def _registered() -> Iterator[str]:
    for component in registry("models"):
        if component.plugin == "user":
            try:
                yield _path(component.load())
            except PluginError:
                # A registered class that cannot be loaded cannot be in a state that was taken from one.
                continue


def _at_hand(estimator: Any) -> Iterator[str]:
    yield _path(type(estimator))
    for value in estimator.get_params(deep=True).values():
        if isinstance(value, type | FunctionType):
            yield _path(value)
        elif hasattr(value, "get_params"):
            yield _path(type(value))


def _path(obj: Any) -> str:
    return f"{getattr(obj, '__module__', '')}.{getattr(obj, '__name__', '')}"


def parts_inside(
    value: Any, *, n_features: int | None = None, seen: set[int] | None = None
) -> Iterator[tuple[Any, int | None]]:
    """Walk through attributes and containers to every array and object, each once.

    With it comes the width of the rows that it gets without checking them itself, None where it checks.
    """
    seen = set() if seen is None else seen
    if value is None or isinstance(value, str | bytes | int | float | np.generic) or id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, np.ndarray):
        yield value, n_features
        children = value.reshape(-1).tolist() if value.dtype == object else []
    elif isinstance(value, dict):
        children = list(value.values())
    elif isinstance(value, list | tuple | set | frozenset):
        children = list(value)
    else:
        n_features = _width_for_parts(value, n_features)
        yield value, n_features
        children = list(getattr(value, "__dict__", {}).values())
    for child in children:
        yield from parts_inside(child, n_features=n_features, seen=seen)


def _width_for_parts(value: Any, outer: int | None) -> int | None:
    """Return the width of the rows that a part gets without checking them itself, None where it checks."""
    if not hasattr(value, "get_params"):
        return outer
    own = getattr(value, "n_features_in_", None)
    homes = {cls.__module__ for cls in type(value).__mro__}
    if hasattr(value, "tree_"):
        return own if outer is None or own is None else min(own, outer)
    if "sklearn.ensemble._iforest" in homes:
        return getattr(value, "_max_features", own)
    # These hand their own input to their trees; every other estimator asks its parts as a user would.
    return own if homes & _HAND_ON else None


def _check_tree(tree: Any, n_features: int | None) -> None:
    nodes = tree.__getstate__()["nodes"]
    left, right, feature = nodes["left_child"], nodes["right_child"], nodes["feature"]
    inner = left != -1
    width = tree.n_features if n_features is None else min(tree.n_features, n_features)
    _require(len(nodes) > 0, "Tree")
    _require(bool(np.all(right[~inner] == -1)), "Tree")
    _check_children(left[inner], right[inner], np.flatnonzero(inner), len(nodes), "Tree")
    _require(bool(np.all((feature[inner] >= 0) & (feature[inner] < width))), "Tree")


def _check_predictor(predictor: Any, n_features: int | None) -> None:
    kind = "TreePredictor"
    nodes = predictor.nodes
    inner = nodes["is_leaf"] == 0
    _require(len(nodes) > 0, kind)
    left, right = nodes["left"][inner].astype(np.int64), nodes["right"][inner].astype(np.int64)
    _check_children(left, right, np.flatnonzero(inner), len(nodes), kind)
    feature = nodes["feature_idx"][inner]
    _require(bool(np.all(feature >= 0)), kind)
    _require(n_features is None or bool(np.all(feature < n_features)), kind)
    categorical = inner & (nodes["is_categorical"] != 0)
    n_sets = min(len(predictor.raw_left_cat_bitsets), len(predictor.binned_left_cat_bitsets))
    _require(bool(np.all(nodes["bitset_idx"][categorical] < n_sets)), kind)


def _check_children(left: Any, right: Any, own: Any, count: int, kind: str) -> None:
    # Children follow their parent in every tree that scikit-learn grows, so nothing can go round in circles.
    for child in (left, right):
        _require(bool(np.all((child > own) & (child < count))), kind)


def _check_neighbors(tree: Any) -> None:
    kind = type(tree).__name__
    data, indices, nodes, bounds = tree.get_arrays()
    _require(data.ndim == 2 and len(indices) == len(data) and bounds.shape[1] == len(nodes), kind)
    _require(bool(np.all((indices >= 0) & (indices < len(data)))), kind)
    start, end = nodes["idx_start"], nodes["idx_end"]
    _require(bool(np.all((start >= 0) & (start <= end) & (end <= len(data)))), kind)


def _require(holds: bool, kind: str) -> None:
    if not holds:
        raise StateError(
            f"A {kind} in the saved estimator is damaged: its nodes point out of bounds.",
            hint="Load another copy; a file that was made by hand may be an attack.",
        )
