"""AlignedSampler: rows of several sets that belong together, as streams of one batch."""

from __future__ import annotations

import datetime
import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mml.context import ExperimentContext
from mml.errors import SamplerError, StateError, UnmatchedRowsWarning
from mml.processing import AlignedSampler, PairedSampler, SimpleSampler, TripletSampler

from .sets import bound, made

SIMPLE = SimpleSampler(batch_size=3, shuffle=True, seed=0)


def keyed(label, keys, **tags):
    return made(label, features=np.arange(len(keys)) * 10.0, key=keys, **tags)


def streams(found, epoch=0):
    """Return stream → role → rows of an epoch, as lists."""
    order = found.epoch(epoch)
    return {
        name: {role: rows.tolist() for role, rows in order.stream(name).order.items()}
        for name in order.streams
    }


@st.composite
def key_pairs(draw):
    """Keys of a primary set, repeated or not, and the different ones of another."""
    values = draw(st.sampled_from([st.integers(-3, 9), st.sampled_from("abcdefgh"), st.booleans()]))
    mine = draw(st.lists(values, min_size=1, max_size=15))
    theirs = draw(st.lists(values, min_size=1, max_size=8, unique=True))
    return mine, theirs


@st.composite
def numbers_of_two_dtypes(draw):
    """Numbers around the borders of what dtypes hold, different ones in the second array."""
    near = [
        sign * 2**power + step for power in (0, 53, 60, 63, 64) for sign in (1, -1) for step in (-1, 0, 1)
    ]

    def column(dtype, **settings_):
        if np.dtype(dtype).kind == "f":
            values = st.sampled_from([float(one) for one in near] + [0.5, -0.0, np.inf])
        else:
            info = np.iinfo(dtype)
            values = st.sampled_from([one for one in near if info.min <= one <= info.max])
        return np.array(draw(st.lists(values, min_size=1, max_size=8, **settings_)), dtype=dtype)

    dtypes = st.sampled_from(["i8", "u8", "f8", "i1", "u4", "f4"])
    theirs = column(draw(dtypes))
    return column(draw(dtypes)), np.unique(theirs)


