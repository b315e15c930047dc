"""Parquet files, one or many: what is read, what is not, and files that do not fit each other."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mml.errors import ColumnError

from .table_files import TABLE, made, refused, write


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
