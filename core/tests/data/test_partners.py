"""The libraries that tables come from, each as itself: what its columns become, and what is refused.

Imported with the module, because some set environment variables of their own when they are first imported.
"""

from __future__ import annotations

import datetime

import duckdb
import numpy as np
import pandas
import polars
import pyarrow as pa
import pytest

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import ColumnError, DataError, MMLError

PARIS = datetime.datetime(2024, 2, 29, 12, 30, tzinfo=datetime.UTC)
NUMBERS = {"f": [0.5, -1.5, float("nan")], "n": [1, 2, 3]}


def table(data):
    """Return a table; a text is a query of DuckDB, asked when it is needed."""
    return duckdb.sql(data) if isinstance(data, str) else data


def ingested(data, *, features=(), tags=()):
    with ExperimentContext().activate():
        return FeatureSet.from_arrow("t", table(data), feature_keys=features, tag_keys=tags)


def of_pyarrow():
    return pa.table({**NUMBERS, "s": ["a", None, "b"], "v": [[1, 2], [3, 4], [5, 6]]})


def of_pandas():
    return pandas.DataFrame({**NUMBERS, "s": ["a", None, "b"], "v": [[1, 2], [3, 4], [5, 6]]})


def of_polars():
    return polars.DataFrame({**NUMBERS, "s": ["a", None, "b"], "v": [[1, 2], [3, 4], [5, 6]]})


def of_duckdb():
    rows = "(0.5::double, 1, 'a', [1, 2]), (-1.5, 2, null, [3, 4]), ('nan'::double, 3, 'b', [5, 6])"
    return duckdb.sql(f"select f, n::bigint as n, s, v::bigint[] as v from (values {rows}) t(f, n, s, v)")


def of_batch():
    return of_pyarrow().to_batches()[0]


def of_reader():
    return of_pyarrow().to_reader(max_chunksize=2)


@pytest.mark.parametrize("make", [of_pyarrow, of_pandas, of_polars, of_duckdb, of_batch, of_reader])
def test_equal_tables_of_all_partners_make_equal_featuresets(make):
    fs = ingested(make(), features=["f", "n", "v"], tags="s")

    assert fs == ingested(of_pyarrow(), features=["f", "n", "v"], tags="s")
    assert fs.get_features("f").tobytes() == np.array([0.5, -1.5, np.nan]).tobytes()
    assert fs.get_features("v").tolist() == [[1, 2], [3, 4], [5, 6]]
    assert fs.get_tags("s").tolist() == ["a", None, "b"]


@pytest.mark.parametrize("make", [of_pyarrow, of_pandas, of_polars, of_duckdb])
def test_a_key_that_a_table_does_not_have_is_answered_with_the_near_ones(make):
    with ExperimentContext().activate() as context, pytest.raises(ColumnError, match="no key 'ff'") as caught:
        FeatureSet.from_arrow("t", make(), feature_keys="ff")

    assert "'f'" in caught.value.hint
    assert len(context) == 0


