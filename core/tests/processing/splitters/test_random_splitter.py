"""RandomSplitter: exact sizes, whole groups, even strata, and a seed that counts."""

from __future__ import annotations

import warnings
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import ConfigError, DataError, MMLError, SplitError, StrataWarning
from mml.processing import RandomSplitter


@st.composite
def ratios(draw, max_splits=4):
    """Shares that sum to one, drawn as whole percents so that an oracle can be exact."""
    n_splits = draw(st.integers(1, max_splits))
    cuts = sorted(
        draw(st.lists(st.integers(1, 99), min_size=n_splits - 1, max_size=n_splits - 1, unique=True))
    )
    edges = [0, *cuts, 100]
    return {f"s{number}": (high - low) / 100 for number, (low, high) in enumerate(pairwise(edges))}


def tagged(**tags):
    n_rows = len(next(iter(tags.values())))
    with ExperimentContext().activate():
        return FeatureSet.from_dict(
            "rows", {"x": np.arange(n_rows), **tags}, feature_keys="x", tag_keys=list(tags)
        ).view()


def labels_of(parts, n_rows):
    labels = np.full(n_rows, -1)
    for number, positions in enumerate(parts.values()):
        assert (labels[positions] == -1).all(), "a row is in two splits"
        assert (np.diff(positions) > 0).all(), "positions do not ascend"
        labels[positions] = number
    assert (labels >= 0).all(), "a row is in no split"
    return labels


def largest_remainder(total, shares):
    """The definition in exact arithmetic: whole parts first, then one each by falling remainder."""
    exact = [Fraction(round(share * 100), 100) * total for share in shares]
    sizes = [int(one) for one in exact]
    order = sorted(range(len(exact)), key=lambda number: sizes[number] - exact[number])
    for number in order[: total - sum(sizes)]:
        sizes[number] += 1
    return sizes


@settings(max_examples=200)
@given(ratios(), st.integers(1, 400), st.integers(0, 2**63))
def test_splits_are_disjoint_complete_and_exact(shares, n_rows, seed):
    expected = largest_remainder(n_rows, shares.values())
    splitter = RandomSplitter(shares, seed)
    view = tagged(t=np.zeros(n_rows))
    if min(expected) == 0:
        with pytest.raises(SplitError, match="would be empty"):
            splitter.split(view)
        return
    parts = splitter.split(view)

    assert [len(positions) for positions in parts.values()] == expected
    labels_of(parts, n_rows)
    again = RandomSplitter(shares, seed).split(view)
    assert all(np.array_equal(parts[name], again[name]) for name in shares)


@pytest.mark.parametrize(
    "options", [{}, {"group_by": "t"}, {"stratify_by": "u"}, {"group_by": "t", "stratify_by": "u"}]
)
def test_every_kind_of_split_depends_on_the_seed(options):
    view = tagged(t=np.arange(120) // 3, u=np.arange(120) % 2)
    made = [RandomSplitter({"a": 0.5, "b": 0.5}, seed, **options).split(view)["a"] for seed in range(8)]

    assert len({positions.tobytes() for positions in made}) == 8


def test_every_row_is_equally_likely_to_go_anywhere():
    view = tagged(t=np.zeros(10))
    counts = Counter()
    for seed in range(600):
        counts.update(RandomSplitter({"a": 0.3, "b": 0.7}, seed).split(view)["a"].tolist())

    # 180 expected, standard deviation 11.2.
    assert max(abs(counts[row] - 180) for row in range(10)) < 5 * 11.3


@settings(max_examples=200)
@given(ratios(3), st.lists(st.integers(0, 5), min_size=12, max_size=200), st.integers(0, 99))
def test_strata_keep_their_shares_within_one_sample_and_sizes_stay_exact(shares, strata, seed):
    expected = largest_remainder(len(strata), shares.values())
    assume(min(expected) > 0)
    view = tagged(t=np.array(strata))
    with warnings.catch_warnings(action="ignore", category=StrataWarning):
        parts = RandomSplitter(shares, seed, stratify_by="t").split(view)
    labels = labels_of(parts, len(strata))

    assert np.bincount(labels, minlength=len(shares)).tolist() == expected
    for stratum in set(strata):
        inside = labels[np.array(strata) == stratum]
        for number, share in enumerate(shares.values()):
            assert abs((inside == number).sum() - share * len(inside)) <= 1 + 1e-9


def test_a_stratum_that_misses_a_split_is_named():
    view = tagged(t=["common"] * 20 + ["rare"])
    with pytest.warns(StrataWarning, match="1 are missing from a split.*rare") as caught:
        RandomSplitter({"a": 0.5, "b": 0.5}, 0, stratify_by="t").split(view)

    assert caught[0].filename == __file__


@settings(max_examples=150)
@given(ratios(3), st.lists(st.integers(0, 30), min_size=3, max_size=200), st.integers(0, 99), st.booleans())
def test_a_group_is_never_divided_and_sizes_count_rows(shares, groups, seed, stratified):
    n_groups = len(set(groups))
    assume(n_groups >= len(shares) and min(largest_remainder(len(groups), shares.values())) > 0)
    view = tagged(t=np.array(groups), u=np.array(groups) % 2)
    with warnings.catch_warnings(action="ignore", category=StrataWarning):
        parts = RandomSplitter(shares, seed, group_by="t", stratify_by="u" if stratified else None).split(
            view
        )
    labels = labels_of(parts, len(groups))

    for group in set(groups):
        assert len(set(labels[np.array(groups) == group])) == 1
    largest = max(Counter(groups).values())
    if not stratified and n_groups > 3 * len(shares):
        sizes = np.bincount(labels, minlength=len(shares))
        assert np.abs(sizes - np.array(list(shares.values())) * len(groups)).max() <= 2 * largest


def test_ratios_of_groups_count_rows_not_groups():
    # One group holds half of the rows: by groups it would be one of eleven, by rows it is one split.
    groups = np.repeat(np.arange(11), [100, *[10] * 10])
    view = tagged(t=groups)
    for seed in range(20):
        parts = RandomSplitter({"a": 0.5, "b": 0.5}, seed, group_by="t").split(view)
        assert max(abs(len(one) - 100) for one in parts.values()) <= 50


def test_groups_and_strata_together_stay_even():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(100), 5)
    strata = np.repeat(rng.integers(0, 2, 100), 5)
    view = tagged(t=groups, u=strata)
    with warnings.catch_warnings(action="ignore", category=StrataWarning):
        parts = RandomSplitter({"a": 0.6, "b": 0.4}, 1, group_by="t", stratify_by="u").split(view)

    for stratum in (0, 1):
        total = (strata == stratum).sum()
        assert abs((strata[parts["a"]] == stratum).sum() - 0.6 * total) <= 5


