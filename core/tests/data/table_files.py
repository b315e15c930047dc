"""A table, how it is written to files of each kind, and how FeatureSets are made of them."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import csv

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import DataError

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
