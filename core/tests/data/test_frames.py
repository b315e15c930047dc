"""Frames of pandas and polars: types, missing values and time zones come through, whatever rows are read.

Imported with the module, because polars sets an environment variable of its own when it is first imported.
"""

from __future__ import annotations

import datetime

import numpy as np
import pandas
import polars
import pyarrow as pa
import pytest

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import DataError

PARIS = datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.UTC)
HOUR = datetime.timedelta(hours=1)
ZONED = pa.timestamp("us", "Europe/Paris")
ZONED_IN_POLARS = polars.Datetime("us", "Europe/Paris")


def ingested(column, **keys):
    with ExperimentContext().activate():
        return FeatureSet.from_arrow("t", pa.table({"x": column}), **{"feature_keys": (), **keys})


def moments(shape, unit, zone):
    """Return two tensors of moments, each half an hour after the one before."""
    size = int(np.prod(shape))
    numbers = (np.arange(2 * size) * 1800).astype("datetime64[s]").astype(f"datetime64[{unit}]")
    flat = pa.array(numbers).cast(pa.timestamp(unit, zone))
    storage = pa.FixedSizeListArray.from_arrays(flat, size)
    return pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(flat.type, list(shape)), storage)


TEXT = str(pandas.Series(["a", None]).dtype)
# stored column, dtype in pandas, dtype in polars
NULLED = {
    "int8": (pa.array([1, None, 2], pa.int8()), "Int8", polars.Int8),
    "uint64": (pa.array([2**63 + 1, None, 2], pa.uint64()), "UInt64", polars.UInt64),
    "booleans": (pa.array([True, None, False]), "boolean", polars.Boolean),
    "float32": (pa.array([1.5, None, 2.5], pa.float32()), "float32", polars.Float32),
    "text": (pa.array(["a", None, "b"]), TEXT, polars.String),
    "dates": (pa.array([PARIS.date(), None, None]), "datetime64[s]", polars.Date),
    "moments": (pa.array([PARIS, None, None], ZONED), "datetime64[us, Europe/Paris]", ZONED_IN_POLARS),
    "durations": (pa.array([HOUR, None, HOUR], pa.duration("s")), "timedelta64[s]", polars.Duration("ms")),
    "nothing": (pa.array([None, None, None], pa.int16()), "Int16", polars.Int16),
}


@pytest.mark.parametrize("rows", [[0, 1, 2], [2, 1], [1], [0], []])
@pytest.mark.parametrize("kind", NULLED)
def test_frames_keep_types_and_missing_values_whatever_rows_they_hold(kind, rows):
    stored, of_pandas, of_polars = NULLED[kind]
    view = ingested(stored, tag_keys="x").take(rows)
    frame, other = view.get_tags(fmt="pandas")["x"], view.get_tags(fmt="polars")["x"]
    expected = [stored.to_pylist()[row] for row in rows]

    assert str(frame.dtype) == of_pandas
    assert other.dtype == of_polars
    assert other.to_list() == expected
    assert frame.isna().tolist() == [one is None for one in expected]
    present = pandas.Series([one for one in expected if one is not None]).astype(of_pandas)
    assert frame.dropna().tolist() == present.tolist()


def test_a_missing_float_is_no_nan_in_polars():
    fs = ingested(pa.array([1.0, None, float("nan")]), tag_keys="x")

    assert fs.get_tags(fmt="polars")["x"].is_null().to_list() == [False, True, False]
    assert fs.get_tags(fmt="polars")["x"].is_nan().to_list() == [False, None, True]
    assert np.isnan(fs.get_tags(fmt="pandas")["x"]).tolist() == [False, True, True]


def test_numbers_of_polars_lie_over_the_stored_ones():
    fs = ingested(pa.array([1.5, 2.5, 3.5]), feature_keys="x")

    assert np.shares_memory(fs.get_features(fmt="polars")["x"].to_numpy(), fs.get_features("x"))


def test_frames_go_in_again_as_what_they_were():
    data = {kind: stored for kind, (stored, _, _) in NULLED.items()}
    with ExperimentContext().activate():
        fs = FeatureSet.from_dict("t", {**data, "x": [1, 2, 3]}, feature_keys="x", tag_keys=list(data))
    # pandas has no dates and takes a missing float for NaN; polars has no seconds.
    for fmt, others in {"pandas": {"dates", "float32"}, "polars": {"durations"}}.items():
        kinds = [kind for kind in data if kind not in others]
        with ExperimentContext().activate():
            again = FeatureSet.from_arrow("t", fs.get_tags(fmt=fmt), feature_keys=(), tag_keys=kinds)
        assert again.get_tags(kinds, fmt="arrow").schema == fs.get_tags(kinds, fmt="arrow").schema
        assert again.get_tags(kinds, fmt="arrow").to_pylist() == fs.get_tags(kinds, fmt="arrow").to_pylist()


def test_columns_without_missing_values_are_those_of_numpy_in_pandas():
    data = {"i": np.arange(3, dtype="i1"), "b": np.array([True, False, True]), "f": np.ones(3, "f2")}
    with ExperimentContext().activate():
        fs = FeatureSet.from_dict("t", data, feature_keys=list(data))
    frame = fs.take([2, 0]).get_features(fmt="pandas")

    assert {key: frame[key].dtype for key in data} == {key: values.dtype for key, values in data.items()}


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
@pytest.mark.parametrize("shape", [(1,), (2,), (2, 3)])
def test_time_zones_of_tensors_come_back(shape, unit):
    fs = ingested(moments(shape, unit, "Europe/Paris"), feature_keys="x")
    # Half an hour apart, from the first moment of 1970 on, when Paris was an hour ahead.
    start = datetime.datetime(1970, 1, 1, 1)
    expected = [start + number * HOUR / 2 for number in range(2 * int(np.prod(shape)))]
    frame, other = fs.get_features(fmt="pandas")["x"], fs.get_features(fmt="polars")["x"]

    assert fs.schema["features.x.raw"].describe() == f"datetime64[{unit}, Europe/Paris]{list(shape)}"
    for found in (np.stack(list(frame)), np.array(other.to_list())):
        assert found.shape == (2, *shape)
        assert {str(one.tzinfo) for one in found.flat} == {"Europe/Paris"}
        assert [one.replace(tzinfo=None) for one in found.flat] == expected
    assert fs.get_features(fmt="numpy").flat[1] == np.datetime64("1970-01-01T00:30")


@pytest.mark.parametrize("fmt", ["pandas", "polars"])
def test_a_time_zone_of_tensors_that_a_partner_does_not_know_is_named(fmt):
    fs = ingested(moments((2,), "us", "Nowhere/Land"), feature_keys="x")

    with pytest.raises(DataError, match=f"{fmt} does not know the time zone 'Nowhere/Land'") as caught:
        fs.get_features(fmt=fmt)
    assert caught.value.where == "FeatureSet 't', column 'x'"


def test_frames_of_transformed_columns_hold_their_values():
    data = {"x": np.arange(6, dtype="f4").reshape(3, 2), "n": np.arange(3)}
    with ExperimentContext().activate():
        fs = FeatureSet.from_dict("t", data, feature_keys=["x", "n"])
    fs.fit_transform("standard", domain="features")

    for fmt in ("pandas", "polars"):
        frame = fs.take([2, 0]).get_features(fmt=fmt)
        assert np.array_equal(np.stack(list(frame["x"])), fs.get_features("x")[[2, 0]])
        assert np.array_equal(frame["n"].to_numpy(), fs.get_features("n")[[2, 0]])
