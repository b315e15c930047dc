"""Training from a mapped file of two gibibytes, scaled: how far private memory grows, and how long it takes.

Every run is a process of its own, because memory that was once touched stays with a process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks import mapped_file
from benchmarks.measure import Budget, Contender, Report, Settings, measure

CONTENDERS = ("MML", "plain loop")
BUDGET_MB = 300
# A run takes ten seconds and more, and memory hardly varies.
MOST_ROUNDS = 3


def run(settings: Settings) -> Report:
    """Write the file, then map, split, scale and train for one epoch, by MML and by hand.

    Returns
    -------
    Report
        Megabytes of private memory beyond those of a process with everything imported.
    """
    found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mapped.arrow"
        mapped_file.write(path)

        def run_one(name: str) -> float:
            found[name].append(_in_a_process(name, path, settings.threads))
            return found[name][-1]["grown"]

        contenders = [Contender(name, lambda name=name: run_one(name)) for name in CONTENDERS]
        grown = measure(contenders, rounds=min(settings.rounds, MOST_ROUNDS))
    grown["budget"] = [BUDGET_MB * 1e6] * len(grown["MML"])
    report = Report(
        title=f"one epoch from a mapped file of {mapped_file.FILE_BYTES >> 30} GiB, scaled, torch",
        unit="MB of private memory",
        scale=1e-6,
        times=grown,
        reference="budget",
        budgets=[Budget("MML", "budget", 1.0)],
        packages=("mml", "numpy", "pyarrow", "torch"),
    )
    for name, runs in found.items():
        seconds = median(one["seconds"] for one in runs)
        report.notes.append(f"{name}: {seconds:.1f} s in all, mean loss of the epoch {runs[-1]['loss']:.5f}")
    report.notes.append(
        f"{mapped_file.N_ROWS:,} rows of {mapped_file.N_FEATURES} float32 in record batches of "
        f"{mapped_file.ROWS_A_PIECE:,}; split, standardised on train, an MLP for one shuffled epoch."
    )
    return report


def _in_a_process(name: str, path: Path, threads: int) -> dict[str, float]:
    environment = {**os.environ, "MML_PROGRESS": "0", "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.mapped_runs", name, os.fspath(path), str(threads)],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    return json.loads(done.stdout)