ZONED = pa.timestamp("us", "Europe/Paris")
TAGS = {
    "pyarrow strings": (pa.table({"x": pa.array(["a", None], pa.string())}), ["a", None], "string"),
    "pyarrow large strings": (
        pa.table({"x": pa.array(["a", None], pa.large_string())}),
        ["a", None],
        "string",
    ),
    "pyarrow string views": (pa.table({"x": pa.array(["a", None], pa.string_view())}), ["a", None], "string"),
    "pyarrow narrow categories": (
        pa.table({"x": pa.DictionaryArray.from_arrays(pa.array([0, None], pa.int8()), ["a"])}),
        ["a", None],
        "string",
    ),
    "pyarrow booleans": (pa.table({"x": pa.array([True, None])}), [True, None], "bool"),
    "pyarrow zoned": (
        pa.table({"x": pa.array([PARIS], ZONED)}),
        [PARIS.replace(tzinfo=None)],
        "Europe/Paris",
    ),
    "pyarrow dates": (pa.table({"x": pa.array([PARIS.date()])}), [PARIS.date()], "datetime64[D]"),
    "pyarrow durations": (
        pa.table({"x": pa.array([datetime.timedelta(seconds=3)])}),
        [datetime.timedelta(seconds=3)],
        "timedelta64[us]",
    ),
    "pyarrow categories of numbers": (
        pa.table({"x": pa.array([7, 9, 7]).dictionary_encode()}),
        [7, 9, 7],
        "int64",
    ),
    "pandas strings": (pandas.DataFrame({"x": ["a", None]}), ["a", None], "string"),
    "pandas objects": (
        pandas.DataFrame({"x": pandas.Series(["a", np.nan], dtype=object)}),
        ["a", None],
        "string",
    ),
    "pandas categories": (pandas.DataFrame({"x": pandas.Categorical(["a", None])}), ["a", None], "string"),
    "pandas categories of truth": (
        pandas.DataFrame({"x": pandas.Categorical([True, False])}),
        [True, False],
        "bool",
    ),
    "pandas nullable": (pandas.DataFrame({"x": pandas.array([1, None], dtype="Int16")}), [1, None], "int16"),
    "pandas arrow": (
        pandas.DataFrame({"x": pandas.array([1, None], dtype="int8[pyarrow]")}),
        [1, None],
        "int8",
    ),
    "pandas zoned": (
        pandas.DataFrame({"x": pandas.to_datetime([PARIS]).tz_convert("Europe/Paris").as_unit("us")}),
        [PARIS.replace(tzinfo=None)],
        "Europe/Paris",
    ),
    "polars strings": (polars.DataFrame({"x": ["a", None]}), ["a", None], "string"),
    "polars categories": (
        polars.DataFrame({"x": polars.Series(["a", None], dtype=polars.Categorical)}),
        ["a", None],
        "string",
    ),
    "polars enums": (
        polars.DataFrame({"x": polars.Series(["b", "a"], dtype=polars.Enum(["a", "b"]))}),
        ["b", "a"],
        "string",
    ),
    "polars booleans": (polars.DataFrame({"x": [True, None]}), [True, None], "bool"),
    "polars dates": (polars.DataFrame({"x": [PARIS.date()]}), [PARIS.date()], "datetime64[D]"),
    "duckdb enums": ("select 'b'::enum('a', 'b') as x", ["b"], "string"),
    "duckdb booleans": ("select true as x union all select null", None, "bool"),
    "duckdb dates": ("select date '2024-02-29' as x", [PARIS.date()], "datetime64[D]"),
    "duckdb zoned": (
        "select timestamptz '2024-02-29 12:30:00+00' as x",
        [PARIS.replace(tzinfo=None)],
        "datetime64[us, ",
    ),
}


@pytest.mark.parametrize("case", TAGS)
def test_tags_of_every_kind_come_through(case):
    data, expected, kind = TAGS[case]
    fs = ingested(data, tags="x")

    assert kind in fs.schema["tags.x.raw"].describe()
    if expected is not None:
        assert fs.get_tags("x", fmt="list") == expected
    assert len(fs.get_tags("x", fmt="pandas")) == len(fs.get_tags("x", fmt="polars")) == len(fs)


TENSORS = {
    "pyarrow lists": (pa.table({"x": pa.array([[1, 2], [3, 4]], pa.list_(pa.int16()))}), "int16[2]"),
    "pyarrow large lists": (
        pa.table({"x": pa.array([[[1.0]], [[2.0]]], pa.large_list(pa.large_list(pa.float32())))}),
        "float32[1, 1]",
    ),
    "pyarrow halves": (pa.table({"x": pa.array(np.ones(2, np.float16))}), "float16"),
    "pandas arrays": (pandas.DataFrame({"x": [np.ones((2, 3)), np.zeros((2, 3))]}), "float64[2, 3]"),
    "pandas halves": (pandas.DataFrame({"x": np.ones(2, np.float16)}), "float16"),
    "polars arrays": (
        polars.DataFrame({"x": polars.Series([[1, 2]], dtype=polars.Array(polars.Int8, 2))}),
        "int8[2]",
    ),
    "polars deep arrays": (polars.DataFrame({"x": np.ones((2, 3, 4, 5))}), "float64[3, 4, 5]"),
    "polars lists": (polars.DataFrame({"x": [[[1, 2]], [[3, 4]]]}), "int64[1, 2]"),
    "duckdb arrays": ("select [1.5, 2.5]::float[2] as x", "float32[2]"),
    "duckdb lists": ("select [[1, 2], [3, 4], [5, 6]] as x", "int32[3, 2]"),
    "duckdb deep lists": ("select [[[1], [2]]] as x", "int32[1, 2, 1]"),
}


@pytest.mark.parametrize("case", TENSORS)
def test_lists_and_arrays_become_tensors_in_their_dtype(case):
    data, kind = TENSORS[case]
    fs = ingested(data, features="x")

    assert fs.schema["features.x.raw"].describe() == kind
    assert fs.get_features("x").ndim == 1 + len(fs.schema["features.x.raw"].shape)


