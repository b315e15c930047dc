"""Arrow IPC files, and what files of all kinds have in common: those that are not what they seem."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import ColumnError

from .samples import cells
from .table_files import TABLE, made, refused, write


@pytest.mark.parametrize("form", ["file", "stream", "feather", "compressed"])
def test_ipc_files_of_every_form_are_read(tmp_path, form):
    path = tmp_path / "t.arrow"
    if form == "stream":
        with pa.ipc.new_stream(str(path), TABLE.schema) as writer:
            writer.write_table(TABLE, max_chunksize=3)
    elif form == "file":
        write("ipc", path)
    else:
        options = pa.ipc.IpcWriteOptions(compression="lz4" if form == "compressed" else None)
        with pa.ipc.new_file(str(path), TABLE.schema, options=options) as writer:
            writer.write_table(TABLE)

    assert made("ipc", path) == made("arrow", TABLE)


def test_a_mapped_file_is_aliased(tmp_path):
    write("ipc", tmp_path / "t.arrow", TABLE.slice(0, 3))
    fs = made("ipc", tmp_path / "t.arrow", feature_keys=["voltage", "pulse"])
    with open("/proc/self/maps") as file:
        mapped = [line.split()[0].split("-") for line in file if line.rstrip().endswith("t.arrow")]
    spans = [(int(start, 16), int(stop, 16)) for start, stop in mapped]

    for key in ("voltage", "pulse"):
        address = fs.get_features(key).__array_interface__["data"][0]
        assert any(start <= address < stop for start, stop in spans)


def test_columns_named_in_full_need_no_keys(tmp_path):
    fs = cells()
    table = fs.to_arrow()
    with pa.ipc.new_file(str(tmp_path / "t.arrow"), table.schema) as writer:
        writer.write_table(table)
    with ExperimentContext().activate():
        again = FeatureSet.from_ipc("cells", tmp_path / "t.arrow")

    assert again.fingerprint == fs.fingerprint
    assert np.array_equal(again.sample_uuids, fs.sample_uuids)
    write("ipc", tmp_path / "u.arrow")
    with pytest.raises(ColumnError, match="not a full column name") as caught:
        FeatureSet.from_ipc("cells", tmp_path / "u.arrow")
    assert "u.arrow" in str(caught.value)


def test_a_stream_that_ends_between_two_batches_is_cut_short(tmp_path):
    whole = pa.BufferOutputStream()
    with pa.ipc.new_stream(whole, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=2)
    data = whole.getvalue().to_pybytes()
    (tmp_path / "t.arrows").write_bytes(data[:-8])

    assert "cut short" in refused("ipc", tmp_path / "t.arrows")
    (tmp_path / "t.arrows").write_bytes(data)
    assert len(made("ipc", tmp_path / "t.arrows")) == 4


@pytest.mark.parametrize("part", [0.001, 0.3, 0.6, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["ipc", "parquet"])
def test_a_file_that_is_cut_short_is_refused(tmp_path, kind, part):
    path = write(kind, tmp_path / "t.file")
    data = path.read_bytes()
    path.write_bytes(data[: max(1, int(len(data) * part))])

    assert "t.file" in refused(kind, path)


@pytest.mark.parametrize("kind", ["ipc", "parquet", "csv"])
def test_a_file_that_is_not_there_or_of_another_kind_is_refused(tmp_path, kind):
    assert "no such file" in refused(kind, tmp_path / "absent.file")
    assert "named by its path" in refused(kind, 3)
    (tmp_path / "empty.file").write_bytes(b"")
    assert "empty.file" in refused(kind, tmp_path / "empty.file")
    (tmp_path / "folder").mkdir()
    assert "folder" in refused(kind, tmp_path / "folder")
    if kind != "csv":
        write("csv", tmp_path / "t.file")
        assert "t.file" in refused(kind, tmp_path / "t.file")
    with ExperimentContext().activate(), pytest.raises(ColumnError, match=r"string|no key 3"):
        getattr(FeatureSet, f"from_{kind}")("cells", write(kind, tmp_path / "u.file"), feature_keys=[3])


def test_no_file_at_all_is_refused():
    assert "no file to read" in refused("parquet", [])


@pytest.mark.parametrize("kind", ["ipc", "parquet"])
def test_bad_data_in_files_is_named_like_any_other(tmp_path, kind):
    bad = pa.table({"x": [1.0, None], "r": [[1], [1, 2]], "n": pa.nulls(2), "y": [1, 2]})
    path = write(kind, tmp_path / "bad.file", bad)

    assert "'x' has a missing value in row 1" in refused(kind, path, feature_keys="x")
    assert "row 1 is the first that does" in refused(kind, path, feature_keys="r")
    assert "missing value in row 0" in refused(kind, path, feature_keys="n")
    assert "given twice" in refused(kind, path, feature_keys=["y", "y"])
    path = write(kind, tmp_path / "none.file", bad.slice(0, 0))
    assert "at least one sample" in refused(kind, path, feature_keys="y")


@pytest.mark.parametrize("kind", ["parquet", "csv", "ipc"])
def test_keys_may_come_from_an_iterator(tmp_path, kind):
    path = write(kind, tmp_path / "t.file")
    fs = made(kind, path, feature_keys=(key for key in ["voltage"]), tag_keys=iter(["cell"]))

    assert fs.schema.names == ("features.voltage.raw", "tags.cell.raw")
