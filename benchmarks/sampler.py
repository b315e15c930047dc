"""One epoch's order of a million rows in a thousand groups: MML against NumPy, pandas and torch."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import count
from typing import Any

import numpy as np

from benchmarks.measure import Contender, Report, Settings, measure

N_ROWS = 1_000_000
N_GROUPS = 1_000
BATCH_SIZE = 64


def mml_data() -> Any:
    """Return a FeatureSet with a cell, a day and a temperature of each row."""
    import mml

    rng = np.random.default_rng(0)
    columns = {
        "x": rng.random(N_ROWS, dtype=np.float32),
        "cell": rng.integers(0, N_GROUPS, N_ROWS),
        "day": rng.integers(0, 30, N_ROWS),
        "temperature": rng.normal(25, 5, N_ROWS),
    }
    return mml.FeatureSet.from_dict(
        "benchmark", columns, feature_keys="x", tag_keys=["cell", "day", "temperature"]
    )


def mml_samplers() -> dict[str, Any]:
    """Return the samplers that are measured."""
    import mml

    common: dict[str, Any] = {"batch_size": BATCH_SIZE, "shuffle": True, "seed": 0}
    other_day = {"cell": "similar", "day": "dissimilar"}
    nearby = {"cell": "similar", "temperature": {"tolerance": 0.5, "fallback": "nearest"}}
    return {
        "MML simple": mml.SimpleSampler(**common),
        "MML stratified": mml.SimpleSampler(**common, stratify_by="cell"),
        "MML pairs, same cell": mml.PairedSampler(**common, conditions={"cell": "similar"}),
        "MML pairs, same cell, other day": mml.PairedSampler(**common, conditions=other_day),
        "MML pairs, same cell, near temperature": mml.PairedSampler(**common, conditions=nearby),
        "MML triplets": mml.TripletSampler(**common, by="cell"),
    }


def epochs_of(bound: Any) -> Callable[[], float]:
    """Return a function that times the order of one more epoch."""
    numbers = count()

    def run() -> float:
        epoch = next(numbers)
        start = time.perf_counter()
        bound.epoch(epoch)
        return time.perf_counter() - start

    return run


def views_of(bound: Any) -> Callable[[], float]:
    """Return a function that times one more epoch with a view of every batch of it."""
    numbers = count()

    def run() -> float:
        start = time.perf_counter()
        n_rows = sum(len(view) for view in bound.epoch(next(numbers)))
        seconds = time.perf_counter() - start
        if n_rows != N_ROWS:
            raise RuntimeError(f"the epoch holds {n_rows} rows")
        return seconds

    return run


def timed(work: Callable[[np.random.Generator], object]) -> Callable[[], float]:
    """Return a function that times one run of some work."""
    rng = np.random.default_rng(0)

    def run() -> float:
        start = time.perf_counter()
        work(rng)
        return time.perf_counter() - start

    return run


def pandas_ways(cell: np.ndarray) -> dict[str, Callable[[np.random.Generator], object]]:
    """Return what one would write with pandas; a merge of all pairs would have a billion rows."""
    import pandas

    frame = pandas.DataFrame({"cell": cell, "row": np.arange(N_ROWS)})
    groups = frame.groupby("cell", sort=False)

    def stratified(rng: np.random.Generator) -> np.ndarray:
        mixed = frame.sample(frac=1, random_state=rng)
        by_cell = mixed.groupby("cell", sort=False)["row"]
        place = (by_cell.cumcount() + 0.5) / by_cell.transform("size")
        return place.sort_values(kind="stable").index.to_numpy()

    def pairs(rng: np.random.Generator) -> tuple[Any, Any]:
        anchors = frame.sort_values("cell", kind="stable")
        return anchors, groups.sample(frac=1, replace=True, random_state=rng)

    def triplets(rng: np.random.Generator) -> tuple[Any, Any, np.ndarray]:
        anchors, positives = pairs(rng)
        own = anchors["cell"].to_numpy()
        negatives = rng.integers(0, N_ROWS, N_ROWS)
        while len(wrong := np.flatnonzero(cell[negatives] == own)):
            negatives[wrong] = rng.integers(0, N_ROWS, len(wrong))
        return anchors, positives, negatives

    return {"pandas stratified": stratified, "pandas pairs": pairs, "pandas triplets": triplets}


def torch_batches() -> Callable[[np.random.Generator], object] | None:
    """Return an epoch of torch's own samplers as its DataLoader runs them; None where it is missing."""
    try:
        from torch.utils.data import BatchSampler, RandomSampler
    except ImportError:
        return None
    sampler = BatchSampler(RandomSampler(range(N_ROWS)), BATCH_SIZE, drop_last=False)
    return lambda _: sum(len(batch) for batch in sampler)


def run(settings: Settings) -> Report:
    """Measure one epoch of every sampler.

    Returns
    -------
    Report
        Milliseconds an epoch, as ratios of a bare permutation.
    """
    data = mml_data()
    contenders = [Contender("rng.permutation", timed(lambda rng: rng.permutation(N_ROWS)))]
    binding = []
    for name, sampler in mml_samplers().items():
        start = time.perf_counter()
        bound = sampler.bind(data)
        binding.append(f"{name[4:]} {time.perf_counter() - start:.2f} s")
        contenders.append(Contender(name, epochs_of(bound)))
        if name == "MML simple":
            contenders.append(Contender("MML simple, every batch view", views_of(sampler.bind(data))))
    cell = data.get_tags("cell")
    contenders += [Contender(name, timed(work)) for name, work in pandas_ways(cell).items()]
    torch = torch_batches()
    if torch is not None:
        contenders.append(Contender("torch RandomSampler and BatchSampler", timed(torch)))
    report = Report(
        title=f"order of an epoch, {N_ROWS:,} rows in {N_GROUPS:,} groups, batches of {BATCH_SIZE}",
        unit="ms an epoch",
        scale=1e3,
        times=measure(contenders, rounds=settings.rounds),
        reference="rng.permutation",
        packages=("mml", "numpy", "pandas", "torch"),
    )
    report.notes.append("What is asked for: a million rows with a thousand groups sample in seconds.")
    report.notes.append(f"Binding, once a phase: {', '.join(binding)}.")
    report.notes.append(
        "pandas' pairs may be a row and itself, and its negatives are drawn again until none is."
    )
    if torch is None:
        report.notes.append("torch is not installed and was left out.")
    return report
