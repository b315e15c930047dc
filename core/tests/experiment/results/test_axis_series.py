"""AxisSeries against plain dictionaries and loops."""

import math
from collections import defaultdict

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mml.errors import MMLError, ResultError
from mml.experiment.results import (
    AxisSeries,
    BatchDataSeries,
    CallbackDataSeries,
    LossDataSeries,
    MetricDataSeries,
    TensorDataSeries,
)

ENTRIES = st.lists(
    st.tuples(
        st.integers(-3, 4),
        st.one_of(st.integers(0, 3), st.integers(10**6, 10**6 + 2)),
        st.sampled_from(["a", "b", "head/mse"]),
        st.floats(-1e6, 1e6),
        st.integers(0, 5),
    ),
    max_size=40,
)
AXES = ("epoch", "batch", "label")


def series_of(entries, kind=LossDataSeries, *, rows=True):
    columns = list(zip(*entries, strict=True)) or [()] * 5
    return kind(
        dict(zip(AXES, map(list, columns[:3]), strict=True)),
        np.array(columns[3], dtype=np.float64),
        rows=np.array(columns[4], dtype=np.int64) if rows else None,
    )


def small():
    return LossDataSeries(
        {"epoch": [0, 0, 1, 1], "batch": [0, 1, 0, 1], "label": ["a", "a", "a", "b"]},
        [1.0, 2.0, 3.0, 4.0],
        rows=[1, 3, 2, 2],
    )


@given(ENTRIES, st.integers(-3, 4), st.sampled_from(["a", "b", "head/mse", "absent"]))
def test_where_and_select_keep_what_a_loop_would_keep(entries, epoch, label):
    kept = [one for one in entries if one[0] == epoch and one[2] == label]
    series = series_of(entries)
    assert series.select(epoch=epoch, label=label) == [one[3] for one in kept]
    filtered = series.where(epoch=epoch, label=label)
    assert isinstance(filtered, LossDataSeries)
    assert filtered.axes == AXES
    assert [(tuple(place.values()), value) for place, value in filtered] == [
        (one[:3], one[3]) for one in kept
    ]
    assert filtered.rows.tolist() == [one[4] for one in kept]


@given(ENTRIES, st.sets(st.integers(-3, 4)))
def test_where_accepts_collections(entries, epochs):
    expected = [one[3] for one in entries if one[0] in epochs]
    series = series_of(entries)
    for collection in (epochs, list(epochs), tuple(epochs), np.array(sorted(epochs), dtype=np.int64)):
        assert series.where(epoch=collection).select() == expected


@given(ENTRIES)
def test_axes_values_are_what_is_present(entries):
    present = series_of(entries).axes_values()
    assert present["epoch"] == sorted({one[0] for one in entries})
    assert present["batch"] == sorted({one[1] for one in entries})
    assert present["label"] == list(dict.fromkeys(one[2] for one in entries))


def test_axes_values_after_a_filter_list_only_what_is_left():
    assert small().where(epoch=0).axes_values() == {"epoch": [0], "batch": [0, 1], "label": ["a"]}


@given(ENTRIES, st.sampled_from([("batch",), ("label",), ("epoch", "batch"), ("batch", "label"), AXES]))
def test_mean_weighs_by_rows_and_entries_of_zero_rows_drop_out(entries, collapsed):
    groups = defaultdict(list)
    for one in entries:
        key = tuple(value for name, value in zip(AXES, one[:3], strict=True) if name not in collapsed)
        if one[4] > 0:
            groups[key].append(one)
    result = series_of(entries).collapse(collapsed, "mean")
    found = {tuple(place.values()): value for place, value in result}
    assert found.keys() == groups.keys()
    for key, members in groups.items():
        expected = math.fsum(one[3] * one[4] for one in members) / sum(one[4] for one in members)
        assert found[key] == pytest.approx(expected, rel=1e-9, abs=1e-9)
    by_key = dict(zip(found, result.rows.tolist(), strict=True))
    assert by_key == {key: sum(one[4] for one in members) for key, members in groups.items()}


@given(ENTRIES, st.sampled_from(["sum", "first", "last"]))
def test_other_reducers_agree_with_a_loop(entries, how):
    groups = defaultdict(list)
    for position, one in enumerate(entries):
        if one[4] > 0:
            groups[one[0], one[2]].append((one[1], position, one[3]))
    found = {tuple(place.values()): value for place, value in series_of(entries).collapse("batch", how)}
    expected = {
        key: {
            "sum": math.fsum(one[2] for one in members),
            "first": min(members)[2],
            # Of several entries at one place the one recorded last is the last.
            "last": max(members)[2],
        }[how]
        for key, members in groups.items()
    }
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert found[key] == pytest.approx(value, rel=1e-9, abs=1e-6)


