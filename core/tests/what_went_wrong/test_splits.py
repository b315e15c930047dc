"""Splits: what went wrong elsewhere. Each check passes on MML and fails on a double that has the fault."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.processing import RandomSplitter

RATIOS = {"train": 0.6, "test": 0.4}
# Ten small groups beside one that holds half of all rows.
GROUPS = np.repeat(np.arange(11), [100, *[10] * 10])


def mml_split(groups, ratios, seed):
    """Return row numbers per split."""
    with ExperimentContext().activate():
        fs = FeatureSet.from_dict(
            "rows", {"x": np.arange(len(groups)), "g": groups}, feature_keys="x", tag_keys="g"
        )
    return RandomSplitter(ratios, seed, group_by="g").split(fs.view())


def by_number_of_groups(groups, ratios, seed, *, order=None):
    """Divide groups as the double does: in the given order, shares being of groups."""
    distinct = np.unique(groups) if order is None else order
    cut = round(next(iter(ratios.values())) * len(distinct))
    is_first = np.isin(groups, distinct[:cut])
    return dict(zip(ratios, (np.flatnonzero(is_first), np.flatnonzero(~is_first)), strict=True))


def that_ignores_the_seed(groups, ratios, seed):
    order = np.random.default_rng(0).permutation(np.unique(groups))
    return by_number_of_groups(groups, ratios, seed, order=order)


def that_counts_groups(groups, ratios, seed):
    order = np.random.default_rng(seed).permutation(np.unique(groups))
    return by_number_of_groups(groups, ratios, seed, order=order)


def check_that_the_seed_counts(split):
    groups = np.arange(60) // 3
    made = {split(groups, RATIOS, seed)["train"].tobytes() for seed in range(6)}
    again = {split(groups, RATIOS, seed)["train"].tobytes() for seed in range(6)}
    assert len(made) == 6, f"6 seeds give {len(made)} divisions"
    assert made == again, "equal seeds give different divisions"


def check_that_ratios_count_rows(split):
    for seed in range(10):
        parts = split(GROUPS, RATIOS, seed)
        assert not set(GROUPS[parts["train"]]) & set(GROUPS[parts["test"]]), "a group is divided"
        sizes = {name: len(rows) for name, rows in parts.items()}
        assert sizes == {"train": 120, "test": 80}, f"shares of 200 rows became {sizes}"


def test_grouped_splits_depend_on_the_seed():
    """'Grouped splits ignore the seed; ratios count groups, not rows.'"""
    check_that_the_seed_counts(mml_split)
    with pytest.raises(AssertionError, match="6 seeds give 1"):
        check_that_the_seed_counts(that_ignores_the_seed)


def test_ratios_of_grouped_splits_count_rows():
    """'Grouped splits ignore the seed; ratios count groups, not rows.'"""
    check_that_ratios_count_rows(mml_split)
    with pytest.raises(AssertionError, match="shares of 200 rows"):
        check_that_ratios_count_rows(that_counts_groups)


IN_MML = """
import sys
from mml.context import ExperimentContext
from mml.data import FeatureSet
words = [f"cell {number % 23}" for number in range(230)]
with ExperimentContext().activate():
    fs = FeatureSet.from_dict("rows", {"x": range(230), "g": words}, feature_keys="x", tag_keys="g")
parts = fs.split_random(ratios={"train": 0.6, "test": 0.4}, seed=0, group_by="g")
print(parts["train"].rows.tolist())
"""

OUT_OF_A_SET = """
import random
words = [f"cell {number % 23}" for number in range(230)]
groups = list(set(words))
random.Random(0).shuffle(groups)
print([row for row, word in enumerate(words) if word in groups[:14]])
"""


def check_that_hash_seeds_change_nothing(script):
    printed = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2", "3")
    }
    assert len(printed) == 1, "the division depends on the hash seed"


def test_splits_do_not_depend_on_the_hash_seed():
    """'... depending on the hash seed, because parameters are gathered from a set' (groups, here)."""
    check_that_hash_seeds_change_nothing(IN_MML)
    with pytest.raises(AssertionError, match="hash seed"):
        check_that_hash_seeds_change_nothing(OUT_OF_A_SET)


class MMLFile:
    """A FeatureSet saved and loaded."""

    def __init__(self, fs, path):
        fs.save(path)
        self.path = path

    def load(self):
        with ExperimentContext().activate():
            return FeatureSet.load(self.path)


class DividedAgain(MMLFile):
    """The double: what was recorded runs once more on loading, on whatever order the rows then have."""

    def load(self):
        loaded = super().load()
        shuffled = loaded.take(np.random.default_rng(9).permutation(len(loaded)))
        shuffled.split(loaded.splitter_records[0].build(), overwrite=True)
        return loaded


def check_that_loading_keeps_the_rows(store, path):
    with ExperimentContext().activate():
        fs = FeatureSet.from_dict("rows", {"x": np.arange(50)}, feature_keys="x")
    fs.split_random(ratios=RATIOS, seed=0)
    held = {name: view.rows.tolist() for name, view in fs.splits.items()}
    loaded = {name: view.rows.tolist() for name, view in store(fs, path).load().splits.items()}
    assert loaded == held, "a split holds other rows after loading"


def test_loading_does_not_divide_again(tmp_path):
    """'Reloading a FeatureSet refits its scalers, so values change.' (splits, here)"""
    check_that_loading_keeps_the_rows(MMLFile, tmp_path / "rows.mml")
    with pytest.raises(AssertionError, match="other rows"):
        check_that_loading_keeps_the_rows(DividedAgain, tmp_path / "again.mml")
