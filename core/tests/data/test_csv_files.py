"""CSV files: cells that become numbers, lines that are counted, and files that are not what they seem."""

from __future__ import annotations

import gzip

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv

from .table_files import made, refused


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


def csv_of(tmp_path, text, **options):
    (tmp_path / "t.csv").write_text(text)
    return made("csv", tmp_path / "t.csv", **{"feature_keys": "v", **options})


@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("before", ["", "\n", "\n\n"])
def test_an_empty_line_of_a_file_of_one_column_is_a_missing_value(tmp_path, ending, before):
    text = before + "v\n1\n\n3\n"
    fs = csv_of(tmp_path, text.replace("\n", ending), feature_keys=(), tag_keys="v")

    assert fs.get_tags("v").tolist() == [1, None, 3]
    message = refused("csv", tmp_path / "t.csv", feature_keys="v")
    assert "missing value in row 1" in message


def test_what_arrow_writes_for_one_column_is_read_as_it_was(tmp_path):
    csv.write_csv(pa.table({"v": [None, 1, None]}), tmp_path / "t.csv")

    assert made("csv", tmp_path / "t.csv", tag_keys="v", feature_keys=()).get_tags().tolist() == [
        None,
        1,
        None,
    ]


def test_empty_lines_between_several_columns_are_none_of_them(tmp_path):
    assert csv_of(tmp_path, "v,n\n\n1,1\n\n\n2,2\n\n").get_features().tolist() == [1, 2]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("v,n\n1,1\n\n\nx,1\n", 5),
        ("\n\nv,n\n1,1\nx,1\n", 5),
        ('v,n\n1,"a\nb"\nx,1\n', 4),
        ("v\n1\n\nx\n", 4),
        ("v,n\r\n1,1\r\n\r\nx,1\r\n", 4),
    ],
)
def test_lines_are_counted_as_an_editor_counts_them(tmp_path, text, line):
    with gzip.open(tmp_path / "t.csv.gz", "wb") as file:
        file.write(text.encode())
    (tmp_path / "t.csv").write_bytes(text.encode())

    for name in ("t.csv", "t.csv.gz"):
        assert f"line {line}\n" in refused("csv", tmp_path / name, feature_keys="v")
        assert f"line {line}\n" in refused("csv", tmp_path / name, feature_keys="v", dtypes={"v": "int8"})


def test_lines_of_several_megabytes_are_read(tmp_path):
    names = [f"column_{number:06d}" for number in range(100_000)]
    lines = [",".join(names), ",".join(map(str, range(100_000))), ",".join(["7"] * 100_000)]
    (tmp_path / "wide.csv").write_text("\n".join(lines) + "\n")
    fs = made("csv", tmp_path / "wide.csv", feature_keys=["column_000000", "column_099999"])

    assert fs.get_features().tolist() == [[0, 99_999], [7, 7]]
    fs = csv_of(tmp_path, "v,note\n1," + "x" * (3 << 20) + "\n2,\n", tag_keys="note")
    assert len(fs.get_tags("note")[0]) == 3 << 20


def test_integers_beyond_int64_stay_integers(tmp_path):
    large = 2**63 + 1
    fs = csv_of(tmp_path, f"v,n\n{large},1\n,2\n 3,3\n", feature_keys="n", tag_keys="v")

    assert fs.get_tags("v").tolist() == [large, None, 3]
    assert fs.schema["tags.v.raw"].dtype == np.uint64
    assert csv_of(tmp_path, "v,n\n1e300,1\n2,2\n").get_features().tolist() == [1e300, 2]
    assert csv_of(tmp_path, "v,n\n-inf,1\n2,2\n").get_features().tolist() == [-np.inf, 2]
    assert csv_of(tmp_path, f"v,n\n{large},1\n0.5,2\n").get_features().tolist() == [float(large), 0.5]
    assert csv_of(tmp_path, f"v,n\n{large},1\n", dtypes={"v": "float64"}).get_features().dtype == np.float64


def test_half_floats_are_rounded_once(tmp_path):
    values = ["0.1", "1.0004883", "65504", "inf", "NaN", "-6e-8", "1e-9"]
    fs = csv_of(tmp_path, "v,n\n" + "".join(f"{one},1\n" for one in values), dtypes={"v": "float16"})
    expected = np.array([float(one) for one in values]).astype(np.float16)

    assert fs.get_features().tobytes() == expected.tobytes()
    fs = csv_of(tmp_path, "v,n\n0.5,1\n,2\n", feature_keys="n", tag_keys="v", dtypes={"v": np.float16})
    assert fs.get_tags("v", fmt="arrow")["v"].to_pylist() == [0.5, None]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16"])
@pytest.mark.parametrize("text", ["größe,v\na,1\n", "v,n\nä,1\n", "v,n\n" + "a,1\n" * 300_000 + "ä,1\n"])
def test_a_file_that_is_not_in_utf8_is_refused_as_such(tmp_path, encoding, text):
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    message = refused("csv", tmp_path / "t.csv", feature_keys="v")

    assert "not written in UTF-8" in message
    assert "encoding" in message
    assert "damaged" not in message


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    (tmp_path / "t.csv").write_bytes("\ufeffv,n\n1,1\nx,2\n".encode())

    assert "line 3" in refused("csv", tmp_path / "t.csv", feature_keys="v")


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
    "no delimiter": ("v,n\n1,1\n", {"delimiter": ""}, ["one ASCII character"]),
    "nothing as a delimiter": ("v,n\n1,1\n", {"delimiter": None}, ["one ASCII character", "None"]),
    "a letter as a delimiter": ("v,n\n1,1\n", {"delimiter": "é"}, ["one ASCII character", "'é'"]),
    "a line break as a delimiter": ("v,n\n1,1\n", {"delimiter": "\n"}, ["one ASCII character"]),
    "too large an integer": ("v,n\n1,1\n18446744073709551616,2\n", {}, ["line 3", "64 bits", "float64"]),
    "integers of both ends": ("v,n\n-1,1\n9223372036854775808,2\n", {}, ["row 1", "line 3", "64 bits"]),
    "too large for a half": ("v,n\n1,1\n7e4,1\n", {"dtypes": {"v": "float16"}}, ["'7e4' in row 1", "line 3"]),
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
