"""Every estimator of scikit-learn through the wrapper: outputs, configurations, states on one small table."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.utils import all_estimators

from mml.backends import BaseModel
from mml.errors import ModelError, StateError
from mml.files.state_codec import state_digest
from mml.plugins import registry
from mml_sklearn.datasets import load
from mml_sklearn.outputs import OUTPUTS
from mml_sklearn.random_state import global_generator, open_parameters, random_state_of

# Estimators warn about convergence, small samples and deprecations; none of that is the wrapper's.
pytestmark = pytest.mark.filterwarnings("ignore")

SEED = 21

ARGUMENTS: dict[str, dict[str, Any]] = {
    "CCA": {"n_components": 1},
    "ClassifierChain": {"estimator": LogisticRegression()},
    "ColumnTransformer": {"transformers": [("a", StandardScaler(), [0, 1]), ("b", "passthrough", [2])]},
    "FeatureUnion": {"transformer_list": [("a", StandardScaler()), ("b", MinMaxScaler())]},
    "FixedThresholdClassifier": {"estimator": LogisticRegression()},
    "FrozenEstimator": {"estimator": StandardScaler()},
    "GaussianRandomProjection": {"n_components": 2},
    "GridSearchCV": {"estimator": Ridge(), "param_grid": {"alpha": [0.1, 1.0]}},
    "LocalOutlierFactor": {"novelty": True},
    "MultiOutputClassifier": {"estimator": RandomForestClassifier(n_estimators=2)},
    "MultiOutputRegressor": {"estimator": RandomForestRegressor(n_estimators=2)},
    "OneVsOneClassifier": {"estimator": LogisticRegression()},
    "OneVsRestClassifier": {"estimator": LogisticRegression()},
    "OutputCodeClassifier": {"estimator": LogisticRegression()},
    "PLSCanonical": {"n_components": 1},
    "PLSSVD": {"n_components": 1},
    "Pipeline": {"steps": [("scale", StandardScaler()), ("ridge", Ridge())]},
    "RFE": {"estimator": Ridge()},
    "RFECV": {"estimator": Ridge()},
    "RandomizedSearchCV": {"estimator": Ridge(), "param_distributions": {"alpha": [0.1, 1.0]}, "n_iter": 2},
    "RegressorChain": {"estimator": Ridge()},
    "SelectFromModel": {"estimator": Ridge()},
    "SelfTrainingClassifier": {"estimator": LogisticRegression()},
    "SequentialFeatureSelector": {"estimator": Ridge()},
    "SparseCoder": {"dictionary": np.eye(4)},
    "SparseRandomProjection": {"n_components": 2},
    "StackingClassifier": {"estimators": [("a", LogisticRegression())]},
    "StackingRegressor": {"estimators": [("a", Ridge())]},
    "TunedThresholdClassifierCV": {"estimator": LogisticRegression()},
    "VotingClassifier": {"estimators": [("a", LogisticRegression()), ("b", LogisticRegression(C=2.0))]},
    "VotingRegressor": {"estimators": [("a", Ridge()), ("b", Ridge(alpha=2.0))]},
}

# They label or embed only the rows that they were fitted on, or give no array a row.
WITHOUT_OUTPUT = {
    *("AgglomerativeClustering", "DBSCAN", "HDBSCAN", "OPTICS", "SpectralClustering"),
    *("SpectralBiclustering", "SpectralCoclustering"),
    *("ClassicalMDS", "MDS", "SpectralEmbedding", "TSNE"),
    *("EmpiricalCovariance", "GraphicalLasso", "GraphicalLassoCV", "LedoitWolf", "MinCovDet", "OAS"),
    *("ShrunkCovariance", "NearestNeighbors"),
}

# What they work on is no table of numbers.
OTHER_INPUTS = {
    **dict.fromkeys(("CountVectorizer", "HashingVectorizer", "TfidfVectorizer"), "texts"),
    **dict.fromkeys(("DictVectorizer", "FeatureHasher"), "dictionaries"),
    **dict.fromkeys(("LabelBinarizer", "LabelEncoder"), "targets"),
    "KernelCenterer": "a kernel between all rows",
    "PatchExtractor": "images",
    "IsotonicRegression": "one feature",
    "FrozenEstimator": "a fitted estimator inside",
}

UNSAVABLE = {"Birch": "skops knows no form for its linked nodes"}

SEVERAL_TARGETS = {
    *("MultiTaskElasticNet", "MultiTaskElasticNetCV", "MultiTaskLasso", "MultiTaskLassoCV"),
    *("MultiOutputClassifier", "MultiOutputRegressor", "RegressorChain", "ClassifierChain"),
}

NO_TARGETS = {"MultiLabelBinarizer"}
BINARY = {"FixedThresholdClassifier", "TunedThresholdClassifierCV"}
POSITIVE = {"GammaRegressor"}

NAMES = sorted(name for name, _ in all_estimators())
RUNNING = [name for name in NAMES if name not in WITHOUT_OUTPUT | set(OTHER_INPUTS)]


def table(name: str) -> tuple[np.ndarray, np.ndarray]:
    data = load("iris")["data"]
    x, y = data["x"][::3].copy(), data["y"][::3].astype(np.float32)
    if name in BINARY:
        y = (y == 1).astype(np.float32)
    if name in POSITIVE:
        y = y + 1
    if name in SEVERAL_TARGETS:
        y = np.concatenate([(y == 1), (y == 2)], axis=1).astype(np.float32)
    x.flags.writeable = y.flags.writeable = False
    return x, y


def fresh(name: str) -> Any:
    from sklearn.base import clone

    kwargs = {key: _copied(value, clone) for key, value in ARGUMENTS.get(name, {}).items()}
    return registry("models").load(f"sklearn/{name}")(**kwargs)


def _copied(value: Any, clone: Any) -> Any:
    if isinstance(value, list) and value and isinstance(value[0], tuple):
        return [(one[0], clone(one[1]) if hasattr(one[1], "fit") else one[1], *one[2:]) for one in value]
    return clone(value) if hasattr(value, "fit") else value


@pytest.mark.parametrize("name", RUNNING)
def test_outputs_configurations_and_states(name: str, wrap: Any) -> None:
    x, y = table(name)
    model = wrap(fresh(name), shape=(4,), seed=SEED)
    promised = None if model.is_fitted else model.output_shape
    with global_generator() as seed_global:
        seed_global(SEED)
        model.fit(x, y)
        output = model.forward(x)

    own = fresh(name)
    own.set_params(**{key: random_state_of(SEED, key) for key in open_parameters(own)})
    with global_generator() as seed_global:
        seed_global(SEED)
        own.fit(*([x] if name in NO_TARGETS else [x, y.ravel() if y.shape[1] == 1 else y]))
        expected = getattr(own, model.output)(x)
    expected = np.stack(expected, axis=1) if isinstance(expected, list) else expected
    expected = expected.toarray() if hasattr(expected, "toarray") else expected
    assert output.dtype == expected.dtype
    assert output.tobytes() == np.ascontiguousarray(expected).tobytes()
    assert output.ndim >= 2
    assert promised in (None, output.shape[1:])
    assert model.output_shape == output.shape[1:]

    config = json.loads(json.dumps(model.get_config(), allow_nan=False))
    again: Any = BaseModel.from_config(config)
    assert again.get_config() == model.get_config()
    again.build((4,), seed=SEED + 1)
    if name in UNSAVABLE:
        with pytest.raises(StateError, match=name):
            model.get_state()
        return
    state = model.get_state()
    again.set_state(state)
    assert state_digest(again.get_state()) == state_digest(state)
    assert again.output_shape == output.shape[1:]
    assert again.forward(x).tobytes() == output.tobytes()
    again.reset(seed=0)
    assert again.is_fitted == wrap(fresh(name)).is_fitted


@pytest.mark.parametrize("name", sorted(WITHOUT_OUTPUT & set(NAMES)))
def test_estimators_without_an_output_are_refused_by_name(name: str, wrap: Any) -> None:
    estimator = fresh(name)
    assert not [method for method in OUTPUTS if hasattr(estimator, method)] or name == "EmpiricalCovariance"
    with pytest.raises(ModelError, match=name):
        wrap(estimator)


@pytest.mark.parametrize("name", sorted(set(OTHER_INPUTS) & set(NAMES)))
def test_estimators_of_other_inputs_say_why_they_fail(name: str, wrap: Any) -> None:
    model = wrap(fresh(name), shape=(4,), label="odd")
    with pytest.raises(ModelError, match="odd") as caught:
        fit_and_run(model, *table(name))
    assert caught.value.__cause__ is not None


def fit_and_run(model: Any, x: np.ndarray, y: np.ndarray) -> None:
    model.fit(x, y)
    model.forward(x)
