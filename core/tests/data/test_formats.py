"""Formats: what each hands out, and what they refuse."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mml.backends.numpy_backend import NumpyBackend
from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import DataError
from mml.plugins import registry

from .samples import arrays, cells, single

FS = cells()


def test_numpy_gives_one_column_as_it_is_stored_and_stacks_several():
    pair = cells().get_features(["voltage", "voltage"])

    assert FS.get_features("image").shape == (23, 2, 3)
    assert FS.get_features("voltage").shape == (23,)
    assert pair.shape == (23,)
    assert FS.get_features(["voltage", "count"]).shape == (23, 2)
    assert FS.get_tags("cell").dtype == object


def test_numpy_refuses_columns_that_do_not_stack():
    with pytest.raises(DataError, match=r"dict_numpy") as caught:
        FS.get_features()
    assert "pulse float32(5,)" in str(caught.value)
    with pytest.raises(DataError, match="do not stack"):
        FS.get_tags()
    with pytest.raises(DataError, match="No column"):
        FS.get_features([])


STACKED = {
    "an integer and a time": (np.arange(3), np.arange(3).astype("M8[s]"), "different kinds"),
    "an integer and a duration": (np.arange(3), np.arange(3).astype("m8[s]"), "different kinds"),
    "a time and a duration": (np.arange(3).astype("M8[s]"), np.arange(3).astype("m8[s]"), "different kinds"),
    "int64 and uint64": (np.arange(3) - 2**53, np.arange(3, dtype="u8") + 2**63, "no integer type"),
    "uint64 and int8": (np.arange(3, dtype="u8") + 2**63, np.arange(3, dtype="i1"), "no integer type"),
    "a time beyond the other's unit": (
        np.array(["3000-01-01"] * 3, "M8[D]"),
        np.arange(3).astype("M8[ns]"),
        "range of datetime64",
    ),
}


@pytest.mark.parametrize("case", STACKED)
@pytest.mark.parametrize("fmt", ["numpy", "list"])
def test_columns_that_would_change_are_not_stacked(case, fmt):
    one, two, reason = STACKED[case]
    with ExperimentContext().activate():
        fs = FeatureSet.from_dict("t", {"one": one, "two": two}, feature_keys=["one", "two"])
    if fmt == "list":
        assert list(fs.get_features(fmt=fmt)) == ["one", "two"]
        return
    with pytest.raises(DataError, match="do not stack") as caught:
        fs.get_features(fmt=fmt)

    assert reason in caught.value.what
    assert f"two {two.dtype}()" in caught.value.found
    assert caught.value.where == "FeatureSet 't'"


def test_times_and_integers_of_other_widths_stack_where_one_type_holds_both():
    data = {
        "d": np.array(["2024-05-01", "NaT"], "M8[D]"),
        "t": np.array(["2024-05-01T12:00", "2024-05-02T00:00"], "M8[us]"),
        "i": np.array([-1, 2], "i2"),
        "u": np.array([2**32 - 1, 0], "u4"),
    }
    with ExperimentContext().activate():
        fs = FeatureSet.from_dict("t", data, feature_keys=["i", "u"], tag_keys=["d", "t"])
    times = np.array([["2024-05-01T00", "2024-05-01T12"], ["NaT", "2024-05-02"]], "M8[us]")

    assert np.array_equal(fs.get_tags(), times, equal_nan=True)
    assert fs.get_features().dtype == np.int64
    assert fs.get_features().tolist() == [[-1, 2**32 - 1], [2, 0]]


def test_dict_numpy_names_columns_by_key_and_in_full_across_domains():
    assert list(FS.get_features(fmt="dict_numpy")) == ["voltage", "pulse", "image", "count"]
    assert list(FS.get_data(["soh", "cell"])) == ["targets.soh.raw", "tags.cell.raw"]
    fs = cells()
    fs.fit_transform("standard", domain="features", keys="pulse")
    both = fs.get_features(["pulse.raw", "pulse.transformed"], fmt="dict_numpy")
    assert list(both) == ["features.pulse.raw", "features.pulse.transformed"]


def test_arrow_keeps_the_stored_layout_and_aliases_contiguous_rows():
    table = FS.take(slice(2, 7)).get_features(["pulse", "voltage"], fmt="arrow")
    stored = FS.snapshot().collection.table.column("features.voltage.raw").chunk(0)

    assert isinstance(table.schema.field("pulse").type, pa.FixedShapeTensorType)
    assert table.column("voltage").chunk(0).buffers()[1].address == stored.buffers()[1].address
    assert table.column("voltage").to_pylist() == arrays()["voltage"][2:7].tolist()
    scattered = FS.take([7, 2]).get_data(fmt="arrow")
    assert scattered.column("tags.cell.raw").to_pylist() == ["cell-3", "cell-2"]
    assert scattered.column("features.image.raw").chunk(0).to_numpy_ndarray().shape == (2, 2, 3)


def test_arrow_holds_transformed_columns_too():
    fs = cells()
    fs.fit_transform("standard", domain="features")
    table = fs.get_features(["pulse", "voltage"], fmt="arrow")

    assert np.array_equal(table.column("pulse").combine_chunks().to_numpy_ndarray(), fs.get_features("pulse"))
    assert table.column("voltage").to_pylist() == fs.get_features("voltage").tolist()


def test_list_gives_python_values():
    assert FS.take([0, 5]).get_features("count", fmt="list") == arrays()["count"][[0, 5]].tolist()
    assert FS.take([0]).get_data(["count", "cell"], fmt="list") == {
        "features.count.raw": [int(arrays()["count"][0])],
        "tags.cell.raw": ["cell-0"],
    }


def test_pandas_gives_a_frame():
    pandas = pytest.importorskip("pandas")
    frame = FS.get_data(["voltage", "pulse", "cell", "day"], fmt="pandas")

    assert isinstance(frame, pandas.DataFrame)
    assert frame["features.voltage.raw"].dtype == np.float32
    assert frame["features.pulse.raw"].iloc[3].tolist() == arrays()["pulse"][3].tolist()
    assert list(FS.to_pandas().columns) == list(FS.schema.names)


class Doubling(NumpyBackend):
    """A backend whose arrays are told from NumPy's by their values."""

    def to_array(self, array, *, device=None):
        return array * 2


