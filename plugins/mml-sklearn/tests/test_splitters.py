"""Scikit-learn's cross-validators as splitters: its own indices, on FeatureSets and on views."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import sklearn.model_selection
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import mml
from mml.context import ExperimentContext
from mml.errors import DataError, MMLError, SplitError, StrataWarning

N_ROWS = 120
CASES = {
    "KFold": [{"n_splits": 5}, {"n_splits": 4, "shuffle": True, "random_state": 3}],
    "StratifiedKFold": [
        {"n_splits": 3, "stratify_by": "y"},
        {"n_splits": 5, "shuffle": True, "random_state": 0, "stratify_by": "word"},
    ],
    "GroupKFold": [
        {"n_splits": 4, "group_by": "g"},
        {"n_splits": 3, "shuffle": True, "random_state": 1, "group_by": "word"},
    ],
    "StratifiedGroupKFold": [
        {"n_splits": 3, "group_by": "g", "stratify_by": "y"},
        {"n_splits": 3, "shuffle": True, "random_state": 1, "group_by": "g", "stratify_by": "y"},
    ],
    "TimeSeriesSplit": [
        {"n_splits": 5, "fold": 4},
        {"n_splits": 3, "fold": 1, "gap": 2, "max_train_size": 20, "test_size": 7},
    ],
    "ShuffleSplit": [{"random_state": 0}, {"random_state": 5, "fold": 3, "test_size": 0.3, "train_size": 30}],
    "StratifiedShuffleSplit": [{"random_state": 0, "stratify_by": "word", "fold": 2, "test_size": 0.25}],
    "GroupShuffleSplit": [{"random_state": 0, "group_by": "g", "fold": 4, "test_size": 0.25}],
}
ALL = [(name, one) for name, cases in CASES.items() for one in cases]
OWN = {"fold", "group_by", "stratify_by", "names", "prefix"}


def columns(n_rows=N_ROWS, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "x": rng.normal(size=(n_rows, 2)),
        "y": rng.integers(0, 3, n_rows),
        "g": rng.integers(0, 17, n_rows) * 7 - 50,
        "word": np.array(["pear", "apple", "fig", "quince"])[rng.integers(0, 4, n_rows)],
    }


def made(data):
    with ExperimentContext().activate():
        return mml.FeatureSet.from_dict(
            "fruit",
            data,
            feature_keys="x",
            target_keys="y",
            tag_keys=[one for one in ("g", "word") if one in data],
        )


def oracle(name, options, data):
    """Return the folds of scikit-learn's own class, each part ascending."""
    theirs = getattr(sklearn.model_selection, name)(**{k: v for k, v in options.items() if k not in OWN})
    parts = theirs.split(data["x"], data.get(options.get("stratify_by")), data.get(options.get("group_by")))
    return [(np.sort(train).tolist(), np.sort(test).tolist()) for train, test in parts]


@pytest.mark.parametrize(("name", "options"), ALL)
def test_the_folds_are_scikit_learns_own(name, options):
    data = columns()
    splitter = mml.registry("splitters").load(f"sklearn/{name}")(**options)
    folds = splitter.folds(made(data).view())

    assert [(one["train"].tolist(), one["test"].tolist()) for one in folds] == oracle(name, options, data)
    assert all(part.dtype == np.int64 for one in folds for part in one.values())


@pytest.mark.parametrize(("name", "options"), ALL)
def test_one_fold_of_a_view_is_its_training_and_its_test_part(name, options):
    data = columns()
    fs = made(data)
    rows = np.random.default_rng(1).permutation(N_ROWS)[:90]
    number = options.get("fold", 1)
    parts = fs.take(rows).split(f"sklearn/{name}", **{"fold": 1, **options}, names=("fit", "check"))
    expected = oracle(name, options, {key: values[rows] for key, values in data.items()})[number]

    assert list(parts) == ["fit", "check"]
    assert parts["fit"].rows.tolist() == rows[expected[0]].tolist()
    assert parts["check"].rows.tolist() == rows[expected[1]].tolist()


