"""What scikit-learn brings to MML, declared by name: the backend, every estimator, scalers,
splitters, and data sets.

This module is imported to list what is installed, so it imports no framework.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import metadata

from mml.plugins import Claim, Component, Finding, PluginInfo, hookimpl
from mml_sklearn.estimators import ESTIMATORS, SINCE
from mml_sklearn.scaler_names import SCALERS

_DATASETS = {
    "iris": "Three species of iris by four measures of their flowers: 150 rows, classes.",
    "wine": "Three growers of wine by thirteen chemical measures: 178 rows, classes.",
    "breast_cancer": "Benign or malignant by thirty measures of cell nuclei: 569 rows, binary.",
    "diabetes": "Progress of the disease after a year by ten measures: 442 rows, regression.",
    "digits": "Handwritten digits as 8 x 8 grey values: 1797 rows, ten classes.",
}

_SPLITTERS = {
    "KFold": "Folds of consecutive, or shuffled, rows.",
    "StratifiedKFold": "Folds in which each class keeps its share.",
    "GroupKFold": "Folds of whole groups.",
    "StratifiedGroupKFold": "Folds of whole groups in which classes keep their shares.",
    "TimeSeriesSplit": "Folds whose training part lies before their test part.",
    "ShuffleSplit": "Rows drawn at random for each fold.",
    "StratifiedShuffleSplit": "Rows drawn at random for each fold, each class keeping its share.",
    "GroupShuffleSplit": "Whole groups drawn at random for each fold.",
}


@hookimpl
def mml_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return PluginInfo("sklearn", api_version=(1, 1), requires=("sklearn", "skops"), install="mml[sklearn]")


@hookimpl
def mml_components() -> Iterator[Component]:
    """Declare the backend, the estimators, the scalers, the splitters and the data sets."""
    yield Component(
        "backends",
        "sklearn",
        "sklearn",
        "mml_sklearn.backend:SklearnBackend",
        "Estimators: fit, partial_fit, transform and predict.",
        backend="sklearn",
    )
    for name, module in _present():
        yield Component(
            "models", "sklearn", name, f"{module}:{name}", f"{name} of {module}.", backend="sklearn"
        )
    for name, text in SCALERS.items():
        yield Component("scalers", "sklearn", name, f"mml_sklearn.scalers:{name}", text)
    yield Component(
        "scalers",
        "sklearn",
        "Transformer",
        "mml_sklearn.scalers:Transformer",
        "Any other transformer, given as an object or class.",
    )
    for name, text in _SPLITTERS.items():
        yield Component("splitters", "sklearn", name, f"mml_sklearn.splitters:{name}", text)
    for name, text in _DATASETS.items():
        yield Component("datasets", "sklearn", name, f"mml_sklearn.datasets:{name}", text)


def _present() -> Iterator[tuple[str, str]]:
    """Yield the estimators of the release that is installed, without importing it."""
    try:
        release = _numbers(metadata.version("scikit-learn"))
    except metadata.PackageNotFoundError:
        # The plugin then says what to install, whichever estimator is asked for.
        release = None
    for name, module in ESTIMATORS.items():
        if release is None or name not in SINCE or _numbers(SINCE[name]) <= release:
            yield name, module


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(one) for one in re.findall(r"\d+", version)[:2])


@hookimpl
def mml_claims() -> tuple[Claim, ...]:
    """Claim estimators and everything derived from them, as models and, if they transform, as scalers."""
    base = "sklearn.base.BaseEstimator"
    return (
        Claim(base, "sklearn"),
        Claim(base, "sklearn", kind="scalers", wrapper="sklearn/Transformer"),
    )


@hookimpl
def mml_health() -> Iterator[Finding]:
    """Tell `mml doctor` how scikit-learn fares here; only this hook imports it."""
    from mml_sklearn.health import findings

    return findings()
