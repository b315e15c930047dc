"""Tables are Arrow IPC files for every tool, are read in place, and hostile ones are refused."""

from __future__ import annotations

import mmap
import struct

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mml.errors import ArchiveError
from mml.files import load_table, save_table


def _table():
    tensor = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(24, dtype=np.float32).reshape(4, 2, 3))
    return pa.table(
        {
            "number": pa.array([1.5, None, float("nan"), -0.0]),
            "text": pa.array(["a", None, "ü", ""]),
            "label": pa.array(["x", "y", "x", "x"]).dictionary_encode(),
            "uuid": pa.array([bytes(16)] * 4, pa.binary(16)),
            "flag": pa.array([True, False, None, True]),
            "list": pa.array([[1], [], None, [2, 3]]),
            "tensor": tensor,
        }
    ).replace_schema_metadata({"key": "value"})


def test_every_kind_of_column_comes_back():
    table = _table()
    back = load_table(save_table(table))
    assert back.schema.equals(table.schema, check_metadata=True)
    assert back.drop_columns("number").equals(table.drop_columns("number"))
    numbers = [chunk.to_numpy(zero_copy_only=False).tobytes() for chunk in back["number"].chunks]
    assert numbers == [chunk.to_numpy(zero_copy_only=False).tobytes() for chunk in table["number"].chunks]


def test_arrow_itself_reads_what_is_saved():
    table = _table().drop_columns("number")
    with pa.ipc.open_file(save_table(table)) as reader:
        assert reader.read_all().equals(table)


@pytest.mark.parametrize(
    "table", [pa.table({}), pa.table({"x": pa.array([], pa.int32())}), pa.table({"x": [None] * 3})]
)
def test_empty_tables_come_back(table):
    assert load_table(save_table(table)).equals(table)


def test_chunks_and_their_different_dictionaries_come_back():
    chunks = [pa.array(["a", "b"]).dictionary_encode(), pa.array(["c", "a"]).dictionary_encode()]
    table = pa.table({"x": pa.chunked_array(chunks)})
    back = load_table(save_table(table))
    assert back["x"].num_chunks == 2
    assert back["x"].to_pylist() == ["a", "b", "c", "a"]


def test_slices_are_saved_without_their_surroundings():
    table = pa.table({"x": np.arange(100_000)}).slice(5, 10)
    saved = save_table(table)
    assert saved.size < 2_000
    assert load_table(saved).equals(table)


def test_columns_lie_in_the_given_memory(tmp_path):
    (tmp_path / "t.arrow").write_bytes(save_table(pa.table({"x": np.arange(1000)})))
    with open(tmp_path / "t.arrow", "rb") as file:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    start = np.frombuffer(mapped, np.uint8).ctypes.data
    column = load_table(mapped)["x"].chunk(0).to_numpy(zero_copy_only=True)
    assert start <= column.ctypes.data < start + len(mapped)
    assert column.tolist() == list(range(1000))


@pytest.mark.parametrize("codec", ["lz4", "zstd"])
@pytest.mark.parametrize("column", [pa.array([0] * 10_000), pa.array(["a" * 9000, "b"]).dictionary_encode()])
def test_compressed_tables_are_refused_before_they_unfold(codec, column):
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(
        sink, pa.schema([("x", column.type)]), options=pa.ipc.IpcWriteOptions(compression=codec)
    ) as out:
        out.write_table(pa.table({"x": column}))
    before = pa.total_allocated_bytes()
    with pytest.raises(ArchiveError, match="compressed"):
        load_table(sink.getvalue().to_pybytes())
    assert pa.total_allocated_bytes() <= before


def test_more_rows_than_bytes_are_refused():
    column = pa.Array.from_buffers(pa.null(), (1 << 31) - 1, [None])  # a column that needs no bytes
    batch = pa.RecordBatch.from_arrays([column], ["x"])
    with pytest.raises(ArchiveError, match="more rows"):
        load_table(save_table(pa.Table.from_batches([batch])))


def test_offsets_that_point_outside_their_column_are_refused():
    saved = bytearray(save_table(pa.table({"x": pa.array(["aaaa", "bbbb"])})))
    place = bytes(saved).index(struct.pack("<3i", 0, 4, 8))
    struct.pack_into("<3i", saved, place, 0, 4, 1 << 30)
    with pytest.raises(ArchiveError, match="not readable"):
        load_table(bytes(saved))


@pytest.mark.parametrize(
    "data", [b"", b"ARROW1", b"ARROW1\0\0", b"PAR1" + bytes(100), b"ARROW1\0\0" + b"\xff" * 64]
)
def test_what_is_no_table_is_refused(data):
    with pytest.raises(ArchiveError):
        load_table(data)


@given(st.data())
def test_a_damaged_table_is_refused_or_still_a_valid_one(data):
    saved = bytearray(save_table(_table()))
    for _ in range(data.draw(st.integers(1, 3))):
        saved[data.draw(st.integers(0, len(saved) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        table = load_table(bytes(saved))
    except ArchiveError:
        return
    table.validate(full=True)
    assert table.num_rows <= 8 * len(saved)


@given(st.integers(0, 10_000))
def test_a_table_that_is_cut_off_is_refused_or_lost_only_its_footer(length):
    saved = save_table(_table()).to_pybytes()
    try:
        table = load_table(saved[: min(length, len(saved) - 1)])
    except ArchiveError:
        return
    assert table.num_rows in (0, 4)
