"""Views: one index however they are stacked, zero copies, and set operations on rows."""

from __future__ import annotations

import uuid

import numpy as np
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mml.data.uuid_index import first_repeat, positions_of
from mml.errors import ColumnError, DataError

from .samples import arrays, cells, single

FS = cells()
POSITIONS = st.lists(st.integers(0, 22), max_size=30)


def test_a_contiguous_view_holds_a_slice_and_another_one_eight_bytes_a_row():
    assert FS.take([4, 5, 6]).row_index == slice(4, 7)
    assert FS.take(slice(2, 20)).take([3, 4]).row_index == slice(5, 7)
    scattered = FS.take([6, 4, 5]).row_index
    assert scattered.dtype == np.int64
    assert scattered.nbytes == 24


@given(POSITIONS, st.data())
def test_a_view_of_a_view_is_one_view(rows, data):
    outer = FS.take(rows)
    inner = data.draw(st.lists(st.integers(-len(rows), len(rows) - 1), max_size=20)) if rows else []
    expected = [rows[position] for position in inner]

    assert outer.take(inner).rows.tolist() == expected
    assert (
        FS.take(expected).get_features("pulse").tolist() == outer.take(inner).get_features("pulse").tolist()
    )


@given(POSITIONS, st.permutations(["pulse", "soh", "cell", "count"]), st.integers(0, 4))
def test_selecting_rows_and_columns_commutes(rows, keys, n_keys):
    one = FS.take(rows).select(keys[:n_keys])
    two = FS.select(keys[:n_keys]).take(rows)

    assert one.columns == two.columns
    assert one.get_data(fmt="arrow") == two.get_data(fmt="arrow")


@given(POSITIONS, POSITIONS)
def test_set_operations_are_those_of_rows(left, right):
    one, two = FS.take(list(dict.fromkeys(left))), FS.take(list(dict.fromkeys(right)))
    a, b = one.rows.tolist(), two.rows.tolist()

    assert one.take_union(two).rows.tolist() == a + [row for row in b if row not in a]
    assert one.take_intersection(two).rows.tolist() == [row for row in a if row in b]
    assert one.take_difference(two).rows.tolist() == [row for row in a if row not in b]
    assert one.is_disjoint_with(two) == (not set(a) & set(b))


def test_rows_of_different_featuresets_are_compared_by_uuid_and_never_combined():
    same, other = cells(label="same"), cells(seed=1, label="other")

    assert not FS.view().is_disjoint_with(same)
    assert FS.view().is_disjoint_with(other.view())
    with pytest.raises(DataError, match="take_sample_uuids"):
        FS.view().take_union(same.view())


@pytest.mark.parametrize(
    "form",
    [
        lambda rows: rows,
        lambda rows: [uuid.UUID(bytes=row.tobytes()) for row in rows],
        lambda rows: [uuid.UUID(bytes=row.tobytes()).hex for row in rows],
        lambda rows: [str(uuid.UUID(bytes=row.tobytes())) for row in rows],
        lambda rows: [row.tobytes() for row in rows],
    ],
)
def test_samples_are_found_by_uuid_in_the_order_asked_for(form):
    wanted = FS.sample_uuids[[7, 2, 22, 2]]

    assert FS.take_sample_uuids(form(wanted)).rows.tolist() == [7, 2, 22, 2]
    assert FS.take([2, 7, 22]).take_sample_uuids(form(wanted)).rows.tolist() == [7, 2, 22, 2]


def test_unknown_uuids_are_named():
    with pytest.raises(DataError, match="1 of 2 samples are not in this view"):
        FS.take([1, 2]).take_sample_uuids(FS.sample_uuids[[1, 3]])
    with pytest.raises(DataError, match="not in this view"):
        FS.take([]).take_sample_uuids(FS.sample_uuids[:1])
    for bad in (["no uuid"], [16], 16, [None], [b"short"], b"sixteen bytes it"):
        with pytest.raises(DataError, match="no sample UUIDs") as caught:
            FS.take_sample_uuids(bad)
        assert caught.value.where == "FeatureSet 'cells'"
    with pytest.raises(DataError, match="no order"):
        FS.take_sample_uuids({one.tobytes() for one in FS.sample_uuids[:2]})
    assert FS.take_sample_uuids([]).rows.tolist() == []


