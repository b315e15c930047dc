"""Data that documents read from files."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import csv, parquet

import mml
from mml.context import ExperimentContext
from mml.documents import ExperimentDocument
from mml.errors import DocumentError

X = np.arange(40, dtype=np.float32)


def built(text, folder, **changes):
    for before, after in {"file: cells.npz": f"file: {changes['file']}"}.items():
        text = text.replace(before, after)
    return ExperimentDocument.from_text(text, folder=folder, name="toy.yaml").build().featuresets[0]


def write_arrow(table, path):
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "arrow"])
def test_a_table_gives_its_columns(text, tmp_path, suffix):
    table = pa.table({"x": X, "y": X * 2, "z": X})
    write = {"csv": csv.write_csv, "parquet": parquet.write_table, "arrow": write_arrow}[suffix]
    write(table, tmp_path / f"cells.{suffix}")
    data = built(text, tmp_path, file=f"cells.{suffix}")
    assert data.get_targets("y").ravel().tolist() == (X * 2).tolist()
    assert sorted(data.splits) == ["test", "train", "val"]


def test_arrays_keep_their_shape_and_type(text, folder):
    data = built(text, folder, file="cells.npz")
    assert data.get_features("x", rep="raw").shape == (40, 3)
    assert data.get_features("x", rep="raw").dtype == np.float32


def test_a_saved_featureset_brings_its_splits_and_gets_the_documents_label(text, folder):
    with ExperimentContext().activate():
        saved = mml.FeatureSet.from_dict(
            "old", dict(np.load(folder / "cells.npz")), feature_keys="x", target_keys="y"
        )
        saved.split_random(ratios={"train": 0.5, "val": 0.25, "test": 0.25}, seed=7)
        saved.save(folder / "cells.mml")
    lines = text.splitlines(keepends=True)
    keep = [line for line in lines if line.strip() not in ("features: x", "targets: y")]
    start = next(number for number, line in enumerate(keep) if "splits:" in line)
    text = "".join(keep[:start] + keep[start + 2 :])
    data = built(text, folder, file="cells.mml")
    assert data.label == "cells"
    assert data["train"].rows.tolist() == saved["train"].rows.tolist()


def test_arrays_of_objects_are_refused_and_not_unpickled(text, tmp_path):
    np.savez(tmp_path / "cells.npz", x=np.array([{"a": 1}] * 4, dtype=object), y=np.zeros(4))
    with pytest.raises(DocumentError, match="allow_pickle=False"):
        built(text, tmp_path, file="cells.npz")


@pytest.mark.parametrize(("file", "part"), [("nowhere.npz", "no such file"), ("cells.pkl", "'.pkl'")])
def test_other_files_are_refused_by_name(text, tmp_path, file, part):
    (tmp_path / "cells.pkl").write_bytes(b"x")
    with pytest.raises(DocumentError, match=part) as caught:
        built(text, tmp_path, file=file)
    assert "data.cells.file" in str(caught.value)
    assert "line 6" in str(caught.value)


def test_a_damaged_file_is_told_at_its_place(text, tmp_path):
    (tmp_path / "cells.npz").write_bytes(b"PK\x03\x04 this is no archive")
    with pytest.raises(DocumentError, match="line 6") as caught:
        built(text, tmp_path, file="cells.npz")
    assert caught.value.__cause__ is not None
