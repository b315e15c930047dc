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


def mml_experiment(task: TrainTask, record: Callable[[float], None]) -> Callable[[], float]:
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
        results = experiment.run_phase(phase)
        seconds = time.perf_counter() - start
        record(results.metric_store.latest("train_loss"))
        return seconds / STEPS_A_ROUND

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
    losses: dict[str, float] = {}
    contenders = [Contender(name, make(task, _into(losses, name))) for name, make in makers.items()]
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
    # Who learns nothing is fast: all have trained equally long, from the same distribution of weights.
    reached = ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items())
    report.notes.append(f"mean loss of the last epoch: {reached}")
    report.notes += [
        f"{name} is not installed and was left out; `tox run -e bench` brings it."
        for name in TRAINERS
        if name not in installed
    ]
    return report


def _into(losses: dict[str, float], name: str) -> Callable[[float], None]:
    return lambda loss: losses.update({name: float(loss)})