def test_positions_of_any_integer_type_mean_the_same():
    for dtype in (np.int8, np.uint8, np.int64, np.uint64):
        assert FS.take(np.array([5, 2], dtype=dtype)).rows.tolist() == [5, 2]
    with pytest.raises(DataError, match=str(2**64 - 1)):
        FS.take(np.array([2, 2**64 - 1], dtype=np.uint64))
    with pytest.raises(DataError, match="no row -24"):
        FS.take(np.array([2, -24], dtype=np.int8))


BAD_POSITIONS = [
    *([23], [-24], [0.5], [[1]], ["a"], 3, None, [[1], [2, 3]], {1, 2}, "12", [2**70]),
    *(slice(None, None, 0), slice(1.5, 3), slice("a"), np.ma.array([1, 2], mask=[False, True])),
]


@pytest.mark.parametrize("bad", BAD_POSITIONS)
def test_positions_that_are_none_are_refused(bad):
    with pytest.raises(DataError) as caught:
        FS.take(bad)
    assert caught.value.where == "FeatureSet 'cells'"
    with pytest.raises(DataError) as caught:
        FS.take([3, 1]).take(bad)
    assert caught.value.where == "view 'cells[2 rows]'"


def test_positions_may_be_slices_masks_and_negative():
    mask = np.arange(23) % 5 == 0

    assert FS.take(slice(None, None, 7)).rows.tolist() == [0, 7, 14, 21]
    assert FS.take(slice(None, None, -1)).rows.tolist() == list(range(22, -1, -1))
    assert FS.take(mask).rows.tolist() == [0, 5, 10, 15, 20]
    assert FS.take([-1, 0]).rows.tolist() == [22, 0]
    assert FS.take(slice(np.int64(1), 3)).rows.tolist() == [1, 2]
    assert FS.take(np.ma.array([2, 1])).rows.tolist() == [2, 1]
    assert len(FS.take(slice(5, 2))) == 0


VOLTAGE, COUNT = arrays()["voltage"], arrays()["count"]


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"cell": "cell-1"}, np.arange(23) % 4 == 1),
        ({"cell": {"cell-1", "cell-3"}}, np.arange(23) % 2 == 1),
        ({"cell": ["cell-1"], "fresh": True}, (np.arange(23) % 4 == 1) & (np.arange(23) % 3 == 0)),
        ({"voltage": lambda v: v > 3.7}, VOLTAGE > 3.7),
        ({"cell": lambda one: one.endswith("2")}, np.arange(23) % 4 == 2),
        ({"count": {-4, 3}}, np.isin(COUNT, [-4, 3])),
        ({"count": 3}, COUNT == 3),
        ({"count": set()}, np.zeros(23, bool)),
        ({"day": np.datetime64(5, "s")}, np.arange(23) == 5),
        ({"pulse": lambda v: v[:, 0] > 0}, arrays()["pulse"][:, 0] > 0),
        ({"soh": lambda v: v[:, 0] > 0.8}, arrays()["soh"][:, 0] > 0.8),
        (pc.field("voltage") > 3.7, VOLTAGE > 3.7),
        (
            (pc.field("voltage") > 3.7) & (pc.field("tags.cell.raw") == "cell-1"),
            (VOLTAGE > 3.7) & (np.arange(23) % 4 == 1),
        ),
        (pc.field("cell").isin(["cell-2"]), np.arange(23) % 4 == 2),
        ({"cell": "cell-1", "x": pc.field("count") > 0}, (np.arange(23) % 4 == 1) & (COUNT > 0)),
        ({}, np.ones(23, bool)),
    ],
)
def test_conditions_are_scalars_sets_functions_and_expressions(conditions, expected):
    assert FS.filter(conditions).rows.tolist() == np.flatnonzero(expected).tolist()
    part = FS.take(slice(3, 20))
    assert part.filter(conditions).rows.tolist() == (np.flatnonzero(expected[3:20]) + 3).tolist()


