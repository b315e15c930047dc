"""FeatureSet: splits, transforms, copies and equality, and that nothing is half applied."""

from __future__ import annotations

import warnings

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mml.context import ExperimentContext
from mml.data import FeatureSet, FeatureSetView
from mml.errors import ColumnError, LeakageWarning, MMLError, RegistrationError, ScalerError, SplitError

from .samples import arrays, cells, single

RATIOS = {"train": 0.6, "val": 0.2, "test": 0.2}


def divided(**options):
    fs = cells(**options)
    fs.split_random(ratios=RATIOS, seed=0)
    return fs


def everything(fs):
    """Return all that can be seen of a FeatureSet, for comparing before and after."""
    return (
        {name: (view.rows.tolist(), view.label) for name, view in fs.splits.items()},
        [record.get_config() for record in fs.splitter_records],
        [record.get_config() for record in fs.scaler_records],
        {name: values.tobytes() for name, values in fs.get_data(fs.schema.names).items()},
    )


def test_a_featureset_registers_under_its_label_and_uuid():
    with ExperimentContext().activate() as context:
        fs = FeatureSet.from_dict("cells", arrays(), feature_keys="pulse")
        with pytest.raises(RegistrationError):
            FeatureSet.from_dict("cells", arrays(), feature_keys="pulse")

    assert context.get("cells") is fs
    assert context.get(fs.uuid) is fs
    assert len(context) == 1


def test_length_and_accessors_by_domain():
    fs = cells()

    assert len(fs) == fs.n_samples == 23
    assert np.array_equal(fs.get_features("pulse"), arrays()["pulse"])
    assert fs.get_targets().shape == (23, 1)
    assert fs.get_tags("cell").tolist() == arrays()["cell"]
    with pytest.raises(ColumnError, match="among the features"):
        fs.get_features("soh")


# Splits


def test_splits_are_views_in_the_order_they_were_made():
    fs = divided()

    assert list(fs.splits) == ["train", "val", "test"]
    assert isinstance(fs["val"], FeatureSetView)
    assert fs["val"].label == "cells[val]"
    assert "val" in fs
    assert "other" not in fs


def test_an_unknown_split_lists_the_near_misses():
    with pytest.raises(SplitError, match="Did you mean 'train'"):
        divided()["trian"]
    with pytest.raises(SplitError, match="Split it first"):
        cells()["train"]


def test_a_name_is_used_again_only_on_request():
    fs = divided()
    before = everything(fs)
    with pytest.raises(SplitError, match=r"'train'.*exists") as caught:
        fs.split_random(ratios={"train": 0.5, "holdout": 0.5}, seed=1)

    assert "overwrite=True" in str(caught.value)
    assert everything(fs) == before


def test_overwriting_drops_the_whole_division_and_divisions_of_its_parts():
    fs = divided()
    fs["train"].split_random(ratios={"fit": 0.5, "stop": 0.5}, seed=1)
    fs.split_by_condition({"a": {"cell": "cell-0"}}, rest="b")
    fs.split_random(ratios={"train": 0.5, "test": 0.5}, seed=1, overwrite=True)

    assert list(fs.splits) == ["a", "b", "train", "test"]
    assert fs["train"].is_disjoint_with(fs["test"])
    assert [record.names for record in fs.splitter_records] == [("a", "b"), ("train", "test")]


def test_splits_of_splits_stay_inside():
    fs = divided()
    parts = fs["train"].split_random(ratios={"fit": 0.7, "stop": 0.3}, seed=1)

    assert sorted([*parts["fit"].rows, *parts["stop"].rows]) == fs["train"].rows.tolist()
    assert fs.splitter_records[-1].source == "train"
    with pytest.raises(SplitError, match="part of its own name"):
        fs["train"].split_random(ratios={"train": 0.7, "more": 0.3}, seed=1, overwrite=True)


def test_a_split_record_replays_the_split():
    fs = divided()
    rows = {name: view.rows.tolist() for name, view in fs.splits.items()}
    fs.split(fs.splitter_records[0].build(), overwrite=True)

    assert {name: view.rows.tolist() for name, view in fs.splits.items()} == rows


