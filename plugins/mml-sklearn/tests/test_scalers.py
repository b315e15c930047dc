"""Scikit-learn's transformers as scalers, held against the transformers themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sklearn.base
from sklearn import preprocessing
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

import mml.data
from mml.errors import ColumnError, ConfigError, MMLError, ScalerError, StateError
from mml.plugins import registry
from mml.processing.scalers import Scaler


def cells(x: np.ndarray, label: str = "cells") -> mml.data.FeatureSet:
    data = {"x": x, "y": np.arange(len(x), dtype=np.float32)}
    made = mml.data.FeatureSet.from_dict(label, data, feature_keys="x", target_keys="y")
    made.split_random(ratios={"train": 0.7, "test": 0.3}, seed=0)
    return made


@pytest.fixture
def x(cancer: Any) -> np.ndarray:
    return cancer[0][:, :5]  # type: ignore[no-any-return]


@pytest.mark.parametrize("shape", [(), (1,), (5, 6)])
def test_samples_of_any_shape_keep_it(cancer: Any, shape: tuple[int, ...]) -> None:
    width = int(np.prod(shape))
    values = np.ascontiguousarray(cancer[0][:, :width]).reshape(-1, *shape)
    scaler = Scaler("sklearn/RobustScaler").fit(values)
    assert scaler.transform(values).shape == values.shape
    assert scaler.transform(values[:0]).shape == (0, *shape)
    assert scaler.inverse_transform(values[:0]).shape == (0, *shape)


def test_a_feature_set_learns_from_its_split_and_inverts(x: np.ndarray) -> None:
    made = cells(x).fit_transform("sklearn/RobustScaler", domain="features", fit_to_split="train")
    own = preprocessing.RobustScaler().fit(x[made["train"].rows])
    assert made.get_features("x").tobytes() == own.transform(x).tobytes()
    back = made.inverse_transform(made.get_features("x"), "x")
    assert back.tobytes() == own.inverse_transform(own.transform(x)).tobytes()


def test_arguments_reach_the_transformer() -> None:
    scaler = Scaler("sklearn/MinMaxScaler", feature_range=[-1, 1])
    assert scaler.wrapped.estimator.feature_range == (-1, 1)  # type: ignore[attr-defined]
    assert scaler.get_config()["feature_range"] == {"tuple": [-1, 1]}


def test_transforming_before_fitting_is_an_error(x: np.ndarray) -> None:
    with pytest.raises(ScalerError, match="not fitted"):
        Scaler("sklearn/StandardScaler").transform(x)


def test_values_that_the_transformer_refuses_chain_the_cause(x: np.ndarray) -> None:
    spoiled = x.copy()
    spoiled[0, 0] = np.inf
    with pytest.raises(ScalerError, match="infinity") as caught:
        Scaler("sklearn/StandardScaler").fit(spoiled)
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_unknown_argument_lists_the_near_ones() -> None:
    with pytest.raises(MMLError, match="'with_mean'"):
        Scaler("sklearn/StandardScaler", with_means=True)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Scaler("sklearn/StandardScaler", foo=1),
        lambda: Scaler(preprocessing.StandardScaler, foo=1),
        lambda: Scaler(preprocessing.TargetEncoder, foo=1),
        lambda: Scaler.from_config({"scaler": "sklearn/StandardScaler", "foo": 1}),
        lambda: Scaler.from_config(
            {"scaler": "sklearn/Transformer", "transformer": {"model": "sklearn/SVC", "kwargs": {"foo": 1}}}
        ),
    ],
)
def test_a_refused_argument_is_an_error_of_scalers_and_of_no_node(make: Any) -> None:
    with pytest.raises(ScalerError, match="takes no argument 'foo'") as caught:
        make()
    assert "node" not in str(caught.value)
    assert caught.value.hint
    assert isinstance(caught.value.__cause__, MMLError)


def test_isomap_draws_nothing_from_the_generator_of_the_process(x: np.ndarray) -> None:
    # The guard around every test sees to the generator itself.
    first, second = (Scaler("sklearn/Isomap").fit_transform(x[:60]) for _ in range(2))
    assert first.tobytes() == second.tobytes()


# Objects and classes of scikit-learn, given as they are


class Halved(sklearn.base.TransformerMixin, sklearn.base.BaseEstimator):  # type: ignore[misc]
    """A transformer of a user's own, after scikit-learn's pattern."""

    def __init__(self, by: float = 2.0) -> None:
        self.by = by

    def fit(self, values: Any, _targets: Any = None) -> Halved:
        self.n_features_in_ = values.shape[1]
        return self

    def transform(self, values: Any) -> Any:
        return values / self.by

    def inverse_transform(self, values: Any) -> Any:
        return values * self.by


GIVEN = [
    preprocessing.StandardScaler(with_std=False),
    preprocessing.FunctionTransformer(np.log1p, inverse_func=np.expm1, check_inverse=False),
    preprocessing.SplineTransformer(n_knots=3),
    preprocessing.PolynomialFeatures(),
    preprocessing.KBinsDiscretizer(
        4, encode="onehot-dense", strategy="uniform", quantile_method="averaged_inverted_cdf"
    ),
    PCA(2),
    make_pipeline(preprocessing.MinMaxScaler(), PCA(3)),
    KMeans(3, n_init=1, random_state=0),
]


@pytest.mark.parametrize("given", GIVEN, ids=lambda one: type(one).__name__)
def test_an_object_is_copied_fitted_and_saved(x: np.ndarray, given: Any, tmp_path: Any) -> None:
    made = cells(x)
    before = vars(given).copy()
    made.fit_transform(given, domain="features", fit_to_split="train")
    assert vars(given) == before
    expected = sklearn.base.clone(given).fit(x[made["train"].rows]).transform(x)
    np.testing.assert_allclose(made.get_features("x"), expected, rtol=1e-5, atol=1e-5)
    assert made.schema["features.x.transformed"].shape == expected.shape[1:]
    assert made.to_arrow().column("features.x.transformed").type == (
        made.schema["features.x.transformed"].arrow_type
    )
    made.save(tmp_path / "cells.mml")
    with mml.ExperimentContext().activate():
        back = mml.data.FeatureSet.load(tmp_path / "cells.mml")
    assert back == made
    assert back.get_features("x").tobytes() == made.get_features("x").tobytes()


def test_a_class_takes_its_arguments_from_the_declaration(x: np.ndarray) -> None:
    declared = Scaler(preprocessing.QuantileTransformer, n_quantiles=10)
    assert declared.get_config() == {"scaler": "sklearn/QuantileTransformer", "n_quantiles": 10}
    own = preprocessing.QuantileTransformer(n_quantiles=10, random_state=0).fit(x)
    assert declared.fit_transform(x).tobytes() == own.transform(x).tobytes()
    assert Scaler(PCA, n_components=2).fit_transform(x).shape == (len(x), 2)
    assert Scaler(PCA(2)) == Scaler(PCA, n_components=2) != Scaler(PCA(3))
    with pytest.raises(MMLError, match="'n_components'"):
        Scaler(PCA, n_component=2)


def test_a_transformer_that_was_written_before_it_had_a_name_is_read(x: np.ndarray) -> None:
    written = {"model": "sklearn/PCA", "kwargs": {"n_components": 2}}
    old = Scaler.from_config({"scaler": "sklearn/Transformer", "transformer": written})
    new = Scaler(PCA(2)).fit(x)
    old.set_state(new.get_state())
    assert old.transform(x).tobytes() == new.transform(x).tobytes()


def test_later_scalers_of_a_chain_see_the_new_shape(x: np.ndarray) -> None:
    made = cells(x).fit_transform("sklearn/PolynomialFeatures", domain="features", fit_to_split="train")
    made.fit_transform("standard", domain="features", fit_to_split="train")
    train = preprocessing.PolynomialFeatures().fit_transform(x).astype(np.float64)[made["train"].rows]
    scaled = made["train"].get_features("x")
    assert scaled.shape == (len(made["train"]), 21)
    np.testing.assert_allclose(
        scaled[:, 1:], ((train - train.mean(0)) / train[:, :].std(0).clip(1e-9))[:, 1:], rtol=1e-3, atol=1e-4
    )
    made.undo_last_transform("features")
    assert made.get_features("x").shape == (len(x), 21)


def test_samples_come_back_in_their_shape_from_other_features(cancer: Any) -> None:
    images = cancer[0][:, :12].reshape(-1, 3, 4)
    made = cells(images).fit_transform(PCA(12), domain="features", fit_to_split="train")
    assert made.get_features("x").shape == (len(images), 3, 4)
    fewer = cells(images, "fewer").fit_transform(PCA(5), domain="features", fit_to_split="train")
    assert fewer.get_features("x").shape == (len(images), 5)
    assert fewer.inverse_transform(fewer.get_features("x"), "x").shape == images.shape


def test_a_transformer_of_the_users_own_is_saved_once_it_is_registered(x: np.ndarray, tmp_path: Any) -> None:
    made = cells(x).fit_transform(Halved(by=4.0), domain="features", fit_to_split="train")
    assert made.get_features("x").tobytes() == (x / 4.0).tobytes()
    registry("models").register("halved")(Halved)
    try:
        made.save(tmp_path / "cells.mml")
        with mml.ExperimentContext().activate():
            back = mml.data.FeatureSet.load(tmp_path / "cells.mml")
    finally:
        registry("models").remove("user/halved")
    assert back.get_features("x").tobytes() == made.get_features("x").tobytes()


def test_a_lambda_is_fitted_and_refused_before_anything_is_written(x: np.ndarray, tmp_path: Any) -> None:
    made = cells(x)
    made.fit_transform(
        preprocessing.FunctionTransformer(lambda values: values * 2), domain="features", fit_to_split="train"
    )
    assert made.get_features("x").tobytes() == (x * 2).tobytes()
    with pytest.raises(ConfigError, match="'func' of FunctionTransformer"):
        made.save(tmp_path / "cells.mml")
    assert list(tmp_path.iterdir()) == []


def test_a_function_without_an_inverse_is_not_inverted_to_itself(x: np.ndarray) -> None:
    made = cells(x)
    made.fit_transform(preprocessing.FunctionTransformer(np.log1p), domain="features", fit_to_split="train")
    with pytest.raises(ScalerError, match="cannot be inverted"):
        made.inverse_transform(made.get_features("x"), "x")


@pytest.mark.parametrize(
    ("scaler", "words"),
    [
        (LogisticRegression(), "no transform"),
        (LogisticRegression, "no transform"),
        (preprocessing.OneHotEncoder(), "sparse"),
        (preprocessing.TargetEncoder(), "y"),
        (preprocessing.PowerTransformer("box-cox"), "positive"),
        (preprocessing.FunctionTransformer(lambda values: values - values.mean(axis=0)), "beside it"),
        (preprocessing.FunctionTransformer(lambda values: values[:-1]), "row by row|failed"),
        (preprocessing.FunctionTransformer(np.log), "infinite or NaN|divide by zero"),
    ],
)
def test_what_is_no_scaler_says_why_and_changes_nothing(x: np.ndarray, scaler: Any, words: str) -> None:
    made = cells(x - x[:1])
    values, records = made.get_features("x").tobytes(), made.scaler_records
    with np.errstate(all="ignore"), pytest.raises(MMLError, match=words):
        made.fit_transform(scaler, domain="features", fit_to_split="train")
    assert (made.get_features("x").tobytes(), made.scaler_records) == (values, records)


def test_states_and_configs_that_do_not_fit_are_refused(x: np.ndarray) -> None:
    scaler = Scaler("sklearn/StandardScaler").fit(x)
    before = scaler.transform(x)
    for bad in ({}, {"estimator": 3}, {**scaler.get_state(), "shape": ["a"]}, {"shape": [5]}):
        with pytest.raises(StateError):
            scaler.set_state(bad)
    assert scaler.transform(x).tobytes() == before.tobytes()
    for config in ({}, {"transformer": 3}, {"transformer": {"model": "sklearn/SVC"}}, {"transformer": PCA}):
        with pytest.raises(MMLError):
            Scaler.from_config({"scaler": "sklearn/Transformer", **config})


def test_new_data_is_transformed_like_the_data_fitted_to(x: np.ndarray) -> None:
    known = cells(x).fit_transform(PCA(3), domain="features", fit_to_split="train")
    new = cells(np.ascontiguousarray(x[:50]), "new").transform_like(known)
    np.testing.assert_allclose(new.get_features("x"), known.get_features("x")[:50], rtol=1e-6, atol=1e-6)
    known.fit_transform("standard", domain="features", fit_to_split="train")
    new.undo_all_transforms().transform_like(known)
    np.testing.assert_allclose(new.get_features("x"), known.get_features("x")[:50], rtol=1e-5, atol=1e-5)
    with pytest.raises(ColumnError, match="missing"):
        mml.data.FeatureSet.from_dict("other", {"z": x}, feature_keys="z").transform_like(known)


# MML's own scalers against scikit-learn's

BOTH = [
    ("standard", preprocessing.StandardScaler(), {}),
    ("standard", preprocessing.StandardScaler(with_mean=False), {"with_mean": False}),
    ("minmax", preprocessing.MinMaxScaler((-1, 2)), {"feature_range": (-1, 2)}),
    ("maxabs", preprocessing.MaxAbsScaler(), {}),
    ("robust", preprocessing.RobustScaler(), {}),
    ("robust", preprocessing.RobustScaler(quantile_range=(10, 95)), {"quantile_range": (10, 95)}),
    ("robust", preprocessing.RobustScaler(with_centering=False), {"with_centering": False}),
    ("robust", preprocessing.RobustScaler(with_scaling=False), {"with_scaling": False}),
]


@pytest.mark.parametrize(("name", "theirs", "settings"), BOTH)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_rows", [1, 2, 7, 1000, 3001])
def test_built_in_scalers_agree_with_theirs(
    name: str, theirs: Any, settings: dict[str, Any], dtype: Any, n_rows: int
) -> None:
    rng = np.random.default_rng(n_rows)
    values = (rng.normal(size=(n_rows, 6)) * [1, 10, 0.1, 3, 1, 0] + [0, 5, 0.5, -3, 0, 7]).astype(dtype)
    values[:: max(n_rows // 5, 2), 4] = np.nan
    values[0, 4] = 1
    # Theirs in float64 is the oracle: in float32 it is off by more than an ulp itself.
    reference = sklearn.base.clone(theirs).fit(values.astype(np.float64))
    expected = reference.transform(values.astype(np.float64))
    mine = Scaler(name, **settings).fit(values)
    result = mine.transform(values)
    assert result.dtype == dtype
    spread = np.nanmax(np.abs(values), axis=0, initial=1)
    ulp = float(np.finfo(dtype).eps)
    np.testing.assert_allclose(result, expected, rtol=8 * ulp, atol=float(64 * 2.0**-52 * spread.max()))
    np.testing.assert_allclose(
        mine.inverse_transform(result), values, rtol=8 * ulp, atol=8 * ulp * spread.max()
    )


@pytest.mark.parametrize(("name", "theirs", "settings"), BOTH)
def test_float32_data_agree_with_theirs_in_float32(name: str, theirs: Any, settings: Any) -> None:
    values = np.random.default_rng(0).normal(2, 3, (5000, 4)).astype(np.float32)
    expected = sklearn.base.clone(theirs).fit(values).transform(values)
    assert expected.dtype == np.float32
    result = Scaler(name, **settings).fit(values).transform(values)
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e30, 1e-14])
@pytest.mark.parametrize(("name", "theirs"), [(one[0], one[1]) for one in BOTH if not one[2]])
def test_constant_columns_agree_with_theirs(name: str, theirs: Any, value: float) -> None:
    values = np.full((301, 2), value)
    expected = sklearn.base.clone(theirs).fit(values).transform(values)
    np.testing.assert_allclose(Scaler(name).fit(values).transform(values), expected, atol=abs(value) * 1e-14)