def test_conditions_look_at_raw_values_unless_they_say_otherwise():
    fs = cells()
    fs.fit_transform("standard", domain="features", keys=["voltage"])

    assert fs.filter({"voltage": lambda v: v > 3.7}).rows.tolist() == np.flatnonzero(VOLTAGE > 3.7).tolist()
    assert fs.filter(pc.field("voltage") > 3.7).rows.tolist() == np.flatnonzero(VOLTAGE > 3.7).tolist()
    scaled = fs.get_features("voltage")
    assert (
        fs.filter({"voltage.transformed": lambda v: v > 0}).rows.tolist()
        == np.flatnonzero(scaled > 0).tolist()
    )
    assert fs.filter(pc.field("voltage.transformed") > 0).rows.tolist() == np.flatnonzero(scaled > 0).tolist()


def test_missing_tags_match_only_none():
    fs = single(["a", None, "b"], "tags")

    assert fs.filter({"x": None}).rows.tolist() == [1]
    assert fs.filter({"x": {"a", None}}).rows.tolist() == [0, 1]
    assert fs.filter({"x": "a"}).rows.tolist() == [0]


@pytest.mark.parametrize(
    ("conditions", "error"),
    [
        ({"cel": "a"}, ColumnError),
        ({"c*": 1}, ColumnError),
        ("cell", DataError),
        ({"voltage": "high"}, DataError),
        ({"count": {"high"}}, DataError),
        ({"pulse": 1.0}, DataError),
        ({"voltage": lambda v: 1 / 0}, DataError),
        ({"voltage": lambda v: "yes"}, DataError),
        (pc.field("voltag") > 1, ColumnError),
        (pc.field("pulse") > 1, ColumnError),
        (pc.field("voltage") > "a", ColumnError),
    ],
)
def test_conditions_that_mean_nothing_are_refused(conditions, error):
    with pytest.raises(error):
        FS.filter(conditions)


def test_a_view_of_columns_hides_the_others_in_every_representation():
    fs = cells()
    view = fs.select(["pulse", "soh"])
    fs.fit_transform("standard", domain="features")

    assert view.columns == ("features.pulse.raw", "targets.soh.raw", "features.pulse.transformed")
    assert view.get_features().shape == (23, 5)
    with pytest.raises(ColumnError):
        view.get_features("image")
    with pytest.raises(ColumnError):
        view.get_tags("cell")


@pytest.mark.parametrize(
    "read",
    [
        lambda one: one.get_features("volts"),
        lambda one: one.get_features("voltage", fmt="nump"),
        lambda one: one.get_features(),
        lambda one: one.get_targets(rep="scaled"),
        lambda one: one.get_tags({"cell"}),
        lambda one: one.get_data("sample_uuids.*"),
        lambda one: one.select("volts"),
        lambda one: one.filter({"volts": 1}),
        lambda one: one.filter({"voltage": "high"}),
        lambda one: one.filter(pc.field("volts") > 1),
        lambda one: one.filter(3),
    ],
)
def test_what_cannot_be_read_names_the_featureset_or_the_view(read):
    fs = cells()
    fs.split_random(ratios={"train": 0.5, "test": 0.5}, seed=0)

    for one, place in ((fs, "FeatureSet 'cells'"), (fs.view(), "FeatureSet 'cells'")):
        with pytest.raises(DataError) as caught:
            read(one)
        assert caught.value.where.startswith(place)
    with pytest.raises(DataError) as caught:
        read(fs["train"])
    assert caught.value.where.startswith("view 'cells[train]'")


def test_a_view_without_columns_still_has_samples():
    table = FS.take([3, 1]).select([]).to_arrow()

    assert table.column_names == ["sample_uuids.uuid.raw"]
    assert [bytes(one) for one in FS.sample_uuids[[3, 1]]] == table.column(0).to_pylist()


