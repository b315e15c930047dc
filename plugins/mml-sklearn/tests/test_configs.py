"""Configurations of estimators: JSON that builds an equal one, or an error that says why not."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import PCA
from sklearn.ensemble import BaggingClassifier, VotingClassifier
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from mml.backends import BaseModel, ModelSource, get_backend
from mml.errors import ConfigError, ModelError
from mml_sklearn.arguments import arguments_of, make

ESTIMATORS = [
    PCA(n_components=10),
    PCA(n_components=0.95, svd_solver="full"),
    MinMaxScaler(feature_range=(-1, 1)),
    FunctionTransformer(np.log1p, inverse_func=np.expm1),
    MLPClassifier(hidden_layer_sizes=(7, 5)),
    SimpleImputer(missing_values=-1, strategy="constant", fill_value=float("nan")),
    LogisticRegression(class_weight={0: 1.0, 1: 2.5}),
    SVC(gamma=0.125),
    OneHotEncoder(dtype=np.float32, categories=[[0, 1], [1, 2]]),
    GaussianNB(priors=np.array([0.25, 0.75])),
    BaggingClassifier(estimator=DecisionTreeClassifier(max_depth=3), n_estimators=4),
    Pipeline([("scale", StandardScaler(with_mean=False)), ("skip", "passthrough"), ("pca", PCA(2))]),
    VotingClassifier([("a", SVC(C=2.0)), ("b", GaussianNB())], weights=[1, 2]),
    ColumnTransformer([("some", StandardScaler(), slice(0, 3)), ("rest", "passthrough", [4, 5])]),
    GaussianProcessRegressor(kernel=RBF(length_scale=2.0) + WhiteKernel()),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda one: type(one).__name__)
def test_an_equal_estimator_comes_back(wrap: Any, estimator: Any) -> None:
    model = wrap(estimator)
    text = json.dumps(model.get_config(), allow_nan=False)
    again = BaseModel.from_config(json.loads(text))
    assert again.get_config() == model.get_config()
    assert repr(again.native) == repr(estimator)
    assert type(again.native) is type(estimator)


def test_numbers_of_numpy_become_plain_ones(wrap: Any) -> None:
    kwargs = wrap(SVC(C=np.float64(2.0), gamma=np.float32(0.5), max_iter=np.int64(7))).get_config()["kwargs"]
    assert kwargs == {"C": 2.0, "gamma": 0.5, "max_iter": 7}
    assert {type(one) for one in kwargs.values()} == {float, int}


def test_the_configuration_holds_what_differs_from_the_defaults(wrap: Any) -> None:
    nested = BaggingClassifier(estimator=DecisionTreeClassifier(max_depth=3))
    assert wrap(nested).get_config() == {
        "model": "sklearn/BaggingClassifier",
        "backend": "sklearn",
        "kwargs": {"estimator": {"model": "sklearn/DecisionTreeClassifier", "kwargs": {"max_depth": 3}}},
    }


def test_fitting_does_not_enter_the_configuration(cancer: Any, wrap: Any) -> None:
    model = wrap(PCA(n_components=2), shape=(30,))
    before = model.get_config()
    model.fit(cancer[0])
    assert model.get_config() == before


def test_lists_stand_for_tuples_where_the_default_is_one(wrap: Any) -> None:
    assert wrap(MLPClassifier, hidden_layer_sizes=[7, 5]).native.hidden_layer_sizes == (7, 5)
    assert wrap(MinMaxScaler, feature_range=[-1, 1]).native.feature_range == (-1, 1)


def test_a_declared_output_shape_belongs_to_the_node(wrap: Any) -> None:
    model = wrap(SVC, output_shape=1, C=2.0)
    config = model.get_config()
    assert config["kwargs"] == {"C": 2.0, "output_shape": [1]}
    again = BaseModel.from_config(json.loads(json.dumps(config)))
    again.build((3,))
    assert again.output_shape == (1,)


def test_a_factory_is_written_down_by_its_name() -> None:
    source = ModelSource(make_pca, False, "somewhere.make_pca", {"width": 3}, label="n")
    model = get_backend("sklearn").wrap(source)
    assert model.native.n_components == 3
    assert model.get_config() == {
        "backend": "sklearn",
        "model": "somewhere.make_pca",
        "kwargs": {"width": 3},
    }


def make_pca(width: int) -> PCA:
    return PCA(n_components=width)


@pytest.mark.parametrize(
    ("estimator", "parts"),
    [
        (FunctionTransformer(np.sort), ("'func'", "sort")),
        (SVC(random_state=np.random.RandomState(0)), ("'random_state'", "RandomState")),
        (
            Pipeline([("log", FunctionTransformer(lambda values: values)), ("pca", PCA())]),
            ("'steps'", "'func'", "lambda"),
        ),
    ],
)
def test_what_json_cannot_hold_names_node_and_argument(wrap: Any, estimator: Any, parts: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        wrap(estimator, label="strange").get_config()
    for part in ("strange", *parts):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"estimator": {"model": "builtins.print", "kwargs": {}}},
        {"estimator": {"model": "os.getcwd"}},
        {"estimator": {"dtype": "no such"}},
        {"estimator": {"float": "text"}},
        {"estimator": {"items": 3}},
    ],
)
def test_marks_that_hold_something_else_are_refused(kwargs: Any) -> None:
    with pytest.raises(ConfigError, match="estimator"):
        make(BaggingClassifier, kwargs, node="node")


def test_an_unknown_argument_of_a_nested_estimator_names_it() -> None:
    inner = {"model": "sklearn/SVC", "kwargs": {"gama": 1.0}}
    with pytest.raises(ModelError, match="'gamma'"):
        make(BaggingClassifier, {"estimator": inner}, node="node")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
        | st.dictionaries(st.sampled_from(["tuple", "items", "model", "float"]), inner, max_size=2)
    ),
    max_leaves=8,
)


@given(VALUES)
def test_every_plain_value_comes_back_through_json(value: Any) -> None:
    estimator = FunctionTransformer(kw_args=value)
    written = json.loads(json.dumps(arguments_of(estimator), allow_nan=False))
    again = make(FunctionTransformer, written, node="node")
    assert again.kw_args == value
    assert repr(again.kw_args) == repr(value)
