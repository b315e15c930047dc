"""A training step on torch: MML through its public API, against loops by hand and other trainers."""

from __future__ import annotations

import os
from importlib.util import find_spec

from benchmarks import hand_written_loops, other_trainers
from benchmarks.measure import Budget, Contender, Report, Settings, measure
from benchmarks.mml_training import noted, reached, training
from benchmarks.train_task import STEPS_A_ROUND, TrainTask

LOOPS = {
    "plain loop": hand_written_loops.plain,
    "tuned loop": hand_written_loops.tuned,
    "DataLoader loop": hand_written_loops.data_loader,
}
TRAINERS = {"skorch": other_trainers.skorch, "lightning": other_trainers.lightning}


def run(settings: Settings) -> Report:
    """Measure all contenders that are installed.

    Returns
    -------
    Report
        Microseconds a step, as ratios of the plain loop.
    """
    import torch

    os.environ.setdefault("MML_PROGRESS", "0")
    torch.set_num_threads(settings.threads)
    task = TrainTask.make()
    installed = {name: make for name, make in TRAINERS.items() if find_spec(name) is not None}
    makers = {"MML": training("torch/mlp"), **LOOPS, **installed}
    losses: dict[str, float] = {}
    contenders = [Contender(name, make(task, noted(losses, name))) for name, make in makers.items()]
    report = Report(
        title="train step, MLP 32-64-64-1, batch 64, torch",
        unit="µs a step",
        scale=1e6,
        times=measure(contenders, rounds=settings.rounds),
        reference="plain loop",
        budgets=[Budget("MML", "plain loop", 0.80), Budget("MML", "tuned loop", 1.05)],
        packages=("mml", "torch", *TRAINERS),
    )
    report.notes.append(f"{settings.threads} thread(s), {STEPS_A_ROUND} steps a round.")
    report.notes.append(reached(losses))
    report.notes += [
        f"{name} is not installed and was left out; `tox run -e bench` brings it."
        for name in TRAINERS
        if name not in installed
    ]
    return report