@given(ENTRIES.filter(bool), st.sampled_from(["mean", "min", "max"]))
def test_without_rows_every_entry_counts_once(entries, how):
    series = series_of(entries, MetricDataSeries, rows=False)
    values = [one[3] for one in entries]
    expected = {"mean": math.fsum(values) / len(values), "min": min(values), "max": max(values)}[how]
    assert series.collapse(AXES, how).at() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(ENTRIES)
def test_collapsing_in_two_steps_equals_one(entries):
    series = series_of(entries)
    once = series.collapse(("epoch", "batch"), "mean")
    twice = series.collapse("batch", "mean").collapse("epoch", "mean")
    assert once.axes_values() == twice.axes_values()
    np.testing.assert_allclose(once.values, twice.values, rtol=1e-9, atol=1e-9)


def test_nan_of_a_counted_entry_stays_and_of_a_masked_one_does_not():
    series = LossDataSeries({"batch": [0, 1], "label": ["a", "a"]}, [math.nan, 2.0], rows=[0, 4])
    assert series.collapse("batch", "mean").at(label="a") == 2.0
    counted = LossDataSeries({"batch": [0, 1], "label": ["a", "a"]}, [math.nan, 2.0], rows=[1, 4])
    assert math.isnan(counted.collapse("batch", "mean").at(label="a"))


def test_wide_axes_group_as_narrow_ones_do():
    # Four axes of 70 000 values each: more combinations than fit into 64 bits.
    rng = np.random.default_rng(0)
    n = 70_000
    columns = {name: rng.permutation(n) for name in ("a", "b", "c", "d")}
    values = rng.random(n)
    result = LossDataSeries(columns | {"batch": np.zeros(n, dtype=np.int64)}, values).collapse("batch", "sum")
    assert len(result) == n
    assert result.at(a=columns["a"][5], b=columns["b"][5]) == values[5]


def test_at_returns_the_only_entry_and_pinned_axes_need_no_naming():
    assert small().at(epoch=1, batch=0) == 3.0
    assert small().where(epoch=1).at(batch=1) == 4.0
    assert isinstance(small().at(epoch=1, batch=0), float)


def test_at_that_matches_nothing_lists_what_exists():
    with pytest.raises(ResultError, match=r"epoch=7") as caught:
        small().at(epoch=7)
    assert "epoch: 0, 1" in str(caught.value)
    assert "'a', 'b'" in str(caught.value)


def test_at_that_matches_several_says_which_axes_are_open():
    with pytest.raises(ResultError, match="2 entries") as caught:
        small().at(epoch=0)
    assert "batch: 0, 1" in str(caught.value)
    assert "label" not in str(caught.value)


@pytest.mark.parametrize(
    "query",
    [
        lambda series: series.where(epok=0),
        lambda series: series.at(epok=0),
        lambda series: series.select(epok=0),
        lambda series: series.collapse("epok", "mean"),
        lambda series: series.coordinates("epok"),
    ],
)
def test_an_unknown_axis_names_the_near_one(query):
    with pytest.raises(ResultError, match="Did you mean 'epoch'"):
        query(small())


@pytest.mark.parametrize(
    ("kind", "supported"),
    [
        (LossDataSeries, {"mean", "sum", "first", "last"}),
        (TensorDataSeries, {"first", "last", "concat"}),
        (MetricDataSeries, {"mean", "min", "max", "first", "last"}),
        (BatchDataSeries, {"first", "last", "concat"}),
        (CallbackDataSeries, {"first", "last"}),
    ],
)
def test_an_undeclared_reducer_lists_the_declared(kind, supported):
    assert set(kind.supported_reducers) == supported
    for reducer in {"mean", "sum", "min", "max", "first", "last", "concat", "median"} - supported:
        with pytest.raises(ResultError) as caught:
            kind({"epoch": [0]}, [1.0]).collapse("epoch", reducer)
        assert all(repr(name) in str(caught.value) for name in supported)


def test_tensors_are_concatenated_along_the_axis_whatever_the_order_of_recording():
    parts = [np.full((2, 3), 2.0), np.full((1, 3), 0.0), np.full((4, 3), 1.0)]
    series = TensorDataSeries({"epoch": [0, 0, 0], "batch": [2, 0, 1]}, parts)
    joined = series.collapse("batch", "concat").at(epoch=0)
    np.testing.assert_array_equal(joined[:, 0], [0, 1, 1, 1, 1, 2, 2])
    np.testing.assert_array_equal(series.collapse("batch", "first").at(epoch=0), parts[1])


def test_tensors_that_do_not_fit_are_an_mml_error_with_their_shapes():
    series = TensorDataSeries({"batch": [0, 1]}, [np.zeros((2, 3)), np.zeros((2, 4))])
    with pytest.raises(MMLError, match=r"\(2, 3\), \(2, 4\)"):
        series.collapse("batch", "concat")