class TestRows:
    @settings(max_examples=150)
    @given(key_pairs(), st.integers(1, 6), st.integers(0, 20))
    def test_aligned_rows_have_equal_keys(self, keys, batch_size, epoch):
        mine, theirs = keys
        first, second = keyed("first", mine), keyed("second", theirs)
        sampler = AlignedSampler(SimpleSampler(batch_size=batch_size, shuffle=True, seed=1), by="key")
        matched = [row for row, key in enumerate(mine) if key in theirs]
        if not matched:
            with pytest.raises(SamplerError, match="No row has a match"):
                bound(sampler, [first, second])
            return
        rows = streams(bound(sampler, [first, second]), epoch)
        assert sorted(rows["first"]["default"]) == matched
        assert [mine[row] for row in rows["first"]["default"]] == [
            theirs[row] for row in rows["second"]["default"]
        ]

    @settings(max_examples=60)
    @given(key_pairs(), st.data())
    def test_views_are_aligned_by_their_own_rows(self, keys, data):
        mine, theirs = keys
        chosen = data.draw(st.lists(st.integers(0, len(theirs) - 1), min_size=1, unique=True))
        first, second = keyed("first", mine), keyed("second", theirs)
        sampler = AlignedSampler(SIMPLE, by="key", unmatched="mask")
        kept = {theirs[row]: row for row in chosen}
        if not kept.keys() & set(mine):
            return
        rows = streams(bound(sampler, {"a": first, "b": second.take(chosen)}))
        expected = [kept.get(mine[row], -1) for row in rows["a"]["default"]]
        assert sorted(rows["a"]["default"]) == list(range(len(mine)))
        assert rows["b"]["default"] == expected

    def test_several_columns_match_together(self):
        first = keyed("first", list("aabb"), day=[1, 2, 1, 2])
        second = keyed("second", list("bbaa"), day=[2, 1, 2, 1])
        rows = streams(AlignedSampler(SimpleSampler(batch_size=9), by=["key", "day"]).bind([first, second]))
        assert rows["second"]["default"] == [3, 2, 1, 0]

    def test_three_sets(self):
        sets = [keyed(name, keys) for name, keys in (("p", [1, 2, 3, 4]), ("q", [4, 3, 2]), ("r", [9, 4, 2]))]
        with pytest.warns(UnmatchedRowsWarning) as caught:
            rows = streams(AlignedSampler(SimpleSampler(batch_size=9), by="key").bind(sets))
        assert [str(one.message)[:41] for one in caught] == [
            "1 of 4 rows of p have no match in q; firs",
            "2 of 4 rows of p have no match in r; firs",
        ]
        assert {name: one["default"] for name, one in rows.items()} == {"p": [1, 3], "q": [2, 0], "r": [2, 1]}

    def test_times_and_numbers_of_other_widths_are_compared(self):
        days = [datetime.datetime(2024, 1, day) for day in (1, 2, 3)]
        rows = streams(AlignedSampler(SIMPLE, by="key").bind([keyed("p", days), keyed("q", days[::-1])]))
        assert [2 - row for row in rows["p"]["default"]] == rows["q"]["default"]
        whole = keyed("p", np.array([1, 2, 3], dtype=np.int8))
        rows = streams(AlignedSampler(SIMPLE, by="key").bind([whole, keyed("q", [3.0, 2.0, 1.0])]))
        assert [2 - row for row in rows["p"]["default"]] == rows["q"]["default"]

    @settings(max_examples=150)
    @given(numbers_of_two_dtypes())
    def test_numbers_match_only_where_they_are_equal(self, keys):
        """Python compares whole numbers and floats exactly."""
        mine, theirs = keys
        first, second = keyed("p", mine), keyed("q", theirs)
        sampler = AlignedSampler(SimpleSampler(batch_size=99), by="key", unmatched="mask")
        place = {key: row for row, key in enumerate(theirs.tolist())}
        expected = [place.get(key, -1) for key in mine.tolist()]
        if max(expected) < 0:
            with pytest.raises(SamplerError, match="No row has a match"):
                bound(sampler, [first, second])
            return
        assert streams(bound(sampler, [first, second]))["q"]["default"] == expected

    @pytest.mark.parametrize("kind", ["M8", "m8"])
    def test_times_that_a_finer_unit_cannot_hold_match_nothing_there(self, kind):
        seconds = np.datetime64("3000-01-01", "s").astype(np.int64)
        wrapped = (int(seconds) * 10**9 + 2**63) % 2**64 - 2**63
        first = keyed("p", np.array([seconds, 5, 86_400]).astype(f"{kind}[s]"))
        second = keyed("q", np.array([wrapped, 86_400 * 10**9, 5]).astype(f"{kind}[ns]"))
        sampler = AlignedSampler(SimpleSampler(batch_size=9), by="key", unmatched="mask")
        assert streams(bound(sampler, [first, second]))["q"]["default"] == [-1, -1, 1]
        assert streams(bound(sampler, [second, first]))["p"]["default"] == [-1, 2, -1]

    def test_a_column_of_one_value_a_row_may_have_an_axis(self):
        first = keyed("p", np.array([[1], [2], [3]]))
        rows = streams(AlignedSampler(SIMPLE, by="key").bind([first.take([2, 0]), keyed("q", [3, 2, 1])]))
        assert [2 - row for row in rows["p"]["default"]] == rows["q"]["default"]

    def test_by_uuid_after_a_set_was_divided(self):
        whole = keyed("whole", list(range(8)))
        with ExperimentContext().activate():
            part = whole.take([6, 1, 3]).to_featureset("part")
        with pytest.warns(UnmatchedRowsWarning, match="5 of 8 rows of whole"):
            found = AlignedSampler(SIMPLE).bind([whole, part])
        rows = streams(found)
        assert dict(zip(rows["whole"]["default"], rows["part"]["default"], strict=True)) == {
            6: 0,
            1: 1,
            3: 2,
        }
        other_way = streams(AlignedSampler(SIMPLE, by="sample_uuids").bind([part, whole]))
        assert sorted(other_way["whole"]["default"]) == [1, 3, 6]

    def test_by_uuid_inside_one_set(self):
        whole = keyed("whole", list(range(8)))
        views = {"first": whole.take([5, 2, 7]), "second": whole.take([7, 5, 1, 2])}
        rows = streams(AlignedSampler(SIMPLE).bind(views))
        assert rows["first"] == rows["second"]


