"""Whole groups exchanged between splits: no single move or swap does better, against oracles that try all."""

from __future__ import annotations

import warnings
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import MMLWarning, SplitSizeWarning, StrataWarning
from mml.processing import RandomSplitter

THREE = {"train": 0.6, "val": 0.2, "test": 0.2}


def rows_of(group_sizes, strata=None):
    """Return a view of rows in groups of these sizes, tagged ``g`` and, where given by row, ``y``."""
    groups = np.repeat(np.arange(len(group_sizes)), group_sizes)
    tags = {"g": groups} if strata is None else {"g": groups, "y": np.asarray(strata)}
    with ExperimentContext().activate():
        return FeatureSet.from_dict(
            "rows", {"x": np.arange(len(groups)), **tags}, feature_keys="x", tag_keys=list(tags)
        ).view()


def divided(view, ratios, seed=0, **options):
    """Return the split of each row, warnings unseen."""
    with warnings.catch_warnings(action="ignore", category=MMLWarning):
        parts = RandomSplitter(ratios, seed, group_by="g", **options).split(view)
    labels = np.full(view.n_samples, -1)
    for number, positions in enumerate(parts.values()):
        labels[positions] = number
    return labels


def sizes_of(view, ratios, seed=0, **options):
    return np.bincount(divided(view, ratios, seed, **options), minlength=len(ratios)).tolist()


def percents(max_splits=4):
    """Shares as whole percents, so that oracles are exact."""
    cuts = st.integers(0, max_splits - 1).flatmap(
        lambda n: st.lists(st.integers(1, 99), min_size=n, max_size=n, unique=True)
    )
    return cuts.map(lambda some: [high - low for low, high in pairwise([0, *sorted(some), 100])])


def ratios_of(shares):
    return {f"s{number}": share / 100 for number, share in enumerate(shares)}


def largest_remainder(total, shares):
    exact = [Fraction(share, 100) * total for share in shares]
    sizes = [int(one) for one in exact]
    order = sorted(range(len(exact)), key=lambda number: sizes[number] - exact[number])
    for number in order[: total - sum(sizes)]:
        sizes[number] += 1
    return sizes


def exchanged(labels, n_splits):
    """Yield every division of groups that is one move or one swap away and leaves no split empty."""
    for group, own in enumerate(labels):
        for split in range(n_splits):
            if split != own and labels.count(own) > 1:
                yield [*labels[:group], split, *labels[group + 1 :]]
        for other in range(group):
            if labels[other] != own:
                changed = list(labels)
                changed[group], changed[other] = changed[other], own
                yield changed


def sum_of_squares(labels, group_sizes, wanted):
    held = [0] * len(wanted)
    for split, size in zip(labels, group_sizes, strict=True):
        held[split] += size
    return sum((one - other) ** 2 for one, other in zip(held, wanted, strict=True))


def best_sum_of_squares(group_sizes, wanted):
    """Try all divisions, a group at a time; sizes that are reached twice are followed once."""
    reached = {(0,) * len(wanted)}
    for size in group_sizes:
        reached = {
            (*held[:number], held[number] + size, *held[number + 1 :])
            for held in reached
            for number in range(len(wanted))
        }
    return min(sum((a - b) ** 2 for a, b in zip(held, wanted, strict=True)) for held in reached)


@settings(max_examples=200, deadline=None)
@example([1, 2, 35, 62], [1, 1, 1, 1, 1, 1, 34, 40, 40], 0)
@given(percents(), st.lists(st.integers(1, 40), min_size=4, max_size=14), st.integers(0, 99))
def test_no_move_and_no_swap_of_groups_brings_sizes_nearer(shares, group_sizes, seed):
    wanted = largest_remainder(sum(group_sizes), shares)
    assume(min(wanted) > 0 and max(group_sizes) <= max(wanted))
    rows = divided(rows_of(group_sizes), ratios_of(shares), seed)
    labels = rows[np.cumsum(group_sizes) - 1].tolist()
    found = sum_of_squares(labels, group_sizes, wanted)

    assert set(labels) == set(range(len(shares)))
    assert found <= min(
        (sum_of_squares(one, group_sizes, wanted) for one in exchanged(labels, len(shares))), default=found
    )