def test_a_split_by_a_lambda_works_and_says_that_it_cannot_be_replayed():
    fs = cells()
    fs.split_by_condition({"low": {"voltage": lambda v: v < 3.7}}, rest="high")

    assert len(fs["low"]) == int((arrays()["voltage"] < 3.7).sum())
    with pytest.raises(SplitError, match="cannot be replayed"):
        fs.splitter_records[0].build()


def test_splitters_come_by_name_with_settings():
    fs = cells()
    by_name = fs.split("random", ratios=RATIOS, seed=0)

    assert {name: view.rows.tolist() for name, view in by_name.items()} == {
        name: view.rows.tolist() for name, view in divided().splits.items()
    }
    with pytest.raises(SplitError, match="does not take"):
        cells().split("random", rations=RATIOS)
    with pytest.raises(MMLError, match="'randm'"):
        cells().split("randm")
    with pytest.raises(SplitError, match="no splitter"):
        cells().split(3)


class Broken:
    """A splitter that returns whatever it was given."""

    def __init__(self, parts):
        self.parts = parts

    def split(self, view):
        return self.parts

    def get_config(self):
        return {}


@pytest.mark.parametrize("parts", [{}, {"a": []}, {"": [1]}, {"a": [99]}, {"a": [0.5]}, {3: [1]}])
def test_a_splitter_that_returns_nonsense_changes_nothing(parts):
    fs = divided()
    before = everything(fs)
    with pytest.raises(MMLError):
        fs.split(Broken(parts), overwrite=True)

    assert everything(fs) == before


# Transforms


def test_fit_transform_adds_a_representation_and_keeps_raw():
    fs = divided()
    fs.fit_transform("standard", domain="features", keys=["pulse", "image"], fit_to_split="train")
    raw, rows = arrays()["pulse"], fs["train"].rows
    expected = (raw - raw[rows].astype(np.float64).mean(0)) / raw[rows].astype(np.float64).std(0)

    assert np.array_equal(fs.get_features("pulse", "raw"), raw)
    assert fs.get_features("pulse").dtype == np.float32
    np.testing.assert_allclose(fs.get_features("pulse"), expected, rtol=1e-6, atol=1e-6)
    assert fs.get_features("voltage").tolist() == arrays()["voltage"].tolist()
    assert fs.schema["features.image.transformed"].shape == (2, 3)


def test_views_see_a_scaler_that_is_fitted_later_and_snapshots_do_not():
    fs = divided()
    view, snapshot = fs["test"], fs.snapshot()
    fs.fit_transform("minmax", domain="targets", fit_to_split="train")

    assert "targets.soh.transformed" in view.schema
    assert "targets.soh.transformed" not in snapshot.schema


def test_a_column_is_the_same_in_every_block_to_the_bit():
    fs = divided(n_rows=97)
    fs.fit_transform("standard", domain="features", fit_to_split="train")
    fs.fit_transform("minmax", domain="features", keys="pulse", fit_to_split="train")
    whole = fs.get_features("pulse")
    rng = np.random.default_rng(1)

    for size in (1, 2, 31, 97):
        rows = rng.integers(0, 97, size)
        assert fs.snapshot().take("features.pulse.transformed", rows).tobytes() == whole[rows].tobytes()


def test_evaluating_per_block_gives_the_bits_of_a_kept_column(monkeypatch):
    kept, per_block = divided(n_rows=61), divided(n_rows=61)
    kept.fit_transform("standard", domain="features", fit_to_split="train")
    expected = kept.get_features("image")
    monkeypatch.setattr("mml.data.source._KEPT_BYTES", 0)
    monkeypatch.setattr("mml.data.source._BLOCK_BYTES", 100)
    per_block.fit_transform("standard", domain="features", fit_to_split="train")

    assert per_block.get_features("image").tobytes() == expected.tobytes()
    out = np.empty((4, 2, 3))
    rows = np.array([5, 60, 0, 5])
    assert per_block.snapshot().take("features.image.transformed", rows, out) is out
    assert out.tobytes() == expected[rows].tobytes()


