"""A mapped file larger than the memory that its reader allows itself."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

PROGRAM = Path(__file__).with_name("mapped_reader.py")
STRINGS = pa.dictionary(pa.int32(), pa.string())
N_BATCHES, BATCH_ROWS, WIDTH = 64, 52_000, 30


@pytest.fixture(scope="module")
def large_file(tmp_path_factory):
    """Return a file of 400 MB in 64 record batches, written one after the other."""
    path = tmp_path_factory.mktemp("mapped") / "large.arrow"
    schema = pa.schema(
        {
            "x": pa.list_(pa.float32(), WIDTH),
            "y": pa.float32(),
            "group": pa.dictionary(pa.int32(), pa.string()),
        }
    )
    values = np.random.default_rng(0).normal(size=(BATCH_ROWS, WIDTH)).astype(np.float32)
    groups = pa.array([f"g{number}" for number in range(8)])
    with pa.ipc.new_file(str(path), schema) as writer:
        for number in range(N_BATCHES):
            tensors = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), WIDTH)
            codes = np.full(BATCH_ROWS, number % 8, dtype=np.int32)
            group = pa.DictionaryArray.from_arrays(pa.array(codes), groups)
            columns = [tensors, pa.array(values[:, 0]), group]
            writer.write_batch(pa.record_batch(columns, schema=schema))
    yield path
    path.unlink()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to see private memory")
def test_a_file_larger_than_the_memory_is_split_scaled_gathered_and_summarised(large_file):
    ran = subprocess.run(
        [sys.executable, str(PROGRAM), str(large_file)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)

    assert large_file.stat().st_size > 2.5 * report["limit"]
    assert report["n_rows"] == N_BATCHES * BATCH_ROWS
    assert max(report["grown"].values()) < report["limit"], report
    assert report["grown"]["open"] < 40 << 20
