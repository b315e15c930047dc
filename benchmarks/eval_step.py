"""An evaluation step on torch: MML through its public API, against loops by hand."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import torch

from benchmarks.hand_written_loops import network
from benchmarks.measure import Contender, Report, Settings, measure
from benchmarks.mml_training import noted
from benchmarks.train_task import N_ROWS, TrainTask

BATCH_SIZE = 64
PASSES = 4
N_STEPS = N_ROWS // BATCH_SIZE * PASSES


def phase(task: TrainTask, record: Callable[[float], None], *, recording: str) -> Callable[[], float]:
    """Evaluate with an EvalPhase; a round is several whole `run_phase`, their start and end included."""
    import mml

    with mml.ExperimentContext().activate():
        data = mml.FeatureSet.from_dict(
            "benchmark", {"x": task.x, "y": task.y}, feature_keys="x", target_keys="y"
        )
        data.split_random(ratios={"test": 1.0}, seed=0)
        graph = mml.ModelGraph([mml.ModelNode("net", network(), data)])
        experiment = mml.Experiment("eval-step", graph, seed=0)
    evaluation = mml.EvalPhase.from_split(
        "test",
        split="test",
        losses=[mml.AppliedLoss("mse", on="net")],
        batch_size=BATCH_SIZE,
        result_recording=recording,
    )

    def run() -> float:
        start = time.perf_counter()
        for _ in range(PASSES):
            results = experiment.run_phase(evaluation)
            loss = results.metric_store.latest("eval_loss")
        seconds = time.perf_counter() - start
        record(loss)
        return seconds / N_STEPS

    return run


def loop(task: TrainTask, record: Callable[[float], None], *, keeps: bool) -> Callable[[], float]:
    """Run the model batch by batch without gradients, and read each loss; keep the outputs, or not."""
    x, y, model = torch.from_numpy(task.x), torch.from_numpy(task.y), network()
    model.eval()
    loss_function = torch.nn.MSELoss()

    def run() -> float:
        start = time.perf_counter()
        for _ in range(PASSES):
            total, kept = 0.0, []
            with torch.no_grad():
                for first in range(0, N_ROWS, BATCH_SIZE):
                    outputs = model(x[first : first + BATCH_SIZE])
                    total += loss_function(outputs, y[first : first + BATCH_SIZE]).item()
                    if keeps:
                        kept.append(outputs.numpy())
        seconds = time.perf_counter() - start
        record(total / (N_ROWS // BATCH_SIZE))
        return seconds / N_STEPS

    return run


def run(settings: Settings) -> Report:
    """Measure with and without keeping what the model gives.

    Returns
    -------
    Report
        Microseconds a step, as ratios of the loop that keeps nothing.
    """
    os.environ.setdefault("MML_PROGRESS", "0")
    torch.set_num_threads(settings.threads)
    task, losses = TrainTask.make(), dict[str, float]()
    makers = {
        "MML, losses only": lambda *given: phase(*given, recording="none"),
        "MML, outputs kept": lambda *given: phase(*given, recording="all"),
        "loop": lambda *given: loop(*given, keeps=False),
        "loop that keeps outputs": lambda *given: loop(*given, keeps=True),
    }
    contenders = [Contender(name, make(task, noted(losses, name))) for name, make in makers.items()]
    report = Report(
        title="evaluation step, MLP 32-64-64-1, batch 64, torch",
        unit="µs a step",
        scale=1e6,
        times=measure(contenders, rounds=settings.rounds),
        reference="loop",
        packages=("mml", "torch"),
    )
    if len({round(loss, 4) for loss in losses.values()}) > 1:
        raise RuntimeError(f"The contenders do not agree: {losses}")
    report.notes.append(f"{settings.threads} thread(s), {N_STEPS} steps a round; all found the same loss.")
    return report
