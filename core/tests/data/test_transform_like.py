"""Fitted transforms on new data: the same bits, the same lineage, and no fitting."""

from __future__ import annotations

import gc
import warnings

import numpy as np
import pytest
from hypothesis import given, settings

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import ColumnError, ScalerError
from mml.plugins import registry

from .samples import single
from .scaled import CHAINS, Doubling, chained, divided, everything, reloaded


@pytest.fixture
def registered():
    Doubling.fits = 0
    registry("scalers").register("doubling")(Doubling)
    yield "doubling"
    registry("scalers").remove("user/doubling")


def other_data(fs, rows, label="new"):
    """Return raw samples of a FeatureSet as new data, which knows nothing of where they come from."""
    data = {name: fs.take(rows).get_data(name, "raw")[full] for name, full in _raw_names(fs).items()}
    with ExperimentContext().activate():
        return FeatureSet.from_dict(
            label, data, feature_keys=["voltage", "pulse", "image", "count"], target_keys="soh"
        )


def _raw_names(fs):
    wanted = ("voltage", "pulse", "image", "count", "soh")
    return {one.name.key: str(one.name) for one in fs.snapshot().collection.schema if one.name.key in wanted}


@settings(max_examples=20)
@given(CHAINS)
def test_new_data_gets_the_bits_that_the_old_data_would_give(names):
    fs = chained(divided(), *names)
    chained(fs, "minmax", domain="targets", keys="soh")
    rows = [4, 0, 11, 12, 13]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        new = other_data(fs, rows).transform_like(fs)

    assert new.get_features("pulse").tobytes() == fs.get_features("pulse")[rows].tobytes()
    assert new.get_targets("soh").tobytes() == fs.get_targets("soh")[rows].tobytes()
    assert new.schema["features.pulse.transformed"].dtype == fs.schema["features.pulse.transformed"].dtype
    assert [one.lineage for one in new.scaler_records] == [one.lineage for one in fs.scaler_records]


def test_transforms_are_taken_over_from_a_file_and_after_the_old_data_is_gone(tmp_path, registered):
    fs = chained(divided(), "standard", "per_sample_minmax")
    fs.fit_transform(registered, domain="features", keys="pulse", fit_to_split="train")
    rows = [1, 5, 20]
    expected = fs.get_features("pulse")[rows].tobytes()
    new = other_data(fs, rows).transform_like(reloaded(fs, tmp_path / "old.mml"))
    saw = fs["train"].sample_uuids.copy()
    del fs
    gc.collect()

    assert new.get_features("pulse").tobytes() == expected
    again = reloaded(new, tmp_path / "new.mml")
    assert again.get_features("pulse").tobytes() == expected
    assert Doubling.fits == 1
    standard, per_sample, doubling = again.scaler_records
    assert np.array_equal(standard.lineage.uuids, saw)
    assert np.array_equal(doubling.lineage.uuids, saw)
    assert len(per_sample.lineage) == 0
    back = again.inverse_transform(again.get_features("pulse"), "pulse")
    np.testing.assert_allclose(back, new.get_features("pulse", "raw"), rtol=1e-5, atol=1e-6)


def test_what_is_taken_over_does_not_follow_later_changes():
    fs = chained(divided(), "standard")
    new = other_data(fs, [1, 2]).transform_like(fs)
    before = everything(new)
    chained(fs, "minmax")
    fs.undo_all_transforms()

    assert everything(new) == before
    assert chained_after(new).get_features("pulse").shape == (2, 5)


def chained_after(fs):
    return fs.fit_transform("negate", domain="features", keys="pulse")


def test_some_columns_are_taken_over_by_name():
    fs = chained(divided(), "standard", "minmax", keys=["pulse", "image"])
    new = other_data(fs, [1, 2]).transform_like(fs, keys="image")

    assert [one.keys for one in new.scaler_records] == [("image",), ("image",)]
    assert new.get_features("image").tobytes() == fs.get_features("image")[[1, 2]].tobytes()


@pytest.mark.parametrize(
    "keys",
    ["*", ["*"], np.array(["pulse", "image"]), ("features.pulse", "image"), "features.*", ["p*", "im*"]],
)
def test_names_and_patterns_mean_the_transformed_columns(keys):
    fs = chained(divided(), "standard", keys=["pulse", "image"])
    new = other_data(fs, [1, 2]).transform_like(fs, keys=keys)

    assert [one.keys for one in new.scaler_records] == [("pulse", "image")]


