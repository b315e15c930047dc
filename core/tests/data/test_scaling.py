"""Scaling a FeatureSet: chains and undo to the bit, scalers of one's own, lineage, and memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import ConfigError, LeakageError, ScalerError
from mml.plugins import registry
from mml.processing import Scaler
from mml.strictness import strict

from .samples import cells, single
from .scaled import CHAINS, NAMES, Doubling, chained, divided, everything, reloaded, scaler


@pytest.fixture
def registered():
    Doubling.fits = 0
    registry("scalers").register("doubling")(Doubling)
    yield "doubling"
    registry("scalers").remove("user/doubling")


@settings(max_examples=40)
@given(CHAINS, st.integers(0, 3))
def test_undoing_a_chain_of_any_scalers_is_the_identity_on_bytes(names, seed):
    fs = divided(seed=seed)
    history = [everything(fs)[3]]
    for name in names:
        chained(fs, name)
        history.append(everything(fs)[3])
    for expected in reversed(history[:-1]):
        fs.undo_last_transform("features", "pulse")
        assert everything(fs)[3] == expected

    assert fs.scaler_records == ()


@settings(max_examples=25)
@given(CHAINS, st.lists(st.integers(0, 22), min_size=1, max_size=30))
def test_the_bits_of_a_chain_do_not_depend_on_the_rows_taken_together(names, rows):
    fs = chained(divided(), *names)
    whole = fs.get_features("pulse")

    assert fs.take(rows).get_features("pulse").tobytes() == whole[rows].tobytes()
    for row in rows[:3]:
        assert fs.take([row]).get_features("pulse").tobytes() == whole[[row]].tobytes()


@settings(max_examples=25)
@given(st.lists(st.sampled_from([one for one in NAMES if one != "mml/absolute"]), min_size=1, max_size=4))
def test_the_inverse_of_a_chain_is_close_to_the_identity(names):
    fs = cells()
    raw = fs.get_features("image")
    for name in names:
        fs.fit_transform(scaler(name), domain="features", keys="image")

    back = fs.inverse_transform(fs.get_features("image"), "image")
    np.testing.assert_allclose(back, raw, rtol=1e-6, atol=1e-6)


@settings(max_examples=15)
@given(CHAINS)
def test_a_chain_comes_back_from_its_config_and_state(names):
    fs = cells()
    for name in names:
        fs.fit_transform(scaler(name), domain="features", keys="pulse")
    with ExperimentContext().activate():
        again = FeatureSet.from_config(fs.get_config())
    assert again.scaler_records != fs.scaler_records
    again.set_state(fs.get_state())

    assert again.scaler_records == fs.scaler_records
    assert again.schema == fs.schema


def test_a_chain_of_different_dtypes_is_evaluated_in_order():
    fs = single(np.arange(12, dtype=np.int64).reshape(6, 2))
    fs.fit_transform("minmax", domain="features").fit_transform("negate", domain="features")

    expected = -((np.arange(12.0).reshape(6, 2) - [0, 1]) / 10)
    assert fs.schema["features.x.transformed"].dtype == np.float64
    np.testing.assert_allclose(fs.get_features("x"), expected, rtol=1e-15)


def test_a_class_of_ones_own_works_and_comes_back_without_fitting(tmp_path, registered):
    fs = divided()
    fs.fit_transform(Doubling, domain="features", keys="pulse", fit_to_split="train")
    fs.fit_transform(Doubling(factor=3.0), domain="features", keys="pulse", fit_to_split="train")
    fs.fit_transform(Scaler(registered, factor=4.0), domain="features", keys="pulse", fit_to_split="train")
    back = reloaded(fs, tmp_path / "cells.mml")

    assert Doubling.fits == 3
    assert [one.get_config()["scaler"]["factor"] for one in back.scaler_records] == [2.0, 3.0, 4.0]
    assert back.get_features("pulse").tobytes() == fs.get_features("pulse").tobytes()
    np.testing.assert_allclose(back.get_features("pulse"), fs.get_features("pulse", "raw") * 24, rtol=1e-6)
    assert back == fs


def test_an_unregistered_class_of_a_notebook_is_fitted_and_saved_once_it_is_registered(tmp_path):
    class Mine(Doubling):
        pass

    fs = divided()
    fs.fit_transform(Mine, domain="features", keys="pulse", fit_to_split="train")
    with pytest.raises(ConfigError, match=r"registry\('scalers'\).register") as caught:
        fs.save(tmp_path / "cells.mml")
    assert "features.pulse" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    registry("scalers").register("mine")(Mine)
    try:
        assert reloaded(fs, tmp_path / "cells.mml") == fs
    finally:
        registry("scalers").remove("user/mine")


def test_a_class_that_no_config_builds_is_refused_before_anything_is_written(tmp_path):
    class Mine:
        fit, transform, inverse_transform = Doubling.fit, Doubling.transform, Doubling.inverse_transform
        get_config, get_state, set_state = Doubling.get_config, Doubling.get_state, Doubling.set_state
        factor, fits = 2.0, 0

    registry("scalers").register("mine")(Mine)
    try:
        fs = divided().fit_transform("mine", domain="features", keys="pulse", fit_to_split="train")
        with pytest.raises(ConfigError, match="no from_config"):
            fs.save(tmp_path / "cells.mml")
    finally:
        registry("scalers").remove("user/mine")
    assert list(tmp_path.iterdir()) == []


def test_what_lacks_a_method_is_told_which_ones_a_scaler_has():
    class Half:
        def fit(self, values):
            return self

    with pytest.raises(ScalerError, match="no transform and no inverse_transform") as caught:
        divided().fit_transform(Half, domain="features", fit_to_split="train")
    assert "get_state" in caught.value.expected


def test_each_scaler_of_a_chain_remembers_the_rows_it_saw(tmp_path):
    fs = divided()
    fs["train"].split_random(ratios={"fit": 0.5, "stop": 0.5}, seed=0)
    fs.fit_transform("standard", domain="features", fit_to_split="train")
    fs.fit_transform("minmax", domain="features", keys="pulse", fit_to_split="fit")

    for one in (fs, reloaded(fs, tmp_path / "cells.mml")):
        first, second = (record.lineage for record in one.scaler_records)
        assert np.array_equal(first.uuids, fs["train"].sample_uuids)
        assert np.array_equal(second.uuids, fs["fit"].sample_uuids)
        assert not first.seen(fs["test"].sample_uuids).any()


def test_a_leak_is_an_error_under_strict_and_changes_nothing():
    fs = divided()
    before = everything(fs)
    with strict(), pytest.raises(LeakageError, match="outside the training split"):
        fs.fit_transform("robust", domain="features")

    assert everything(fs) == before


@pytest.mark.parametrize("name", [one for one in NAMES if one != "mml/segmented"])
def test_transforming_holds_no_more_than_a_copy_of_one_column_beside_the_result(monkeypatch, name):
    monkeypatch.setattr("mml.data.source._KEPT_BYTES", 0)
    monkeypatch.setattr("mml.data.source._BLOCK_BYTES", 1 << 18)
    monkeypatch.setattr("mml.processing.scalers.quantiles._HELD_BYTES", 1 << 20)
    column = np.random.default_rng(0).normal(size=(100_000, 10)).astype(np.float32)
    with ExperimentContext().activate():
        data = {f"x{number}": column + number for number in range(4)}
        fs = FeatureSet.from_dict("large", data, feature_keys=list(data))
    tracemalloc.start()
    try:
        fs.fit_transform(name, domain="features")
        values = fs.get_features("*", fmt="dict_numpy")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    result = sum(one.nbytes for one in values.values())
    assert result == 4 * column.nbytes
    assert peak - result < column.nbytes


def test_a_column_too_large_to_keep_is_evaluated_anew_and_all_kept_ones_have_a_bound(monkeypatch):
    fs = divided(n_rows=500).fit_transform("standard", domain="features", fit_to_split="train")
    expected = {name: values.tobytes() for name, values in fs.get_features(fmt="dict_numpy").items()}
    size = fs.get_features("image").nbytes
    for limits in ((size - 1, 1 << 30), (1 << 30, size + 1)):
        monkeypatch.setattr("mml.data.source._KEPT_BYTES", limits[0])
        monkeypatch.setattr("mml.data.source._KEPT_IN_ALL_BYTES", limits[1])
        fresh = divided(n_rows=500).fit_transform("standard", domain="features", fit_to_split="train")
        found = {name: values.tobytes() for name, values in fresh.get_features(fmt="dict_numpy").items()}
        assert found == expected
        kept = fresh.snapshot()._kept
        assert len(kept) < 4
        assert sum(one.nbytes for one in kept.values()) <= limits[1]


@pytest.mark.parametrize("scaler", ["negate", "absolute", "per_sample_minmax", "per_sample_zero"])
def test_what_learns_nothing_leaks_nothing(scaler):
    featureset = cells()
    featureset.split_random(ratios={"train": 0.5, "test": 0.5}, seed=0)
    with strict():
        featureset.fit_transform(scaler, domain="features", keys="pulse")
    assert len(featureset.scaler_records[0].lineage) == 0