@settings(max_examples=30)
@given(st.lists(st.sampled_from(["standard", "minmax"]), min_size=1, max_size=4), st.integers(0, 5))
def test_undo_brings_back_the_bits_of_before(scalers, seed):
    fs = divided(seed=seed)
    history = [everything(fs)]
    for scaler in scalers:
        fs.fit_transform(scaler, domain="features", keys=["pulse", "count"], fit_to_split="train")
        history.append(everything(fs))
    for expected in reversed(history[:-1]):
        fs.undo_last_transform()
        assert everything(fs) == expected
    for scaler in scalers:
        fs.fit_transform(scaler, domain="features", fit_to_split="train")
    fs.undo_all_transforms()

    assert everything(fs) == history[0]


def test_undo_by_domain_and_key_leaves_the_others():
    fs = divided()
    fs.fit_transform("standard", domain="features", keys=["pulse", "image"], fit_to_split="train")
    fs.fit_transform("minmax", domain="targets", fit_to_split="train")
    once = fs.get_features("image")
    fs.fit_transform("minmax", domain="features", keys="image", fit_to_split="train")
    fs.undo_last_transform("features")

    assert "features.pulse.transformed" not in fs.schema
    assert fs.get_features("image").tobytes() == once.tobytes()
    assert [record.keys for record in fs.scaler_records] == [("image",), ("soh",)]
    fs.undo_last_transform("targets", "soh")
    assert [record.domain for record in fs.scaler_records] == ["features"]


@pytest.mark.parametrize("arguments", [(), ("features",), ("features", "pulse"), ("tags",), ("nowhere",)])
def test_undo_with_nothing_to_undo_is_an_error(arguments):
    fs = divided()
    fs.fit_transform("standard", domain="targets", fit_to_split="train")
    if not arguments:
        fs.undo_all_transforms()
    before = everything(fs)
    with pytest.raises(ScalerError):
        fs.undo_last_transform(*arguments)

    assert everything(fs) == before


@pytest.mark.parametrize("scalers", [["standard"], ["minmax"], ["standard", "minmax"]])
def test_inverse_transform_brings_predictions_back_to_raw_units(scalers):
    fs = divided()
    for scaler in scalers:
        fs.fit_transform(scaler, domain="targets", fit_to_split="train")
    scaled = fs.get_targets()

    for shape in ((23, 1), (23,)):
        back = fs.inverse_transform(scaled.reshape(shape), "soh")
        assert back.shape == shape
        assert back.dtype == np.float32
        np.testing.assert_allclose(back.reshape(23, 1), arrays()["soh"], rtol=1e-6)
    with pytest.raises(MMLError, match="do not fit"):
        fs.inverse_transform(np.ones((4, 3)), "soh")
    with pytest.raises(ScalerError, match="no transform to invert"):
        fs.inverse_transform(scaled, "voltage")


def test_what_a_scaler_saw_is_on_record():
    fs = divided()
    fs.fit_transform("standard", domain="features", keys="pulse", fit_to_split="train")
    lineage = fs.scaler_records[0].lineage

    assert lineage.split == "train"
    assert np.array_equal(lineage.uuids, fs["train"].sample_uuids)
    assert lineage.seen(fs["train"].sample_uuids).all()
    assert not lineage.seen(fs["test"].sample_uuids).any()


def test_fitting_outside_of_train_warns_with_the_number_of_rows():
    fs = divided()
    outside = len(fs["val"]) + len(fs["test"])
    with pytest.warns(LeakageWarning, match=rf"{outside} of 23 rows outside.*\['test', 'val'\]") as caught:
        fs.fit_transform("standard", domain="features", keys="pulse")
    assert caught[0].filename == __file__
    with pytest.warns(LeakageWarning, match=rf"{len(fs['test'])} of {len(fs['test'])} rows"):
        fs.fit_transform("standard", domain="features", keys="pulse", fit_to_split="test")