def test_several_columns_form_groups_together():
    view = tagged(t=["a", "a", "b", "b"] * 5, u=[0, 1] * 10)
    parts = RandomSplitter({"a": 0.5, "b": 0.5}, 0, group_by=["t", "u"]).split(view)
    pairs = [f"{t}{u}" for t, u in zip(["a", "a", "b", "b"] * 5, [0, 1] * 10, strict=True)]

    assert not {pairs[row] for row in parts["a"]} & {pairs[row] for row in parts["b"]}
    assert {len(positions) for positions in parts.values()} == {10}


def test_grouping_does_not_see_a_scaler():
    fs = tagged(t=np.zeros(30)).featureset
    before = fs.split_random(ratios={"a": 0.5, "b": 0.5}, seed=0, stratify_by=None, group_by="x")
    fs.undo_all_transforms()
    fs.fit_transform("minmax", domain="features", fit_to_split="a")
    after = fs.split_random(ratios={"a": 0.5, "b": 0.5}, seed=0, group_by="x", overwrite=True)

    assert before["a"].rows.tolist() == after["a"].rows.tolist()


@pytest.mark.parametrize(
    ("given_ratios", "words"),
    [
        ({"a": 0.5, "b": 0.6}, "do not sum to 1"),
        ({"a": 0.5, "b": 0.5 - 1e-8}, "do not sum to 1"),
        ({"a": 1.2, "b": -0.2}, "'b' is not a positive number"),
        ({"a": 1.0, "b": 0.0}, "'b' is not a positive number"),
        ({"a": float("nan")}, "not a positive number"),
        ({"a": "half"}, "not a positive number"),
        ({"a": True}, "not a positive number"),
        ({}, "mapping"),
        ([0.5, 0.5], "mapping"),
        ({"": 1.0}, "name"),
    ],
)
def test_bad_ratios_are_refused(given_ratios, words):
    with pytest.raises(SplitError, match=words):
        RandomSplitter(given_ratios, 0)


def test_ratios_may_be_off_by_rounding():
    shares = {f"s{number}": 0.1 for number in range(10)}

    assert [len(one) for one in RandomSplitter(shares, 0).split(tagged(t=np.zeros(30))).values()] == [3] * 10


@pytest.mark.parametrize("seed", [None, -1, 0.5, "0", True])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(SplitError, match="seed"):
        RandomSplitter({"a": 1.0}, seed)


def test_too_few_groups_and_bad_group_columns_are_refused():
    view = tagged(t=[0, 0, 1, 1], c=["a", None, "b", "b"], f=[0.0, np.nan, 1.0, 1.0], v=[[1, 2]] * 4)
    halves = {"a": 0.3, "b": 0.3, "c": 0.4}
    with pytest.raises(SplitError, match="2 groups cannot fill 3 splits"):
        RandomSplitter(halves, 0, group_by="t").split(view)
    for column in ("c", "f"):
        with pytest.raises(DataError, match="missing values") as caught:
            RandomSplitter({"a": 0.5, "b": 0.5}, 0, group_by=column).split(view)
        assert "row 1" in str(caught.value)
    with pytest.raises(DataError, match="tensors"):
        RandomSplitter({"a": 0.5, "b": 0.5}, 0, stratify_by="v").split(view)
    with pytest.raises(MMLError, match="no column"):
        RandomSplitter({"a": 0.5, "b": 0.5}, 0, stratify_by="cel").split(view)


def test_a_target_of_shape_one_can_be_stratified_by():
    with ExperimentContext().activate():
        fs = FeatureSet.from_dict(
            "y",
            {"x": np.ones(40), "y": np.repeat([0.0, 1.0], 20).reshape(40, 1)},
            feature_keys="x",
            target_keys="y",
        )
    parts = fs.split_random(ratios={"a": 0.5, "b": 0.5}, seed=0, stratify_by="y")

    assert parts["a"].get_targets().sum() == 10


def test_the_config_round_trips():
    splitter = RandomSplitter({"a": 0.25, "b": 0.75}, 3, group_by="t", stratify_by=["u", "v"])

    assert RandomSplitter.from_config(splitter.get_config()) == splitter
    assert splitter.get_config()["splitter"] == "mml/random"
    assert splitter.get_config()["group_by"] == ["t"]
    with pytest.raises(ConfigError):
        RandomSplitter.from_config({"ratio": {}})