REFUSED = {
    "pyarrow decimals": pa.table({"x": pa.array([1, 2]).cast(pa.decimal128(30, 2))}),
    "pyarrow times": pa.table({"x": pa.array([1], pa.time32("s"))}),
    "pyarrow list views": pa.table({"x": pa.array([[1]], pa.list_view(pa.int8()))}),
    "pyarrow nulls": pa.table({"x": pa.nulls(2)}),
    "polars decimals": polars.DataFrame({"x": polars.Series([1]).cast(polars.Decimal(10, 2))}),
    "polars structs": polars.DataFrame({"x": [{"a": 1}]}),
    "polars ragged": polars.DataFrame({"x": [[1], [1, 2]]}),
    "polars nulls": polars.DataFrame({"x": [1, None]}),
    "pandas mixed": pandas.DataFrame({"x": ["a", 1]}),
    "pandas missing": pandas.DataFrame({"x": pandas.array([1, None], dtype="Int64")}),
    "pandas missing times": pandas.DataFrame({"x": pandas.to_datetime(["2024-01-01", None])}),
    "pandas periods": pandas.DataFrame({"x": pandas.period_range("2024", periods=2)}),
    "pandas complex": pandas.DataFrame({"x": [1j]}),
    "pandas ragged": pandas.DataFrame({"x": [[1], [1, 2]]}),
    "duckdb decimals": "select 1.5::decimal(5, 2) as x",
    "duckdb huge integers": "select 1::hugeint as x",
    "duckdb nulls": "select null::int as x",
    "duckdb no rows": "select 1 as x where false",
    "duckdb that fails": "select error('it broke') as x",
    "a frame's index": pandas.DataFrame({"x": [1]}).index,
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_feature_is_refused_by_name_and_nothing_is_registered(case):
    with ExperimentContext().activate() as context, pytest.raises(MMLError) as caught:
        FeatureSet.from_arrow("bad", table(REFUSED[case]), feature_keys="x")

    assert "FeatureSet 'bad'" in str(caught.value)
    assert len(context) == 0


def test_numbers_of_arrow_partners_are_aliased():
    frame = polars.DataFrame({"x": np.arange(5.0)})
    table = pa.table({"x": np.arange(5.0)})

    assert np.shares_memory(ingested(table, features="x").get_features(), table["x"].chunk(0).to_numpy())
    assert np.shares_memory(ingested(frame, features="x").get_features(), frame["x"].to_numpy())


def test_time_zones_come_back_in_the_frames_that_know_them():
    fs = ingested(pa.table({"x": pa.array([PARIS, None], ZONED)}), tags="x")

    assert fs.get_tags("x").dtype == np.dtype("datetime64[us]")
    assert str(fs.get_tags("x", fmt="pandas")["x"].dtype) == "datetime64[us, Europe/Paris]"
    assert fs.get_tags("x", fmt="pandas")["x"][0] == PARIS
    assert fs.get_tags("x", fmt="polars")["x"].to_list()[0] == PARIS
    assert fs.get_tags("x", fmt="arrow").schema.field("x").type == ZONED
    assert fs.to_pandas()["tags.x.raw"][0] == PARIS


def test_repeated_columns_of_a_frame_are_refused():
    with pytest.raises(DataError, match="two columns named 'a'"):
        ingested(pandas.DataFrame([[1, 2]], columns=["a", "a"]), features="a")


@pytest.mark.parametrize("kind", ["datetime64[ms]", "float32", "bool"])
@pytest.mark.parametrize("shape", [(5,), (5, 2), (5, 2, 3)])
def test_frames_hold_tensors(kind, shape):
    values = np.arange(np.prod(shape)).reshape(shape).astype(kind)
    with ExperimentContext().activate():
        fs = FeatureSet.from_dict("t", {"x": values}, feature_keys="x")
    frame, other = fs.get_features(fmt="pandas"), fs.get_features(fmt="polars")

    assert isinstance(frame, pandas.DataFrame)
    assert np.array_equal(np.array(frame["x"].tolist(), dtype=kind), values)
    assert isinstance(other, polars.DataFrame)
    assert np.array_equal(np.array(other["x"].to_list(), dtype=kind), values)


def test_missing_values_among_objects_of_pandas_are_those_of_numpy_and_of_python():
    numbers = pandas.DataFrame({"x": pandas.Series([1.5, np.nan], dtype=object)})

    assert np.isnan(ingested(numbers, features="x").get_features("x")[1])
    with pytest.raises(DataError, match="missing value in row 1"):
        ingested(pandas.DataFrame({"x": pandas.Series([1.5, None], dtype=object)}), features="x")
    with pytest.raises(DataError, match="are no column"), ExperimentContext().activate():
        FeatureSet.from_dict("t", {"x": numbers}, feature_keys="x")


@pytest.mark.parametrize("fmt", ["pandas", "polars"])
def test_a_time_zone_that_a_partner_does_not_know_is_named(fmt):
    fs = ingested(pa.table({"x": pa.array([PARIS], pa.timestamp("us", "Nowhere/Land"))}), tags="x")

    with pytest.raises(DataError, match=f"{fmt} does not know the time zone 'Nowhere/Land'"):
        fs.get_tags("x", fmt=fmt)
    assert fs.get_tags("x", fmt="list") == [PARIS.replace(tzinfo=None)]


def test_a_column_that_arrow_does_not_know_harms_nobody_who_did_not_ask_for_it():
    frame = polars.DataFrame({"x": [1.5], "^y$": [2.5], "big": polars.Series([1], dtype=polars.Int128)})

    assert ingested(frame, features=["x", "^y$"], tags="x").get_features("^y$").tolist() == [2.5]
    with pytest.raises(DataError, match="Arrow C stream") as caught:
        ingested(frame, features="big")
    assert "cast" in caught.value.hint
    with pytest.raises(ColumnError, match="no key 'bigg'") as caught:
        ingested(frame, features="bigg")
    assert "'big'" in caught.value.hint


def test_a_single_series_is_sent_to_from_dict():
    with pytest.raises(DataError, match="takes a DataFrame") as caught:
        ingested(pandas.Series([1.0], name="x"), features="x")
    assert "from_dict" in caught.value.hint


MENDS = {
    "select 1.5 as x": "::double",
    "select sum(1) as x": "::double",
    "select 1::hugeint as x": "::double",
    "select time '12:00:00' as x": "duration",
    "select interval 1 month as x": "duration",
    "select 'a'::blob as x": "Decode",
    "select {'a': 1} as x": "fields",
    "select map {'a': 1} as x": "values",
    "select ['a', 'b'] as x": "a column of its own",
    "select [1.5] as x": "::double",
}


@pytest.mark.parametrize("query", MENDS)
def test_what_a_query_gives_that_is_not_stored_comes_with_a_way_out(query):
    with pytest.raises(DataError, match="does not store the type of 'x'") as caught:
        ingested(query, features="x")

    assert MENDS[query] in caught.value.hint
    assert "dates" in caught.value.expected


ORDERED = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(12).reshape(2, 3, 2).transpose(0, 2, 1))