class TestStreams:
    FIRST, SECOND = keyed("eis", list("abcd")), keyed("cycles", list("dcba"))

    def test_are_named_by_label_or_by_the_mapping(self):
        sampler = AlignedSampler(SIMPLE, by="key")
        assert sampler.bind([self.FIRST, self.SECOND]).streams == ("eis", "cycles")
        assert sampler.bind({"a": self.FIRST, "b": self.SECOND}).streams == ("a", "b")
        assert sampler.bind([self.FIRST, self.SECOND]).epoch(0).streams == ("eis", "cycles")

    def test_another_than_the_first_may_drive(self):
        keys = [1, 1, 2, 3, 3, 3]
        many, few = keyed("many", keys), keyed("few", [3, 1, 2])
        sampler = AlignedSampler(SIMPLE, by="key", primary="many")
        rows = streams(sampler.bind([few, many]))
        assert list(rows) == ["few", "many"]
        assert sorted(rows["many"]["default"]) == list(range(6))
        with pytest.raises(SamplerError, match="tells the rows of many not apart") as caught:
            AlignedSampler(SIMPLE, by="key").bind([few, many])
        assert "3 rows with 3" in caught.value.found

    def test_roles_are_aligned_too(self):
        cells = list("aabbccdd")
        first = made("eis", key=list(range(8)), cell=cells)
        second = made("cycles", key=list(range(7, -1, -1)))
        sampler = AlignedSampler(TripletSampler(batch_size=3, by="cell", shuffle=True, seed=0), by="key")
        rows = streams(sampler.bind([first, second]))
        assert list(rows["cycles"]) == ["anchor", "positive", "negative"]
        for role in rows["eis"]:
            assert [7 - row for row in rows["eis"][role]] == rows["cycles"][role]

    def test_partners_are_rows_that_have_a_match(self):
        first = made("eis", key=list(range(9)), cell=list("aaabbbccc"))
        second = made("cycles", key=[0, 1, 3, 4, 6, 7])
        sampler = AlignedSampler(PairedSampler(batch_size=3, conditions={"cell": "similar"}), by="key")
        for epoch in range(5):
            rows = streams(bound(sampler, [first, second]), epoch)
            assert set(rows["eis"]["pair"]) <= {0, 1, 3, 4, 6, 7}
            assert -1 not in rows["cycles"]["pair"]

    def test_masked_partners_stay_masked(self):
        first = made("eis", key=[0, 1, 2], cell=list("aab"))
        second = made("cycles", key=[0, 2])
        base = PairedSampler(batch_size=3, conditions={"cell": "similar"}, unmatched="mask")
        found = bound(AlignedSampler(base, by="key", unmatched="mask"), [first, second])
        rows = streams(found)
        assert rows["eis"] == {"anchor": [0, 1, 2], "pair": [1, 0, -1]}
        assert rows["cycles"] == {"anchor": [0, -1, 1], "pair": [-1, 0, -1]}
        view = found.epoch(0)[0]
        assert view.mask.tolist() == [False, False, False]
        assert view.stream("eis").mask.tolist() == [True, True, False]

    def test_batches_hold_every_stream(self):
        found = AlignedSampler(SIMPLE, by="key").bind([self.FIRST, self.SECOND])
        batches = list(found)
        assert [len(batch) for batch in batches] == [3, 1]
        for batch in batches:
            assert batch.streams == ("eis", "cycles")
            assert batch.stream("eis").tags["key"].tolist() == batch.stream("cycles").tags["key"].tolist()
            assert (batch.stream("eis").features["x"] + batch.stream("cycles").features["x"]).tolist() == [
                30.0
            ] * len(batch)
            with pytest.raises(SamplerError, match="several streams") as caught:
                batch.features  # noqa: B018 -- reading is what is refused
            assert "'eis', 'cycles'" in caught.value.expected


