"""Parquet, CSV and Arrow IPC files: what is read, what is not, and files that are not what they seem."""

from __future__ import annotations

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import ColumnError, DataError

from .samples import cells

TABLE = pa.table(
    {
        "voltage": pa.array([3.5, float("nan"), 3.75, 4.0], pa.float32()),
        "cycle": pa.array([1, 2, 3, 4], pa.int16()),
        "pulse": pa.array([[1, 2], [3, 4], [5, 6], [7, 8]], pa.list_(pa.int8(), 2)),
        "cell": ["a", None, "a", "b"],
        "unread": [b"x", b"y", b"z", b"w"],
    }
)
KEYS = {"feature_keys": ["voltage", "pulse"], "target_keys": "cycle", "tag_keys": "cell"}


def made(kind, path, **keys):
    with ExperimentContext().activate():
        return getattr(FeatureSet, f"from_{kind}")("cells", path, **(keys or KEYS))


def refused(kind, path, error=DataError, **keys):
    """Return the message of a file that is refused, once it is sure that nothing was registered."""
    with ExperimentContext().activate() as context, pytest.raises(error) as caught:
        getattr(FeatureSet, f"from_{kind}")("cells", path, **(keys or KEYS))
    assert len(context) == 0
    assert "FeatureSet 'cells'" in str(caught.value)
    return str(caught.value)


def write(kind, path, table=TABLE):
    if kind == "parquet":
        pq.write_table(table, path)
    elif kind == "csv":
        csv.write_csv(table.drop_columns(["pulse", "unread"]), path)
    else:
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table, max_chunksize=3)
    return path


# Parquet


def test_columns_of_a_parquet_file_come_in_their_types(tmp_path):
    fs = made("parquet", write("parquet", tmp_path / "t.parquet"))

    assert fs == made("arrow", TABLE)
    assert [spec.describe() for spec in fs.schema] == ["float32", "int8[2]", "int16", "string"]


def test_several_files_follow_each_other_and_a_folder_goes_by_name(tmp_path):
    for number in (2, 0, 1):
        write("parquet", tmp_path / f"{number}.parquet", TABLE.slice(number, 1))
    files = [tmp_path / "2.parquet", str(tmp_path / "0.parquet")]

    assert made("parquet", files).get_targets().tolist() == [3, 1]
    assert made("parquet", tmp_path).get_targets().tolist() == [1, 2, 3]


def test_folders_named_for_values_become_columns(tmp_path):
    for cell in ("a", "b"):
        (tmp_path / f"cell={cell}").mkdir()
        write("parquet", tmp_path / f"cell={cell}" / "t.parquet", TABLE.select(["cycle"]).slice(0, 2))
    fs = made("parquet", tmp_path, feature_keys="cycle", tag_keys="cell")

    assert fs.get_tags("cell").tolist() == ["a", "a", "b", "b"]


def test_only_the_columns_asked_for_are_read(tmp_path, monkeypatch):
    seen = []
    read = pq.ParquetFile.read
    monkeypatch.setattr(
        pq.ParquetFile, "read", lambda self, columns: seen.append(columns) or read(self, columns=columns)
    )
    made("parquet", write("parquet", tmp_path / "t.parquet"), feature_keys="voltage", tag_keys="cell")

    assert seen == [["voltage", "cell"]]


def test_a_parquet_file_with_other_columns_is_refused_with_the_near_ones(tmp_path):
    write("parquet", tmp_path / "t.parquet")
    message = refused("parquet", tmp_path / "t.parquet", ColumnError, feature_keys="voltag")
    assert "no key 'voltag'" in message
    assert "Did you mean 'voltage'" in message
    assert "t.parquet" in message
    write("parquet", tmp_path / "u.parquet", TABLE.drop_columns(["voltage"]))
    message = refused("parquet", [tmp_path / "t.parquet", tmp_path / "u.parquet"], ColumnError)
    assert "no key 'voltage'" in message
    assert "u.parquet" in message


TYPES = {
    "wider floats": (pa.array([1.5], pa.float32()), pa.array([1 / 3], pa.float64())),
    "integers in floats": (pa.array([1]), pa.array([0.5])),
    "digits as text": (pa.array([1]), pa.array(["12"])),
    "zones": (pa.array([0], pa.timestamp("us")), pa.array([0], pa.timestamp("us", "Asia/Tokyo"))),
    "units": (pa.array([0], pa.timestamp("us")), pa.array([0], pa.timestamp("ns"))),
    "lists": (pa.array([[1]], pa.list_(pa.int8())), pa.array([[1]], pa.list_(pa.int16()))),
    "lists and numbers": (pa.array([1]), pa.array([[1]])),
}


@pytest.mark.parametrize("case", TYPES)
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("as_folder", [False, True])
def test_files_that_differ_in_the_type_of_a_column_are_refused(tmp_path, case, turned, as_folder):
    one, other = reversed(TYPES[case]) if turned else TYPES[case]
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    pq.write_table(pa.table({"x": one}), files[0])
    pq.write_table(pa.table({"x": other}), files[1])
    message = refused("parquet", tmp_path if as_folder else files, feature_keys="x")

    assert "differ in the type of 'x'" in message
    assert "b.parquet" in message
    assert f"expected: {pq.read_schema(files[0]).field('x').type}, as in '" in message
    assert f"found: {pq.read_schema(files[1]).field('x').type}" in message
    assert "damaged" not in message


