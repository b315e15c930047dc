"""Pairs, triplets and N roles: admissible partners only, each as likely as any other, anew every epoch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mml.errors import SamplerError, StateError, UnmatchedRowsWarning
from mml.processing import NSampler, PairedSampler, SimilarityCondition, SimpleSampler, TripletSampler
from mml.processing.samplers import matching

from .sets import bound, made, orders, partners, partners_or_fallback

N_ROWS = 24


@st.composite
def tables(draw):
    """Columns of few different values, so that groups, ties and lonely rows all occur."""
    n_rows = draw(st.integers(2, 16))

    def column(values):
        return st.lists(values, min_size=n_rows, max_size=n_rows)

    return {
        "cell": draw(column(st.sampled_from("abc"))),
        "day": draw(column(st.integers(0, 3))),
        "warm": draw(column(st.booleans())),
        "t": draw(column(st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.7, 1.0, -0.2, 2.5]))),
        "load": draw(column(st.integers(-3, 3))),
    }


TAGS = st.builds(
    SimilarityCondition,
    st.sampled_from(["cell", "day", "warm", "t"]),
    mode=st.sampled_from(["similar", "dissimilar"]),
    fallback=st.sampled_from([None, None, "any"]),
)
NUMBERS = st.builds(
    SimilarityCondition,
    st.sampled_from(["t", "load", "day"]),
    mode=st.sampled_from(["similar", "dissimilar"]),
    tolerance=st.sampled_from([0, 0.1, 0.2, 0.5, 1, 2]),
    fallback=st.sampled_from([None, None, "any"]),
)
CONDITIONS = st.lists(TAGS | NUMBERS, min_size=1, max_size=3)


def check_partners(table, conditions, *, epochs=2, rows=None):
    """Compare what is drawn with the slow way: the same anchors, and only partners that are allowed."""
    whole = made(**table)
    view = whole.view() if rows is None else whole.take(rows)
    columns = {name: np.asarray(values).tolist() for name, values in table.items()}
    candidates = view.rows.tolist()
    allowed = {row: partners_or_fallback(conditions, columns, row, candidates) for row in candidates}
    matched = [row for row in candidates if allowed[row]]
    sampler = PairedSampler(batch_size=3, conditions=conditions, shuffle=True, seed=1)
    if not matched:
        with pytest.raises(SamplerError, match="No row has a match"):
            bound(sampler, view)
        return
    for epoch in range(epochs):
        drawn = orders(bound(sampler, view), epoch)
        assert sorted(drawn["anchor"]) == sorted(matched)
        for anchor, partner in zip(drawn["anchor"], drawn["pair"], strict=True):
            assert partner in allowed[anchor]


class TestAgainstEveryPair:
    @settings(max_examples=200)
    @given(tables(), CONDITIONS)
    def test_only_partners_that_fulfil_everything_are_drawn(self, table, conditions):
        check_partners(table, conditions)

    @settings(max_examples=100)
    @given(tables(), CONDITIONS)
    def test_the_exact_way_finds_them_too(self, table, conditions):
        """Without a single try by chance, in blocks of a few pairs."""
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(matching, "_ROUNDS", 0)
            patched.setattr(matching, "_PAIRS_A_BLOCK", 5)
            check_partners(table, conditions)

    @settings(max_examples=100)
    @given(tables(), st.sampled_from(["nothing", None, "any"]), st.sampled_from([0, 0.05, 0.1]))
    def test_the_nearest_takes_the_place_of_what_is_too_far(self, table, cell, tolerance):
        conditions = [SimilarityCondition("t", tolerance=tolerance, fallback="nearest")]
        if cell != "nothing":
            conditions.append(SimilarityCondition("cell", fallback=cell))
        check_partners(table, conditions)

    @settings(max_examples=50)
    @given(tables(), CONDITIONS, st.data())
    def test_partners_come_from_the_view_only(self, table, conditions, data):
        n_rows = len(table["day"])
        rows = data.draw(st.lists(st.integers(0, n_rows - 1), min_size=1, unique=True))
        check_partners(table, conditions, rows=rows)

    @settings(max_examples=100)
    @given(
        st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=20),
        st.floats(0, 100),
        st.sampled_from(["similar", "dissimilar"]),
    )
    def test_a_distance_is_the_one_that_floats_have(self, values, tolerance, mode):
        """|a - b| is compared as it is computed, ties included: 0.3 - 0.1 is not 0.2."""
        check_partners({"t": values}, [SimilarityCondition("t", mode=mode, tolerance=tolerance)], epochs=1)

    def test_large_whole_numbers_and_infinite_distances(self):
        far = [-1.7e308, 1.7e308, 1.7e308, 0.0]
        check_partners({"t": far}, [SimilarityCondition("t", mode="dissimilar", tolerance=1e300)])
        check_partners({"t": far}, [SimilarityCondition("t", tolerance=10**400)])
        for start in (2**52, 2**60, -(2**60)):
            near = [start, start + 1, start + 3, start + 5]
            check_partners({"t": near}, [SimilarityCondition("t", tolerance=1)])
            check_partners({"t": near}, [SimilarityCondition("t", mode="dissimilar", tolerance=2)])

    @settings(max_examples=200)
    @given(st.data(), st.sampled_from(["similar", "dissimilar"]), st.sampled_from([None, "nearest"]))
    def test_differences_of_whole_numbers_are_exact(self, data, mode, fallback):
        """However far apart the numbers are, a difference of 100 is not one of 0."""
        dtype = data.draw(st.sampled_from(["i8", "u8", "i1", "u1"]))
        info = np.iinfo(dtype)
        near = [
            sign * 2**power + step
            for power in (0, 6, 53, 60, 63, 64)
            for sign in (1, -1)
            for step in (0, 1, 100)
        ]
        values = data.draw(
            st.lists(
                st.sampled_from([one for one in near if info.min <= one <= info.max]), min_size=2, max_size=12
            )
        )
        tolerance = data.draw(
            st.sampled_from([0, 0.5, 1, 10, 99.5, 100, 2**53 + 1, 2**60, 2**63, 2.0**64, 2**70])
        )
        table = {"t": np.array(values, dtype=dtype), "cell": [row % 3 for row in range(len(values))]}
        conditions = [
            SimilarityCondition(
                "t", mode=mode, tolerance=tolerance, fallback=fallback if mode == "similar" else None
            )
        ]
        check_partners(table, conditions, epochs=1)
        check_partners(table, [*conditions, SimilarityCondition("cell", mode="dissimilar")], epochs=1)

    @settings(max_examples=150)
    @given(
        tables(),
        st.sampled_from([0, 0.05, 0.1, 1]),
        st.sampled_from(["t", "load"]),
        st.lists(TAGS.filter(lambda one: one.is_similar), max_size=1),
        st.sampled_from([None, "any"]),
    )
    def test_the_nearest_of_another_tag(self, table, tolerance, column, more, fallback):
        conditions = [
            SimilarityCondition(column, tolerance=tolerance, fallback="nearest"),
            SimilarityCondition("cell", mode="dissimilar", fallback=fallback),
            *more,
        ]
        check_partners(table, conditions)

    @settings(max_examples=150)
    @given(tables(), TAGS.filter(lambda one: not one.is_similar), TAGS | NUMBERS, st.booleans())
    def test_another_tag_beside_something_else(self, table, tag, other, grouped):
        check_partners(table, [tag, other, *[SimilarityCondition("warm")] * grouped])


def chi_square(counts, expected):
    return sum((counts.get(row, 0) - expected) ** 2 / expected for row in counts)


@pytest.mark.parametrize("rounds", [0, 1, 32])
@pytest.mark.parametrize(
    "conditions",
    [
        {"cell": "similar"},
        {"cell": "dissimilar"},
        {"t": {"tolerance": 2}},
        {"t": {"tolerance": 2, "mode": "dissimilar"}},
        {"cell": "similar", "t": {"tolerance": 5}},
        {"cell": "similar", "day": "dissimilar"},
        {"cell": "similar", "day": "dissimilar", "t": {"tolerance": 5}},
        {"t": {"tolerance": 5}, "u": {"tolerance": 4}},
        {"day": {"tolerance": 0}, "half": {"tolerance": 0}},
        {"half": {"tolerance": 0}, "day": {"tolerance": 1, "mode": "dissimilar"}, "cell": "similar"},
        {"cell": {"mode": "similar", "fallback": "any"}, "t": {"tolerance": 0, "fallback": "nearest"}},
        {"t": {"tolerance": 0.1, "fallback": "any"}},
        {"cell": "dissimilar", "t": {"tolerance": 5}},
        {"cell": "dissimilar", "t": {"tolerance": 9, "mode": "dissimilar"}},
        {"half": "similar", "cell": "dissimilar", "u": {"tolerance": 6}},
        {"day": "dissimilar", "half": "dissimilar"},
        {"day": "dissimilar", "half": "dissimilar", "u": {"tolerance": 8}},
        {"cell": "dissimilar", "u": {"tolerance": 0, "fallback": "nearest"}},
        {"half": "dissimilar", "day": {"tolerance": 0, "fallback": "nearest"}},
    ],
    ids=str,
)
def test_every_partner_is_equally_likely(conditions, rounds, monkeypatch):
    monkeypatch.setattr(matching, "_ROUNDS", rounds)
    rng = np.random.default_rng(3)
    table = {
        "cell": np.repeat(["a", "b", "c"], 8),
        "day": rng.integers(0, 3, N_ROWS),
        "t": np.arange(N_ROWS) * 1.0,
        "u": rng.permutation(N_ROWS) * 1.0,
        "half": np.arange(N_ROWS) % 2,
    }
    sampler = PairedSampler(batch_size=5, conditions=conditions, seed=0)
    found = bound(sampler, made(**table))
    counts = {row: Counter() for row in range(N_ROWS)}
    n_epochs = 400
    for epoch in range(n_epochs):
        drawn = orders(found, epoch)
        for anchor, partner in zip(drawn["anchor"], drawn["pair"], strict=True):
            counts[anchor][partner] += 1
    statistic = freedom = 0
    for anchor, seen in counts.items():
        allowed = partners_or_fallback(sampler.conditions, table, anchor, range(N_ROWS))
        assert set(seen) <= set(allowed)
        if allowed:
            expected = n_epochs / len(allowed)
            statistic += sum((seen[row] - expected) ** 2 / expected for row in allowed)
            freedom += len(allowed) - 1
    # A chi-square value has the mean `freedom` and the variance 2 * freedom: within five deviations.
    assert abs(statistic - freedom) <= 5 * np.sqrt(2 * freedom)


class TestEpochs:
    def set(self):
        return made(cell=[f"c{row % 5}" for row in range(40)], day=np.arange(40) % 3)

    @settings(max_examples=60)
    @given(st.integers(1, 50), st.booleans(), st.booleans(), st.integers(0, 100))
    def test_each_row_is_an_anchor_once(self, batch_size, shuffle, drop_last, epoch):
        sampler = TripletSampler(
            batch_size=batch_size,
            by="cell",
            shuffle=shuffle,
            seed=2,
            drop_last=drop_last and batch_size <= 40,
        )
        found = sampler.bind(self.set())
        views = list(found.epoch(epoch))
        anchors = [row for view in views for row in view.rows["anchor"].tolist()]
        kept = len(anchors) if sampler.drop_last else 40
        assert len(set(anchors)) == len(anchors) == kept
        assert len(views) == found.n_batches(epoch)
        assert all(view.roles == ("anchor", "positive", "negative") for view in views)
        if not shuffle:
            assert anchors == list(range(kept))

    @pytest.mark.parametrize("shuffle", [True, False])
    def test_partners_are_drawn_anew_each_epoch_and_by_role(self, shuffle):
        found = TripletSampler(batch_size=7, by="cell", shuffle=shuffle, seed=0).bind(self.set())
        by_epoch = [orders(found, epoch) for epoch in range(6)]
        for role in ("positive", "negative"):
            paired = {tuple(sorted(zip(one["anchor"], one[role], strict=True))) for one in by_epoch}
            assert len(paired) == 6
        assert orders(found, 3) == by_epoch[3]

    def test_roles_with_equal_conditions_are_drawn_independently(self):
        conditions = {"first": {"cell": "similar"}, "second": {"cell": "similar"}}
        found = NSampler(batch_size=40, conditions=conditions, seed=0).bind(self.set())
        drawn = [orders(found, epoch) for epoch in range(50)]
        equal = sum(a == b for one in drawn for a, b in zip(one["first"], one["second"], strict=True))
        # One of the seven other rows of a cell each: 2000 / 7 agree, with a deviation of 16.
        assert abs(equal - 2000 / 7) < 80

    def test_an_order_is_a_function_of_seed_and_epoch(self):
        sampler = PairedSampler(batch_size=4, conditions={"cell": "similar"}, shuffle=True)
        data = self.set()
        assert orders(sampler.bind(data, seed=4), 9) == orders(sampler.bind(data, seed=4), 9)
        assert orders(sampler.bind(data, seed=4), 9) != orders(sampler.bind(data, seed=5), 9)
        own = PairedSampler(batch_size=4, conditions={"cell": "similar"}, shuffle=True, seed=4)
        assert orders(own.bind(data, seed=5), 9) == orders(sampler.bind(data, seed=4), 9)

    def test_anchors_are_ordered_as_simple_sampler_orders_rows(self):
        settings_ = {"batch_size": 4, "shuffle": True, "seed": 4, "stratify_by": "day"}
        data = self.set()
        anchors = PairedSampler(conditions={"cell": "similar"}, **settings_).bind(data)
        simple = SimpleSampler(**settings_).bind(data)
        assert orders(anchors, 2)["anchor"] == orders(simple, 2)["default"]

    def test_groups_hold_for_anchors(self):
        found = PairedSampler(batch_size=4, conditions={"cell": "dissimilar"}, group_by="cell").bind(
            self.set()
        )
        for view in found.epoch(0):
            assert len({row % 5 for row in view.rows["anchor"]}) == 1
            assert not {row % 5 for row in view.rows["anchor"]} & {row % 5 for row in view.rows["pair"]}

    def test_the_order_is_the_same_in_another_process_with_another_hash_seed(self):
        script = (
            "import json\n"
            "import mml\n"
            "data = {'x': list(range(12)), 'g': list('abcabcabcabc'), 't': [0.5 * i for i in range(12)]}\n"
            "fs = mml.FeatureSet.from_dict('r', data, feature_keys='x', tag_keys=['g', 't'])\n"
            "s = mml.NSampler(batch_size=5, shuffle=True, seed=3, conditions={\n"
            "    'near': {'t': {'tolerance': 2}, 'g': 'dissimilar'}, 'same': {'g': 'similar'}})\n"
            "order = s.bind(fs).epoch(2).order\n"
            "print(json.dumps({role: rows.tolist() for role, rows in order.items()}))\n"
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
        assert sorted(json.loads(found.pop())["anchor"]) == list(range(12))

    @settings(max_examples=20, deadline=None)
    @given(st.integers(0, 12))
    def test_a_cursor_resumes_in_the_middle_of_an_epoch(self, n_taken):
        data = self.set()
        sampler = TripletSampler(batch_size=9, by="cell", shuffle=True, seed=0)

        def read(bound_sampler):
            while True:
                for batch in bound_sampler:
                    yield {role: batch[role].features["x"].tolist() for role in batch}

        straight = read(sampler.bind(data))
        expected = [next(straight) for _ in range(15)]
        stopped = sampler.bind(data)
        source = read(stopped)
        assert [next(source) for _ in range(n_taken)] == expected[:n_taken]
        resumed = sampler.bind(data)
        resumed.set_state(json.loads(json.dumps(stopped.get_state())))
        rest = read(resumed)
        assert [next(rest) for _ in range(15 - n_taken)] == expected[n_taken:]

    def test_a_cursor_of_other_conditions_is_refused(self):
        def state(**conditions):
            sampler = PairedSampler(batch_size=9, conditions=conditions, shuffle=True, seed=0)
            return sampler.bind(self.set()).get_state()

        sampler = PairedSampler(batch_size=9, conditions={"cell": "similar"}, shuffle=True, seed=0)
        sampler.bind(self.set()).set_state(state(cell="similar"))
        for other in ({"cell": "dissimilar"}, {"day": "similar"}, {"cell": "similar", "day": "similar"}):
            with pytest.raises(StateError, match="another order of rows"):
                sampler.bind(self.set()).set_state(state(**other))
        with pytest.raises(StateError, match="another order of rows"):
            TripletSampler(batch_size=9, by="cell", shuffle=True, seed=0).bind(self.set()).set_state(
                state(cell="similar")
            )


class TestUnmatchedRows:
    def set(self):
        """Rows 2 and 5 are alone in their cells."""
        return made("cells", cell=list("aabaacdd"), day=list(range(8)))

    def test_are_reported_and_left_out(self):
        sampler = PairedSampler(batch_size=4, conditions={"cell": "similar"})
        with pytest.warns(UnmatchedRowsWarning) as caught:
            found = sampler.bind(self.set())
        told = str(caught[0].message)
        assert "2 of 8 rows of cells" in told
        assert "first row 2" in told
        assert "similar 'cell'" in told
        assert caught[0].filename == __file__
        assert orders(found)["anchor"] == [0, 1, 3, 4, 6, 7]

    def test_can_be_kept_with_a_masked_partner(self):
        sampler = PairedSampler(batch_size=4, conditions={"cell": "similar"}, unmatched="mask")
        with pytest.warns(UnmatchedRowsWarning, match="masked"):
            found = sampler.bind(self.set())
        drawn = orders(found)
        assert drawn["anchor"] == list(range(8))
        assert [row for row, pair in enumerate(drawn["pair"]) if pair == -1] == [2, 5]
        first = next(iter(found))
        assert first["pair"].mask.tolist() == [True, True, False, True]
        assert not first["pair"].sample_uuids[2].any()
        assert found.epoch(0)[0].n_live == 3

    def test_can_be_refused(self):
        sampler = PairedSampler(batch_size=4, conditions={"cell": "similar"}, unmatched="error")
        with pytest.raises(SamplerError, match="2 of 8 rows of cells") as caught:
            sampler.bind(self.set())
        assert "fallback" in caught.value.hint

    def test_of_any_role_are_no_anchors(self):
        conditions = {
            "same": {"cell": "similar"},
            "later": {"day": {"tolerance": 0.5, "fallback": "nearest"}},
        }
        with pytest.warns(UnmatchedRowsWarning, match="'same'") as caught:
            drawn = orders(NSampler(batch_size=9, conditions=conditions).bind(self.set()))
        assert len(caught) == 1
        assert drawn["anchor"] == [0, 1, 3, 4, 6, 7]
        assert all(abs(a - b) == 1 for a, b in zip(drawn["anchor"], drawn["later"], strict=True))

    @pytest.mark.parametrize("unmatched", ["drop", "mask", "error"])
    def test_a_condition_that_matches_nothing_is_an_error(self, unmatched):
        sampler = PairedSampler(batch_size=4, conditions={"day": "similar"}, unmatched=unmatched)
        with pytest.raises(SamplerError, match="No row has a match") as caught:
            sampler.bind(self.set())
        assert "'cells'" in caught.value.where

    def test_roles_whose_matches_never_meet_are_an_error(self):
        data = made(cell=list("aabcd"), day=[1, 2, 3, 3, 4])
        sampler = NSampler(batch_size=2, conditions={"p": {"cell": "similar"}, "q": {"day": "similar"}})
        with pytest.raises(SamplerError, match="in every role"):
            bound(sampler, data)

    def test_a_fallback_stays_silent_and_serves_them(self):
        conditions = [SimilarityCondition("cell", fallback="any")]
        drawn = orders(PairedSampler(batch_size=4, conditions=conditions).bind(self.set()))
        assert drawn["anchor"] == list(range(8))
        assert all(pair != anchor for anchor, pair in zip(drawn["anchor"], drawn["pair"], strict=True))

    def test_what_is_left_for_drop_last_may_be_no_batch(self):
        sampler = PairedSampler(batch_size=7, conditions={"cell": "similar"}, drop_last=True)
        with pytest.raises(SamplerError, match="drop_last"):
            bound(sampler, self.set())


class TestWhatIsRefused:
    DATA = made(
        "rows",
        features=np.zeros((4, 2), dtype=np.float32),
        cell=list("aabb"),
        t=[1.0, 2.0, 3.0, 4.0],
        hole=[1.0, np.nan, 2.0, 3.0],
        far=[1.0, np.inf, 2.0, 3.0],
        name=["a", "b", "a", "b"],
    )

    @pytest.mark.parametrize(
        ("settings_", "match"),
        [
            ({"batch_size": 0}, "at least one row"),
            ({"batch_size": True}, "whole number"),
            ({"batch_size": "32"}, "whole number"),
            ({"seed": -1}, "seed"),
            ({"seed": "a"}, "seed"),
            ({"shuffle": "yes"}, "`shuffle` is True or False"),
            ({"drop_last": 1}, "`drop_last` is True or False"),
            ({"group_by": 3}, "`group_by`"),
            ({"weights": "t"}, "shuffle=True"),
            ({"unmatched": "ignore"}, "unmatched 'ignore'"),
            ({"conditions": {}}, "needs a condition"),
            ({"conditions": []}, "needs a condition"),
            ({"conditions": "cell"}, "no conditions"),
            ({"conditions": None}, "no conditions"),
            ({"conditions": [3]}, "no condition"),
            ({"conditions": {"cell": 3}}, "no condition"),
            ({"conditions": {"cell": "same"}}, "mode 'same'"),
            ({"conditions": {3: "similar"}}, "names a column"),
            ({"conditions": {"cell": SimilarityCondition("t")}}, "another column"),
            ({"conditions": {"cell": {"column": "t"}}}, "another column"),
            ({"conditions": {SimilarityCondition("t")}}, "`conditions` is given as a set"),
            ({"stratify_by": {"cell", "t"}}, "`stratify_by` is given as a set"),
            ({"conditions": {"t": {"tolerance": -1}}}, "finite number from 0"),
            ({"conditions": {"t": {"tolerance": np.nan}}}, "finite number from 0"),
            ({"conditions": {"t": {"tolerance": "1"}}}, "finite number from 0"),
            ({"conditions": {"t": {"tolerance": True}}}, "finite number from 0"),
            ({"conditions": {"t": {"tolerance": np.inf}}}, "finite number from 0"),
            ({"conditions": {"t": {"tolerance": -(10**400)}}}, "finite number from 0"),
            ({"conditions": {"t": {"fallback": "some"}}}, "fallback 'some'"),
            ({"conditions": {"t": {"fallback": "nearest"}}}, "nearest"),
            ({"conditions": {"t": {"tolerance": 1, "mode": "dissimilar", "fallback": "nearest"}}}, "nearest"),
        ],
        ids=str,
    )
    def test_wrong_settings(self, settings_, match):
        with pytest.raises(SamplerError, match=match):
            PairedSampler(**{"batch_size": 2, "conditions": {"cell": "similar"}, **settings_})

    @pytest.mark.parametrize(
        ("conditions", "match"),
        [
            ({"cel": "similar"}, "no column 'cel'"),
            ({"cel": {"tolerance": 1}}, "no column 'cel'"),
            ({"x": "similar"}, "'x' are tensors"),
            ({"x": {"tolerance": 1}}, "not one number"),
            ({"name": {"tolerance": 1}}, "not one number"),
            ({"hole": "similar"}, "missing"),
            ({"hole": {"tolerance": 1}}, "not a finite number"),
            ({"far": {"tolerance": 1}}, "not a finite number"),
        ],
        ids=str,
    )
    def test_columns_that_cannot_be_compared(self, conditions, match):
        with pytest.raises(SamplerError, match=match) as caught:
            PairedSampler(batch_size=2, conditions=conditions).bind(self.DATA)
        assert "view 'rows'" in caught.value.where

    @pytest.mark.parametrize("dtype", ["datetime64[s]", "timedelta64[s]"])
    def test_a_tolerance_on_times_says_what_to_do(self, dtype):
        data = made(t=np.array([1, 2]).astype(dtype))
        with pytest.raises(SamplerError, match="not one number per row") as caught:
            PairedSampler(batch_size=2, conditions={"t": {"tolerance": 1}}).bind(data)
        assert "one finite number a row" in caught.value.expected
        assert dtype in caught.value.hint

    def test_a_tolerance_on_strings_says_what_to_do(self):
        with pytest.raises(SamplerError, match="not one number per row") as caught:
            PairedSampler(batch_size=2, conditions={"name": {"tolerance": 1}}).bind(self.DATA)
        assert "{'name': 'similar'}" in caught.value.hint

    @pytest.mark.parametrize(
        ("conditions", "match"),
        [
            ({}, "by role"),
            ([], "by role"),
            (None, "by role"),
            ({"anchor": {"cell": "similar"}}, "'anchor' is taken"),
            ({"default": {"cell": "similar"}}, "'default'"),
            ({"a.b": {"cell": "similar"}}, "letters"),
            ({3: {"cell": "similar"}}, "letters"),
            ({"": {"cell": "similar"}}, "letters"),
            ({"pair": {}}, "needs a condition"),
        ],
        ids=str,
    )
    def test_wrong_roles(self, conditions, match):
        with pytest.raises(SamplerError, match=match):
            NSampler(batch_size=2, conditions=conditions)

    @pytest.mark.parametrize(
        ("settings_", "match"),
        [
            ({}, "neither"),
            ({"by": "cell", "conditions": {}}, "both"),
            ({"by": ["cell"]}, "one column"),
            ({"by": ""}, "one column"),
            ({"conditions": {"positive": {"cell": "similar"}}}, "positive and a negative"),
        ],
    )
    def test_triplets_that_are_none(self, settings_, match):
        with pytest.raises(SamplerError) as caught:
            TripletSampler(batch_size=2, **settings_)
        assert match in str(caught.value)

    def test_two_conditions_that_look_for_the_nearest(self):
        nearest = {"tolerance": 1, "fallback": "nearest"}
        with pytest.raises(SamplerError, match="Only one condition"):
            PairedSampler(batch_size=2, conditions={"t": nearest, "u": nearest})

    @pytest.mark.parametrize(
        "other",
        [
            {"u": {"tolerance": 5}},
            {"u": {"tolerance": 5, "mode": "dissimilar"}},
            {"u": "dissimilar", "v": "dissimilar"},
            {"u": "dissimilar", "v": {"tolerance": 5}},
        ],
        ids=str,
    )
    def test_the_nearest_among_more_than_one_other_tag(self, other):
        nearest = {"tolerance": 1, "fallback": "nearest"}
        with pytest.raises(SamplerError, match="of one dissimilar tag") as caught:
            PairedSampler(batch_size=2, conditions={"t": nearest, **other})
        assert "'any'" in caught.value.expected
        given_up = {
            name: {"mode": one, "fallback": "any"} for name, one in other.items() if one == "dissimilar"
        }
        PairedSampler(batch_size=2, conditions={"t": nearest, **given_up, "w": "similar"})

    def test_a_row_that_stands_twice_in_the_view(self):
        twice = self.DATA.take([0, 1, 1])
        with pytest.raises(SamplerError, match="more than once"):
            PairedSampler(batch_size=2, conditions={"cell": "similar"}).bind(twice)

    def test_what_is_no_view(self):
        sampler = TripletSampler(batch_size=2, by="cell")
        for wrong in (3, None, [self.DATA]):
            with pytest.raises(SamplerError, match="rows of a view"):
                sampler.bind(wrong)
        with pytest.raises(SamplerError, match="no rows"):
            sampler.bind(self.DATA.take([]))
        with pytest.raises(SamplerError, match="seed"):
            sampler.bind(self.DATA, seed="a")


class TestForms:
    def test_conditions_may_be_written_in_several_ways(self):
        by_mapping = PairedSampler(
            batch_size=2, conditions={"cell": "similar", "t": {"tolerance": 2, "mode": "dissimilar"}}
        )
        by_objects = PairedSampler(
            batch_size=2,
            conditions=[
                SimilarityCondition("cell"),
                SimilarityCondition("t", mode="dissimilar", tolerance=2.0),
            ],
        )
        by_settings = PairedSampler(
            batch_size=2, conditions=[one.get_config() for one in by_objects.conditions]
        )
        assert by_mapping == by_objects == by_settings
        assert hash(by_mapping) == hash(by_objects)
        assert by_mapping.key() == by_objects.key()
        one = SimilarityCondition("cell")
        assert PairedSampler(batch_size=2, conditions=one).conditions == (one,)
        under = PairedSampler(batch_size=2, conditions={"cell": one})
        assert under.conditions == (one,)

    def test_triplets_by_a_column_are_those_of_its_conditions(self):
        data = made(cell=list("aaabbbccc"))
        by = TripletSampler(batch_size=3, by="cell", shuffle=True, seed=0).bind(data)
        conditions = {"negative": {"cell": "dissimilar"}, "positive": {"cell": "similar"}}
        same = TripletSampler(batch_size=3, conditions=conditions, shuffle=True, seed=0).bind(data)
        assert orders(by, 5) == orders(same, 5)
        general = NSampler(
            batch_size=3, conditions=dict(reversed(conditions.items())), shuffle=True, seed=0
        ).bind(data)
        assert orders(general, 5) == orders(by, 5)

    def test_conditions_of_a_role_are_read_by_name(self):
        sampler = NSampler(batch_size=2, conditions={"same": {"cell": "similar"}})
        assert sampler.conditions["same"] == (SimilarityCondition("cell"),)
        assert "same" in sampler.conditions
        with pytest.raises(SamplerError, match="no role 'sane'"):
            sampler.conditions["sane"]

    def test_a_transformed_column_is_compared_where_it_is_named(self):
        data = made(cell=["a", "a", "b"], features=np.array([0.0, 10.0, 20.0]))
        data.fit_transform("minmax", domain="features")
        raw = PairedSampler(batch_size=3, conditions={"x": {"tolerance": 1, "fallback": "any"}})
        scaled = PairedSampler(batch_size=3, conditions={"x.transformed": {"tolerance": 0.5}})
        assert orders(scaled.bind(data))["pair"][0] == 1
        columns = {"x": [0.0, 10.0, 20.0]}
        assert partners(raw.conditions, columns, 0, range(3)) == []
        assert orders(raw.bind(data))["anchor"] == [0, 1, 2]


def test_a_million_pairs_are_not_looked_at(monkeypatch):
    """Every block of pairs that is looked at is counted: none is needed for tags and one tolerance."""
    looked_at = []
    monkeypatch.setattr(matching.Matching, "_admissible", lambda *a: looked_at.append(a) or iter(()))
    rng = np.random.default_rng(0)
    n_rows = 20_000
    t = rng.normal(size=n_rows)
    data = made(
        cell=rng.integers(0, 50, n_rows),
        day=rng.integers(0, 9, n_rows),
        t=t,
        # Rows of similar t are of one stretch, all but a few.
        stretch=np.searchsorted([-1.0, 0.0, 1.0], t),
    )
    for conditions in (
        {"cell": "similar", "day": "dissimilar"},
        {"cell": "similar", "t": {"tolerance": 0.1}},
        {"stretch": "dissimilar", "t": {"tolerance": 0.1}},
        {"stretch": "dissimilar", "cell": "similar", "t": {"tolerance": 0.1}},
        {"stretch": "dissimilar", "t": {"tolerance": 3.0, "mode": "dissimilar"}},
        {"stretch": "dissimilar", "t": {"tolerance": 1e-9, "fallback": "nearest"}},
        {"stretch": "dissimilar", "day": "dissimilar"},
    ):
        bound(PairedSampler(batch_size=64, conditions=conditions), data).epoch(0)
    assert looked_at == []