def test_columns_are_taken_over_from_one_after_the_other():
    fs = chained(divided(), "standard", "minmax")
    targets = chained(divided(label="targets"), "robust", domain="targets", keys="soh")
    new = other_data(fs, [3, 1]).transform_like(fs)
    middle = new.scaler_records
    new.transform_like(targets)

    assert new.scaler_records[:2] == middle
    assert [record.keys for record in new.scaler_records] == [("pulse",), ("pulse",), ("soh",)]
    assert new.get_features("pulse").tobytes() == fs.get_features("pulse")[[3, 1]].tobytes()
    assert new.get_targets("soh").tobytes() == targets.get_targets("soh")[[3, 1]].tobytes()
    new.undo_last_transform()
    assert new.scaler_records == middle


def test_a_column_that_is_transformed_already_is_refused_beside_others():
    fs = chained(divided(), "standard", keys=["pulse", "image"])
    new = chained_after(other_data(fs, [3, 1]))
    before = everything(new)
    with pytest.raises(ScalerError, match="transformed already") as caught:
        new.transform_like(fs)
    assert "pulse" in caught.value.found
    assert "image" not in caught.value.found
    assert everything(new) == before

    new.transform_like(fs, keys="image")
    assert new.get_features("image").tobytes() == fs.get_features("image")[[3, 1]].tobytes()


def test_other_representations_do_not_stand_for_the_raw_one():
    fs = chained(divided(), "standard")
    new = other_data(fs, [3, 1])
    table = new.to_arrow()
    table = table.append_column("features.pulse.spectrum", table.column("features.voltage.raw"))
    with ExperimentContext().activate():
        wider = FeatureSet.from_pyarrow_table("wider", table).transform_like(fs)

    assert wider.get_features("pulse").tobytes() == fs.get_features("pulse")[[3, 1]].tobytes()


def test_wider_new_data_keep_their_dtype():
    fs = single(np.arange(6, dtype=np.float32).reshape(3, 2))
    fs.fit_transform("standard", domain="features")
    new = single(np.arange(4, dtype=np.float64).reshape(2, 2), label="new").transform_like(fs)

    assert new.get_features("x").dtype == np.float64
    np.testing.assert_allclose(new.get_features("x"), fs.get_features("x")[:2], rtol=1e-6)


def narrow(fs):
    with ExperimentContext().activate():
        data = {"pulse": np.ones((3, 4), np.float32), "voltage": np.ones(3, np.float32)}
        return FeatureSet.from_dict("narrow", data, feature_keys=["pulse", "voltage"])


def text(fs):
    with ExperimentContext().activate():
        data = {"pulse": np.ones((3, 5), np.float32), "voltage": ["a", "b", "c"]}
        return FeatureSet.from_dict("text", data, feature_keys=["pulse", "voltage"])


@pytest.mark.parametrize(
    ("make", "like", "keys", "error", "words"),
    [
        (
            lambda fs: single(np.ones((3, 5))),
            None,
            "*",
            ColumnError,
            "missing here: .*pulse.*voltage",
        ),
        (narrow, None, "*", ScalerError, r"'features.pulse.raw' does not fit"),
        (text, None, "*", ScalerError, r"'features.voltage.raw' does not fit"),
        (lambda fs: other_data(fs, [0, 1]), None, "volage", ColumnError, "Did you mean"),
        (lambda fs: other_data(fs, [0, 1]), None, "image", ScalerError, "no transform to take over"),
        (
            lambda fs: chained_after(other_data(fs, [0, 1])),
            None,
            "*",
            ScalerError,
            "transformed already",
        ),
        (lambda fs: other_data(fs, [0, 1]), "plain", "*", ScalerError, "no transforms to take over"),
        (lambda fs: other_data(fs, [0, 1]), 3, "*", ScalerError, "from a FeatureSet"),
    ],
)
def test_what_cannot_be_taken_over_says_why_and_changes_nothing(make, like, keys, error, words):
    fs = chained(divided(), "standard", keys=["pulse", "voltage"])
    new = make(fs)
    before = everything(new)
    with pytest.raises(error, match=words) as caught:
        new.transform_like({None: fs, "plain": divided(label="plain")}.get(like, like), keys=keys)

    assert everything(new) == before
    if "already" in words:
        assert "undo_all_transforms" in caught.value.hint
        assert "'features.pulse'" in caught.value.found