@pytest.mark.parametrize(
    ("column", "mend"),
    [
        (pa.array([0], pa.date64()), "date32"),
        (ORDERED, "np.ascontiguousarray(tensors.to_numpy_ndarray())"),
        (pa.array([[1]], pa.list_view(pa.int8())), "fixed size"),
        (pa.array([b"1234"], pa.binary(4)), "Decode"),
        (pa.DictionaryArray.from_arrays([0], pa.array([1], pa.decimal128(3, 1))), "::double"),
    ],
)
def test_columns_of_arrow_that_are_not_stored_come_with_a_way_out(column, mend):
    with pytest.raises(DataError, match="does not store the type of 'x'") as caught:
        ingested(pa.table({"x": column}), features="x")

    assert mend in caught.value.hint


def test_the_way_out_for_tensors_with_exchanged_axes_works():
    mended = pa.FixedShapeTensorArray.from_numpy_ndarray(np.ascontiguousarray(ORDERED.to_numpy_ndarray()))

    assert ORDERED.type.permutation == [1, 0]
    assert np.array_equal(
        ingested(pa.table({"x": mended}), features="x").get_features(),
        np.arange(12).reshape(2, 3, 2).transpose(0, 2, 1),
    )


@pytest.mark.parametrize(
    ("values", "mend"),
    [
        (np.zeros(2, "M8[h]"), "M8[s]"),
        (np.zeros(2, "m8[D]"), "m8[s]"),
        (np.zeros(2, np.longdouble), "float64"),
        (np.array([b"a"]), "decode"),
        (np.zeros(2, [("a", "f4")]), "fields"),
        (np.zeros(2, complex), ".real"),
        (np.array([["a", "b"]]), "a column of its own"),
    ],
)
def test_arrays_of_numpy_that_are_not_stored_come_with_a_way_out(values, mend):
    with pytest.raises(DataError, match="does not store the type of 'x'") as caught:
        FeatureSet.from_numpy("t", {"x": values})

    assert mend in caught.value.hint