def test_fitting_is_silent_where_nothing_leaks():
    # Warnings are errors here, so reaching the end is the claim; the records show that it did happen.
    unsplit, fs, unnamed = cells(), divided(), cells()
    unsplit.fit_transform("standard", domain="features")
    fs["train"].split_random(ratios={"fit": 0.5, "stop": 0.5}, seed=0)
    fs.fit_transform("standard", domain="features", fit_to_split="fit")
    unnamed.split_random(ratios={"a": 0.5, "b": 0.5}, seed=0)
    unnamed.fit_transform("standard", domain="features", fit_to_split="a")

    assert [len(one.scaler_records) for one in (unsplit, fs, unnamed)] == [1, 1, 1]
    with pytest.warns(LeakageWarning):
        unnamed.fit_transform("standard", domain="features")


def test_a_leak_that_is_an_error_changes_nothing():
    fs = divided()
    before = everything(fs)
    with warnings.catch_warnings(action="error"), pytest.raises(LeakageWarning):
        fs.fit_transform("standard", domain="features")

    assert everything(fs) == before


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"domain": "features", "keys": "volage"}, ColumnError, "Did you mean"),
        ({"domain": "tags"}, ScalerError, "not on 'tags'"),
        ({"domain": "feature"}, ScalerError, "Did you mean 'features'"),
        ({"domain": "features", "keys": []}, ScalerError, "no column"),
        ({"domain": "features", "fit_to_split": "trian"}, SplitError, "Did you mean 'train'"),
        ({"domain": "features", "scaler": "standrd"}, MMLError, "standard"),
        ({"domain": "features", "scaler": 3}, ScalerError, "no scaler"),
        ({"domain": "features", "scaler": dict}, ScalerError, "has no fit"),
    ],
)
def test_a_transform_that_cannot_be_made_changes_nothing(settings, error, words):
    fs = divided()
    fs.fit_transform("minmax", domain="features", fit_to_split="train")
    before = everything(fs)
    with pytest.raises(error, match=words):
        fs.fit_transform(settings.pop("scaler", "standard"), **{"fit_to_split": "train", **settings})

    assert everything(fs) == before


class StandardScaler:
    """A scaler as another library has it."""


@pytest.mark.parametrize("scaler", [StandardScaler, StandardScaler()])
def test_a_scaler_of_another_library_is_answered_with_what_is_registered(scaler):
    with pytest.raises(ScalerError, match="no scaler") as caught:
        divided().fit_transform(scaler, domain="features", fit_to_split="train")
    assert "'standard'" in caught.value.hint


def test_strings_cannot_be_scaled():
    fs = single(["a", "b"])
    with pytest.raises(ScalerError, match="does not hold numbers"):
        fs.fit_transform("standard", domain="features")

    assert fs.scaler_records == ()


def test_infinities_and_empty_columns_cannot_be_learnt_from():
    fs = single(np.array([[1.0, 2.0], [np.inf, 1.0]]))
    with pytest.raises(ScalerError, match="row 1") as caught:
        fs.fit_transform("standard", domain="features")
    assert "features.x.raw" in str(caught.value)
    with pytest.raises(ScalerError, match="all are NaN"):
        single(np.array([[1.0, np.nan], [2.0, np.nan]])).fit_transform("minmax", domain="features")


class Failing:
    """A scaler that fails in transform, with an error that is not MML's."""

    def fit(self, values):
        return self

    def transform(self, values):
        raise ZeroDivisionError("inside")

    def inverse_transform(self, values):
        return values

    def get_config(self):
        return {}

    def get_state(self):
        return {}

    def set_state(self, state):
        return None


def test_an_error_inside_a_scaler_is_chained_and_located():
    fs = divided()
    with pytest.raises(ScalerError, match=r"failed in transform: inside") as caught:
        fs.fit_transform(Failing, domain="features", keys="pulse", fit_to_split="train")

    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert "features.pulse.raw" in str(caught.value)
    assert fs.scaler_records == ()


# Copies, equality, structure


def test_a_copy_shares_the_data_and_goes_its_own_way():
    fs = divided()
    twin = fs.copy("twin")
    twin.fit_transform("standard", domain="features", fit_to_split="train")

    assert twin.label == "twin"
    assert twin.uuid != fs.uuid
    assert np.shares_memory(twin.get_features("pulse", "raw"), fs.get_features("pulse"))
    assert fs.scaler_records == ()
    assert list(twin.splits) == list(fs.splits)


