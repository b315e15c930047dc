"""Dividing ten million rows: at random, stratified and grouped, against one permutation and scikit-learn."""

from __future__ import annotations

import time
import tracemalloc
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.measure import Budget, Contender, Report, Settings, measure

N_ROWS = 10_000_000
N_STRATA = 10
N_GROUPS = 100_000
RATIOS = {"train": 0.8, "test": 0.2}
WAYS: dict[str, dict[str, str]] = {
    "MML random": {},
    "MML stratified": {"stratify_by": "class"},
    "MML grouped": {"group_by": "cell"},
    "MML grouped and stratified": {"group_by": "cell", "stratify_by": "class"},
}


def columns() -> dict[str, np.ndarray]:
    """Return a column of rows, one of classes and one of groups, int64 ``(N_ROWS,)``."""
    rng = np.random.default_rng(0)
    return {
        "x": np.arange(N_ROWS),
        "class": rng.integers(0, N_STRATA, N_ROWS),
        "cell": rng.integers(0, N_GROUPS, N_ROWS),
    }


def featureset(data: dict[str, np.ndarray]) -> Any:
    """Return a FeatureSet; making it is no part of what is timed."""
    import mml

    return mml.FeatureSet.from_dict("rows", data, feature_keys="x", tag_keys=["class", "cell"])


def timed(work: Callable[[], object]) -> Callable[[], float]:
    """Return a function that does the work and returns the seconds it took."""

    def run() -> float:
        with warnings.catch_warnings(action="ignore"):
            start = time.perf_counter()
            work()
            return time.perf_counter() - start

    return run


def mml_split(rows: Any, options: dict[str, str]) -> Callable[[], object]:
    """Divide all rows through the public API, checks and records included."""
    return lambda: rows.split_random(ratios=RATIOS, seed=0, overwrite=True, **options)


def others(data: dict[str, np.ndarray]) -> dict[str, Callable[[], object]]:
    """Return scikit-learn's ways to the same indices, where it is installed."""
    if find_spec("sklearn") is None:
        return {}
    from sklearn.model_selection import GroupShuffleSplit, StratifiedShuffleSplit, train_test_split

    settings = {"n_splits": 1, "test_size": RATIOS["test"], "random_state": 0}
    rows = data["x"]
    return {
        "train_test_split": lambda: train_test_split(rows, test_size=RATIOS["test"], random_state=0),
        "StratifiedShuffleSplit": lambda: next(StratifiedShuffleSplit(**settings).split(rows, data["class"])),
        "GroupShuffleSplit": lambda: next(GroupShuffleSplit(**settings).split(rows, groups=data["cell"])),
    }


def bytes_a_row(rows: Any) -> float:
    """Return what a random split keeps in memory, per row."""
    rows.split_random(ratios=RATIOS, seed=0, overwrite=True)
    tracemalloc.start()
    rows.split_random(ratios=RATIOS, seed=1, overwrite=True)
    # The splits that were overwritten were allocated before tracing began, so that they count for nothing.
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return kept / N_ROWS


def run(settings: Settings) -> Report:
    """Measure all ways that are installed.

    Returns
    -------
    Report
        Milliseconds a split, as ratios of one permutation.
    """
    data = columns()
    rows = featureset(data)
    work = {"rng.permutation": lambda: np.random.default_rng(0).permutation(N_ROWS)}
    work |= {name: mml_split(rows, options) for name, options in WAYS.items()} | others(data)
    report = Report(
        title=f"a split of {N_ROWS:,} rows",
        unit="ms a split",
        scale=1e3,
        times=measure([Contender(name, timed(one)) for name, one in work.items()], rounds=settings.rounds),
        reference="rng.permutation",
        budgets=[Budget("MML random", "rng.permutation", 2.0)],
        packages=("mml", "numpy", "pyarrow", "scikit-learn"),
    )
    report.notes.append(f"{N_STRATA} classes, {N_GROUPS:,} groups, ratios {RATIOS}.")
    report.notes.append(f"memory of the views of a random split: {bytes_a_row(rows):.2f} bytes a row.")
    if find_spec("sklearn") is None:
        report.notes.append("scikit-learn is not installed and was left out.")
    return report
