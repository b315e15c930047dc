"""What is tried first with a FeatureSet, and is wrong: the message names it and what to write instead."""

from __future__ import annotations

import numpy as np
import pytest

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import ArchiveError, ConfigError, DataError, RegistrationError, ScalerError, SplitError

N_ROWS = 12


def columns():
    return {
        "x": np.arange(N_ROWS * 2, dtype=np.float32).reshape(N_ROWS, 2),
        "y": np.arange(N_ROWS, dtype=np.float32),
        "site": np.arange(N_ROWS) % 3,
    }


def cells():
    with ExperimentContext().activate():
        return FeatureSet.from_dict("cells", columns(), feature_keys="x", target_keys="y", tag_keys="site")


def test_data_before_the_label_is_not_printed():
    with pytest.raises(ConfigError, match="label of a FeatureSet comes first") as caught:
        FeatureSet.from_dict(columns(), "cells", feature_keys="x")
    assert caught.value.found == "dict"
    assert "from_dict('cells', data" in caught.value.hint


@pytest.mark.parametrize("setting", ["stratify_by", "group_by"])
def test_values_in_place_of_a_column_are_told_by_their_shape(setting):
    given = {setting: np.zeros(N_ROWS)}
    with pytest.raises(DataError, match=f"Columns to {setting[:-3]} by are given by name") as caught:
        cells().split_random(ratios={"train": 0.5, "test": 0.5}, seed=0, **given)
    assert caught.value.found == "ndarray of shape (12,)"
    assert f"{setting}='...'" in caught.value.hint


@pytest.mark.parametrize(
    ("ratios", "shares"),
    [
        ({"train": 80, "test": 20}, {"train": 0.8, "test": 0.2}),
        ({"train": 0.9, "val": 0.15, "test": 0.15}, {"train": 0.75, "val": 0.125, "test": 0.125}),
        ({"a": 1, "b": 1, "c": 1}, {"a": 1 / 3, "b": 1 / 3, "c": 1 / 3}),
    ],
)
def test_ratios_of_another_sum_are_shown_as_shares_that_work(ratios, shares):
    with pytest.raises(SplitError, match="do not sum to 1") as caught:
        cells().split_random(ratios=ratios, seed=0)
    shown = dict(
        entry.split(": ") for entry in caught.value.hint.partition("{")[2].partition("}")[0].split(", ")
    )
    assert {name.strip("'"): float(share) for name, share in shown.items()} == pytest.approx(
        shares, abs=1e-11
    )
    fs = cells()
    fs.split_random(ratios={name.strip("'"): float(share) for name, share in shown.items()}, seed=0)
    assert set(fs.splits) == set(shares)


def test_a_list_of_ratios_is_shown_with_names():
    with pytest.raises(SplitError, match="a mapping") as caught:
        cells().split_random(ratios=[0.8, 0.2], seed=0)
    assert "ratios={'train': 0.8, 'test': 0.2}" in caught.value.hint


@pytest.mark.parametrize(
    ("index", "shown"),
    [
        (slice(None, 10), "take(range(0, 10))"),
        (slice(2, 9, 3), "take(range(2, 9, 3))"),
        (0, "take([0])"),
        (np.array([1, 2]), "take([0, 1, 2])"),
    ],
)
def test_rows_in_place_of_a_split_lead_to_take(index, shown):
    with pytest.raises(SplitError, match="names of splits") as caught:
        cells()[index]
    assert shown in caught.value.hint


def test_tags_are_not_scaled():
    with pytest.raises(ScalerError, match="not on 'tags'") as caught:
        cells().fit_transform("standard", domain="tags")
    assert "Tags stay as they are" in caught.value.hint


def test_raw_values_need_no_inversion():
    fs = cells()
    fs.split_random(ratios={"train": 1.0}, seed=0)
    fs.fit_transform("minmax", domain="targets", fit_to_split="train")
    scaled = np.array([[0.0], [1.0]])
    assert fs.inverse_transform(scaled, "y").ravel().tolist() == [0, N_ROWS - 1]
    assert fs.inverse_transform(scaled, "y.transformed").ravel().tolist() == [0, N_ROWS - 1]
    with pytest.raises(ScalerError, match=r"'y\.raw' names raw values") as caught:
        fs.inverse_transform(scaled, "y.raw")
    assert "'y'" in caught.value.hint
    with pytest.raises(ScalerError, match="no transform to invert") as caught:
        fs.inverse_transform(np.zeros(2), "site")
    assert "raw units" in caught.value.hint


def test_what_is_loaded_beside_the_original_names_the_file_and_both_ways_out(tmp_path):
    path = tmp_path / "cells.mml"
    with ExperimentContext().activate() as context:
        original = FeatureSet.from_dict("cells", columns(), feature_keys="x")
        original.save(path)
        with pytest.raises(RegistrationError, match="is already taken") as caught:
            FeatureSet.load(path)
        assert str(path) in caught.value.where
        assert "with mml.ExperimentContext().activate():" in caught.value.hint
        assert "mml.ExperimentContext.active().policy = 'overwrite'" in caught.value.hint
        with ExperimentContext().activate():
            assert FeatureSet.load(path) == original
        ExperimentContext.active().policy = "overwrite"
        loaded = FeatureSet.load(path)
        assert context.get("cells") is loaded


@pytest.mark.parametrize("trusted", [True, None, [1], {"my_models": 1.0}.values()])
def test_trust_is_given_by_name(tmp_path, trusted):
    cells().save(tmp_path / "cells.mml")
    with pytest.raises(ConfigError, match="`trusted` names the code") as caught:
        FeatureSet.load(tmp_path / "cells.mml", trusted=trusted)
    assert "trusted=['my_models']" in caught.value.expected


def test_a_missing_folder_is_told_and_how_to_make_it(tmp_path):
    with pytest.raises(ArchiveError, match="folder to write into does not exist") as caught:
        cells().save(tmp_path / "runs" / "cells.mml")
    assert "cells.mml" in caught.value.where
    assert "mkdir" in caught.value.hint
    assert ".tmp" not in str(caught.value)
