"""Lists and arrays of Python objects: nothing is rounded, cut short or read in any order without a word."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import enum
import fractions
import uuid

import numpy as np
import pandas
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mml.data import FeatureSet
from mml.errors import ColumnError, DataError

from .samples import single

DAY = datetime.date(2020, 1, 2)
NAIVE = datetime.datetime(2020, 1, 1, 5)
AWARE = NAIVE.replace(tzinfo=datetime.UTC)
NO_DAY = np.datetime64("NaT")


def tags(values):
    return single(values, "tags").get_tags("x")


def refused(values, domain="tags"):
    with pytest.raises(DataError, match="'x'") as caught:
        single(values, domain)
    return str(caught.value)


# Integers

BIG = 2**63 + 1


@pytest.mark.parametrize(
    "values",
    [
        [BIG, BIG + 2, 1],
        [[BIG, 1], [2, 3]],
        [np.array([BIG], dtype=np.uint64), np.array([1])],
        [np.uint64(BIG), np.int64(1)],
        np.array([BIG, 1], dtype=object),
        [2**64 - 1],
    ],
)
def test_integers_beyond_int64_stay_integers(values):
    expected = [list(map(int, one)) if np.ndim(one) else int(one) for one in values]

    assert tags(values).dtype == np.uint64
    assert tags(values).tolist() == expected


def test_integers_beyond_int64_may_stand_beside_missing_ones():
    assert tags([BIG, None, 1]).tolist() == [BIG, None, 1]
    assert tags([BIG, pandas.NA]).tolist() == [BIG, None]


@given(st.lists(st.integers(-(2**65), 2**65) | st.floats(allow_nan=False), min_size=1, max_size=5))
def test_a_list_of_numbers_keeps_their_values_or_is_refused(values):
    try:
        back = tags(values)
    except DataError as error:
        assert "integer" in str(error)  # noqa: PT017 - some ranges have no type
        assert any(isinstance(one, int) and abs(one) > 2**53 for one in values)
    else:
        assert back.tolist() == values


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([-1, 0, BIG], ["row 2", f"the integer {BIG}", "64 bits"]),
        ([[0, -1], [BIG, 0]], ["row 1", f"the integer {BIG}"]),
        ([0, 2**70], ["row 1", f"the integer {2**70}"]),
        ([2**70] * 4, ["row 0", f"the integer {2**70}", "64 bits"]),
        ([1, 10**5000], ["row 1", "an integer of many digits", "64 bits"]),
        ([None, -1, 2**63], ["row 2", f"the integer {2**63}"]),
        ([2**65 + 1, 0.5], ["row 0", f"{2**65 + 1} among floats"]),
        ([0.5, None, 10**400], ["row 2", "among floats"]),
        ([0.5, 1, 2**53 + 1], ["row 2", f"{2**53 + 1} among floats"]),
        ([[0.5, 1], [2**53 + 1, 1]], ["row 1", "among floats"]),
    ],
)
def test_integers_that_no_column_holds_are_refused_by_row(values, words):
    message = refused(values)

    assert [word for word in words if word not in message] == []
    assert "mixes types" not in message or "floats" in message


def test_large_floats_and_integers_that_floats_hold_are_no_mistake():
    assert tags([1e300, -1e300]).tolist() == [1e300, -1e300]
    assert tags([0.5, 2**60]).tolist() == [0.5, 2.0**60]
    assert tags([2**70, 0.5]).tolist() == [2.0**70, 0.5]
    assert tags([2**70, 0.5, None]).tolist()[:2] == [2.0**70, 0.5]
    assert tags([float("inf"), 2]).tolist() == [np.inf, 2]


# Times


@pytest.mark.parametrize(
    ("values", "expected", "found"),
    [
        ([DAY, NAIVE], "a date", "a time without a time zone"),
        ([NAIVE, DAY], "a time without a time zone", "a date"),
        ([AWARE, NAIVE], "a time with a time zone", "a time without a time zone"),
        ([NAIVE, AWARE], "a time without a time zone", "a time with a time zone"),
        ([pandas.Timestamp(AWARE), NAIVE], "a time with a time zone", "a time without a time zone"),
        ([NAIVE, 3], "a time without a time zone", "int"),
    ],
)
def test_times_of_several_kinds_are_refused(values, expected, found):
    for arranged, row in ((values, 1), ([None, *values], 2), ([[values[0]] * 2, values], 1)):
        message = refused(arranged)
        assert f"row {row}" in message
        assert f"expected: {expected} in every row" in message
        assert f"found: {found}" in message


def test_times_of_one_kind_come_through():
    tokyo = datetime.timezone(datetime.timedelta(hours=9))

    assert tags([NAIVE, None]).tolist() == [NAIVE, None]
    assert tags([DAY, DAY]).tolist() == [DAY, DAY]
    assert tags([[DAY], [DAY]]).tolist() == [[DAY], [DAY]]
    assert tags([AWARE, AWARE.astimezone(tokyo)]).tolist() == [NAIVE, NAIVE]
    assert tags([datetime.timedelta(1), None]).astype("m8[h]").astype(int)[0] == 24


def test_nanoseconds_are_not_cut_off():
    late = pandas.Timestamp("2020-01-01 00:00:00.000000001")

    assert tags([late, None]).astype(np.int64)[0] == late.value
    assert tags([late.tz_localize("Europe/Paris")]).astype(np.int64).tolist() == [
        late.tz_localize("Europe/Paris").value
    ]
    assert tags([pandas.Timedelta(3, "ns")]).astype(np.int64).tolist() == [3]


@pytest.mark.parametrize("missing", [None, pandas.NaT, pandas.NA, np.ma.masked])
@pytest.mark.parametrize(
    "value",
    [pandas.Timestamp("2020-01-01"), np.datetime64("2020-01-01"), np.timedelta64(3, "s"), "a", 1, True],
)
def test_whatever_stands_for_a_missing_value_is_one(value, missing):
    back = tags([value, missing])

    assert pandas.isna(back[1])
    assert back[0] == value
    assert "missing value in row 1" in refused([value, missing], "features")


def test_a_time_of_numpy_that_is_none_is_missing():
    assert np.isnat(tags([np.datetime64("2020-01-01"), NO_DAY])[1])
    assert "row 1" in refused([np.datetime64("2020-01-01"), NO_DAY], "features")


# What is no value

SETS = [[{3, 1}, {2, 1}], [frozenset({3}), frozenset({2})], [[{1}], [{2}]], [None, {1}]]


@pytest.mark.parametrize("values", SETS)
def test_sets_have_no_order_and_are_refused(values):
    message = refused(values)

    assert "found: set" in message
    assert "sorted" in message


@pytest.mark.parametrize("keys", [{"volts", "amps"}, frozenset({"volts"})])
def test_sets_of_keys_have_no_order_and_are_refused(keys):
    with pytest.raises(ColumnError, match="no order") as caught:
        FeatureSet.from_dict("t", {"volts": [1.0], "amps": [2.0]}, feature_keys=keys)

    assert "domain 'features'" in caught.value.where


Colour = enum.Enum("Colour", "RED BLUE")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([fractions.Fraction(1, 2)] * 2, ["fractions.Fraction", "float()", "row 0"]),
        ([None, Colour.RED], ["Colour", "names or its values", "row 1"]),
        ([decimal.Decimal("1.5")] * 2, ["decimal128", "::double"]),
        ([uuid.UUID(int=1)], ["uuid", "text"]),
        ([datetime.time(1)], ["time64", "duration"]),
        ([b"a", b"b"], ["binary", "Decode"]),
        ([{"a": 1}], ["struct", "fields"]),
        ([["a", "b"], ["c", "d"]], ["strings of shape (2,)", "a column of its own"]),
        ([1, None, True], ["mixes types", "row 2", "expected: int in every row", "found: bool"]),
        ([None, "a", 1], ["mixes types", "row 2", "expected: str in every row", "found: int"]),
        ([["a", 1], ["b", "c"]], ["row 0", "expected: str in every row", "found: int"]),
        ([1j, 2j], ["complex128", ".real"]),
        ([None, None], ["nothing but missing values", "row 0", "at least one value"]),
        ([[1.0, None], [1.0, 2.0]], ["missing value in row 0", "no nulls in tags that are tensors"]),
        ([[1.0, 2.0], None], ["missing value in row 1", "no nulls in tags that are tensors"]),
        (["a", "\ud800"], ["row 1", "UTF-8", "'\\ud800'"]),
        (np.array(["a", "\ud800"]), ["row 1", "UTF-8"]),
        ([np.ma.masked_array([1, 2]), np.ma.masked_array([1, 2], mask=[0, 1])], ["missing value in row 1"]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_row_and_a_way_out(values, words):
    message = refused(values)

    assert [word for word in words if word not in message] == []


def test_a_key_that_is_no_unicode_is_refused():
    with pytest.raises(ColumnError, match="cannot be the key"):
        FeatureSet.from_dict("t", {"\ud800": [1.0]}, feature_keys="\ud800")


class Silent:
    """Has a length and no items."""

    def __len__(self):
        return 2


class Attached:
    """An array that its library does not hand over, as tensors that record gradients."""

    def __len__(self):
        return 2

    def __array__(self, dtype=None, copy=None):
        raise RuntimeError("Call detach() first.\nMore lines.")


class Sparse:
    """A matrix that lists its rows as matrices."""

    shape = (2, 2)

    def __len__(self):
        raise TypeError("ambiguous")

    def toarray(self):
        return np.eye(2)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (Silent(), ["are no column"]),
        (Attached(), ["cannot be read: Call detach() first.", "Attached", "NumPy array"]),
        ([Attached(), Attached()], ["cannot be read: Call detach() first."]),
        (Sparse(), ["are sparse", "toarray()"]),
    ],
)
def test_what_does_not_hand_over_its_values_is_refused_by_key(values, words):
    with pytest.raises(DataError, match="'x'") as caught:
        FeatureSet.from_dict("t", {"x": values}, feature_keys="x")

    assert [word for word in words if word not in str(caught.value)] == []
    assert "More lines" not in str(caught.value)


# Arrays in other clothes


def test_python_arrays_and_buffers_keep_their_dtype():
    assert tags(array.array("f", [1, 2])).dtype == np.float32
    assert tags(memoryview(np.arange(3, dtype=np.int8))).dtype == np.int8
    assert tags(collections.deque([1, 2])).tolist() == [1, 2]


@pytest.mark.parametrize("kind", ["<f4", ">f4", ">i8", ">M8[s]"])
def test_masked_arrays_are_copied_in_native_order(kind):
    values = np.ma.masked_array(np.array([1, 2, 3]).astype(kind), mask=[0, 1, 0])
    expected = pa.array(values.data.astype(values.dtype.newbyteorder("=")), mask=values.mask).to_pylist()
    fs = single(values, "tags")
    values.data[:] = np.array(9).astype(kind)

    assert fs.get_tags("x", fmt="arrow")["x"].to_pylist() == expected


def test_masked_text_and_records():
    text = np.ma.masked_array(np.array(["a", "b"]), mask=[0, 1])
    record = np.ma.masked_array(np.zeros(2, dtype=[("a", "f4")]), mask=[(True,), (False,)])

    assert tags(text).tolist() == ["a", None]
    assert "fields" in refused(record)


def test_missing_values_of_numpys_strings_are_missing():
    if not hasattr(np.dtypes, "StringDType"):
        pytest.skip("this NumPy has no such strings")
    for no_text in (np.nan, None, "n/a"):
        kind = np.dtypes.StringDType(na_object=no_text)
        values = np.array(["a", no_text], dtype=kind)
        assert tags(values).tolist() == ["a", None]
        assert "missing value in row 1" in refused(values, "features")
