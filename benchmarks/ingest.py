"""Getting data into a FeatureSet: NumPy, Arrow, polars and pandas, against one copy of the same memory."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.measure import Budget, Contender, Report, Settings, measure

N_COLUMNS = 250
N_BYTES = 1 << 30
N_LISTED = 1_000_000


def timed(make: Callable[[], object]) -> Callable[[], float]:
    """Return a function that times one making; what was made is freed behind the clock."""

    def run() -> float:
        start = time.perf_counter()
        made = make()
        seconds = time.perf_counter() - start
        del made
        return seconds

    return run


def from_numpy(arrays: np.ndarray | Mapping[str, np.ndarray]) -> Callable[[], object]:
    """Return a function that ingests a tensor, or scalar columns."""
    import mml

    def make() -> object:
        with mml.ExperimentContext().activate():
            return mml.FeatureSet.from_numpy("benchmark", arrays)

    return make


def from_table(table: Any, keys: list[str]) -> Callable[[], object]:
    """Return a function that ingests a table of any library through `from_arrow`."""
    import mml

    def make() -> object:
        with mml.ExperimentContext().activate():
            return mml.FeatureSet.from_arrow("benchmark", table, feature_keys=keys)

    return make


def run(settings: Settings) -> Report:
    """Measure one buffer of float32 in every form that it can take.

    Returns
    -------
    Report
        Milliseconds for the whole buffer, as ratios of one copy.
    """
    import pandas
    import polars
    import pyarrow as pa

    n_bytes = min(N_BYTES, available_bytes() // 4)
    n_rows = n_bytes // 4 // N_COLUMNS
    # One buffer: the rows of a tensor and the columns of a table are two ways to look at it.
    buffer = np.random.default_rng(0).random(n_rows * N_COLUMNS, dtype=np.float32)
    columns = {f"c{number}": one for number, one in enumerate(buffer.reshape(N_COLUMNS, n_rows))}
    keys, tensor = list(columns), buffer.reshape(n_rows, N_COLUMNS)
    table = pa.table(columns)
    frame = pandas.DataFrame(buffer.reshape(N_COLUMNS, n_rows).T, columns=keys, copy=False)
    contenders = [
        Contender("one copy", timed(tensor.copy)),
        Contender("one copy, column by column", timed(lambda: [one.copy() for one in columns.values()])),
        Contender("NumPy, one tensor column", timed(from_numpy(tensor))),
        Contender("NumPy, 250 scalar columns", timed(from_numpy(columns))),
        Contender("Arrow table", timed(from_table(table, keys))),
        Contender("polars frame", timed(from_table(polars.from_arrow(table), keys))),
        Contender("pandas frame", timed(from_table(frame, keys))),
    ]
    report = Report(
        title=f"ingest of {n_bytes / 1e9:.1f} GB of float32 into a FeatureSet",
        unit="ms",
        scale=1e3,
        times=measure(contenders, rounds=settings.rounds),
        reference="one copy",
        packages=("mml", "numpy", "pyarrow", "pandas", "polars"),
    )
    budgeted = ("NumPy, one tensor column", "NumPy, 250 scalar columns", "Arrow table")
    report.budgets = [Budget(name, "one copy", 1.2) for name in budgeted]
    report.notes.append("Arrow and polars columns are aliased, NumPy and pandas columns copied once.")
    report.notes.append("One copy of a whole buffer may get huge pages, which 250 smaller ones do not get.")
    report.notes.append(f"a list of Python floats: {seconds_for_a_list() / N_LISTED * 1e9:.0f} ns a value.")
    return report


def seconds_for_a_list() -> float:
    """Return the best time of three for a list of numbers."""
    values = np.random.default_rng(0).random(N_LISTED).tolist()
    make = timed(lambda: _listed(values))
    return min(make() for _ in range(3))


def _listed(values: list[float]) -> object:
    import mml

    with mml.ExperimentContext().activate():
        return mml.FeatureSet.from_dict("benchmark", {"x": values}, feature_keys="x")


def available_bytes() -> int:
    """Return the memory that is free, or enough for the whole benchmark where that is not known."""
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 4 * N_BYTES
