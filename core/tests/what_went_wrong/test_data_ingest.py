"""Data on its way in, out and into batches: what went wrong elsewhere, each on a double of it."""

from __future__ import annotations

import importlib
import os
import pickle
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.data.chunked_columns import ChunkedColumn
from mml.data.collection import SampleCollection
from mml.errors import MMLError
from mml.processing import SimpleSampler

N_ROWS = 4000


def featureset(**data):
    with ExperimentContext().activate():
        return FeatureSet.from_dict("cells", data, feature_keys=list(data))


# Lists


def python_calls(function):
    """Return how many Python functions a call enters; the imports that it tries are among them."""
    entered = 0

    def count(frame, event, argument):
        nonlocal entered
        entered += event == "call"

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return entered


def check_that_lists_cost_no_python_per_value(ingest):
    for values in (list(range(N_ROWS)), [0.5] * N_ROWS, ["a", "b"] * (N_ROWS // 2), [[1.0, 2.0]] * N_ROWS):
        ingest(values[:10])
        few, many = (python_calls(lambda part=values[:size]: ingest(part)) for size in (N_ROWS // 4, N_ROWS))
        assert many < few + 100, f"{many - few} calls more for {N_ROWS - N_ROWS // 4} more values"


def a_failed_import_per_value(values):
    def one(value):
        try:
            importlib.import_module("a_framework_that_is_not_there")
        except ImportError:
            return value

    return np.array([one(value) for value in values])


def test_lists_cost_no_python_work_per_value():
    """Ingest costs 67 to 160 µs per value for lists (a failed import retried per value)."""
    check_that_lists_cost_no_python_per_value(lambda values: featureset(x=values))
    with pytest.raises(AssertionError, match="calls more"):
        check_that_lists_cost_no_python_per_value(a_failed_import_per_value)


# Materialising


class Gathered:
    """Counts the rows that are read out of columns."""

    def __init__(self, monkeypatch):
        self.n_rows = 0
        column = SampleCollection.column

        def counting(collection, name):
            decoded = column(collection, name)
            assert not isinstance(decoded, ChunkedColumn)
            return Counting(decoded, self)

        monkeypatch.setattr(SampleCollection, "column", counting)


class Counting:
    """A column that counts the rows that are taken from it."""

    def __init__(self, decoded, gathered):
        self.decoded, self.gathered = decoded, gathered

    def take(self, rows, out=None):
        values = self.decoded.take(rows, out)
        self.gathered.n_rows += len(values)
        return values


def check_that_a_batch_reads_no_more_than_its_block(batches_of, gathered):
    fs = featureset(x=np.ones((N_ROWS, 3)))
    fs.split_random(ratios={"train": 0.75, "test": 0.25}, seed=0)
    before = gathered.n_rows
    first = next(iter(batches_of(fs["train"])))
    assert len(first) == 10 or first.n_rows == 10
    assert gathered.n_rows - before <= 200, "the whole split was read for one batch"


class AllAtOnce:
    """Batches of a split that is read as a whole."""

    def __init__(self, view):
        self.whole = view.to_featureset("whole")
        self.whole.get_features()

    def __iter__(self):
        for start in range(0, len(self.whole), 10):
            yield self.whole.take(slice(start, start + 10))


def test_a_split_is_not_materialised_for_its_first_batch(monkeypatch):
    """The whole split is materialised before the first epoch."""
    gathered = Gathered(monkeypatch)

    def sampled(view):
        return SimpleSampler(batch_size=10, shuffle=True, seed=0).bind(view)

    check_that_a_batch_reads_no_more_than_its_block(sampled, gathered)
    with ExperimentContext().activate(), pytest.raises(AssertionError, match="whole split was read"):
        check_that_a_batch_reads_no_more_than_its_block(AllAtOnce, gathered)


# Files


def check_that_a_failed_overwrite_keeps_what_was_there(save, path, monkeypatch):
    old, new = featureset(x=np.zeros((50, 2))), featureset(x=np.ones((50, 2)))
    save(old, path)
    before = path.read_bytes()
    with monkeypatch.context() as patched:
        # The disk fills up half way; who writes, by whatever way, gets this from the system.
        patched.setattr(os, "fsync", no_space)
        with pytest.raises((OSError, MMLError)):
            save(new, path)
    assert path.read_bytes() == before, "the previous file is gone"


def no_space(*_):
    raise OSError(28, "No space left on device")


def in_place(fs, path):
    with path.open("wb") as file:
        with pa.ipc.new_file(file, fs.to_arrow().schema) as writer:
            writer.write_table(fs.to_arrow())
        os.fsync(file.fileno())


def test_a_failed_overwrite_keeps_the_previous_file(tmp_path, monkeypatch):
    """A failed overwrite destroys the previous checkpoint (here: a saved FeatureSet)."""
    check_that_a_failed_overwrite_keeps_what_was_there(
        lambda fs, path: fs.save(path), tmp_path / "one.mml", monkeypatch
    )
    assert [one.name for one in tmp_path.iterdir()] == ["one.mml"]
    with pytest.raises(AssertionError, match="previous file is gone"):
        check_that_a_failed_overwrite_keeps_what_was_there(in_place, tmp_path / "two.arrow", monkeypatch)


class Payload:
    """Leaves a mark in a folder when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


def check_that_loading_runs_nothing_of_the_file(load, folder):
    (folder / "hostile.mml").write_bytes(pickle.dumps(Payload(folder / "mark")))
    with ExperimentContext().activate() as context:
        try:
            load(folder / "hostile.mml")
        except MMLError:
            assert len(context) == 0
    assert not (folder / "mark").exists(), "the file ran"


def unpickled(path):
    return pickle.loads(path.read_bytes())


READERS = {
    "load": FeatureSet.load,
    "from_ipc": lambda path: FeatureSet.from_ipc("x", path),
    "from_parquet": lambda path: FeatureSet.from_parquet("x", path, feature_keys="x"),
    "from_csv": lambda path: FeatureSet.from_csv("x", path, feature_keys="x"),
}


@pytest.mark.parametrize("reader", READERS)
def test_loading_runs_nothing_of_the_file(tmp_path, reader):
    """Loading unpickles although told not to run packaged code."""
    check_that_loading_runs_nothing_of_the_file(READERS[reader], tmp_path)
    with pytest.raises(AssertionError, match="the file ran"):
        check_that_loading_runs_nothing_of_the_file(unpickled, tmp_path)