ALIKE = {
    "texts": [
        pa.array(["a", "b"]),
        pa.array(["b", None], pa.large_string()),
        pa.array(["c"]).dictionary_encode(),
        pa.DictionaryArray.from_arrays(pa.array([0], pa.int8()), ["d"], ordered=True),
    ],
    "nothing but missing values first": [pa.nulls(2), pa.array([1, 2], pa.int8()), pa.nulls(1)],
    "nothing but missing values later": [pa.array(["a"]), pa.nulls(2), pa.array(["b"])],
}


@pytest.mark.parametrize("case", ALIKE)
def test_files_whose_types_are_stored_alike_follow_each_other(tmp_path, case):
    for number, column in enumerate(ALIKE[case]):
        pq.write_table(pa.table({"x": column}), tmp_path / f"{number}.parquet")
    fs = made("parquet", tmp_path, feature_keys=(), tag_keys="x")

    assert fs.get_tags("x", fmt="list") == [one for column in ALIKE[case] for one in column.to_pylist()]


def test_lists_of_several_forms_follow_each_other(tmp_path):
    forms = [pa.list_(pa.int8()), pa.large_list(pa.int8()), pa.list_(pa.int8(), 2)]
    for number, form in enumerate(forms):
        pq.write_table(pa.table({"x": pa.array([[number, 7]], form)}), tmp_path / f"{number}.parquet")
    fs = made("parquet", tmp_path, feature_keys="x")

    assert fs.get_features().tolist() == [[0, 7], [1, 7], [2, 7]]
    assert fs.get_features().dtype == np.int8


# CSV


def test_types_of_a_csv_file_are_inferred_from_all_rows(tmp_path):
    lines = ["v,n,d,t,b,c", "1,1,2024-01-01,2024-01-01 12:00:00,true,x"]
    lines += ["NaN,2,2024-01-02,2024-01-02 12:00:00,false,", "-inf,3,2024-01-03,2024-01-03 12:00:00,true,NA"]
    lines += ['2.5,4,2024-01-04,2024-01-04 12:00:00,true,""']
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    fs = made("csv", tmp_path / "t.csv", feature_keys=["v", "n"], tag_keys=["d", "t", "b", "c"])

    assert fs.get_features("v").tobytes() == np.array([1, np.nan, -np.inf, 2.5]).tobytes()
    assert [spec.describe() for spec in fs.schema] == [
        "float64", "int64", "datetime64[D]", "datetime64[s]", "bool", "string"
    ]  # fmt: skip
    assert fs.get_tags("c").tolist() == ["x", None, None, ""]


def test_dtypes_delimiters_and_compression(tmp_path):
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        file.write("zip;v\n01234;1\n00001;2\n")
    fs = made(
        "csv",
        tmp_path / "t.csv.gz",
        feature_keys="v",
        tag_keys="zip",
        dtypes={"zip": "string", "v": np.float32},
        delimiter=";",
    )

    assert fs.get_features("v").dtype == np.float32
    assert fs.get_tags("zip").tolist() == ["01234", "00001"]


CSV = {
    "text among numbers": ("v,n\n1,1\n2,2\nx3,3\n", {}, ["'v' holds 'x3' in row 2", "line 4", "a number"]),
    "late text": ("v,n\n" + "1,1\n" * 40_000 + "x,1\n", {}, ["'v' holds 'x'", "line 40002"]),
    "not the dtype": ("v,n\n1,1\n2.5,2\n", {"dtypes": {"v": "int8"}}, ["'2.5' in row 1", "line 3", "int8"]),
    "an empty cell": ("v,n\n1,1\n,2\n", {}, ["'v' has a missing value in row 1"]),
    "a line cut short": ("v,n\n1,1\n2\n3,3\n", {}, ["Row #3", "Expected 2 columns, got 1"]),
    "no lines": ("", {}, ["Empty CSV file"]),
    "names only": ("v,n\n", {}, ["'v' holds no samples"]),
    "repeated names": ("v,v\n1,1\n", {}, ["two columns named 'v'"]),
    "no such dtype": ("v,n\n1,1\n", {"dtypes": {"v": "flot32"}}, ["no type 'flot32' for 'v'"]),
    "dtype of no column": ("v,n\n1,1\n", {"dtypes": {"w": "int8"}}, ["no key 'w'"]),
    "no delimiter": ("v,n\n1,1\n", {"delimiter": ""}, ["one character"]),
    "time of day": ("v,n\n12:00:00,1\n", {}, ["does not store the type of 'v'", "time32"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CSV)
def test_a_cell_that_does_not_fit_is_named_with_its_line(tmp_path, case):
    text, options, words = CSV[case]
    (tmp_path / "t.csv").write_text(text)
    message = refused("csv", tmp_path / "t.csv", feature_keys="v", **options)

    assert [word for word in words if word not in message] == []
    assert "t.csv" in message


def test_text_that_is_text_from_the_first_row_on_is_a_column_of_text(tmp_path):
    (tmp_path / "t.csv").write_text("c,n\na,1\n2,2\n")

    assert made("csv", tmp_path / "t.csv", feature_keys=["c", "n"]).get_features("c").tolist() == ["a", "2"]
    assert made("csv", tmp_path / "t.csv", feature_keys="n", tag_keys="c").get_tags("c").tolist() == [
        "a",
        "2",
    ]


# Arrow IPC


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