def test_none_is_a_coordinate_that_sorts_last():
    series = MetricDataSeries({"batch": [None, 1, 0]}, [3.0, 2.0, 1.0])
    assert series.axes_values() == {"batch": [0, 1, None]}
    assert series.at(batch=None) == 3.0
    assert series.collapse("batch", "last").at() == 3.0


def test_with_axis_puts_a_constant_axis_in_front():
    series = small().with_axis("fold", "fold-1")
    assert series.axes == ("fold", "epoch", "batch", "label")
    assert series.at(fold="fold-1", epoch=0, batch=0) == 1.0
    assert series.rows.tolist() == [1, 3, 2, 2]
    with pytest.raises(ResultError, match="already has an axis"):
        series.with_axis("fold", 2)


def test_concatenate_joins_series_of_folds():
    joined = LossDataSeries.concatenate([small().with_axis("fold", 0), small().with_axis("fold", 1)])
    assert len(joined) == 8
    assert joined.where(fold=1).collapse("fold", "last") == small()
    with pytest.raises(ResultError, match="same axes"):
        LossDataSeries.concatenate([small(), small().with_axis("fold", 0)])


@given(ENTRIES)
def test_equality_is_by_entry_and_not_by_coding(entries):
    series = series_of(entries)
    longer = series_of([*entries, (9, 9, "z", 0.0, 1)])
    assert longer.where(epoch=[-3, -2, -1, 0, 1, 2, 3, 4]) == series
    assert longer != series
    assert series != series_of(entries, rows=False)
    assert series != series_of(entries, AxisSeries)


def test_equal_nans_are_equal_and_different_values_are_not():
    one = LossDataSeries({"epoch": [0]}, [math.nan])
    assert one == LossDataSeries({"epoch": [0]}, [math.nan])
    assert one != LossDataSeries({"epoch": [0]}, [1.0])
    assert one != LossDataSeries({"epoch": [1]}, [math.nan])
    assert TensorDataSeries({"epoch": [0]}, [np.zeros(2)]) != TensorDataSeries({"epoch": [0]}, [np.ones(2)])


def test_columns_of_different_length_are_refused():
    with pytest.raises(ResultError, match="batch: 1"):
        LossDataSeries({"epoch": [0, 1], "batch": [0]}, [1.0, 2.0])


def test_an_unhashable_coordinate_is_refused():
    with pytest.raises(ResultError, match="hashable"):
        AxisSeries({"epoch": [[0], [1]]}, [1.0, 2.0])


def test_values_cannot_be_written_through():
    with pytest.raises(ValueError, match="read-only"):
        small().values[0] = 5.0


# The first Arrow table of a process takes its time, which is no property of the series.
@settings(deadline=None)
@given(ENTRIES)
def test_arrow_holds_the_same_columns(entries):
    table = series_of(entries).to_arrow()
    assert table.column_names == ["epoch", "batch", "label", "value", "rows"]
    rows = [tuple(row.values()) for row in table.to_pylist()]
    assert rows == entries


def test_arrow_of_tensors_gives_flat_values_and_shapes():
    table = TensorDataSeries({"batch": [0]}, [np.arange(6.0).reshape(2, 3)]).to_arrow()
    assert table.to_pylist() == [{"batch": 0, "value": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0], "shape": [2, 3]}]
    assert isinstance(table, pa.Table)


def test_values_without_an_arrow_form_are_an_mml_error():
    with pytest.raises(ResultError, match="no Arrow form"):
        AxisSeries({"epoch": [0]}, [object()]).to_arrow()


def test_pandas_holds_the_same_columns():
    pytest.importorskip("pandas")
    frame = small().to_pandas()
    assert list(frame.columns) == ["epoch", "batch", "label", "value", "rows"]
    assert frame["value"].tolist() == [1.0, 2.0, 3.0, 4.0]
    assert frame["label"].tolist() == ["a", "a", "a", "b"]
    gaps = MetricDataSeries({"batch": [None, 1]}, [3.0, 2.0]).to_pandas()
    assert gaps["batch"].isna().tolist() == [True, False]


def test_repr_says_kind_size_and_axes():
    text = repr(small())
    assert "LossDataSeries" in text
    assert "4 entries" in text
    assert "label: 'a', 'b'" in text


def test_an_empty_series_can_be_queried():
    empty = LossDataSeries({"epoch": [], "label": []}, [], rows=[])
    assert len(empty.where(epoch=0)) == 0
    assert empty.collapse("epoch", "mean").axes == ("label",)
    with pytest.raises(ResultError, match="none"):
        empty.at(epoch=0)


@pytest.mark.parametrize("wanted", [slice(0, 1), lambda epoch: epoch > 0, {"from": 0}, slice])
def test_what_no_coordinate_can_be_is_refused_instead_of_matching_nothing(wanted):
    with pytest.raises(ResultError, match="coordinates") as caught:
        small().where(epoch=wanted)
    assert "axis 'epoch'" in caught.value.where
    assert len(small().where(epoch=range(1))) == 2
