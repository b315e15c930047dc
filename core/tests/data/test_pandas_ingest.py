"""Columns of pandas: owned once they are in, with their dtypes, and with NaN where it is a number."""

from __future__ import annotations

import numpy as np
import pandas
import pytest

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import DataError


def made(frame, **keys):
    with ExperimentContext().activate():
        return FeatureSet.from_pandas("t", frame, **(keys or {"feature_cols": (), "tag_cols": "x"}))


OWN_MEMORY = {
    "numbers": (np.array([1.0, 2.0, 3.0]), 9.0),
    "nullable integers": (pandas.array([1, 2, 3], dtype="Int64"), 99),
    "nullable floats": (pandas.array([1.0, None, 3.0], dtype="Float32"), 99.0),
    "nullable truth": (pandas.array([True, None, True], dtype="boolean"), False),
    "zoned times": (pandas.date_range("2020", periods=3, tz="UTC"), pandas.Timestamp("2030", tz="UTC")),
    "categories": (pandas.Categorical(["a", "b", "a"]), "b"),
    "categories of objects": (pandas.Series(["a", "b", "a"], dtype=object).astype("category"), "b"),
    "many categories": (pandas.Categorical(np.arange(40_000).astype(str)), "7"),
    "texts": (pandas.Series(["a", "b", "a"]), "z"),
    "objects": (pandas.Series(["a", "b", "a"], dtype=object), "z"),
    "Arrow's": (pandas.array([1, 2, 3], dtype="int64[pyarrow]"), 99),
    "sparse": (pandas.arrays.SparseArray(np.array([0, 1, 0], "f4")), None),
}


@pytest.mark.parametrize("case", OWN_MEMORY)
@pytest.mark.parametrize("how", ["from_pandas", "from_arrow", "from_dict", "an index"])
def test_a_later_write_to_a_frame_does_not_reach_the_featureset(case, how):
    values, other = OWN_MEMORY[case]
    frame = pandas.DataFrame({"x": pandas.Series(values).copy()})
    given = frame["x"].array if how == "an index" else frame["x"]
    with ExperimentContext().activate():
        fs = {
            "from_pandas": lambda: FeatureSet.from_pandas("t", frame, feature_cols=(), tag_cols="x"),
            "from_arrow": lambda: FeatureSet.from_arrow("t", frame, feature_keys=(), tag_keys="x"),
            "from_dict": lambda: FeatureSet.from_dict("t", {"x": given}, feature_keys=(), tag_keys="x"),
            "an index": lambda: FeatureSet.from_dict(
                "t", {"x": pandas.Index(given)}, feature_keys=(), tag_keys="x"
            ),
        }[how]()
    before = [one if one == one else None for one in fs.get_tags("x", fmt="list")]  # noqa: PLR0124
    if other is not None:
        frame.iloc[0, 0] = other
        given[0:1] = other

    assert [one if one == one else None for one in fs.get_tags("x", fmt="list")] == before  # noqa: PLR0124


def test_nan_in_arrays_and_numbers_of_objects_stays_a_number():
    curves = pandas.Series([np.array([1.0, np.nan]), np.array([2.0, 3.0])])
    numbers = pandas.Series([1, np.nan], dtype=object)

    np.testing.assert_array_equal(
        made(pandas.DataFrame({"x": curves}), feature_cols="x").get_features(), [[1, np.nan], [2, 3]]
    )
    np.testing.assert_array_equal(
        made(pandas.DataFrame({"x": numbers}), feature_cols="x").get_features(), [1, np.nan]
    )


@pytest.mark.parametrize(
    "value", ["a", True, pandas.Timestamp("2020"), pandas.Timedelta(1, "s"), np.datetime64("2020-01-01")]
)
def test_nan_among_other_objects_is_a_missing_value(value):
    frame = pandas.DataFrame({"x": pandas.Series([value, np.nan], dtype=object)})

    assert pandas.isna(made(frame).get_tags("x")[1])
    assert made(frame).get_tags("x")[0] == value
    with pytest.raises(DataError, match="missing value in row 1"):
        made(frame, feature_cols="x")


@pytest.mark.parametrize("kind", ["float32", "int8", "bool", "float64"])
def test_sparse_columns_keep_their_dtype(kind):
    dense = np.array([0, 1, 0, 1]).astype(kind)
    frame = pandas.DataFrame({"x": pandas.arrays.SparseArray(dense)})

    assert made(frame).get_tags("x").dtype == dense.dtype
    assert made(frame).get_tags("x").tolist() == dense.tolist()


def test_sparse_columns_do_not_pass_through_a_list(monkeypatch):
    monkeypatch.setattr(pandas.Series, "tolist", lambda self: pytest.fail("made a list"))

    assert len(made(pandas.DataFrame({"x": pandas.arrays.SparseArray(np.zeros(3, "f4"))}))) == 3
