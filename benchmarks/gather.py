"""Shuffled batches out of memory: those of training and of users, against `numpy.take` and the DataLoader."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec

import numpy as np

import mml
from benchmarks.measure import Budget, Contender, Report, Settings, measure
from mml.graph.plan import Lane, Request

N_ROWS, N_FEATURES, BATCH_SIZE = 1_000_000, 32, 256
# A block of training has up to 128 batches, as many as take 50 ms.
BLOCK = 64
# The DataLoader is slow enough that a tenth of an epoch tells.
LOADED_ROWS = N_ROWS // 10
N_BATCHES = -(-N_ROWS // BATCH_SIZE)


def made(x: np.ndarray, label: str) -> mml.FeatureSet:
    """Return the rows as a FeatureSet with a context of its own."""
    with mml.ExperimentContext().activate():
        return mml.FeatureSet.from_numpy(label, x)


def batches_of_training(data: mml.FeatureSet) -> Callable[[], float]:
    """Gather blocks of batches as a phase does, and look at each batch."""
    sampler = mml.SimpleSampler(batch_size=BATCH_SIZE, shuffle=True).bind(data.view(), seed=0)
    reference = data.reference(features="x")
    with mml.ExperimentContext().activate() as context:
        context.register(data)
        node = mml.ModelNode("net", mml.Model("torch/mlp", output_shape=1), reference)
        graph = mml.ModelGraph([node])
        graph.build(context=context)
        lane = Lane("net", "net", data.snapshot(), reference.columns(data))
        request = Request(mode="eval", lanes=(lane,), record=("net",))
        execution = graph.prepare(request, context=context)
    epoch, wanted = sampler.epoch(0), next(iter(execution.feed.plan.data.values()))

    def run() -> float:
        seconds, seen = 0.0, 0
        for first in range(0, len(epoch), BLOCK):
            # Which rows a batch has is the sampler's work, as the order is for `numpy.take`.
            steps = [{"net": epoch[number]} for number in range(first, min(first + BLOCK, len(epoch)))]
            start = time.perf_counter()
            seen += sum(1 for _ in execution.feed.block(steps).array(wanted))
            seconds += time.perf_counter() - start
        return seconds / seen

    return run


def batches_of_users(data: mml.FeatureSet) -> Callable[[], float]:
    """Iterate over a bound sampler and read the features of each batch."""
    sampler = mml.SimpleSampler(batch_size=BATCH_SIZE, shuffle=True).bind(data.view(), seed=0)

    def batches() -> Iterator[np.ndarray]:
        sampler.set_state({**sampler.get_state(), "epoch": 0, "batch": 0})
        for batch in sampler:
            yield batch.features["x"]

    return _timed(batches)


def taken(x: np.ndarray, scale: Callable[[np.ndarray], np.ndarray] | None = None) -> Callable[[], float]:
    """Take each batch by hand, into fresh memory."""
    order = np.random.default_rng(0).permutation(N_ROWS)

    def batches() -> Iterator[np.ndarray]:
        for first in range(0, N_ROWS, BATCH_SIZE):
            values = np.take(x, order[first : first + BATCH_SIZE], axis=0)
            yield values if scale is None else scale(values)

    return _timed(batches)


def loaded(x: np.ndarray) -> Callable[[], float]:
    """Let torch's DataLoader index and collate, in this process."""
    import torch

    data = torch.utils.data.TensorDataset(torch.from_numpy(x[:LOADED_ROWS]))
    loader = torch.utils.data.DataLoader(data, batch_size=BATCH_SIZE, shuffle=True)
    return _timed(lambda: (one for (one,) in loader), n_batches=-(-LOADED_ROWS // BATCH_SIZE))


def _timed(batches: Callable[[], Iterator[object]], *, n_batches: int = N_BATCHES) -> Callable[[], float]:
    def run() -> float:
        start = time.perf_counter()
        seen = sum(1 for _ in batches())
        seconds = time.perf_counter() - start
        if seen != n_batches:
            raise RuntimeError(f"{seen} batches instead of {n_batches}")
        return seconds / n_batches

    return run


def run(settings: Settings) -> Report:
    """Measure raw and scaled columns.

    Returns
    -------
    Report
        Microseconds a batch, as ratios of `numpy.take`.
    """
    x = np.random.default_rng(0).standard_normal((N_ROWS, N_FEATURES), dtype=np.float32)
    raw, scaled = made(x, "raw"), made(x, "scaled")
    scaled.fit_transform("standard", domain="features")
    mean, std = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64)
    makers = {
        "numpy.take": lambda: taken(x),
        "training": lambda: batches_of_training(raw),
        "iterating": lambda: batches_of_users(raw),
        "take and scale by hand": lambda: taken(x, lambda part: ((part - mean) / std).astype(np.float32)),
        "training, scaled": lambda: batches_of_training(scaled),
        "iterating, scaled": lambda: batches_of_users(scaled),
    }
    if find_spec("torch") is not None:
        makers["DataLoader"] = lambda: loaded(x)
    contenders = [Contender(name, make()) for name, make in makers.items()]
    return Report(
        title=f"batches of {BATCH_SIZE} out of {N_ROWS:,} × {N_FEATURES} float32, shuffled",
        unit="µs a batch",
        scale=1e6,
        times=measure(contenders, rounds=settings.rounds),
        reference="numpy.take",
        budgets=[
            Budget("training", "numpy.take", 1 / 0.9),
            Budget("training, scaled", "take and scale by hand", 1 / 0.9),
        ],
        notes=["`training` is the gathering of a phase, `iterating` a loop over a bound sampler."],
        packages=("mml", "numpy", "torch"),
    )