class TestOrder:
    def test_is_the_one_of_the_wrapped_sampler(self):
        first, second = keyed("p", list(range(9))), keyed("q", list(range(9)))
        found = AlignedSampler(SIMPLE, by="key").bind([first, second])
        for epoch in range(3):
            assert (
                streams(found, epoch)["p"]["default"]
                == SIMPLE.bind(first).epoch(epoch).order["default"].tolist()
            )
        assert streams(found, 0) != streams(found, 1)
        assert found.n_batches() == 3
        unseeded = AlignedSampler(SimpleSampler(batch_size=3, shuffle=True), by="key")
        assert streams(unseeded.bind([first, second], seed=0)) == streams(found)
        assert streams(unseeded.bind([first, second], seed=1)) != streams(found)

    def test_a_cursor_resumes_in_the_middle_of_an_epoch(self):
        views = [keyed("p", list(range(8))), keyed("q", list(range(7, -1, -1)))]
        sampler = AlignedSampler(SIMPLE, by="key")

        def read(found):
            while True:
                yield from (batch.stream("q").features["x"].tolist() for batch in found)

        straight = list(itertools.islice(read(sampler.bind(views)), 9))
        stopped = sampler.bind(views)
        assert list(itertools.islice(read(stopped), 4)) == straight[:4]
        resumed = sampler.bind(views)
        resumed.set_state(json.loads(json.dumps(stopped.get_state())))
        assert list(itertools.islice(read(resumed), 5)) == straight[4:]
        unseeded = AlignedSampler(SimpleSampler(batch_size=3, shuffle=True), by="key")
        with pytest.raises(StateError, match="another order"):
            unseeded.bind(views, seed=5).set_state(stopped.get_state())
        for other, rows in (
            (AlignedSampler(SIMPLE, by="key", primary="q"), views),
            (AlignedSampler(SimpleSampler(batch_size=4, shuffle=True, seed=0), by="key"), views),
            (sampler, [views[0], views[1].take([1, 0, *range(2, 8)])]),
        ):
            with pytest.raises(StateError, match="another order"):
                other.bind(rows).set_state(stopped.get_state())


