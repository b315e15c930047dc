"""A training step on torch: MML through its public API, against loops by hand and other trainers."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from importlib.util import find_spec

from benchmarks import hand_written_loops, other_trainers
from benchmarks.measure import Budget, Contender, Report, Settings, measure
from benchmarks.train_task import BATCH_SIZE, EPOCHS_A_ROUND, HIDDEN, LEARNING_RATE, STEPS_A_ROUND, TrainTask

LOOPS = {
    "plain loop": hand_written_loops.plain,
    "tuned loop": hand_written_loops.tuned,
    "DataLoader loop": hand_written_loops.data_loader,
}
TRAINERS = {"skorch": other_trainers.skorch, "lightning": other_trainers.lightning}


def mml_experiment(task: TrainTask) -> Callable[[], float]:
    """Train with a TrainPhase; a round is one whole `run_phase`, its start and its end included."""
    import mml

    data = mml.FeatureSet.from_dict(
        "benchmark", {"x": task.x, "y": task.y}, feature_keys="x", target_keys="y"
    )
    data.split_random(ratios={"train": 1.0}, seed=0)
    model = mml.Model("torch/mlp", hidden=list(HIDDEN), output_shape=1)
    node = mml.ModelNode("net", model, data.reference(features="x", targets="y"))
    graph = mml.ModelGraph([node], optimizer=mml.Optimizer("adam", lr=LEARNING_RATE))
    experiment = mml.Experiment("train-step", graph, seed=0)
    phase = mml.TrainPhase.from_split(
        "train",
        split="train",
        sampler=mml.SimpleSampler(batch_size=BATCH_SIZE, shuffle=True),
        losses=[mml.AppliedLoss("mse", on="net")],
        n_epochs=EPOCHS_A_ROUND,
    )

    def run() -> float:
        start = time.perf_counter()
        experiment.run_phase(phase)
        return (time.perf_counter() - start) / STEPS_A_ROUND

    return run


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
    makers = {"MML": mml_experiment, **LOOPS, **installed}
    contenders = [Contender(name, make(task)) for name, make in makers.items()]
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
    report.notes += [
        f"{name} is not installed and was left out; `tox run -e bench` brings it."
        for name in TRAINERS
        if name not in installed
    ]
    return report
