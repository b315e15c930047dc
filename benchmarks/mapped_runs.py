"""One run over the mapped file in a process of its own: `python -m benchmarks.mapped_runs NAME FILE THREADS`.

Prints as JSON how long it took, how far private memory grew beyond that of a process with everything
imported, and the mean loss of the epoch.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

import mml
from benchmarks import mapped_file
from benchmarks.mapped_file import N_FEATURES, ROWS_A_PIECE

HIDDEN = (64, 64)
BATCH_SIZE = 256
LEARNING_RATE = 1e-3
TRAIN_SHARE = 0.8
_SAMPLE_S = 0.02


def private_bytes() -> int:
    """Return the private memory of this process that no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))


class PeakMemory:
    """The most private memory while a block runs, looked at fifty times a second."""

    def __init__(self) -> None:
        self.before = self.most = private_bytes()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._done.wait(_SAMPLE_S):
            self.most = max(self.most, private_bytes())

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self.most = max(self.most, private_bytes())


def by_mml(path: str) -> float:
    """Map, split, scale and train through the public API."""
    data = mml.FeatureSet.from_ipc("mapped", path)
    data.split_random(ratios={"train": TRAIN_SHARE, "test": 1 - TRAIN_SHARE}, seed=0)
    data.fit_transform("standard", domain="features", fit_to_split="train")
    model = mml.Model("torch/mlp", hidden=list(HIDDEN), output_shape=1)
    node = mml.ModelNode("net", model, data.reference(features="x", targets="y"))
    graph = mml.ModelGraph([node], optimizer=mml.Optimizer("adam", lr=LEARNING_RATE))
    phase = mml.TrainPhase.from_split(
        "train",
        split="train",
        sampler=mml.SimpleSampler(batch_size=BATCH_SIZE, shuffle=True),
        losses=[mml.AppliedLoss("mse", on="net")],
    )
    results = mml.Experiment("mapped", graph, seed=0).run_phase(phase)
    return float(results.metric_store.latest("train_loss"))


def by_hand(path: str) -> float:
    """Do the same in a plain loop: statistics piece by piece, then index, scale, step."""
    pieces = mapped_file.pieces(path)
    rng = np.random.default_rng(0)
    order = rng.permutation(mapped_file.N_ROWS)[: int(TRAIN_SHARE * mapped_file.N_ROWS)]
    mean, std = _statistics(pieces, np.sort(order))
    sizes = (N_FEATURES, *HIDDEN)
    layers: list[torch.nn.Module] = []
    for wide, narrow in pairwise(sizes):
        layers += [torch.nn.Linear(wide, narrow), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers, torch.nn.Linear(sizes[-1], 1))
    optimizer = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    loss_function = torch.nn.MSELoss()
    rng.shuffle(order)
    total, steps = 0.0, 0
    for first in range(0, len(order), BATCH_SIZE):
        x, y = _batch(pieces, order[first : first + BATCH_SIZE])
        features = torch.from_numpy(((x - mean) / std).astype(np.float32))
        optimizer.zero_grad()
        loss = loss_function(model(features), torch.from_numpy(y))
        loss.backward()
        optimizer.step()
        total, steps = total + loss.item(), steps + 1
    return total / steps


def _batch(pieces: list[tuple[np.ndarray, np.ndarray]], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    numbers, places = np.divmod(rows, ROWS_A_PIECE)
    x = np.empty((len(rows), N_FEATURES), np.float32)
    y = np.empty((len(rows), 1), np.float32)
    for number in np.unique(numbers):
        chosen = numbers == number
        x[chosen], y[chosen] = pieces[number][0][places[chosen]], pieces[number][1][places[chosen]]
    return x, y


def _statistics(
    pieces: list[tuple[np.ndarray, np.ndarray]], rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation of sorted rows, in two passes."""
    parts = np.split(rows, np.searchsorted(rows, np.arange(1, len(pieces)) * ROWS_A_PIECE))
    chosen = [part - number * ROWS_A_PIECE for number, part in enumerate(parts)]
    mean = sum(x[part].sum(axis=0, dtype=np.float64) for (x, _), part in zip(pieces, chosen, strict=True))
    mean = mean / len(rows)
    squares = sum(np.square(x[part] - mean).sum(axis=0) for (x, _), part in zip(pieces, chosen, strict=True))
    return mean, np.sqrt(squares / len(rows))


RUNS: dict[str, Callable[[str], float]] = {"MML": by_mml, "plain loop": by_hand}


def main(name: str, path: str, threads: int) -> None:
    """Run one of them and print what it took."""
    os.environ.setdefault("MML_PROGRESS", "0")
    torch.set_num_threads(threads)
    with PeakMemory() as memory:
        start = time.perf_counter()
        loss = RUNS[name](path)
        seconds = time.perf_counter() - start
    print(json.dumps({"seconds": seconds, "grown": memory.most - memory.before, "loss": loss}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
