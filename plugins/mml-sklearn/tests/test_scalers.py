"""Scikit-learn's transformers as scalers, held against the transformers themselves."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import sklearn.preprocessing

import mml.data
from mml.errors import MMLError, ScalerError
from mml.plugins import registry
from mml.processing.scalers import Scaler

NAMES = sorted(one.name for one in registry("scalers") if one.plugin == "sklearn")
INVERTIBLE = [name for name in NAMES if name != "Normalizer"]


def transformer(name: str) -> Any:
    kwargs = {"random_state": 0} if name == "QuantileTransformer" else {}
    return getattr(sklearn.preprocessing, name)(**kwargs)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:n_quantiles")
def test_a_scaler_maps_as_the_transformer_does(cancer: Any, name: str) -> None:
    x, _ = cancer
    own = transformer(name).fit(x)
    scaler = Scaler(f"sklearn/{name}").fit(x)
    result = scaler.transform(x)
    assert result.dtype == np.float32
    assert result.tobytes() == own.transform(x).tobytes()


@pytest.mark.parametrize("name", INVERTIBLE)
@pytest.mark.filterwarnings("ignore:n_quantiles")
def test_inversion_returns_to_raw_units(cancer: Any, name: str) -> None:
    x = cancer[0].astype(np.float64)
    scaler = Scaler(f"sklearn/{name}").fit(x)
    np.testing.assert_allclose(scaler.inverse_transform(scaler.transform(x)), x, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:n_quantiles")
def test_rows_do_not_depend_on_each_other(cancer: Any, name: str) -> None:
    x, _ = cancer
    scaler = Scaler(f"sklearn/{name}").fit(x)
    parts = [scaler.transform(x[start : start + 97]) for start in range(0, len(x), 97)]
    assert np.concatenate(parts).tobytes() == scaler.transform(x).tobytes()


@pytest.mark.parametrize("shape", [(), (1,), (5, 6)])
def test_samples_of_any_shape_keep_it(cancer: Any, shape: tuple[int, ...]) -> None:
    width = int(np.prod(shape))
    values = np.ascontiguousarray(cancer[0][:, :width]).reshape(-1, *shape)
    scaler = Scaler("sklearn/RobustScaler").fit(values)
    assert scaler.transform(values).shape == values.shape
    assert scaler.inverse_transform(values[:0]).shape == (0, *shape)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.filterwarnings("ignore:n_quantiles")
def test_config_and_state_bring_a_scaler_back(cancer: Any, name: str) -> None:
    x, _ = cancer
    scaler = Scaler(f"sklearn/{name}").fit(x)
    again = Scaler.from_config(json.loads(json.dumps(scaler.get_config())))
    assert again == scaler
    assert again.get_config()["scaler"] == f"sklearn/{name}"
    again.set_state(scaler.get_state())
    assert again.transform(x).tobytes() == scaler.transform(x).tobytes()


def test_a_feature_set_is_scaled_undone_and_inverted(cancer: Any) -> None:
    x, y = cancer
    cells = mml.data.FeatureSet.from_dict("cells", {"x": x, "y": y}, feature_keys="x", target_keys="y")
    cells.split_random(ratios={"train": 0.7, "test": 0.3}, seed=0)
    cells.fit_transform("sklearn/RobustScaler", domain="features", fit_to_split="train")
    rows = cells["train"].rows
    expected = sklearn.preprocessing.RobustScaler().fit(x[rows]).transform(x)
    assert cells.get_features("x", fmt="numpy").tobytes() == expected.tobytes()
    cells.undo_last_transform(domain="features")
    assert cells.get_features("x", fmt="numpy").tobytes() == x.tobytes()


def test_arguments_reach_the_transformer() -> None:
    scaler = Scaler("sklearn/MinMaxScaler", feature_range=[-1, 1])
    assert scaler.wrapped.estimator.feature_range == (-1, 1)  # type: ignore[attr-defined]
    assert scaler.get_config()["feature_range"] == {"tuple": [-1, 1]}


def test_what_cannot_be_inverted_says_so(cancer: Any) -> None:
    scaler = Scaler("sklearn/Normalizer").fit(cancer[0])
    with pytest.raises(ScalerError, match="inverted"):
        scaler.inverse_transform(cancer[0])


def test_transforming_before_fitting_is_an_error(cancer: Any) -> None:
    with pytest.raises(ScalerError, match="not fitted"):
        Scaler("sklearn/StandardScaler").transform(cancer[0])


def test_values_that_the_transformer_refuses_chain_the_cause(cancer: Any) -> None:
    spoiled = cancer[0].copy()
    spoiled[0, 0] = np.inf
    with pytest.raises(ScalerError, match="infinity") as caught:
        Scaler("sklearn/StandardScaler").fit(spoiled)
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_unknown_argument_lists_the_near_ones() -> None:
    with pytest.raises(MMLError, match="'with_mean'"):
        Scaler("sklearn/StandardScaler", with_means=True)