@pytest.mark.parametrize(("name", "options"), [one for one in ALL if one[0].endswith("KFold")])
def test_without_a_fold_the_test_parts_divide_all_rows(name, options):
    data = columns()
    parts = made(data).split(f"sklearn/{name}", **options, prefix="part ")
    expected = oracle(name, options, data)

    assert list(parts) == [f"part {number}" for number in range(len(expected))]
    assert [view.rows.tolist() for view in parts.values()] == [test for _, test in expected]
    assert sorted(row for view in parts.values() for row in view.rows) == list(range(N_ROWS))


@pytest.mark.parametrize(("name", "options"), ALL)
def test_the_config_round_trips_and_replays(name, options):
    options = {"fold": 1, **options}
    cls = mml.registry("splitters").load(f"sklearn/{name}")
    splitter = cls(**options)
    config = json.loads(json.dumps(splitter.get_config()))
    fs, again = made(columns()), made(columns())
    fs.split(splitter)
    again.split_like(fs)

    assert cls.from_config(config) == splitter
    assert config["splitter"] == f"sklearn/{name}"
    assert cls(**{**options, "n_splits": 6}) != splitter
    assert fs.splitter_records == again.splitter_records
    assert fs.splitter_records[0].build() == splitter
    assert {k: v.rows.tolist() for k, v in fs.splits.items()} == {
        k: v.rows.tolist() for k, v in again.splits.items()
    }


def test_a_split_of_a_split_and_a_file_keep_the_rows(tmp_path):
    fs = made(columns())
    fs.split("sklearn/KFold", fold=0)
    fs["train"].split("sklearn/StratifiedKFold", fold=0, stratify_by="y", names=("fit", "stop"))
    fs.save(tmp_path / "fruit.mml")
    with ExperimentContext().activate():
        loaded = mml.FeatureSet.load(tmp_path / "fruit.mml")

    assert loaded == fs
    assert sorted([*fs["fit"].rows, *fs["stop"].rows]) == fs["train"].rows.tolist()
    assert loaded.splitter_records[1].build().stratify_by == ("y",)


