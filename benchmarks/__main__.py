"""Run benchmarks by name: `python -m benchmarks NAME [NAME ...]`."""

from __future__ import annotations

import argparse
import importlib

from rich.console import Console

from benchmarks.measure import Settings
from benchmarks.results import keep, show

BENCHMARKS = {
    "train_step": "one step of an MLP 32-64-64-1, batch 64, Adam, on torch; losses are recorded",
    "train_step_tensorflow": "the same on TensorFlow, against a loop over a `tf.function`",
    "train_step_keras3": "the same on Keras 3, on the engine that KERAS_BACKEND names, against `model.fit`",
    "eval_step": "one step of evaluating that MLP on torch, with outputs kept and without",
    "import_time": "`import mml` in a fresh process, beyond importing numpy and pyarrow",
    "ingest": "1 GB of NumPy, Arrow and polars columns into a FeatureSet, against one copy of the memory",
    "split": "a random split of 10 million rows, against `rng.permutation`; memory of the views",
    "gather": "shuffled batches out of memory, against `numpy.take` and torch's DataLoader",
    "sampler": "one epoch's order: simple, stratified, paired and triplets, against NumPy and pandas",
    "mapped_training": "training from a mapped file of 2 GB, scaled: private memory and time",
}


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, run what it names, print the tables and keep them."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Ratios, not times.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="one or more of: " + ", ".join(BENCHMARKS))
    parser.add_argument("--list", action="store_true", help="list the benchmarks and stop")
    parser.add_argument("--rounds", type=int, default=Settings.rounds, help="measured rounds (%(default)s)")
    parser.add_argument("--threads", type=int, default=Settings.threads, help="threads (%(default)s)")
    parser.add_argument("--no-save", action="store_true", help="leave RESULTS.md as it is")
    chosen = parser.parse_args(arguments)
    if chosen.list:
        for name, text in BENCHMARKS.items():
            print(f"{name:16} {text}")
        return
    unknown = [name for name in chosen.names if name not in BENCHMARKS]
    if unknown or not chosen.names:
        parser.error(
            f"there is no benchmark {unknown[0]!r}; see --list" if unknown else "name one; see --list"
        )
    console = Console()
    for name in chosen.names:
        # A benchmark is imported when it runs: listing them, or measuring core, needs no framework.
        module = importlib.import_module(f"benchmarks.{name}")
        report = module.run(Settings(rounds=chosen.rounds, threads=chosen.threads))
        show(report, console)
        if not chosen.no_save:
            keep(report.section or name, report)


if __name__ == "__main__":
    main()
