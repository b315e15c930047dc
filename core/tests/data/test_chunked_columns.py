"""Columns of many chunks: the same bits as one chunk, read where they lie."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.data import chunked_columns as chunked

N_ROWS = 61
DTYPES = [np.int8, np.uint16, np.float16, np.float32, np.float64, "datetime64[ms]"]
CUTS = st.lists(st.integers(0, N_ROWS), max_size=6).map(lambda cuts: [0, *sorted(cuts), N_ROWS])


@pytest.fixture(autouse=True)
def nothing_is_small(monkeypatch):
    """Keep chunks apart that would be combined for being small."""
    monkeypatch.setattr(chunked, "COMBINED_BYTES", 0)
    monkeypatch.setattr(chunked, "_SMALL_CHUNK_BYTES", 0)


def values_of(dtype, shape):
    rng = np.random.default_rng(len(shape))
    return rng.integers(0, 100, (N_ROWS, *shape)).astype(dtype)


def tensors(values):
    flat = pa.array(values.reshape(-1))
    for size in reversed(values.shape[1:]):
        flat = pa.FixedSizeListArray.from_arrays(flat, size)
    return flat


def pieces(values, cuts):
    """Return chunks that lie in buffers of their own."""
    return pa.chunked_array([tensors(values[a:b].copy()) for a, b in itertools.pairwise(cuts)])


def mapped(values, cuts, path):
    """Return chunks that lie in one mapped file, as record batches of it, beside a column of odd size."""
    batches = [
        pa.record_batch({"o": pa.array([True] * (b - a), pa.bool_()), "x": tensors(values[a:b])})
        for a, b in itertools.pairwise(cuts)
    ]
    with pa.ipc.new_file(str(path), batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all().column("x")


def featureset(column):
    with ExperimentContext().activate():
        return FeatureSet.from_arrow("t", pa.table({"x": column}), feature_keys="x")


@pytest.mark.parametrize("shape", [(), (3,), (2, 5), (1024,)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layout", ["pieces", "mapped"])
def test_rows_of_many_chunks_are_those_of_one(tmp_path, layout, dtype, shape):
    values, cuts = values_of(dtype, shape), [0, 7, 7, 20, 48, 60, N_ROWS]
    column = pieces(values, cuts) if layout == "pieces" else mapped(values, cuts, tmp_path / "t.arrow")
    source = featureset(column).snapshot()
    rows = np.random.default_rng(0).integers(0, N_ROWS, 200)
    out = np.empty((200, *shape), dtype=dtype)

    assert source.take("features.x.raw", rows).tobytes() == values[rows].tobytes()
    assert source.take("features.x.raw", rows, out) is out
    assert out.tobytes() == values[rows].tobytes()
    assert source.take("features.x.raw", rows[:0]).shape == (0, *shape)
    for part in (slice(0, N_ROWS), slice(7, 20), slice(8, 19), slice(6, 61), slice(61, 61), slice(0, 0)):
        assert source.take("features.x.raw", part).tobytes() == values[part].tobytes()
    assert source.take("features.x.raw", slice(3, 60), out[:57]).tobytes() == values[3:60].tobytes()


@given(cuts=CUTS, seed=st.integers(0, 9), in_one_buffer=st.booleans())
def test_any_chunking_gives_the_same_bits(tmp_path_factory, cuts, seed, in_one_buffer):
    values = values_of(np.float32, (3,))
    path = tmp_path_factory.mktemp("chunks") / "t.arrow"
    fs = featureset(mapped(values, cuts, path) if in_one_buffer else pieces(values, cuts))
    rows = np.random.default_rng(seed).permutation(N_ROWS)

    assert fs.take(rows).get_features().tobytes() == values[rows].tobytes()
    table = fs.take(rows).to_arrow()
    assert table["features.x.raw"].chunk(0).to_numpy_ndarray().tolist() == values[rows].tolist()
    assert fs.fingerprint == featureset(tensors(values)).fingerprint


def test_a_part_of_one_chunk_is_a_view_and_a_buffer_of_other_strides_is_filled(tmp_path):
    values = values_of(np.float32, (3,))
    fs = featureset(mapped(values, [0, 30, N_ROWS], tmp_path / "t.arrow"))
    inside, again = fs.take(slice(31, 50)).get_features(), fs.take(slice(40, 45)).get_features()
    strided = np.empty((10, 6), dtype=np.float32)[:, ::2]

    assert np.shares_memory(inside, again)
    assert not inside.flags.writeable
    assert fs.snapshot().take("features.x.raw", np.arange(60, 50, -1), strided) is strided
    assert np.array_equal(strided, values[60:50:-1])


def test_chunks_in_one_file_are_found_without_visiting_each(tmp_path, monkeypatch):
    values = values_of(np.float32, (3,))
    monkeypatch.setattr(
        chunked.ChunkedColumn, "_chunk_by_chunk", lambda *_: pytest.fail("visited each chunk")
    )
    fs = featureset(mapped(values, [0, 30, N_ROWS], tmp_path / "t.arrow"))

    assert fs.take([60, 0]).get_features().tolist() == values[[60, 0]].tolist()


def test_zones_and_identities_survive_a_take_from_chunks():
    zoned = pa.chunked_array([[1, 2], [3]], pa.timestamp("us", "Asia/Tokyo"))
    with ExperimentContext().activate():
        fs = FeatureSet.from_arrow("t", pa.table({"x": zoned}), feature_keys=(), tag_keys="x")
    table = fs.take([2, 0]).get_tags("x", fmt="arrow")

    assert table.schema.field("x").type == pa.timestamp("us", "Asia/Tokyo")
    assert table["x"].cast(pa.int64()).to_pylist() == [3, 1]


def test_small_columns_are_combined(monkeypatch):
    monkeypatch.setattr(chunked, "COMBINED_BYTES", 1 << 20)
    values = values_of(np.float32, (3,))
    fs = featureset(pieces(values, [0, 30, N_ROWS]))

    assert np.shares_memory(fs.get_features(), fs.take(slice(20, 40)).get_features())


def test_tensors_of_zoned_times_are_taken_from_chunks_with_their_zone():
    kind = pa.timestamp("us", "Asia/Tokyo")
    fs = featureset(pa.chunked_array([[[1, 2], [3, 4]], [[5, 6]]], pa.list_(kind, 2)))
    taken = fs.take([2, 0]).get_features("x", fmt="arrow")["x"].combine_chunks()

    assert taken.type == pa.fixed_shape_tensor(kind, [2])
    assert taken.storage.flatten().cast(pa.int64()).to_pylist() == [5, 6, 1, 2]
    assert fs.take([2, 0]).to_featureset("taken").get_features().astype(np.int64).tolist() == [[5, 6], [1, 2]]