def test_equality_is_by_label_values_splits_and_transforms():
    one, two = divided(), divided()

    assert one == two
    assert hash(one) == hash(two)
    assert one != divided(label="others")
    assert one != divided(seed=1)
    assert one != cells()
    one.fit_transform("standard", domain="features", fit_to_split="train")
    assert one != two
    two.fit_transform("standard", domain="features", fit_to_split="train")
    assert one == two
    two.undo_all_transforms()
    assert one != two


def test_a_view_becomes_a_featureset_with_identities_and_transforms():
    fs = divided()
    fs.fit_transform("standard", domain="features", fit_to_split="train")
    for view in (fs["test"], fs.take(slice(3, 9)), fs.take([5, 5, 1])):
        made = view.select(["pulse", "soh", "cell"]).to_featureset(f"made-{len(view)}")

        assert np.array_equal(made.sample_uuids, view.sample_uuids)
        assert (
            made.get_features("pulse").tobytes() == np.ascontiguousarray(view.get_features("pulse")).tobytes()
        )
        assert made.get_tags("cell").tolist() == view.get_tags("cell").tolist()
        assert made.schema.keys("features") == ("pulse",)
        assert made.scaler_records[0].keys == ("pulse",)
        assert made.fingerprint != fs.fingerprint


def test_structure_and_values_round_trip_apart():
    fs = divided()
    fs.fit_transform("standard", domain="features", fit_to_split="train")
    fs.fit_transform("minmax", domain="targets", fit_to_split="train")
    with ExperimentContext().activate():
        empty = FeatureSet.from_config(fs.get_config())
    with ExperimentContext().activate():
        other = FeatureSet("cells", fs.snapshot().collection)

    assert empty.get_config() == fs.get_config()
    assert len(empty) == 0
    with pytest.raises(MMLError, match="another structure"):
        other.set_state(fs.get_state())
    state = fs.get_state()
    state["splits"]["train"][:] = 0
    assert fs["train"].rows.tolist() != [0] * len(fs["train"])
    before = everything(fs)
    fs.set_state(fs.get_state())
    assert everything(fs) == before


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.pop("splits"),
        lambda state: state["splits"].pop("train"),
        lambda state: state["splits"].update(train=np.array([0, 99])),
        lambda state: state["splits"].update(train=np.array([0.5])),
        lambda state: state["transforms"].clear(),
        lambda state: state["transforms"][0].pop("lineage"),
        lambda state: state["transforms"][0]["columns"].pop("pulse"),
        lambda state: state["transforms"][0]["columns"]["pulse"]["scaler"].pop("mean"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(damage):
    fs = divided()
    fs.fit_transform("standard", domain="features", keys=["pulse", "image"], fit_to_split="train")
    state, before = fs.get_state(), everything(fs)
    damage(state)
    with pytest.raises(MMLError):
        fs.set_state(state)

    assert everything(fs) == before


def test_the_whole_table_comes_out_in_full_names_and_goes_in_again():
    fs = divided()
    table = fs.to_arrow()
    with ExperimentContext().activate():
        again = FeatureSet.from_pyarrow_table("again", table)

    assert isinstance(table, pa.Table)
    assert table.column_names[-1] == "sample_uuids.uuid.raw"
    assert np.array_equal(again.sample_uuids, fs.sample_uuids)
    assert again.fingerprint == fs.fingerprint


def test_the_summary_shows_columns_splits_transforms_and_non_finite_values():
    fs = single(np.array([1.0, np.nan, np.inf, 2.0]))
    fs.split_by_condition({"train": {"row": [0, 3]}}, rest="test")
    fs.fit_transform("standard", domain="features", fit_to_split="train")
    text = fs.summary()

    assert "1 NaN, 1 infinite" in text
    assert "split 'test': 2 samples (50.0%)" in text
    assert "mml/standard" in text
    assert "features.x.transformed" in text
