"""What splitters return is checked; splits of splits, overwriting, and repeating splits on other data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import ArchiveError, MMLError, SplitError
from mml.plugins import registry
from mml.processing import ConditionSplitter, RandomSplitter

HALVES = {"train": 0.5, "test": 0.5}


def cells(n_rows=60, seed=0):
    rng = np.random.default_rng(seed)
    data = {
        "x": rng.normal(size=(n_rows, 2)).astype("float32"),
        "cell": [f"c{number}" for number in rng.integers(0, 9, n_rows)],
        "age": rng.integers(0, 4, n_rows),
        "gap": [None if row == 7 else "g" for row in range(n_rows)],
        "day": np.datetime64("2024-01-01", "D") + np.arange(n_rows),
    }
    with ExperimentContext().activate():
        return FeatureSet.from_dict("cells", data, feature_keys="x", tag_keys=["cell", "age", "gap", "day"])


def rows_of(fs):
    return {name: view.rows.tolist() for name, view in fs.splits.items()}


class Returning:
    """A splitter that returns what it was given."""

    def __init__(self, parts):
        self.parts = parts

    def split(self, view):
        return self.parts(view) if callable(self.parts) else self.parts

    def get_config(self):
        return {}


class LeavingOut(Returning):
    leaves_rows_out = True


# What splitters return


@pytest.mark.parametrize(
    ("parts", "words"),
    [
        ({"a": range(30), "b": range(29, 60)}, ["in 'a' and in 'b'", "row 58"]),
        ({"a": [5, 4, 3], "b": [*range(6, 60), 0, 1, 2, 4]}, ["in 'a' and in 'b'", "row 8"]),
        ({"a": [*range(60), 3]}, ["twice in 'a'", "row 6"]),
        ({"a": range(30), "b": range(31, 60)}, ["leaves 1 of 60 rows out", "row 60", "leaves_rows_out"]),
        ({"a": range(61)}, ["no row 60"]),
        ({"a": [-1, *range(59)]}, ["no row -1", "0 to 59"]),
        ({"a": []}, ["'a' would be empty"]),
        ({"a": [0.5]}, ["no flat list", "float64"]),
        ({"a": [[0, 1]]}, ["no flat list", "(1, 2)"]),
        ({"a": [[0], [1, 2]]}, ["no flat list"]),
        ({"a": "all"}, ["no flat list"]),
        ({"a": np.ones(59, bool)}, ["no flat list"]),
        ({"": range(60)}, ["name"]),
        ({" ": range(60)}, ["name"]),
        ({3: range(60)}, ["name"]),
        ({}, ["made no splits"]),
        (None, ["made no splits"]),
        ([range(60)], ["made no splits"]),
        (lambda view: view.nothing, ["failed", "AttributeError"]),
        (lambda view: 1 / 0, ["failed", "ZeroDivisionError"]),
    ],
)
def test_what_is_no_division_is_refused_and_changes_nothing(parts, words):
    fs = cells(n_rows=120)
    fs.split_random(ratios=HALVES, seed=0)
    before = fs.copy("cells")
    with pytest.raises(SplitError) as caught:
        # Every other row, so that positions in the view and rows of the FeatureSet differ.
        fs.take(slice(0, 120, 2)).split(Returning(parts), overwrite=True)

    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert fs == before


def test_positions_may_be_slices_masks_and_any_integers():
    mask = np.arange(60) >= 40
    fs = cells()
    parts = fs.split(Returning({"a": slice(0, 20), "b": np.arange(39, 19, -1, dtype=np.uint8), "c": mask}))

    assert parts["a"].row_index == slice(0, 20)
    assert parts["b"].rows.tolist() == list(range(39, 19, -1))
    assert parts["c"].rows.tolist() == list(range(40, 60))


def test_a_splitter_may_say_that_it_leaves_rows_out_but_not_overlap():
    fs = cells()
    fs.split(LeavingOut({"a": [1, 2], "b": [5]}))

    assert rows_of(fs) == {"a": [1, 2], "b": [5]}
    with pytest.raises(SplitError, match="in 'c' and in 'd'"):
        fs.split(LeavingOut({"c": [1, 2], "d": [2]}))


def test_what_a_splitter_changes_later_is_not_the_split():
    kept = np.array([0, 2, 4])
    fs = cells()
    fs.split(LeavingOut({"a": kept}))
    kept[:] = 1

    assert fs["a"].rows.tolist() == [0, 2, 4]


def test_views_cost_eight_bytes_a_row_and_nothing_where_contiguous():
    fs = cells(n_rows=1000)
    fs.split_random(ratios=HALVES, seed=0)
    fs.split_by_condition({"early": {"day": np.datetime64("2024-01-01")}}, rest="late")

    assert fs["train"].row_index.nbytes == 8 * 500
    assert fs["late"].row_index == slice(1, 1000)


@pytest.mark.parametrize(
    "splitter",
    [
        RandomSplitter(HALVES, 0),
        RandomSplitter(HALVES, 0, group_by="cell"),
        ConditionSplitter({"train": {"age": {0, 1}}}, rest="test"),
        Returning(lambda view: {"train": range(5), "test": range(5, len(view))}),
        LeavingOut({"train": [0], "test": [1]}),
    ],
    ids=["random", "grouped", "condition", "own", "own, leaving rows out"],
)
@pytest.mark.parametrize(
    ("positions", "row"),
    [
        (np.repeat(np.arange(60), 2), 0),
        ([9, 4, 7, 7, 4], 7),
        ([*range(50, 60), *range(55, 60)], 55),
        ([0, 1, -1, 59], 59),
    ],
)
def test_rows_that_are_there_twice_cannot_be_divided_whatever_the_splitter(splitter, positions, row):
    fs = cells()
    before = fs.copy("cells")
    repeated = fs.take(positions)
    with pytest.raises(SplitError, match=f"row {row} stands twice") as caught:
        repeated.split(splitter)

    assert repeated.label in str(caught.value)
    assert caught.value.hint.startswith("Split first")
    assert fs == before


@given(st.lists(st.integers(0, 59), min_size=2, max_size=60))
def test_only_views_with_repeated_rows_are_refused(rows):
    fs = cells()
    again = [row for position, row in enumerate(rows) if row in rows[:position]]
    if again:
        with pytest.raises(SplitError, match=f"row {again[0]} stands twice"):
            fs.take(rows).split_random(ratios=HALVES, seed=0)
    else:
        parts = fs.take(rows).split_random(ratios=HALVES, seed=0)
        assert parts["train"].is_disjoint_with(parts["test"])


class Folds:
    """A class of another library, after which a registered splitter is named."""

    def __init__(self, made):
        self.made = made

    def split(self, rows):
        if isinstance(self.made, Exception):
            raise self.made
        return self.made


@pytest.mark.parametrize("made", [(part for part in ()), [], ValueError("no groups")])
def test_another_librarys_splitter_is_answered_with_the_registered_one_of_that_name(made):
    registry("splitters").register("Folds")(LeavingNothing)
    try:
        with pytest.raises(SplitError, match="Folds") as caught:
            cells().split(Folds(made))
        assert caught.value.hint == "Did you mean the registered splitter 'user/Folds'? Pass its name."
    finally:
        registry("splitters").remove("Folds")


def test_a_splitter_is_not_told_to_be_itself():
    registry("splitters").register("Folds")(Folds)
    try:
        with pytest.raises(SplitError, match="made no splits") as caught:
            cells().split("Folds", made=[])
        assert caught.value.hint is None
    finally:
        registry("splitters").remove("Folds")


# Bad input: after each the FeatureSet is as it was


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (lambda fs: fs.split_random(ratios={"a": 0.5, "b": 0.6}, seed=0), "sum to 1"),
        (lambda fs: fs.split_random(ratios={"a": 1.5, "b": -0.5}, seed=0), "positive"),
        (lambda fs: fs.split_random(ratios={"": 1.0}, seed=0), "name"),
        (lambda fs: fs.split_random(ratios={"a": 0.999, "b": 0.001}, seed=0), "'b' would be empty"),
        (lambda fs: fs.split_random(ratios=HALVES, seed=-1, overwrite=True), "seed"),
        (lambda fs: fs.split_random(ratios=HALVES, seed=True, overwrite=True), "seed"),
        (lambda fs: fs.split("random", ratios=HALVES, overwrite=True), "seed"),
        (lambda fs: fs.split_random(ratios=HALVES, seed=1), "exists? already"),
        (lambda fs: fs.split_random(ratios={"a": 1.0}, seed=1, group_by="cel"), "'cell'"),
        (lambda fs: fs.split_random(ratios={"a": 1.0}, seed=1, group_by="x"), "tensors"),
        (lambda fs: fs.split_random(ratios={"a": 1.0}, seed=1, stratify_by="gap"), "missing values"),
        (lambda fs: fs.split_random(ratios={"a": 1.0}, seed=1, group_by=7), "by name"),
        (
            lambda fs: fs.filter({"cell": "c0"}).split_random(
                ratios={"a": 0.5, "b": 0.5}, seed=0, group_by="cell"
            ),
            "1 groups",
        ),
        (lambda fs: fs.filter({"cell": "nobody"}).split_random(ratios={"a": 1.0}, seed=0), "no samples"),
        (lambda fs: fs.split("randon", ratios=HALVES, seed=0), "'random'"),
        (lambda fs: fs.split("random", ration=HALVES, seed=0), "Did you mean 'ratios'"),
        (lambda fs: fs.split(RandomSplitter(HALVES, 0), seed=1, overwrite=True), "Settings go with the name"),
        (lambda fs: fs.split(object(), overwrite=True), "no splitter"),
        (lambda fs: fs.split(object, overwrite=True), "no splitter"),
        (lambda fs: fs.split(None), "no splitter"),
        (lambda fs: fs.split("sklearn.model_selection.none"), "none"),
        (lambda fs: fs["train"].split_random(ratios=HALVES, seed=1, overwrite=True), "part of its own name"),
        (lambda fs: fs.split_by_condition({"a": {"cell": 3}}, rest="b"), "cannot be compared"),
        (
            lambda fs: fs.split_by_condition({"a": {"age": {0, 1}}, "b": {"age": {1, 2}}}, rest="c"),
            "belong to both",
        ),
        (lambda fs: fs.split_by_condition({"a": {"age": 0}}), "fulfil no condition"),
        (lambda fs: fs.split_by_condition({"a": {"age": 0}}, rest=""), "name"),
        (lambda fs: fs.split_by_condition({"a": {"age": lambda v: v.none}}, rest="b"), "failed"),
        (lambda fs: fs.split_by_condition({"a": {"agee": 0}}, rest="b"), "'age'"),
        (lambda fs: fs.split_by_condition({"train": {"age": 0}}, rest="b"), "exists? already"),
    ],
)
def test_bad_input_is_named_and_leaves_the_featureset_as_it_was(split, words):
    fs = cells()
    fs.split_random(ratios=HALVES, seed=0)
    before, splits, records = fs.copy("cells"), rows_of(fs), fs.splitter_records
    with pytest.raises(MMLError, match=words):
        split(fs)

    assert (rows_of(fs), fs.splitter_records) == (splits, records)
    assert fs == before
    assert fs.fingerprint == before.fingerprint


# Repeating


def divided():
    fs = cells()
    fs.split_random(ratios=HALVES, seed=3, group_by="cell")
    fs["train"].split_by_condition({"young": {"age": {0, 1}}}, rest="old")
    fs.split_by_condition({"spring": {"day": "2024-01-20"}}, rest="later")
    fs["old"].split(RandomSplitter({"fit": 0.8, "stop": 0.2}, 1))
    return fs


def test_splits_are_repeated_on_the_same_data():
    fs, again = divided(), cells()
    made = again.split_like(fs)

    assert list(made) == list(fs.splits)
    assert rows_of(again) == rows_of(fs)
    assert again.splitter_records == fs.splitter_records


def test_splits_are_repeated_on_new_data_by_its_own_values():
    fs, new = divided(), cells(n_rows=90, seed=5)
    new.split_like(fs)
    expected = cells(n_rows=90, seed=5)
    expected.split_random(ratios=HALVES, seed=3, group_by="cell")
    expected["train"].split_by_condition({"young": {"age": {0, 1}}}, rest="old")

    assert all(new[name].rows.tolist() == view.rows.tolist() for name, view in expected.splits.items())
    assert not set(new["train"].get_tags("cell")) & set(new["test"].get_tags("cell"))
    assert [record.source for record in new.splitter_records] == [None, "train", None, "old"]


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 60), st.integers(0, 99), st.booleans())
def test_repeating_gives_equal_rows(n_rows, seed, by_condition):
    fs, again = cells(n_rows), cells(n_rows)
    fs.split_random(ratios=HALVES, seed=seed)
    if by_condition:
        fs["train"].split(LeavingNothing(), overwrite=False)
    again.split_like(fs)

    assert rows_of(again) == rows_of(fs)
    held = np.concatenate([fs["train"].rows, fs["test"].rows])
    assert np.array_equal(np.sort(held), np.arange(n_rows))


class LeavingNothing:
    """A splitter of this module: found again by its import path."""

    def split(self, view):
        return {"all": np.arange(view.n_samples)}

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls()


def unnamed(fs):
    fs.filter({"age": 1}).split_random(ratios={"a": 0.5, "b": 0.5}, seed=0)


def by_lambda(fs):
    fs.split_by_condition({"a": {"age": lambda age: age > 1}}, rest="b")


@pytest.mark.parametrize(
    ("change", "words"), [(unnamed, "have no name"), (by_lambda, "cannot be replayed"), (None, "no splits")]
)
def test_what_cannot_be_repeated_is_refused_before_anything_is_done(change, words):
    fs, new = cells(), cells()
    if change is not None:
        fs.split_random(ratios=HALVES, seed=0)
        change(fs)
    new.split_random(ratios={"mine": 1.0}, seed=0)
    before = new.copy("cells")
    with pytest.raises(SplitError, match=words):
        new.split_like(fs)

    assert new == before


def test_a_repetition_that_fails_half_way_changes_nothing():
    fs = divided()
    new = cells(n_rows=60).filter({"age": {2, 3}}).to_featureset("old cells only")
    with ExperimentContext().activate():
        before = new.copy("old cells only")
    with pytest.raises(SplitError, match="'young' would be empty") as caught:
        new.split_like(fs)

    assert "'old cells only'" in str(caught.value)
    assert new == before
    with pytest.raises(SplitError, match="another FeatureSet"):
        new.split_like(fs["train"])


def test_names_that_exist_are_overwritten_only_when_told():
    fs, new = divided(), cells()
    new.split_random(ratios={"train": 0.9, "val": 0.1}, seed=8)
    new.split_by_condition({"aged": {"age": 3}}, rest="others")
    before = new.copy("cells")
    with pytest.raises(SplitError, match="'train' exists already"):
        new.split_like(fs)
    assert new == before
    new.split_like(fs, overwrite=True)

    assert set(new.splits) == {"aged", "others", *fs.splits}
    assert new["train"].rows.tolist() == fs["train"].rows.tolist()


def test_reordered_rows_and_views_of_an_earlier_division_are_not_taken_for_the_whole():
    fs = cells()
    fs.take(np.arange(59, -1, -1)).split_random(ratios=HALVES, seed=0)
    old = fs["train"]
    assert fs.splitter_records[0].source == ""
    fs.split_random(ratios=HALVES, seed=1, overwrite=True)
    old.split_random(ratios={"a": 0.5, "b": 0.5}, seed=0)

    assert [record.source for record in fs.splitter_records] == [None, ""]


# Dividing again


FITTING = {"fit": 0.5, "stop": 0.5}
THREE = {"train": 0.6, "val": 0.2, "test": 0.2}


def taken_back(fs):
    """Return the parts that hold rows out of a split without being a division of it by name."""
    return {
        "filter": lambda: fs["train"].filter({"age": {0, 1, 2}}),
        "take": lambda: fs["train"].take(slice(3, 20)),
        "select": lambda: fs["train"].select("x").take(slice(3, 20)),
        "take_sample_uuids": lambda: fs["train"].take_sample_uuids(fs["train"].sample_uuids[::2]),
        "take_difference": lambda: fs["train"].take_difference(fs.take(slice(0, 10))),
        "take_intersection": lambda: fs.view().take_intersection(fs["val"]),
        "the rest": lambda: fs.view().take_difference(fs["test"]),
        "take_union": lambda: fs["train"].take_union(fs["val"]),
        "a view of a view": lambda: fs["train"].take(slice(0, 30)).filter({"age": {0, 1, 2}}),
    }


@pytest.mark.parametrize("way", list(taken_back(None)))
def test_splits_of_rows_taken_from_a_split_go_with_it(way):
    fs = cells(120)
    fs.split_random(ratios=THREE, seed=0)
    taken_back(fs)[way]().split_random(ratios=FITTING, seed=0)
    fs["fit"].take(slice(0, 8)).split_random(ratios={"a": 0.5, "b": 0.5}, seed=0)
    fs["a"].split_random(ratios={"c": 0.5, "d": 0.5}, seed=0)
    fs.split_random(ratios=THREE, seed=9, overwrite=True)

    assert list(fs.splits) == list(THREE)
    assert [record.names for record in fs.splitter_records] == [tuple(THREE)]


def test_splits_of_rows_taken_from_a_split_go_with_it_from_a_file_too(tmp_path):
    fs = cells()
    fs.split_random(ratios=HALVES, seed=0)
    fs["train"].filter({"age": {0, 1, 2}}).split_random(ratios=FITTING, seed=0)
    fs.save(tmp_path / "cells.mml")
    with ExperimentContext().activate():
        loaded = FeatureSet.load(tmp_path / "cells.mml")
    loaded.split_like(cells_divided_by(HALVES), overwrite=True)

    assert list(loaded.splits) == list(HALVES)


def cells_divided_by(ratios):
    fs = cells()
    fs.split_random(ratios=ratios, seed=9)
    return fs


def test_divisions_of_the_whole_and_of_other_splits_stay():
    fs = cells(120)
    fs.split_random(ratios=HALVES, seed=0)
    fs.filter({"age": {0, 1}}).split_random(ratios={"young": 0.5, "younger": 0.5}, seed=0)
    fs.split_by_condition({"early": {"day": "2024-01-09"}}, rest="late")
    fs["late"].filter({"age": 2}).split_random(ratios=FITTING, seed=0)
    fs.take(np.random.default_rng(0).permutation(120)).split_random(ratios={"a": 0.5, "b": 0.5}, seed=0)
    kept = rows_of(fs)
    fs.split_random(ratios=HALVES, seed=1, overwrite=True)

    assert {name: rows for name, rows in rows_of(fs).items() if name not in HALVES} == {
        name: rows for name, rows in kept.items() if name not in HALVES
    }
    fs.split_by_condition({"early": {"day": "2024-01-09"}}, rest="late", overwrite=True)
    assert set(fs.splits) == {*HALVES, "young", "younger", "early", "late", "a", "b"}


def test_a_part_of_rows_that_go_with_its_own_name_cannot_be_divided():
    fs = cells()
    fs.split_random(ratios=HALVES, seed=0)
    fs["train"].take(slice(0, 20)).split_random(ratios=FITTING, seed=0)
    before = fs.copy("cells")
    with pytest.raises(SplitError, match="part of its own name"):
        fs["fit"].split_random(ratios=HALVES, seed=0, overwrite=True)

    assert fs == before


def test_a_view_of_an_earlier_division_no_longer_has_its_name():
    fs = cells()
    fs.split_random(ratios=HALVES, seed=0)
    fs["train"].split_random(ratios=FITTING, seed=0)
    train, fit, splits = fs["train"], fs["fit"], fs.splits
    narrow = train.select("x")
    assert [train.split_name, narrow.split_name, fit.split_name] == ["train", "train", "fit"]
    fs.split_random(ratios=HALVES, seed=1, overwrite=True)

    for old in (train, narrow, fit, splits["train"], train.select("x"), train.lineage()):
        name = old.split if hasattr(old, "source") else old.split_name
        assert name is None
    assert (train.label, fit.label) == ("cells[30 rows]", "cells[15 rows]")
    assert train.lineage().source == "cells[30 rows]"
    assert (fs["train"].split_name, fs["train"].label) == ("train", "cells[train]")
    fs.split_random(ratios=HALVES, seed=0, overwrite=True)
    assert (train.split_name, fit.split_name) == ("train", None)


# Files


class Counting(LeavingNothing):
    calls = 0

    def split(self, view):
        type(self).calls += 1
        return super().split(view)


def test_loading_divides_nothing_again(tmp_path):
    registry("splitters").register("counting")(Counting)
    try:
        fs = cells()
        fs.split(Counting())
        fs["all"].split_random(ratios=HALVES, seed=0)
        fs.save(tmp_path / "cells.mml")
        calls = Counting.calls
        with ExperimentContext().activate():
            loaded = FeatureSet.load(tmp_path / "cells.mml")
        assert (loaded, Counting.calls) == (fs, calls)
        assert isinstance(loaded.splitter_records[0].build(), Counting)
    finally:
        registry("splitters").remove("counting")


def is_even(ages):
    return ages % 2 == 0


@pytest.mark.parametrize(
    "splitter",
    [LeavingNothing(), ConditionSplitter({"a": {"age": is_even}}, rest="b")],
    ids=["class", "function"],
)
def test_a_file_that_names_code_is_loaded_only_by_who_trusts_it(tmp_path, splitter):
    fs = cells()
    fs.split(splitter)
    fs.save(tmp_path / "cells.mml")
    with ExperimentContext().activate():
        with pytest.raises(ArchiveError, match="runs no code") as caught:
            FeatureSet.load(tmp_path / "cells.mml")
        loaded = FeatureSet.load(tmp_path / "cells.mml", trusted=[__name__])

    assert "trusted=" in str(caught.value)
    assert rows_of(loaded) == rows_of(fs)
    assert loaded.splitter_records[0].build().get_config() == splitter.get_config()