def test_small_divisions_are_mostly_the_best_there_is():
    rng = np.random.default_rng(0)
    met = []
    for seed in range(150):
        group_sizes = rng.integers(1, 12, rng.integers(5, 13)).tolist()
        wanted = largest_remainder(sum(group_sizes), [60, 20, 20])
        if max(group_sizes) <= max(wanted):
            held = np.array(sizes_of(rows_of(group_sizes), THREE, seed))
            met.append(((held - wanted) ** 2).sum() == best_sum_of_squares(group_sizes, wanted))

    assert len(met) > 100
    assert np.mean(met) > 0.95


@pytest.mark.parametrize("seed", range(10))
def test_sizes_that_groups_allow_are_met(seed):
    thirty = np.random.default_rng(1).integers(5, 21, 30)
    assert sizes_of(rows_of([3] * 189 + [2]), THREE, seed) == [341, 114, 114]
    assert sizes_of(rows_of(thirty), THREE, seed) == largest_remainder(int(thirty.sum()), [60, 20, 20])
    # 17 is 10 + 5 + 1 + 1, or 11 + 5 + 1.
    assert sizes_of(rows_of([10, 5, 5, 1, 1, 11]), {"a": 0.5, "b": 0.5}, 160 + seed) == [17, 16]


def test_groups_that_go_are_drawn():
    view = rows_of([2] * 40 + [1] * 40)
    made = {divided(view, THREE, seed).tobytes() for seed in range(20)}

    assert len(made) == 20


def test_many_groups_of_any_size_are_evened_out():
    rng = np.random.default_rng(0)
    group_sizes = np.minimum(rng.pareto(1.1, 20_000) * 5 + 1, 20_000).astype(int)
    wanted = largest_remainder(int(group_sizes.sum()), [60, 20, 20])

    assert sizes_of(rows_of(group_sizes), THREE) == wanted


def test_a_shortfall_of_many_small_groups_is_shared():
    # Three of 300 leave 100 rows for what lacks 400: the sum of squares is least where both lack as much.
    held = sizes_of(rows_of([300] * 3 + [1] * 100), {"a": 0.5, "b": 0.4, "c": 0.1})

    assert held == [600, 350, 50]


# Sizes that are missed


@pytest.mark.parametrize(
    ("group_sizes", "ratios", "told"),
    [
        ([10, 10, 10], {"train": 0.9, "val": 0.05, "test": 0.05}, ["[10, 10, 10]", "[27, 2, 1]", "3 groups"]),
        ([40, 40, 20], {"a": 0.5, "b": 0.5}, ["[50, 50]", "the largest of 3 groups has 40"]),
        ([11] * 20, {"a": 0.95, "b": 0.05}, None),
        ([48, 26, 26], {"a": 0.5, "b": 0.5}, None),
        ([46, 27, 27], {"a": 0.5, "b": 0.5}, ["54", "46"]),
        ([3] * 4, {"a": 0.84, "b": 0.16}, None),
    ],
)
def test_sizes_that_groups_miss_by_far_are_told(group_sizes, ratios, told):
    view = rows_of(group_sizes)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        RandomSplitter(ratios, 0, group_by="g").split(view)

    assert [one.category for one in caught] == ([] if told is None else [SplitSizeWarning])
    for words in told or ():
        assert words in str(caught[0].message)
    for one in caught:
        assert one.filename == __file__


# Groups and strata


@settings(max_examples=150, deadline=None)
@given(percents(3), st.lists(st.integers(0, 4), min_size=8, max_size=90), st.integers(0, 99))
def test_groups_of_one_row_keep_sizes_and_strata_exact(shares, strata, seed):
    wanted = largest_remainder(len(strata), shares)
    assume(min(wanted) > 0)
    labels = divided(rows_of([1] * len(strata), strata), ratios_of(shares), seed, stratify_by="y")

    assert np.bincount(labels, minlength=len(shares)).tolist() == wanted
    for stratum in set(strata):
        inside = labels[np.array(strata) == stratum]
        for number, share in enumerate(shares):
            assert abs((inside == number).sum() - share * len(inside) / 100) <= 1 + 1e-9


def test_groups_of_one_row_are_no_groups():
    strata = np.arange(21) % 3
    view = rows_of([1] * 21, strata)
    alone = RandomSplitter(THREE, 0, stratify_by="y").split(view)
    grouped = RandomSplitter(THREE, 0, stratify_by="y", group_by="g").split(view)

    assert [len(one) for one in grouped.values()] == [13, 4, 4]
    assert all(np.array_equal(alone[name], grouped[name]) for name in THREE)