class TestWhatIsRefused:
    FIRST, SECOND = keyed("eis", list("abcd")), keyed("cycles", list("dcba"))

    @pytest.mark.parametrize(
        ("settings_", "match"),
        [
            ({"by": ""}, "by UUID or by columns|names columns"),
            ({"by": []}, "by UUID or by columns"),
            ({"by": None}, "by UUID or by columns"),
            ({"by": 3}, "`by` names columns"),
            ({"by": {"key", "day"}}, "`by` is given as a set"),
            ({"by": ["sample_uuid", "key"]}, "by UUID or by columns"),
            ({"primary": 3}, "`primary` names a stream"),
            ({"unmatched": "skip"}, "unmatched 'skip'"),
            ({"base": 32}, "wraps another sampler"),
            ({"base": {"batch_size": 3}}, "wraps another sampler"),
            ({"base": AlignedSampler(SIMPLE)}, "not another aligned one"),
        ],
        ids=str,
    )
    def test_wrong_settings(self, settings_, match):
        with pytest.raises(SamplerError, match=match):
            AlignedSampler(**{"base": SIMPLE, **settings_})

    @pytest.mark.parametrize(
        ("views", "match"),
        [
            (FIRST, "two FeatureSets or more"),
            ([FIRST], "two FeatureSets or more"),
            ({"only": FIRST}, "two FeatureSets or more"),
            ({}, "two FeatureSets or more"),
            ([FIRST, FIRST], "cannot name them all"),
            ([FIRST, FIRST.take([0, 1])], "cannot name them all"),
            (3, "several views"),
            ("eis", "several views"),
            ([FIRST, 3], "rows of a view"),
            ({"a": FIRST, 3: SECOND}, "Streams are named"),
            ({"a": FIRST, "b": SECOND.take([])}, "no rows"),
        ],
        ids=lambda one: str(one)[:40],
    )
    def test_views_that_cannot_be_aligned(self, views, match):
        with pytest.raises(SamplerError, match=match):
            AlignedSampler(SIMPLE, by="key").bind(views)

    def test_columns_that_cannot_be_compared(self):
        numbers = keyed("numbers", [1, 2, 3])
        with pytest.raises(SamplerError, match="cannot be compared") as caught:
            AlignedSampler(SIMPLE, by="key").bind([self.FIRST, numbers])
        assert caught.value.found == "strings in eis and numbers in numbers"
        with pytest.raises(SamplerError, match="no column 'kez'"):
            AlignedSampler(SIMPLE, by="kez").bind([self.FIRST, self.SECOND])
        tensors = made("tensors", features=np.zeros((4, 2)), key=list("abcd"))
        with pytest.raises(SamplerError, match="'x' has several"):
            AlignedSampler(SIMPLE, by="x").bind([tensors, self.SECOND])
        with pytest.raises(SamplerError, match="missing values"):
            AlignedSampler(SIMPLE, by="key").bind([keyed("p", [1.0, np.nan]), keyed("q", [1.0, 2.0])])

    def test_a_value_that_repeats_is_named(self):
        repeated = keyed("cycles", list("adda"))
        with pytest.raises(SamplerError, match="tells the rows of cycles not apart") as caught:
            AlignedSampler(SIMPLE, by="key").bind([self.FIRST, repeated])
        assert caught.value.found == "2 rows with a"
        assert "view 'eis'" in caught.value.where
        unasked = keyed("cycles", list("abcdzz"))
        assert AlignedSampler(SIMPLE, by="key").bind([self.FIRST, unasked]).n_batches() == 2

    def test_unmatched_rows_where_an_error_was_asked_for(self):
        sampler = AlignedSampler(SIMPLE, by="key", unmatched="error")
        with pytest.raises(
            SamplerError, match="2 of 4 rows of eis have no match in cycles; first row 1"
        ) as caught:
            sampler.bind([self.FIRST, keyed("cycles", list("ad"))])
        assert caught.value.hint == "Use unmatched='drop' or 'mask'."

    def test_streams_without_a_common_row(self):
        sets = [keyed("p", [1, 2]), keyed("q", [1]), keyed("r", [2])]
        with pytest.raises(SamplerError, match="in every stream"):
            bound(AlignedSampler(SIMPLE, by="key"), sets)

    def test_a_primary_that_is_none_of_the_streams(self):
        with pytest.raises(SamplerError, match="no stream 'ei'") as caught:
            AlignedSampler(SIMPLE, by="key", primary="ei").bind([self.FIRST, self.SECOND])
        assert "'eis', 'cycles'" in caught.value.expected

    def test_streams_that_do_not_exist(self):
        found = AlignedSampler(SIMPLE, by="key").bind([self.FIRST, self.SECOND])
        for holder in (found.epoch(0), found.epoch(0)[0], next(iter(found))):
            with pytest.raises(SamplerError, match="no stream 'cycle'") as caught:
                holder.stream("cycle")
            assert "'eis', 'cycles'" in caught.value.expected
            with pytest.raises(SamplerError, match="several streams"):
                holder.stream()
        with pytest.raises(SamplerError, match="streams are others"):
            SIMPLE.bind(self.FIRST).materialize(found.epoch(0)[0])
        with pytest.raises(SamplerError, match="several streams"):
            found.view  # noqa: B018 -- reading is what is refused


def test_the_wrapped_sampler_may_be_written_down():
    plain = AlignedSampler(SimpleSampler(batch_size=8), by="cell")
    assert AlignedSampler(base={"sampler": "mml/simple", "batch_size": 8}, by="cell") == plain
    assert AlignedSampler(base={"simple": {"batch_size": 8}}, by=["cell"]) == plain
    assert hash(plain) == hash(AlignedSampler(SimpleSampler(batch_size=8), by="cell"))