def test_labels_say_what_a_view_is():
    fs = cells()
    fs.split_random(ratios={"train": 0.5, "test": 0.5}, seed=0)

    assert fs.view().label == "cells"
    assert fs["train"].select("pulse").label == "cells[train]"
    assert fs["train"].take([0, 2, 1]).label == "cells[3 rows]"
    assert "cells[train]" in repr(fs["train"])


def test_a_view_becomes_a_lineage():
    lineage = FS.take([3, 1]).lineage()

    assert lineage.rows.tolist() == [3, 1]
    assert np.array_equal(lineage.uuids, FS.sample_uuids[[3, 1]])
    again = type(lineage).from_state(lineage.get_state())
    assert again == lineage
    assert len(again) == 2
    assert FS.take([1, 3]).lineage() != lineage
    assert lineage.seen(FS.sample_uuids).nonzero()[0].tolist() == [1, 3]


@pytest.mark.parametrize("method", ["is_disjoint_with", "take_union", "take_intersection", "take_difference"])
def test_rows_are_compared_with_those_of_views_only(method):
    with pytest.raises(DataError, match="another view") as caught:
        getattr(FS.take([1, 2]), method)([1])
    assert "list: [1]" in caught.value.found


def test_a_view_costs_eight_bytes_a_row_and_a_contiguous_one_nothing():
    fs = single(np.arange(100_000))
    half = fs.take(np.arange(0, 100_000, 2))

    assert half.row_index.nbytes == 8 * 50_000
    assert fs.take(slice(10, 90_000)).take(slice(5, 70_000)).select("x").row_index == slice(15, 70_010)
    assert half.take_union(fs.take(slice(0, 0))).row_index.nbytes == 8 * 50_000
    assert fs.take(slice(0, 10)).take_union(fs.take(slice(10, 30))).row_index == slice(0, 30)
    assert fs.take(slice(0, 20)).take_difference(fs.take(slice(10, 30))).row_index == slice(0, 10)


def test_a_whole_featureset_stands_for_its_view():
    part = FS.take([5, 2, 5])

    assert part.take_union(FS).rows.tolist() == [5, 2, *(row for row in range(23) if row not in (2, 5))]
    assert part.take_intersection(FS).rows.tolist() == [5, 2, 5]
    assert part.take_difference(FS).rows.tolist() == []
    assert not part.is_disjoint_with(FS)


def test_samples_whose_identities_share_a_half_are_told_apart():
    words = np.array([[7, 1], [7, 2], [9, 1], [7, 1], [1, 7]], dtype=np.uint64)
    uuids = words.view(np.uint8).reshape(5, 16)
    wanted = np.array([[9, 1], [7, 2], [7, 1], [7, 3], [8, 8]], dtype=np.uint64).view(np.uint8).reshape(5, 16)
    positions, found = positions_of(wanted, uuids)

    assert found.tolist() == [True, True, True, False, False]
    assert positions[:3].tolist() == [2, 1, 0]
    assert first_repeat(uuids) == 3
    assert first_repeat(uuids[:3]) is None
    assert first_repeat(uuids[[0, 2, 4]]) is None


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.lists(st.integers(0, 7), max_size=12))
def test_samples_are_found_as_by_looking_at_each(own, wanted):
    def identities(numbers):
        halves = [[number % 3, number // 3] for number in numbers]
        return np.array(halves, dtype=np.uint64).reshape(-1, 2).view(np.uint8).reshape(-1, 16)

    positions, found = positions_of(identities(wanted), identities(own))

    assert found.tolist() == [number in own for number in wanted]
    assert positions[found].tolist() == [own.index(number) for number in wanted if number in own]


def test_what_somebody_writes_into_rows_changes_no_split():
    fs = cells()
    fs.split_random(ratios={"train": 0.7, "test": 0.3}, seed=0)
    before = fs["train"].rows.tolist()
    for rows in (
        fs["train"].rows,
        fs["train"].row_index,
        fs.take([3, 1, 2]).take([0, 1]).rows,
        fs.view().rows,
    ):
        with pytest.raises(ValueError, match="read-only"):
            rows[0] = 0
        with pytest.raises(ValueError, match="read-only"):
            rows.sort()

    assert fs["train"].rows.tolist() == before
