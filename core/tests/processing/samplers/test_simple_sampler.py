"""SimpleSampler: every row once, an order per (seed, epoch), and a cursor that resumes."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import warnings
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import ConfigError, MMLError, SamplerError, StateError, UnmatchedRowsWarning
from mml.processing import SimpleSampler
from mml.protocols import Configurable, Stateful


def rows_view(n_rows=23, start=100):
    """Return a view whose absolute rows begin at `start`."""
    with ExperimentContext().activate():
        fs = FeatureSet.from_dict(
            "rows",
            {
                "x": np.arange(start + n_rows, dtype=np.float32),
                "g": np.arange(start + n_rows) % 5,
                "w": np.maximum(np.arange(start + n_rows) - start, 0).astype(np.float64),
                "text": ["t"] * (start + n_rows),
            },
            feature_keys="x",
            tag_keys=["g", "w", "text"],
        )
    return fs.take(slice(start, start + n_rows))


VIEW = rows_view()


def batches(bound, epoch=0):
    return [view.rows["default"].tolist() for view in bound.epoch(epoch)]


@settings(max_examples=150)
@given(
    n_rows=st.integers(1, 60),
    batch_size=st.integers(1, 70),
    shuffle=st.booleans(),
    seed=st.integers(0, 2**63),
    epoch=st.integers(0, 1000),
    group_by=st.sampled_from([None, "g"]),
    stratify_by=st.sampled_from([None, "g"]),
)
def test_an_epoch_holds_each_row_once(*, n_rows, batch_size, shuffle, seed, epoch, group_by, stratify_by):
    sampler = SimpleSampler(
        batch_size=batch_size, shuffle=shuffle, seed=seed, group_by=group_by, stratify_by=stratify_by
    )
    view = rows_view(n_rows)
    made = batches(sampler.bind(view), epoch)

    assert sorted(row for batch in made for row in batch) == view.rows.tolist()
    assert sampler.bind(view).n_batches(epoch) == len(made)
    assert max(len(batch) for batch in made) <= batch_size
    if not group_by:
        assert all(len(batch) == batch_size for batch in made[:-1])
    assert batches(sampler.bind(view), epoch) == made


@settings(max_examples=60)
@given(st.integers(1, 60), st.integers(1, 20), st.sampled_from([None, "g"]))
def test_drop_last_leaves_full_batches_only(n_rows, batch_size, group_by):
    sampler = SimpleSampler(batch_size=batch_size, shuffle=True, seed=0, drop_last=True, group_by=group_by)
    groups = Counter(row % 5 for row in range(100, 100 + n_rows)) if group_by else {0: n_rows}
    expected = sum(size // batch_size for size in groups.values())
    if not expected:
        with pytest.raises(SamplerError, match="drop_last"):
            sampler.bind(rows_view(n_rows))
        return
    small = [size for size in groups.values() if size < batch_size]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bound = sampler.bind(rows_view(n_rows))
    made = batches(bound, 3)
    assert bound.n_batches(3) == len(made)

    assert [str(one.message).partition(" groups of")[0] for one in caught] == [
        f"{sum(small)} of {n_rows} rows of rows[{n_rows} rows] are in {len(small)}" for _ in small[:1]
    ]
    assert all(one.category is UnmatchedRowsWarning and one.filename == __file__ for one in caught)
    assert [len(batch) for batch in made] == [batch_size] * expected
    assert len({row for batch in made for row in batch}) == expected * batch_size


def test_every_epoch_has_an_order_of_its_own():
    bound = SimpleSampler(batch_size=4, shuffle=True, seed=0).bind(VIEW)
    orders = {tuple(row for batch in batches(bound, epoch) for row in batch) for epoch in range(20)}
    other = SimpleSampler(batch_size=4, shuffle=True, seed=1).bind(VIEW)

    assert len(orders) == 20
    assert tuple(row for batch in batches(other) for row in batch) not in orders
    assert batches(SimpleSampler(batch_size=4).bind(VIEW), 7)[0] == [100, 101, 102, 103]


def test_the_order_is_the_same_in_another_process_with_another_hash_seed():
    script = (
        "import numpy as np, json\n"
        "from mml.data import FeatureSet\n"
        "from mml.processing import SimpleSampler\n"
        "data = {'x': np.arange(11), 'g': list('abcabcabcab')}\n"
        "fs = FeatureSet.from_dict('r', data, feature_keys='x', tag_keys='g')\n"
        "s = SimpleSampler(batch_size=3, shuffle=True, seed=5, group_by='g', stratify_by='x')\n"
        "print(json.dumps([v.rows['default'].tolist() for v in s.bind(fs.view()).epoch(2)]))\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }

    assert len(found) == 1
    assert sorted(row for batch in json.loads(found.pop()) for row in batch) == list(range(11))


def test_a_seed_of_its_own_wins_over_the_one_given():
    unseeded, seeded = (
        SimpleSampler(batch_size=4, shuffle=True),
        SimpleSampler(batch_size=4, shuffle=True, seed=9),
    )

    assert batches(unseeded.bind(VIEW, seed=9)) == batches(seeded.bind(VIEW, seed=1))
    assert batches(unseeded.bind(VIEW, seed=1)) != batches(seeded.bind(VIEW))


def test_shuffled_positions_are_uniform():
    bound = SimpleSampler(batch_size=23, shuffle=True, seed=0).bind(VIEW)
    firsts = Counter(bound.epoch(epoch)[0].rows["default"][0] for epoch in range(2300))

    # 100 expected, standard deviation 9.8.
    assert len(firsts) == 23
    assert max(abs(count - 100) for count in firsts.values()) < 50


def test_groups_never_share_a_batch_and_are_shuffled():
    sampler = SimpleSampler(batch_size=3, shuffle=True, seed=0, group_by="g")
    first_groups = set()
    for epoch in range(10):
        made = batches(sampler.bind(VIEW), epoch)
        assert all(len({row % 5 for row in batch}) == 1 for batch in made)
        first_groups.add(made[0][0] % 5)

    assert len(first_groups) > 1
    in_order = batches(SimpleSampler(batch_size=3, group_by="g").bind(VIEW))
    assert in_order[0] == [100, 105, 110]


class TestStrata:
    @staticmethod
    def view(groups, strata):
        with ExperimentContext().activate():
            data = {"x": np.arange(len(strata)), "g": groups, "s": strata}
            return FeatureSet.from_dict("rows", data, feature_keys="x", tag_keys=["g", "s"])

    @settings(max_examples=300)
    @given(
        st.lists(st.tuples(st.sampled_from([0, 0, 0, 1, 2]), st.integers(0, 12)), min_size=1, max_size=80),
        st.lists(st.sampled_from([0, 0, 0, 0, 0, 0, 1]), max_size=40),
        st.integers(1, 12),
        st.booleans(),
        st.booleans(),
    )
    def test_every_batch_holds_its_share_within_one_row_a_border(
        self, rows, more, batch_size, shuffle, grouped
    ):
        groups, strata = (list(one) for one in zip(*rows, *((0, 20 + one) for one in more), strict=True))
        sampler = SimpleSampler(
            batch_size=batch_size,
            shuffle=shuffle,
            seed=3,
            stratify_by="s",
            group_by="g" if grouped else None,
        )
        made = batches(sampler.bind(self.view(groups, strata)), 2)
        group_of = groups if grouped else [0] * len(groups)
        sizes, shares = Counter(group_of), Counter(zip(group_of, strata, strict=True))
        places = Counter()
        for batch in made:
            (group,) = {group_of[row] for row in batch}
            held = Counter(strata[row] for row in batch)
            # Where a group begins or ends in order, nothing was rounded.
            begins, ends = not places[group], places[group] + len(batch) == sizes[group]
            n_borders = 2 if shuffle else 2 - begins - ends
            for stratum in set(strata):
                size = shares[group, stratum]
                difference = abs(held[stratum] * sizes[group] - size * len(batch))
                assert difference < n_borders * sizes[group] or difference == n_borders == 0
            places[group] += len(batch)
        if not shuffle:
            for own in shares:
                stands = [row for batch in made for row in batch if (group_of[row], strata[row]) == own]
                assert stands == sorted(stands)

    def test_rare_strata_leave_every_batch_its_majority(self):
        """Ten rare classes of one size: none of them may push the common one out of a batch."""
        strata = [0] * 90 + [1 + row % 10 for row in range(30)]
        for shuffle in (False, True):
            sampler = SimpleSampler(batch_size=8, shuffle=shuffle, seed=0, stratify_by="s")
            for epoch in range(20):
                held = [
                    sum(row < 90 for row in batch)
                    for batch in batches(sampler.bind(self.view(strata, strata)), epoch)
                ]
                assert set(held) <= {5, 6, 7}

    @pytest.mark.parametrize("grouped", [True, False])
    def test_every_row_is_as_likely_everywhere(self, grouped):
        groups = [0, 1] * 8
        strata = [0, 0, 0, 0, 1, 0, 1, 0, 0, 1, 0, 2, 1, 0, 3, 0]
        sampler = SimpleSampler(
            batch_size=4, shuffle=True, seed=0, stratify_by="s", group_by="g" if grouped else None
        )
        bound = sampler.bind(self.view(groups, strata))
        n_epochs = 1600
        counts = np.zeros((16, 16))
        for epoch in range(n_epochs):
            order = [row for batch in batches(bound, epoch) for row in batch]
            counts[order, np.arange(16)] += 1
        statistic = ((counts - n_epochs / 16) ** 2).sum() / (n_epochs / 16)
        # Of 16 * 16 counts 15 * 15 are free. Each has 15 / 16 of its mean as variance, so the mean of the sum
        # is 240; five of its deviations are allowed.
        assert abs(statistic - 240) < 5 * np.sqrt(2 * 225) * 16 / 15

    def test_rare_strata_do_not_always_meet_the_same_ones(self):
        strata = [0] * 32 + list(range(1, 17))
        bound = SimpleSampler(batch_size=6, shuffle=True, seed=0, stratify_by="s").bind(
            self.view(strata, strata)
        )
        met = {
            frozenset(strata[row] for row in batch if strata[row])
            for epoch in range(50)
            for batch in batches(bound, epoch)
        }
        assert len(met) > 100


def test_weights_draw_with_replacement_by_weight():
    view = rows_view(10)
    bound = SimpleSampler(batch_size=10, shuffle=True, seed=0, weights="w").bind(view)
    drawn = Counter(row - 100 for epoch in range(900) for batch in batches(bound, epoch) for row in batch)

    assert drawn[0] == 0
    for row in range(1, 10):
        # 9000 draws by row / 45; five standard deviations.
        assert abs(drawn[row] - 200 * row) < 5 * np.sqrt(200 * row)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batch_size": 0}, "at least one row"),
        ({"batch_size": -3}, "at least one row"),
        ({"batch_size": 2.0}, "whole number"),
        ({"batch_size": True}, "whole number"),
        ({"batch_size": 2, "seed": -1}, "seed"),
        ({"batch_size": 2, "seed": "a"}, "seed"),
        ({"batch_size": "32"}, "whole number"),
        ({"batch_size": None}, "whole number"),
        ({"batch_size": 2, "seed": True}, "seed"),
        ({"batch_size": 2, "seed": 1.5}, "seed"),
        ({"batch_size": 2, "shuffle": "yes"}, "`shuffle` is True or False"),
        ({"batch_size": 2, "shuffle": 1}, "`shuffle` is True or False"),
        ({"batch_size": 2, "shuffle": None}, "`shuffle` is True or False"),
        ({"batch_size": 2, "drop_last": "no"}, "`drop_last` is True or False"),
        ({"batch_size": 2, "group_by": 3}, "`group_by` names columns"),
        ({"batch_size": 2, "group_by": {"g", "w"}}, "`group_by` is given as a set"),
        ({"batch_size": 2, "stratify_by": frozenset("g")}, "`stratify_by` is given as a set"),
        ({"batch_size": 2, "stratify_by": ["g", 3]}, "`stratify_by` names columns"),
        ({"batch_size": 2, "stratify_by": ""}, "`stratify_by` names columns"),
        ({"batch_size": 2, "weights": 3, "shuffle": True}, "`weights` names one column"),
        ({"batch_size": 2, "weights": "w"}, "shuffle=True"),
        ({"batch_size": 2, "weights": "w", "shuffle": True, "group_by": "g"}, "without group_by"),
    ],
)
def test_bad_settings_are_refused(settings, words):
    with pytest.raises(SamplerError, match=words):
        SimpleSampler(**settings)


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({"batch_size": 24, "drop_last": True}, {}),
        ({"batch_size": 2, "group_by": "q"}, {}),
        ({"batch_size": 2, "weights": "text", "shuffle": True}, {}),
        ({"batch_size": 2, "weights": "q", "shuffle": True}, {}),
    ],
)
def test_settings_that_do_not_fit_the_data_are_refused(settings, options):
    with pytest.raises(SamplerError) as caught:
        SimpleSampler(**settings).bind(VIEW, **options)
    assert "rows[23 rows]" in caught.value.where


def weighted(values):
    with ExperimentContext().activate():
        data = {"x": np.arange(len(values)), "w": values}
        fs = FeatureSet.from_dict("w", data, feature_keys="x", tag_keys="w")
    return SimpleSampler(batch_size=1, shuffle=True, weights="w").bind(fs.view())


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1.0, 1e308])
@pytest.mark.parametrize("weights", [[1, 0, 0], [0, 1, 0, 1, 0], [0, 0, 1]])
def test_weights_of_any_size_draw_no_row_without_weight(scale, weights):
    bound = weighted(np.array(weights) * scale)
    drawn = Counter(row for epoch in range(200) for batch in batches(bound, epoch) for row in batch)

    assert set(drawn) == set(np.flatnonzero(weights))
    expected = 200 * len(weights) / sum(weights)
    assert all(abs(count - expected) < 5 * np.sqrt(expected) for count in drawn.values())


def test_weights_must_be_finite_and_not_all_zero():
    for values, words in (
        ([1.0, -1.0], "negative"),
        ([1.0, np.nan], "not a finite number"),
        ([1.0, np.inf], "not a finite number"),
        ([0.0, 0.0], "All weights"),
    ):
        with pytest.raises(SamplerError, match=words):
            weighted(values)


@pytest.mark.parametrize("group_by", [None, "g"])
@pytest.mark.parametrize("batch_size", [23, 24, 2**31, 2**63, 2**70])
def test_a_batch_may_be_asked_to_be_larger_than_all_rows(batch_size, group_by):
    sampler = SimpleSampler(batch_size=batch_size, group_by=group_by)
    sizes = [5, 5, 5, 4, 4] if group_by else [23]
    assert [len(batch) for batch in batches(sampler.bind(VIEW))] == sizes
    if batch_size > 23:
        with pytest.raises(SamplerError, match=f"No batch has {batch_size} rows"):
            SimpleSampler(batch_size=batch_size, group_by=group_by, drop_last=True).bind(VIEW)


def test_no_rows_are_refused():
    with pytest.raises(SamplerError, match="no rows"):
        SimpleSampler(batch_size=2).bind(VIEW.take([]))


def test_iterating_yields_batches_and_moves_on_to_the_next_epoch():
    bound = SimpleSampler(batch_size=10, shuffle=True, seed=0).bind(VIEW)
    first, second = list(bound), list(bound)

    assert [len(batch) for batch in first] == [10, 10, 3]
    assert len(bound) == bound.n_batches() == 3
    for number, batch in enumerate(second):
        assert batch.features["x"].tolist() == batches(bound, 1)[number]
        assert np.array_equal(batch.sample_uuids, VIEW.featureset.sample_uuids[batches(bound, 1)[number]])


@settings(max_examples=40)
@given(st.integers(0, 8))
def test_a_cursor_resumes_in_the_middle_of_an_epoch(n_taken):
    sampler = SimpleSampler(batch_size=5, shuffle=True, seed=0)

    def stream(bound):
        while True:
            yield from (batch.features["x"].tolist() for batch in bound)

    straight = stream(sampler.bind(VIEW))
    expected = [next(straight) for _ in range(12)]
    stopped = sampler.bind(VIEW)
    source = stream(stopped)
    assert [next(source) for _ in range(n_taken)] == expected[:n_taken]
    resumed = sampler.bind(VIEW)
    resumed.set_state(json.loads(json.dumps(stopped.get_state())))
    rest = stream(resumed)

    assert [next(rest) for _ in range(12 - n_taken)] == expected[n_taken:]


@pytest.mark.parametrize(
    "read",
    [
        lambda bound: list(itertools.islice(bound, len(bound))),
        lambda bound: [batch for _, batch in zip(range(len(bound)), bound, strict=False)],
        lambda bound: [next(one) for one in [iter(bound)] for _ in range(len(bound))],
        lambda bound: list(_up_to_the_last(bound)),
        list,
    ],
)
def test_whoever_stops_at_the_last_batch_has_read_the_epoch(read):
    bound = SimpleSampler(batch_size=5, shuffle=True, seed=0).bind(VIEW)
    for epoch in range(3):
        assert len(bound) == 5
        expected = [view.rows["default"].astype(float).tolist() for view in bound.epoch(epoch)]
        assert [batch.features["x"].tolist() for batch in read(bound)] == expected


def _up_to_the_last(bound):
    n_batches = len(bound)
    for number, batch in enumerate(bound, 1):
        yield batch
        if number == n_batches:
            break


@given(st.lists(st.integers(0, 6), max_size=5))
def test_the_length_is_what_the_next_iteration_yields(takes):
    bound = SimpleSampler(batch_size=5, shuffle=True, seed=0).bind(VIEW)
    for take in takes:
        promised = len(bound)
        assert len(list(itertools.islice(bound, take))) == min(take, promised)
    resumed = SimpleSampler(batch_size=5, shuffle=True, seed=0).bind(VIEW)
    resumed.set_state(bound.get_state())
    assert len(resumed) == len(bound) == len(list(bound)) == len(list(resumed))
    assert bound.get_state() == resumed.get_state()


STATE = SimpleSampler(batch_size=5, shuffle=True, seed=0).bind(VIEW).get_state()


@pytest.mark.parametrize(
    "state",
    [
        {},
        None,
        [0, 0, 0],
        {**STATE, "seed": 1},
        {**STATE, "batch": 9},
        {**STATE, "batch": 1.9},
        {**STATE, "batch": 1.0},
        {**STATE, "batch": True},
        {**STATE, "batch": "1"},
        {**STATE, "batch": np.inf},
        {**STATE, "batch": None},
        {**STATE, "batch": -1},
        {**STATE, "epoch": -1},
        {**STATE, "epoch": np.nan},
        {**STATE, "epoch": [0]},
        {**STATE, "order": "0"},
        {**STATE, "order": None},
        {key: STATE[key] for key in ("epoch", "batch", "seed")},
    ],
    ids=str,
)
def test_a_cursor_of_another_order_is_refused(state):
    bound = SimpleSampler(batch_size=5, shuffle=True, seed=0).bind(VIEW)
    before = bound.get_state()
    with pytest.raises(StateError):
        bound.set_state(state)

    assert bound.get_state() == before


@pytest.mark.parametrize(
    ("other", "rows"),
    [
        ({"batch_size": 4}, VIEW),
        ({"shuffle": False}, VIEW),
        ({"drop_last": True}, VIEW),
        ({"group_by": "g"}, VIEW),
        ({"stratify_by": "g"}, VIEW),
        ({"weights": "w"}, VIEW),
        ({}, VIEW.take(slice(1, 23))),
        ({}, VIEW.take(list(range(22, -1, -1)))),
        ({}, VIEW.take([*range(21), 22, 21])),
    ],
    ids=lambda one: str(one) if isinstance(one, dict) else "rows",
)
def test_a_cursor_of_other_settings_or_rows_is_refused(other, rows):
    settings = {"batch_size": 5, "shuffle": True, "seed": 0, **other}
    with pytest.raises(StateError, match="another order of rows"):
        SimpleSampler(**settings).bind(rows).set_state(STATE)


def test_a_cursor_goes_with_equal_settings_and_rows_however_they_were_made():
    equal = SimpleSampler.from_config(SimpleSampler(batch_size=5, shuffle=True, seed=0).get_config())
    for rows in (VIEW, rows_view(), VIEW.featureset.take(list(range(100, 123)))):
        bound = equal.bind(rows)
        bound.set_state(json.loads(json.dumps({**STATE, "epoch": 3, "batch": 2})))
        assert (bound.get_state()["epoch"], bound.get_state()["batch"]) == (3, 2)
    other_seed = SimpleSampler(batch_size=5, shuffle=True).bind(VIEW, seed=0)
    with pytest.raises(StateError):
        other_seed.set_state({**STATE, "seed": 1})


@pytest.mark.parametrize("wrong", [-1, 1.5, 1.0, "a", "1", None, True, np.True_, np.int64(-1), [0]], ids=repr)
def test_epochs_are_numbered_from_0(wrong):
    bound = SimpleSampler(batch_size=5, shuffle=True, seed=0).bind(VIEW)
    for ask in (bound.epoch, bound.n_batches):
        with pytest.raises(SamplerError, match="numbered from 0"):
            ask(wrong)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.int32])
def test_an_order_does_not_depend_on_the_type_of_its_number(kind):
    expected = batches(SimpleSampler(batch_size=5, shuffle=True, seed=0).bind(VIEW), 1)
    bound = SimpleSampler(batch_size=5, shuffle=True, seed=0).bind(VIEW)
    assert batches(bound, kind(1)) == expected
    assert batches(bound, 1) == expected
    assert batches(bound, 0) != expected


def test_nobody_can_write_into_an_order():
    bound = SimpleSampler(batch_size=5, shuffle=True, seed=0).bind(VIEW)
    before = batches(bound)
    epoch = bound.epoch(0)
    for array in (
        epoch[0].rows["default"],
        epoch.order["default"],
        epoch.rows(0, 2)["default"],
        epoch.borders,
    ):
        with pytest.raises(ValueError, match="read-only"):
            array.sort()
    assert batches(bound) == before


@pytest.mark.parametrize("wrong", [None, {"default": np.array([0, 1])}, [0, 1], np.array([0, 1])], ids=str)
def test_what_is_no_batch_view_is_not_read(wrong):
    with pytest.raises(SamplerError, match="batch views"):
        SimpleSampler(batch_size=5).bind(VIEW).materialize(wrong)


def test_an_epoch_gives_blocks_of_several_batches_without_a_copy():
    epoch = SimpleSampler(batch_size=5, shuffle=True, seed=0).bind(VIEW).epoch(0)
    block = epoch.rows(1, 4)["default"]

    assert block.tolist() == [row for view in epoch[1:4] for row in view.rows["default"]]
    assert np.shares_memory(block, epoch[2].rows["default"])
    assert epoch[-1] == epoch[4]
    assert len(epoch[1:4]) == 3
    with pytest.raises(IndexError):
        epoch[5]


def test_what_was_bound_stays_when_the_featureset_is_transformed():
    view = rows_view()
    bound = SimpleSampler(batch_size=23).bind(view)
    view.featureset.fit_transform("minmax", domain="features")

    assert next(iter(bound)).features["x"][0] == 100
    assert next(iter(SimpleSampler(batch_size=23).bind(view))).features["x"][0] < 1


def test_samplers_are_values():
    one = SimpleSampler(batch_size=5, group_by="g")
    two = SimpleSampler(batch_size=5, group_by=["g"])

    assert one == two
    assert hash(one) == hash(two)
    assert one.key() == two.key() != SimpleSampler(batch_size=6, group_by="g").key()
    assert SimpleSampler.from_config(json.loads(json.dumps(one.get_config()))) == one
    assert isinstance(one, Configurable)
    assert isinstance(one.bind(VIEW), Stateful)
    with pytest.raises(ConfigError):
        SimpleSampler.from_config({"batch_siz": 3})


def test_a_configuration_of_another_sampler_is_refused():
    for name in ("mml/simple", "simple", "mml.processing.SimpleSampler", "mml.processing:SimpleSampler"):
        assert SimpleSampler.from_config({"sampler": name, "batch_size": 2}) == SimpleSampler(batch_size=2)
    for name in ("mml/paired", "paired", 3, None):
        with pytest.raises(ConfigError, match=r"another sampler|names none"):
            SimpleSampler.from_config({"sampler": name, "batch_size": 2})
    with pytest.raises(MMLError, match="nothing"):
        SimpleSampler.from_config({"sampler": "nothing", "batch_size": 2})
    with pytest.raises(MMLError, match=r"os\.path"):
        SimpleSampler.from_config({"sampler": "os.path", "batch_size": 2})

    class Own(SimpleSampler):
        """A sampler of the user's, which is written down as what it extends."""

    assert Own.from_config(SimpleSampler(batch_size=2).get_config()) == Own(batch_size=2)


def test_a_whole_feature_set_is_bound_as_the_view_of_all_its_rows():
    whole = VIEW.featureset
    sampler = SimpleSampler(batch_size=7, shuffle=True, seed=1)
    expected = [batch.rows["default"].tolist() for batch in sampler.bind(whole.view()).epoch(0)]
    assert [batch.rows["default"].tolist() for batch in sampler.bind(whole).epoch(0)] == expected
    with pytest.raises(SamplerError, match="rows of a view") as caught:
        sampler.bind(3)
    assert "int: 3" in caught.value.found


def test_truth_values_of_numpy_are_truth_values():
    assert SimpleSampler(batch_size=np.int8(2), shuffle=np.bool_(True), seed=np.int64(3)) == SimpleSampler(
        batch_size=2, shuffle=True, seed=3
    )
    config = SimpleSampler(batch_size=np.int8(2), shuffle=np.bool_(True)).get_config()
    assert json.loads(json.dumps(config))["shuffle"] is True


def test_a_seed_that_is_none_is_refused_when_binding():
    for wrong in ("a", -1, 1.5):
        with pytest.raises(SamplerError, match="seed"):
            SimpleSampler(batch_size=2).bind(VIEW, seed=wrong)
