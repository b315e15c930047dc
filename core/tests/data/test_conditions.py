"""Conditions on columns: missing values, times, numbers of other types, strings by category, expressions."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import ColumnError, DataError

NAN, NAT = float("nan"), np.datetime64("NaT")
MOMENT = datetime(2024, 5, 1, 12, 30)


def tagged(**tags):
    n_rows = len(next(iter(tags.values())))
    with ExperimentContext().activate():
        return FeatureSet.from_dict(
            "rows", {"x": np.arange(n_rows), **tags}, feature_keys="x", tag_keys=list(tags)
        )


def found(fs, conditions):
    return fs.filter(conditions).rows.tolist()


@pytest.mark.parametrize("nothing", [None, NAN, np.float32("nan"), NAT, pd.NaT, pd.NA])
def test_missing_values_match_only_what_stands_for_them(nothing):
    fs = tagged(
        f=np.array([1.0, NAN, 2.0]),
        n=pa.array([1, None, 2]),
        s=["a", None, "b"],
        t=np.array(["2024-01-01", "NaT", "2024-01-02"], "datetime64[s]"),
        i=np.arange(3),
    )
    for column, value in {"f": 2.0, "n": 2, "s": "b", "t": "2024-01-02"}.items():
        assert found(fs, {column: nothing}) == [1]
        assert found(fs, {column: [value, nothing]}) == [1, 2]
        assert found(fs, {column: value}) == [2]
        assert found(fs, {column: []}) == []
    assert found(fs, {"i": nothing}) == []
    assert found(fs, {"f": np.array([2.0, NAN])}) == [1, 2]


@pytest.mark.parametrize(
    "value",
    [
        MOMENT,
        np.datetime64(MOMENT),
        np.datetime64(MOMENT, "ns"),
        pd.Timestamp(MOMENT),
        "2024-05-01T12:30",
        "2024-05-01 12:30:00",
        {MOMENT, datetime(1999, 1, 1)},
        pd.Series([MOMENT]).to_numpy(),
    ],
)
@pytest.mark.parametrize("unit", ["m", "s", "ms", "us", "ns"])
def test_times_match_in_every_unit_and_form(value, unit):
    if unit == "m":
        fs = tagged(t=np.datetime64("2024-05-01T12:29", "s") + np.arange(3) * 60)
    else:
        fs = tagged(
            t=(np.datetime64("2024-05-01T12:29", "s") + np.arange(3) * 60).astype(f"datetime64[{unit}]")
        )

    assert found(fs, {"t": value}) == [1]


def test_a_time_that_the_column_cannot_hold_is_in_no_row():
    fs = tagged(
        t=np.datetime64("2024-05-01", "s") + np.arange(3), d=np.datetime64("2024-05-01", "D") + np.arange(3)
    )

    assert found(fs, {"t": np.datetime64("2024-05-01T00:00:01.5")}) == []
    assert found(fs, {"d": MOMENT}) == []
    assert found(fs, {"d": date(2024, 5, 2)}) == [1]


def test_zoned_times_are_moments():
    moments = pa.array([MOMENT, MOMENT + timedelta(hours=1)], pa.timestamp("us", tz="Europe/Berlin"))
    fs = tagged(t=moments, u=np.array([MOMENT, MOMENT], "datetime64[s]"))
    eastern = timezone(timedelta(hours=2))

    assert found(fs, {"t": datetime(2024, 5, 1, 15, 30, tzinfo=eastern)}) == [1]
    assert found(fs, {"t": pd.Timestamp("2024-05-01T13:30", tz="UTC")}) == [1]
    assert found(fs, {"t": MOMENT}) == [0]
    with pytest.raises(DataError, match="no time zone"):
        fs.filter({"u": datetime(2024, 5, 1, tzinfo=UTC)})


@pytest.mark.parametrize(
    "text",
    [
        "2024-05-01T12:30Z",
        "2024-05-01 14:30:00+02:00",
        "2024-05-01T07:00:00.000-0530",
        "2024-05-01T12+00",
        "2024-05-01T12:30:00.000000000Z",
    ],
)
def test_a_text_with_a_zone_is_a_moment(text):
    exact = datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)
    moments = pa.array([exact - timedelta(hours=1), exact], pa.timestamp("us", tz="Europe/Berlin"))
    fs = tagged(t=moments, u=np.array([exact, exact], "datetime64[s]"))

    assert found(fs, {"t": text}) == [1]
    with pytest.raises(DataError, match="no time zone") as caught:
        fs.filter({"u": text})
    assert repr(text) in caught.value.found


def test_moments_of_any_class_are_moments():
    class Moment(datetime):
        pass

    fs = tagged(t=pa.array([MOMENT, None], pa.timestamp("us", tz="UTC")))

    assert found(fs, {"t": Moment(2024, 5, 1, 14, 30, tzinfo=timezone(timedelta(hours=2)))}) == [0]
    with pytest.raises(DataError, match="cannot be compared"):
        fs.filter({"t": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=2)))})


@pytest.mark.parametrize("value", ["3000-01-01", datetime(3000, 1, 1), np.datetime64("3000-01-01")])
def test_a_time_beyond_the_range_of_the_columns_unit_is_in_no_row(value):
    # 3000-01-01 less 2 ** 64 nanoseconds.
    wrapped = np.array(["1830-11-23T00:50:52.580896768", "2000-01-01"], "datetime64[ns]")

    assert found(tagged(t=wrapped), {"t": value}) == []


def test_durations_of_pandas_keep_their_nanoseconds():
    fs = tagged(t=np.array([1000, 1001], "timedelta64[ns]"))

    assert found(fs, {"t": pd.Timedelta(1001, "ns")}) == [1]
    with pytest.raises(DataError, match="cannot be compared"):
        fs.filter({"t": np.timedelta64(1, "Y")})


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (np.array("ab"), [1]),
        (np.array([["ab"], ["b"]]), [1, 2]),
        (np.array(["ab", None], dtype=object), [1, 3]),
        (np.ma.array(["ab", "a"], mask=[False, True]), [1, 3]),
    ],
)
def test_arrays_of_every_rank_list_what_is_wanted(wanted, expected):
    assert found(tagged(s=["a", "ab", "b", None]), {"s": wanted}) == expected


def test_masked_numbers_and_arrays_without_axes_are_wanted_values():
    fs = tagged(f=np.array([1.0, NAN, 2.0]), n=pa.array([1, None, 2]), t=np.arange(3).astype("datetime64[s]"))

    assert found(fs, {"f": np.ma.array([2.0, 1.0], mask=[False, True])}) == [1, 2]
    assert found(fs, {"n": np.ma.array([1, 2], mask=[True, False])}) == [1, 2]
    assert found(fs, {"n": np.array(2)}) == [2]
    assert found(fs, {"f": np.array(2.0)}) == [2]
    assert found(fs, {"t": np.array(2, "datetime64[s]")}) == [2]
    assert fs.split_by_condition({"a": {"n": np.array(2)}}, rest="b")["a"].rows.tolist() == [2]


@pytest.mark.parametrize("values", [pd.Series([1, 2]), {"a": 1}.keys(), pa.array([1])])
@pytest.mark.parametrize("column", ["v", "s", "t"])
def test_several_values_come_as_a_list(values, column):
    fs = tagged(v=np.arange(3), s=["a", "b", "c"], t=np.arange(3).astype("datetime64[s]"))
    with pytest.raises(DataError, match="cannot be compared") as caught:
        fs.filter({column: values})

    assert caught.value.found == type(values).__name__
    assert "as a list" in caught.value.hint
    assert "\n" not in caught.value.what


def test_durations_are_compared_with_durations():
    fs = tagged(t=np.array([1, 90, 2], "timedelta64[s]"))

    assert found(fs, {"t": timedelta(seconds=90)}) == [1]
    assert found(fs, {"t": {np.timedelta64(2, "s"), pd.Timedelta(seconds=1)}}) == [0, 2]
    assert found(fs, {"t": timedelta(milliseconds=90)}) == []
    with pytest.raises(DataError, match="cannot be compared"):
        fs.filter({"t": MOMENT})


@pytest.mark.parametrize(
    ("dtype", "value", "expected"),
    [
        (np.uint8, 258, []),
        (np.uint8, -1, []),
        (np.uint8, 2.5, []),
        (np.uint8, 2.0, [2]),
        (np.int64, 2**63, []),
        (np.int64, 2.0**63, []),
        (np.int64, [2**70, 1], [1]),
        (np.int8, range(1, 3), [1, 2]),
        (np.int64, True, [1]),
        (np.float32, 1, [1]),
        (np.float64, np.int8(2), [2]),
        (np.float32, 1e300, []),
        (bool, 1, [1, 2]),
        (bool, 2, []),
        (bool, {False, True}, [0, 1, 2]),
        (np.float16, np.array([2, 0]), [0, 2]),
        (np.int32, np.array([300.5, 2.0, NAN]), [2]),
    ],
)
def test_a_number_that_the_type_cannot_hold_is_in_no_row(dtype, value, expected):
    assert found(tagged(v=np.arange(3).astype(dtype)), {"v": value}) == expected


def test_a_float_is_rounded_to_the_columns_type():
    fs = tagged(v=np.array([0.1, 0.2], "float32"), w=np.array([0.1, np.inf]))

    assert found(fs, {"v": 0.1}) == [0]
    assert found(fs, {"v": {0.1, 0.2}}) == [0, 1]
    assert found(fs, {"w": float("inf")}) == [1]


@pytest.mark.parametrize(
    "conditions",
    [
        {"v": "high"},
        {"v": [1, "high"]},
        {"v": b"1"},
        {"v": {(1, 2)}},
        {"v": MOMENT},
        {"v": 1 + 2j},
        {"s": 3},
        {"s": ["a", 3]},
        {"s": b"a"},
        {"s": [["a"]]},
        {"t": 3},
        {"t": "yesterday"},
        {"t": {date(2024, 1, 1), "noon"}},
        {"n": "1"},
    ],
)
def test_what_cannot_be_compared_is_refused_by_column_and_value(conditions):
    fs = tagged(
        v=np.arange(3), s=["a", "b", "c"], t=np.arange(3).astype("datetime64[s]"), n=pa.array([1, None, 2])
    )
    with pytest.raises(DataError, match="cannot be compared") as caught:
        fs.filter(conditions)

    assert f"tags.{next(iter(conditions))}.raw" in str(caught.value)


def test_a_function_is_asked_once_for_each_string_that_is_there():
    words = pa.DictionaryArray.from_arrays(pa.array([0, 2, 0, 2] * 50, pa.int32()), ["a", "unused", "b"])
    asked = []

    def is_b(one):
        asked.append(one)
        return one == "b" if isinstance(one, str) else None

    assert found(tagged(s=words), {"s": is_b}) == list(range(1, 200, 2))
    assert asked[1:] == ["a", "b"]


def test_a_category_that_stands_twice_is_one_value():
    words = pa.DictionaryArray.from_arrays(pa.array([0, 1, 2], pa.int32()), ["a", "b", "a"])

    assert found(tagged(s=words), {"s": "a"}) == [0, 2]


def test_expressions_see_nulls_times_and_strings_as_arrow_does():
    fs = tagged(
        n=pa.array([1, None, 3]), s=["a", None, "b"], t=np.datetime64("2024-05-01", "s") + np.arange(3)
    )
    part = fs.take([2, 1])

    assert found(fs, pc.field("n").is_null()) == [1]
    assert found(fs, pc.field("n") > 1) == [2]
    assert found(fs, pc.starts_with(pc.field("s"), "b")) == [2]
    assert found(fs, pc.field("t") > pa.scalar(np.datetime64("2024-05-01", "s"))) == [1, 2]
    assert found(part, pc.field("s") == "b") == [2]
    assert found(part, pc.field("s").is_null()) == [1]


@pytest.mark.parametrize("position", [0, 1, 5])
def test_expressions_name_columns_and_do_not_count_them(position):
    fs = tagged(a=[3, 1, 2], s=["FieldPath(0)", "b", "c"])
    with pytest.raises(ColumnError, match="names its columns") as caught:
        fs.filter((pc.field("a") > 0) & (pc.field(position) > 1))

    assert caught.value.found == f"FieldPath({position})"
    assert found(fs, pc.field("s") == "FieldPath(0)") == [0]
    assert found(fs, pc.field("s").isin(["FieldPath(0)"])) == [0]


def test_a_column_may_be_called_like_a_position():
    with ExperimentContext().activate():
        fs = FeatureSet.from_dict("odd", {"FieldPath(0)": [1, 2]}, feature_keys="FieldPath(0)")

    assert found(fs, pc.field("FieldPath(0)") > 1) == [1]


@pytest.mark.parametrize(
    ("expression", "message", "advice"),
    [
        (pc.field("y") > 1, "'y' fits several columns", "Name the domain"),
        (pc.field("yy") > 1, "no column 'yy'", "'y'"),
        (pc.field("pulse") > 1, "'pulse' are tensors", "{'pulse': lambda"),
        (pc.field("n") > "a", "cannot be evaluated", "of their types"),
        (pc.field("n") + 1, "cannot be evaluated", "true or false"),
        (pc.field("n", "y") > 1, "cannot be evaluated", "scalar columns"),
        (pc.scalar(True), "names no column", "Available"),
    ],
)
def test_an_expression_that_means_nothing_says_why(expression, message, advice):
    data = {"y": [1, 2], "pulse": np.ones((2, 3)), "n": [1, 2]}
    with ExperimentContext().activate():
        fs = FeatureSet.from_dict("mixed", data, feature_keys=["y", "pulse"], target_keys=["y", "n"])
    with pytest.raises(ColumnError, match=message) as caught:
        fs.filter(expression)

    assert advice in caught.value.hint
    assert found(fs, pc.field("targets.y") > 1) == [1]


def test_a_column_with_one_representation_is_meant_by_its_key():
    table = pa.table({"features.x.fft": [1.0, 2.0], "tags.x.raw": [3.0, 4.0], "features.z.fft": [1.0, 2.0]})
    with ExperimentContext().activate():
        fs = FeatureSet.from_pyarrow_table("spectra", table)

    for name in ("z", "features.z", "z.fft", "features.z.fft"):
        assert found(fs, {name: 2.0}) == found(fs, pc.field(name) == 2.0) == [1]
    assert found(fs, {"x": 4.0}) == [1]
    assert found(fs, {"features.x": 2.0}) == [1]


def test_a_key_that_is_called_like_a_representation_means_raw_values():
    with ExperimentContext().activate():
        fs = FeatureSet.from_dict("odd", {"raw": [1.0, 3.0], "y": [0, 1]}, feature_keys="raw", tag_keys="y")
    fs.fit_transform("standard", domain="features")

    assert found(fs, {"raw": 3.0}) == found(fs, {"features.raw": 3.0}) == [1]
    assert found(fs, {"raw.transformed": 1.0}) == [1]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=30),
    st.sets(st.sampled_from(["a", "b", "c", "d", None])),
    st.data(),
)
def test_strings_are_found_as_a_loop_finds_them(values, wanted, data):
    fs = tagged(s=pa.array(values, pa.string()))
    rows = data.draw(st.lists(st.integers(0, len(values) - 1), max_size=20))

    assert found(fs, {"s": wanted}) == [row for row, value in enumerate(values) if value in wanted]
    assert found(fs.take(rows), {"s": wanted}) == [row for row in rows if values[row] in wanted]


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.integers(-100, 100), min_size=1, max_size=30),
    st.lists(st.one_of(st.integers(-300, 300), st.floats(-100, 100)), max_size=6),
    st.sampled_from([np.int8, np.int64, np.float64]),
)
def test_numbers_are_found_as_a_loop_finds_them(values, wanted, dtype):
    fs = tagged(v=np.array(values, dtype))

    assert found(fs, {"v": wanted}) == [row for row, value in enumerate(values) if value in wanted]


BIG = st.one_of(
    st.integers(-3, 3), st.integers(2**53 - 2, 2**53 + 3), st.integers(2**63 - 2, 2**63 + 2), st.just(2**70)
)
CLOSE = st.floats(allow_nan=False) | st.sampled_from([0.5, 2.0, 2.0**53, 2.0**63, 2.0**64, -1.0])


@settings(max_examples=200, deadline=None)
@given(
    st.lists(BIG, min_size=1, max_size=20),
    st.lists(st.one_of(BIG, CLOSE, st.booleans()), max_size=6),
    st.sampled_from([np.int64, np.uint64]),
    st.booleans(),
)
def test_large_integers_are_found_exactly_beside_floats(values, wanted, dtype, with_nulls):
    limits = np.iinfo(dtype)
    values = [value for value in values if limits.min <= value <= limits.max] or [0]
    column = np.array(values, dtype)
    if with_nulls:
        values = [None, *values]
        column = pa.array(values, pa.from_numpy_dtype(dtype))
    fs = tagged(v=column)

    # Python compares integers with floats exactly.
    assert found(fs, {"v": wanted}) == [row for row, value in enumerate(values) if value in wanted]


def test_an_integer_beside_a_float_is_not_rounded():
    fs = tagged(i=np.array([2**53, 2**53 + 1, 5]))
    parts = fs.split_by_condition({"a": {"i": [2**53 + 1, 0.5]}}, rest="b")

    assert found(fs, {"i": [2**53 + 1, 0.5]}) == [1]
    assert parts["a"].rows.tolist() == [1]


@pytest.mark.parametrize("value", [10**400, -(10**400), [10**400, 1.0]])
def test_an_integer_larger_than_any_float_is_in_no_row_of_floats(value):
    fs = tagged(v=np.array([0.0, np.inf, 1.0, -np.inf]))

    assert found(fs, {"v": value}) == ([2] if isinstance(value, list) else [])