def test_every_backend_is_a_format():
    backends = registry("backends")
    backends.register("doubling")(Doubling)
    try:
        assert np.array_equal(FS.get_features("pulse", fmt="doubling"), arrays()["pulse"] * 2)
        with pytest.raises(DataError, match="numbers only"):
            FS.get_tags("cell", fmt="doubling")
    finally:
        backends.remove("doubling")


def test_unknown_formats_list_the_near_misses():
    with pytest.raises(DataError, match="Did you mean 'polars'"):
        FS.get_features("pulse", fmt="polar")
    with pytest.raises(DataError, match="by name"):
        FS.get_features("pulse", fmt=None)


@pytest.mark.parametrize(("asked", "advice"), [("nump", "Did you mean 'numpy'?"), ("stats", "mml[stats]")])
def test_a_format_that_is_not_there_names_a_near_one_or_what_installs_it(asked, advice):
    with pytest.raises(DataError, match="no format") as caught:
        FS.get_features("voltage", fmt=asked)
    assert advice in caught.value.hint


KINDS = {
    "bool": "bool",
    "int8": "int",
    "uint64": "int",
    "float16": "float",
    "float32": "float",
    "datetime64[D]": "date",
    "datetime64[s]": "datetime",
    "datetime64[us]": "datetime",
    "datetime64[ns]": "datetime64",
    "timedelta64[ms]": "timedelta",
    "timedelta64[ns]": "timedelta64",
}


@pytest.mark.parametrize("shape", [(5,), (5, 1), (5, 2), (5, 2, 3), (5, 2, 1, 2)])
@pytest.mark.parametrize("kind", KINDS)
def test_every_format_holds_every_type_of_every_rank(kind, shape):
    values = np.arange(np.prod(shape)).reshape(shape).astype(kind)
    fs, rows = single(values), [3, 0]
    as_list = fs.take(rows).get_features(fmt="list")
    first = as_list
    while isinstance(first, list):
        first = first[0]

    assert fs.take(rows).get_features().tobytes() == values[rows].tobytes()
    assert fs.take(rows).get_features(fmt="dict_numpy")["x"].dtype == values.dtype
    assert type(first).__name__ == KINDS[kind]
    assert np.array(as_list, dtype=kind).tobytes() == values[rows].tobytes()
    arrow = fs.take(rows).get_features(fmt="arrow")["x"].combine_chunks()
    flat = arrow.storage if isinstance(arrow, pa.ExtensionArray) else arrow
    while pa.types.is_fixed_size_list(flat.type):
        flat = flat.flatten()
    assert flat.to_numpy(zero_copy_only=False).astype(kind).tobytes() == values[rows].tobytes()


def test_contiguous_numbers_are_handed_out_without_a_copy():
    fs = cells()
    whole = fs.get_features("pulse")

    for view in (
        fs,
        fs.view(),
        fs.take(slice(3, 9)),
        fs.take([4, 5, 6]),
        fs.select("pulse").take(slice(2, 5)),
    ):
        assert np.shares_memory(view.get_features("pulse"), whole)
        assert np.shares_memory(view.get_data("pulse")["features.pulse.raw"], whole)
        assert not view.get_features("pulse").flags.writeable
    assert not np.shares_memory(fs.take([4, 9]).get_features("pulse"), whole)
    stored = fs.take(slice(3, 9)).get_features("pulse", fmt="arrow")["pulse"].chunk(0)
    assert np.shares_memory(stored.to_numpy_ndarray(), whole)


def test_a_backend_owns_what_it_gets_unless_it_may_share():
    x = np.arange(12, dtype="float32").reshape(4, 3)
    rows = FeatureSet.from_dict("shared", {"x": x}, feature_keys="x")
    stored = rows.get_features("x")
    owned = rows.get_features("x", fmt="reference")
    shared = rows.get_features("x", fmt="reference", copy=False)
    assert not np.shares_memory(owned, stored)
    assert np.shares_memory(shared, stored)
    assert not shared.flags.writeable
    np.testing.assert_array_equal(owned, shared)
    scattered = rows.take([2, 0]).get_features("x", fmt="reference", copy=False)
    assert not np.shares_memory(scattered, stored)
    np.testing.assert_array_equal(scattered, x[[2, 0]])