def cost(labels, rows_by_stratum, shares, sizes):
    """The documented sum, in sixty-fourths: of classes over their rows, of sizes over the mean of these."""
    n_strata, total = len(rows_by_stratum[0]), sum(map(sum, rows_by_stratum))
    of_strata = [sum(one[stratum] for one in rows_by_stratum) for stratum in range(n_strata)]
    weights = [round(Fraction(64 * total, one)) for one in of_strata]
    found = 0
    for split, share in enumerate(shares):
        own = [one for one, label in zip(rows_by_stratum, labels, strict=True) if label == split]
        held = [sum(one[stratum] for one in own) for stratum in range(n_strata)]
        for stratum, weight in enumerate(weights):
            off = 64 * held[stratum] - round(Fraction(64 * share * of_strata[stratum], 100))
            found += weight * off**2
        found += 64 * n_strata * (64 * (sum(held) - sizes[split])) ** 2
    return found


@settings(max_examples=150, deadline=None)
@given(
    percents(3),
    st.integers(2, 4).flatmap(
        lambda n_strata: st.lists(
            st.lists(st.integers(0, 5), min_size=n_strata, max_size=n_strata).filter(any),
            min_size=4,
            max_size=14,
        )
    ),
    st.integers(0, 99),
)
def test_no_move_and_no_swap_of_groups_makes_strata_more_even(shares, rows_by_stratum, seed):
    n_strata = len(rows_by_stratum[0])
    group_sizes = [sum(one) for one in rows_by_stratum]
    wanted = largest_remainder(sum(group_sizes), shares)
    assume(min(wanted) > 0 and max(group_sizes) <= max(wanted) and max(group_sizes) > 1)
    assume(all(any(one[stratum] for one in rows_by_stratum) for stratum in range(n_strata)))
    strata = [s for one in rows_by_stratum for s, count in enumerate(one) for _ in range(count)]
    rows = divided(rows_of(group_sizes, strata), ratios_of(shares), seed, stratify_by="y")
    labels = rows[np.cumsum(group_sizes) - 1].tolist()
    found = cost(labels, rows_by_stratum, shares, wanted)

    assert set(labels) == set(range(len(shares)))
    for other in exchanged(labels, len(shares)):
        assert found <= cost(other, rows_by_stratum, shares, wanted)


@pytest.mark.parametrize("seed", range(5))
def test_patients_of_one_class_keep_sizes_and_classes_exact(seed):
    rng = np.random.default_rng(seed)
    group_sizes = rng.integers(1, 5, 60)
    classes = rng.integers(0, 3, 60)
    strata = np.repeat(classes, group_sizes)
    view = rows_of(group_sizes, strata)
    labels = divided(view, THREE, seed, stratify_by="y")

    assert np.bincount(labels).tolist() == largest_remainder(len(strata), [60, 20, 20])
    for stratum in range(3):
        inside = labels[strata == stratum]
        assert np.abs(np.bincount(inside, minlength=3) - len(inside) * np.array([0.6, 0.2, 0.2])).max() <= 1


def test_a_rare_class_reaches_every_split():
    # A hundred large groups, ten of which hold one row of a rare class.
    rng = np.random.default_rng(0)
    group_sizes = rng.integers(20, 60, 100)
    starts = np.cumsum(group_sizes) - group_sizes
    strata = np.zeros(group_sizes.sum(), dtype=int)
    strata[starts[rng.permutation(100)[:10]]] = 1
    with warnings.catch_warnings(action="error", category=StrataWarning):
        for seed in range(5):
            parts = RandomSplitter(THREE, seed, group_by="g", stratify_by="y").split(
                rows_of(group_sizes, strata)
            )
            assert [int(strata[rows].sum()) for rows in parts.values()] == [6, 2, 2]


def test_strata_of_a_row_or_two_do_not_unbalance_sizes():
    rng = np.random.default_rng(0)
    groups = np.sort(rng.integers(0, 100, 2000))
    view = rows_of(np.bincount(groups), rng.permutation(2000) // 2)
    held = np.array(sizes_of(view, THREE, stratify_by="y"))

    assert np.abs(held - [1200, 400, 400]).max() <= 2
