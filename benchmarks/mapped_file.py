"""The file of the mapped-training benchmark: two gibibytes of features, written piece by piece."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

N_FEATURES = 128
FILE_BYTES = 1 << 31
N_ROWS = FILE_BYTES // (4 * N_FEATURES)
ROWS_A_PIECE = 1 << 17
FEATURES, TARGET = "features.x.raw", "targets.y.raw"


def write(path: Path, seed: int = 0) -> None:
    """Write an Arrow IPC file: a target that is a bent function of float32 features of uneven scale."""
    rng = np.random.default_rng(seed)
    scale = rng.uniform(0.5, 20, N_FEATURES).astype(np.float32)
    weights = rng.standard_normal((N_FEATURES, 1), dtype=np.float32) / np.float32(N_FEATURES**0.5)
    tensors = pa.fixed_shape_tensor(pa.float32(), [N_FEATURES])
    schema = pa.schema([(FEATURES, tensors), (TARGET, pa.float32())])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as file:
        for _ in range(0, N_ROWS, ROWS_A_PIECE):
            standard = rng.standard_normal((ROWS_A_PIECE, N_FEATURES), dtype=np.float32)
            target = np.tanh(standard @ weights).reshape(-1)
            flat = pa.array((standard * scale + scale).reshape(-1))
            storage = pa.FixedSizeListArray.from_arrays(flat, N_FEATURES)
            columns = [pa.ExtensionArray.from_storage(tensors, storage), pa.array(target)]
            file.write_batch(pa.record_batch(columns, schema=schema))


def table(path: str) -> pa.Table:
    """Return the file as a table over mapped memory."""
    return pa.ipc.open_file(pa.memory_map(path)).read_all()


def pieces(path: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return features ``(n, 128)`` and target ``(n, 1)`` of each record batch, over mapped memory."""
    columns = table(path)
    features = [chunk.storage.flatten().to_numpy() for chunk in columns.column(FEATURES).chunks]
    targets = [chunk.to_numpy() for chunk in columns.column(TARGET).chunks]
    return [(x.reshape(-1, N_FEATURES), y.reshape(-1, 1)) for x, y in zip(features, targets, strict=True)]