def test_several_columns_and_times_form_groups():
    data = columns()
    day = np.datetime64("2024-05-01", "D") + np.arange(N_ROWS) // 10
    with ExperimentContext().activate():
        fs = mml.FeatureSet.from_dict(
            "days", {**data, "day": day}, feature_keys="x", tag_keys=["g", "word", "day"]
        )
    together = [f"{g:04d}{word}" for g, word in zip(data["g"] + 50, data["word"], strict=True)]
    expected = sklearn.model_selection.GroupKFold(3).split(data["x"], None, together)
    pairs = fs.split("sklearn/GroupKFold", n_splits=3, group_by=["g", "word"])
    days = fs.split("sklearn/GroupKFold", n_splits=3, group_by="day", prefix="day-")

    assert [view.rows.tolist() for view in pairs.values()] == [test.tolist() for _, test in expected]
    theirs = sklearn.model_selection.GroupKFold(3).split(data["x"], None, day)
    assert [view.rows.tolist() for view in days.values()] == [test.tolist() for _, test in theirs]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 3), min_size=6, max_size=60), st.integers(2, 5), st.booleans(), st.integers(0, 99)
)
def test_k_folds_are_disjoint_and_complete(strata, n_splits, stratified, seed):
    counts = np.bincount(strata)
    assume(n_splits <= (counts.max() if stratified else len(strata)))
    data = {"x": np.zeros((len(strata), 1)), "y": np.array(strata)}
    name, options = ("StratifiedKFold", {"stratify_by": "y"}) if stratified else ("KFold", {})
    with warnings.catch_warnings(action="ignore", category=StrataWarning):
        parts = made(data).split(
            f"sklearn/{name}", n_splits=n_splits, shuffle=True, random_state=seed, **options
        )
    held = np.concatenate([view.rows for view in parts.values()])

    assert np.array_equal(np.sort(held), np.arange(len(strata)))
    for stratum in set(strata) if stratified else ():
        sizes = [sum(strata[row] == stratum for row in view.rows) for view in parts.values()]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("KFold", {"n_splits": 1}, "at least one train/test split"),
        ("KFold", {"n_splits": 0}, "at least one train/test split"),
        ("KFold", {"n_splits": "5"}, "does not take"),
        ("KFold", {"n_splits": 121}, "greater than the number of samples"),
        ("KFold", {"fold": 5}, "no fold 5"),
        ("KFold", {"fold": -1}, "no fold -1"),
        ("KFold", {"fold": True}, "no fold True"),
        ("KFold", {"fold": "0"}, "no fold '0'"),
        ("KFold", {"shuffle": True}, "needs a seed"),
        ("KFold", {"shuffle": True, "random_state": -1}, "needs a seed"),
        ("KFold", {"shuffle": True, "random_state": np.random.RandomState(0)}, "needs a seed"),
        ("KFold", {"random_state": 0}, "random_state"),
        ("KFold", {"names": "ab"}, "two parts"),
        ("KFold", {"names": ("a", "a")}, "two parts"),
        ("KFold", {"names": ("a", "")}, "two parts"),
        ("KFold", {"prefix": 3}, "prefix"),
        ("KFold", {"shufle": True}, "shufle"),
        ("StratifiedKFold", {}, "needs stratify_by"),
        ("StratifiedKFold", {"stratify_by": "y", "n_splits": 90}, "number of members in each class"),
        ("StratifiedKFold", {"stratify_by": "x"}, "tensors"),
        ("StratifiedKFold", {"stratify_by": "price"}, "price"),
        ("GroupKFold", {"stratify_by": "y"}, "stratify_by"),
        ("GroupKFold", {"group_by": []}, "needs group_by"),
        ("GroupKFold", {"group_by": 3}, "by name"),
        ("GroupKFold", {"group_by": "word", "n_splits": 5}, "number of groups"),
        ("StratifiedGroupKFold", {"group_by": "g"}, "needs stratify_by"),
        ("TimeSeriesSplit", {}, "one must be chosen"),
        ("TimeSeriesSplit", {"fold": 0, "n_splits": 120}, "folds"),
        ("ShuffleSplit", {}, "needs a seed"),
        ("ShuffleSplit", {"random_state": 0, "fold": None}, "one must be chosen"),
        ("ShuffleSplit", {"random_state": 0, "test_size": 1.5}, "test_size"),
        ("ShuffleSplit", {"random_state": 0, "test_size": 119, "train_size": 119}, "sum of"),
        (
            "StratifiedShuffleSplit",
            {"random_state": 0, "stratify_by": "y", "test_size": 2},
            "number of classes",
        ),
    ],
)
def test_bad_input_is_a_split_error_and_changes_nothing(name, options, words):
    fs = made(columns())
    fs.split("sklearn/KFold", fold=0)
    before = fs.copy("fruit")
    with pytest.raises(MMLError, match=words) as caught:
        fs.split(f"sklearn/{name}", overwrite=True, **options)

    assert isinstance(caught.value, SplitError | DataError)
    assert fs == before


def test_scikit_learns_own_message_is_chained():
    with pytest.raises(SplitError, match="greater than the number of samples") as caught:
        made(columns(4)).split("sklearn/KFold")

    assert isinstance(caught.value.__cause__, ValueError)
    assert "4 samples" in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        sklearn.model_selection.KFold(4),
        sklearn.model_selection.KFold,
        "sklearn.model_selection.KFold",
        sklearn.model_selection.StratifiedKFold(4),
    ],
)
def test_a_cross_validator_itself_is_answered_with_the_name_of_its_splitter(given):
    with pytest.raises(SplitError, match="KFold") as caught:
        made(columns()).split(given)

    name = "StratifiedKFold" if "Strat" in repr(given) else "KFold"
    assert f"'sklearn/{name}'" in str(caught.value)


def test_an_unknown_name_lists_the_near_misses():
    with pytest.raises(MMLError, match="StratifiedKFold"):
        made(columns()).split("sklearn/StratifidKFold")


def test_a_class_with_too_few_members_is_warned_of_at_the_users_line():
    data = {"x": np.zeros((12, 1)), "y": np.array([0] * 11 + [1])}
    with pytest.warns(StrataWarning, match="least populated") as caught:
        made(data).split("sklearn/StratifiedKFold", n_splits=3, stratify_by="y")

    assert caught[0].filename == __file__


def test_missing_groups_are_refused_with_their_row():
    data = {**columns(6), "g": ["a", "b", None, "a", "b", "c"]}
    with pytest.raises(DataError, match="missing values") as caught:
        made(data).split("sklearn/GroupKFold", n_splits=2, group_by="g")

    assert "row 2" in str(caught.value)
