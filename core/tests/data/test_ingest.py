"""What goes in: NumPy copied once, Arrow aliased, dtypes kept, and every kind of bad data named."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import ColumnError, DataError, MMLError

from .samples import single

NUMBERS = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="="),
    hnp.unsigned_integer_dtypes(endianness="="),
    hnp.floating_dtypes(endianness="=", sizes=(16, 32, 64)),
)


def column(values, domain="features"):
    return single(values, domain).get_data(f"{domain}.x")[f"{domain}.x.raw"]


@given(hnp.arrays(NUMBERS, hnp.array_shapes(min_dims=1, max_dims=4, max_side=5)))
def test_arrays_of_any_rank_come_back_bit_for_bit_in_their_dtype(values):
    back = column(values)

    assert back.dtype == values.dtype
    assert back.shape == values.shape
    assert back.tobytes() == values.tobytes()


@pytest.mark.parametrize(
    "layout",
    [
        np.asfortranarray,
        lambda a: a[::2],
        lambda a: a[::-1],
        lambda a: a.T.copy().T,
        lambda a: np.broadcast_to(a[:1], a.shape),
        lambda a: a.astype(a.dtype.newbyteorder(">")),
    ],
)
def test_memory_layout_and_byte_order_do_not_matter(layout):
    values = layout(np.arange(21, dtype=np.float32).reshape(7, 3))

    assert np.array_equal(column(values), values)
    assert column(values).dtype == np.float32


def test_a_later_write_to_the_array_does_not_reach_the_featureset():
    values = np.zeros((5, 2), dtype=np.float32)
    fs = single(values)
    values[:] = 7

    assert not fs.get_features("x").any()


def test_what_is_handed_out_is_a_read_only_view_without_a_copy():
    fs = single(np.arange(12.0).reshape(6, 2))
    whole, part = fs.get_features("x"), fs.take(slice(2, 5)).get_features("x")

    assert np.shares_memory(whole, part)
    assert not whole.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        part[0, 0] = 1


@pytest.mark.parametrize("shape", [(6,), (6, 2), (6, 2, 3)])
def test_arrow_is_aliased(shape):
    values = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    flat = pa.array(values.reshape(-1))
    array = flat
    for size in reversed(shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, size)

    back = column(pa.chunked_array([array]))

    assert np.array_equal(back, values)
    assert back.__array_interface__["data"][0] == flat.buffers()[1].address


def test_chunked_and_sliced_arrow_columns_read_as_one():
    chunks = [
        pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int32()))[1:],
        pa.array([[7, 8]], pa.list_(pa.int32())),
    ]

    assert column(pa.chunked_array(chunks)).tolist() == [[3, 4], [5, 6], [7, 8]]


def test_arrow_tensors_keep_their_shape():
    values = np.arange(24, dtype=np.float64).reshape(4, 2, 3)
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(values)

    assert np.array_equal(column(tensors), values)
    assert np.array_equal(column(tensors[1:3]), values[1:3])


@pytest.mark.parametrize(
    "values",
    [
        ["a", "b", "a"],
        np.array(["a", "b", "a"]),
        np.array(["a", "b", "a"], dtype=object),
        pa.array(["a", "b", "a"]),
        pa.array(["a", "b", "a"], pa.large_string()),
        pa.array(["a", "b", "a"]).dictionary_encode(),
        pa.array(["a", "b", "a"], pa.large_string()).dictionary_encode(),
    ],
)
def test_strings_become_dictionaries(values):
    fs = single(values, "tags")

    assert pa.types.is_dictionary(fs.snapshot().collection.table.schema.field("tags.x.raw").type)
    assert fs.get_tags("x").tolist() == ["a", "b", "a"]
    assert fs.take([2, 1]).get_tags("x").tolist() == ["a", "b"]


def test_tags_hold_booleans_timestamps_durations_and_categories():
    assert column(np.array([True, False, True]), "tags").tolist() == [True, False, True]
    for unit in ("D", "s", "ms", "us", "ns"):
        days = np.array(["2024-02-29", "1969-12-31"], dtype=f"datetime64[{unit}]")
        assert column(days, "tags").dtype == days.dtype
        assert np.array_equal(column(days, "tags"), days)
    spans = np.array([1, -2], dtype="timedelta64[ms]")
    assert np.array_equal(column(spans, "tags"), spans)


def test_tags_may_miss_values():
    assert column(["a", None, "b"], "tags").tolist() == ["a", None, "b"]
    assert column([1, None, 3], "tags").tolist() == [1, None, 3]
    assert column(pa.array([True, None]), "tags").tolist() == [True, None]
    assert np.isnan(column(pa.array([0.5, None]), "tags")[1])
    masked = np.ma.MaskedArray([1, 2, 3], mask=[False, True, False])
    assert column(masked, "tags").tolist() == [1, None, 3]


def test_nan_and_infinities_are_kept():
    values = np.array([np.nan, np.inf, -np.inf, -0.0], dtype=np.float32)

    assert column(values).tobytes() == values.tobytes()


def test_lists_become_arrays():
    assert column([1.5, 2.5]).dtype == np.float64
    assert column([[1, 2], [3, 4], [5, 6]]).shape == (3, 2)
    assert column([np.ones((2, 2)), np.zeros((2, 2))]).shape == (2, 2, 2)


BAD = {
    "ragged lists": ([[1, 2], [3, 4], [5]], "row 2", "shape (2,)"),
    "ragged arrays": ([np.ones((2, 2)), np.ones((2, 3))], "row 1", "shape (2, 2)"),
    "ragged deeper": ([[[1, 2], [3, 4]], [[1, 2], [3]]], "row 1", "shape (2, 2)"),
    "ragged objects": (np.array([[1], [2], [3, 4]], dtype=object), "row 2", "shape (1,)"),
    "ragged arrow": (pa.array([[1], [2], [3, 4], [5]]), "row 2", "shape (1,)"),
    "ragged arrow deeper": (pa.array([[[1, 2]], [[3, 4]], [[5]]]), "row 2", "shape (2,)"),
    "ragged chunks": (pa.chunked_array([[[1], [2]], [[3, 4]]]), "row 2", "shape (1,)"),
    "none in a list": ([1.0, 2.0, None], "row 2", "no nulls in features"),
    "only none": ([None, None], "row 0", "no nulls"),
    "null": (pa.array([1.0, None, 2.0]), "row 1", "no nulls in features"),
    "null in a later chunk": (pa.chunked_array([[1.0], [2.0], [None]]), "row 2", "no nulls"),
    "null list": (pa.array([[1.0], None]), "row 1", "no nulls"),
    "null in a list": (pa.array([[1.0, 2.0], [3.0, None]]), "row 1", "no nulls"),
    "null in a tensor": (pa.array([[1.0, 2.0], [None, 3.0]], pa.list_(pa.float64(), 2)), "row 1", "no nulls"),
    "null string": (["a", None], "row 1", "no nulls"),
    "null in a dictionary": (
        pa.DictionaryArray.from_arrays(pa.array([0, 1]), pa.array(["a", None])),
        "row 1",
        "no nulls",
    ),
    "masked": (np.ma.MaskedArray(np.ones((3, 2)), mask=[[0, 0], [0, 1], [0, 0]]), "row 1", "no nulls"),
    "mixed types": (["a", 1, "b"], "row 1", "str in every row"),
    "complex": (np.ones(3, dtype=complex), "row 0", "floats of 16 to 64 bits"),
    "structured": (np.zeros(3, dtype=[("a", "f4")]), "row 0", "floats of 16 to 64 bits"),
    "bytes": (pa.array([b"a", b"b"]), "row 0", "floats of 16 to 64 bits"),
    "decimal": (pa.array([1, 2]).cast(pa.decimal128(30, 2)), "row 0", "floats of 16 to 64 bits"),
    "struct": (pa.array([{"a": 1}]), "row 0", "floats of 16 to 64 bits"),
    "string tensors": (np.array([["a", "b"]]), "row 0", "one shape for all"),
    "string lists": (pa.array([["a"], ["b"]]), "row 0", "one shape for all"),
    "masked in one dimension": (np.ma.MaskedArray([1, 2, 3], mask=[False, False, True]), "row 2", "no nulls"),
    "no time": (np.array(["2024-01-01", "NaT"], dtype="datetime64[s]"), "row 1", "no nulls"),
    "long double": (np.ones(3, dtype=np.longdouble), "row 0", "floats of 16 to 64 bits"),
    "bytes of NumPy": (np.array([b"a", b"b"]), "row 0", "floats of 16 to 64 bits"),
    "complex in a list": ([1j, 2j], "row 0", "floats of 16 to 64 bits"),
    "a list of mappings": ([{"a": 1}, {"a": 2}], "row 0", "floats of 16 to 64 bits"),
    "numbers and arrays": ([1, np.ones(2)], "row 1", "shape ()"),
    "an integer of 65 bits": ([1, 2**64], "row 1", "floats of 16 to 64 bits"),
    "objects": ([object(), object()], "row 0", "one shape for all"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data_names_key_row_and_expectation(case):
    values, row, expected = BAD[case]
    with ExperimentContext().activate() as context, pytest.raises(DataError) as caught:
        FeatureSet.from_dict("bad", {"curve": values}, feature_keys="curve")

    message = str(caught.value)
    assert "curve" in message
    assert row in message
    assert expected in message
    assert "FeatureSet 'bad'" in message
    assert len(context) == 0


NO_COLUMNS = [3.0, "text", np.float32(1), np.zeros((3, 0)), [], {}, None, iter([1]), {1, 2}]


@pytest.mark.parametrize("values", NO_COLUMNS)
def test_what_is_no_column_is_refused(values):
    with ExperimentContext().activate(), pytest.raises(DataError, match="'x'"):
        FeatureSet.from_dict("bad", {"x": values}, feature_keys="x")


@pytest.mark.parametrize("domain", ["features", "tags"])
def test_a_tensor_with_a_missing_sample_is_refused_in_every_domain(domain):
    storage = pa.FixedSizeListArray.from_arrays(
        pa.array([1.0, 2.0, 3.0, 4.0]), 2, mask=pa.array([False, True])
    )
    tensors = pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(pa.float64(), [2]), storage)
    with pytest.raises(DataError, match="missing value in row 1"):
        column(tensors, domain)


@pytest.mark.parametrize("shape", [(3, 0), (3, 2, 0), (0,), (0, 2)])
def test_samples_without_elements_and_columns_without_samples_are_refused(shape):
    with pytest.raises(DataError, match=r"no elements|at least one sample"):
        column(np.ones(shape))


def test_a_failed_ingest_leaves_the_label_free_and_others_as_they_were():
    with ExperimentContext().activate() as context:
        fs = FeatureSet.from_dict("good", {"x": np.ones(3)}, feature_keys="x")
        with pytest.raises(DataError):
            FeatureSet.from_dict("next", {"x": np.ones(3), "y": [1, None, 2]}, feature_keys=["x", "y"])
        before = fs.fingerprint
        again = FeatureSet.from_dict("next", {"x": np.ones(3)}, feature_keys="x")

        assert [node.label for node in context] == ["good", "next"]
        assert again.fingerprint == before == fs.fingerprint


def test_columns_of_different_length_are_refused():
    with pytest.raises(DataError) as caught:
        FeatureSet.from_dict("bad", {"x": np.ones(5), "y": np.ones(4)}, feature_keys="x", target_keys="y")

    assert "'y' has 4 samples" in str(caught.value)
    assert "expected: 5 samples" in str(caught.value)
    assert "row 4" in str(caught.value)


def test_a_key_is_named_once_per_domain():
    with pytest.raises(DataError, match="'x' is given twice"):
        FeatureSet.from_dict("bad", {"x": np.ones(5)}, feature_keys=["x", "x"])


def test_a_column_may_be_feature_and_target():
    fs = FeatureSet.from_dict("same", {"x": np.ones((5, 2))}, feature_keys="x", target_keys="x")

    assert np.shares_memory(fs.get_features("x"), fs.get_targets("x"))


def test_a_null_tag_is_still_refused_as_a_target():
    values = pa.array([1.0, None])
    with pytest.raises(DataError, match="no nulls in targets"):
        FeatureSet.from_dict(
            "bad", {"x": [1, 2], "y": values}, feature_keys="x", tag_keys="y", target_keys="y"
        )


def test_an_unknown_key_lists_the_near_misses():
    with pytest.raises(ColumnError, match=r"no key 'voltag'.*\n.*\n.*'voltage'"):
        FeatureSet.from_dict("bad", {"voltage": np.ones(5)}, feature_keys="voltag")


@pytest.mark.parametrize("key", ["a.b", "a*", "", " "])
def test_a_key_that_cannot_be_selected_is_refused(key):
    with pytest.raises(ColumnError, match="cannot be the key"):
        FeatureSet.from_dict("bad", {key: np.ones(5)}, feature_keys=[key])


def test_no_columns_and_no_samples_are_refused():
    with pytest.raises(DataError, match="at least one column"):
        FeatureSet.from_dict("bad", {"x": np.ones(3)}, feature_keys=())
    with pytest.raises(DataError, match="at least one sample"):
        FeatureSet.from_dict("bad", {"x": np.ones((0, 3))}, feature_keys="x")


def test_from_numpy_names_bare_arrays():
    fs = FeatureSet.from_numpy("n", np.ones((4, 2)), targets={"soh": np.zeros(4)}, tags=np.arange(4))

    assert fs.schema.names == ("features.x.raw", "targets.soh.raw", "tags.tag.raw")
    with pytest.raises(DataError, match="no NumPy array"):
        FeatureSet.from_numpy("m", [1, 2])


def test_from_arrow_takes_tables_and_refuses_repeated_names():
    table = pa.table({"x": [1.0, 2.0], "c": ["a", "b"]})
    fs = FeatureSet.from_arrow("a", table, feature_keys="x", tag_keys="c")

    assert fs.get_tags("c").tolist() == ["a", "b"]
    doubled = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["x", "x"])
    with pytest.raises(DataError, match="two columns named 'x'"):
        FeatureSet.from_arrow("b", doubled, feature_keys="x")
    with pytest.raises(DataError, match="Arrow C stream"):
        FeatureSet.from_arrow("c", {"x": [1]}, feature_keys="x")


def test_from_arrow_keeps_the_nan_of_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"x": np.array([1, np.nan], "f4"), "c": ["a", None], "k": ["u", "v"]})
    frame["k"] = frame["k"].astype("category")
    fs = FeatureSet.from_arrow("p", frame, feature_keys="x", tag_keys=["c", "k"])

    assert np.isnan(fs.get_features("x")[1])
    assert fs.get_features("x").dtype == np.float32
    assert fs.get_tags("c").tolist() == ["a", None]
    assert fs.get_tags("k").tolist() == ["u", "v"]


def test_a_table_named_in_full_keeps_its_uuids():
    uuids = pa.array([bytes([row]) * 16 for row in range(3)], pa.binary(16))
    table = pa.table({"features.x.raw": [1.0, 2.0, 3.0], "sample_uuids.uuid.raw": uuids})
    fs = FeatureSet.from_pyarrow_table("t", table)

    assert fs.sample_uuids[:, 0].tolist() == [0, 1, 2]
    assert fs.take([2]).sample_uuids.tolist() == [[2] * 16]


@pytest.mark.parametrize(
    ("uuids", "words"),
    [
        (pa.array([b"a" * 16, b"a" * 16], pa.binary(16)), "repeats"),
        (pa.array([b"a" * 8, b"b" * 8], pa.binary(8)), "16 bytes"),
        (pa.array([b"a" * 16, None], pa.binary(16)), "nulls"),
    ],
)
def test_bad_uuids_are_refused(uuids, words):
    with pytest.raises(DataError, match=words):
        FeatureSet.from_pyarrow_table("t", pa.table({"features.x.raw": [1, 2], "sample_uuids.id.raw": uuids}))


@given(
    st.lists(st.one_of(st.none(), st.integers(), st.floats(), st.text(), st.lists(st.floats())), max_size=5)
)
def test_whatever_comes_in_either_works_or_is_an_error_of_mml(values):
    try:
        back = column(values, "tags")
    except MMLError as error:
        assert "x" in str(error)  # noqa: PT017 - any input is tried, so both outcomes are right
    else:
        assert len(back) == len(values)


def test_keys_that_are_no_strings_are_refused():
    with pytest.raises(ColumnError, match="a string, or a list of strings") as caught:
        FeatureSet.from_dict("cells", {1: np.ones(3)}, feature_keys=1)
    assert "domain 'features'" in caught.value.where


@pytest.mark.parametrize("keys", [[["x"]], [None], [("x",)], b"x", [{}]])
def test_keys_that_cannot_be_keys_are_refused(keys):
    with pytest.raises(ColumnError, match=r"no key|cannot be a key"):
        FeatureSet.from_dict("cells", {"x": np.ones(3)}, feature_keys=keys)


def test_a_table_given_as_a_mapping_is_sent_to_from_arrow():
    with pytest.raises(DataError, match="from_dict takes a mapping") as caught:
        FeatureSet.from_dict("cells", pa.table({"x": [1.0]}), feature_keys="x")
    assert "from_arrow" in caught.value.hint
