"""A training step on Keras 3, on this process' engine: MML through its public API, against `model.fit`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from benchmarks.measure import Budget, Contender, Report, Settings, measure
from benchmarks.mml_training import noted, reached, training
from benchmarks.train_task import (
    BATCH_SIZE,
    EPOCHS_A_ROUND,
    HIDDEN,
    LEARNING_RATE,
    STEPS_A_ROUND,
    TrainTask,
)

BUDGETS = {"jax": 0.25, "tensorflow": 0.15, "torch": 0.30}


def warm_fit(task: TrainTask, record: Callable[[float], None]) -> Callable[[], float]:
    """Train with `model.fit`, compiled once; its first call, which traces, is not timed."""
    import keras

    layers = [keras.layers.Dense(width, activation="relu") for width in HIDDEN]
    model = keras.Sequential([keras.Input(task.x.shape[1:]), *layers, keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.Adam(LEARNING_RATE), loss="mse")

    def run() -> float:
        start = time.perf_counter()
        history = model.fit(task.x, task.y, batch_size=BATCH_SIZE, epochs=EPOCHS_A_ROUND, verbose=0)
        seconds = time.perf_counter() - start
        record(history.history["loss"][-1])
        return seconds / STEPS_A_ROUND

    return run


def run(settings: Settings) -> Report:
    """Measure on the engine that ``KERAS_BACKEND`` names.

    Returns
    -------
    Report
        Microseconds a step, as ratios of a warm `model.fit`.
    """
    os.environ.setdefault("MML_PROGRESS", "0")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import keras

    engine = keras.backend.backend()
    _limit_threads(engine, settings.threads)
    task, losses = TrainTask.make(), dict[str, float]()
    makers = {"MML": training("keras3/mlp")}
    if engine == "tensorflow":
        makers["MML, XLA"] = training("keras3/mlp", jit_compile=True)
    makers["warm fit"] = warm_fit
    contenders = [Contender(name, make(task, noted(losses, name))) for name, make in makers.items()]
    report = Report(
        title=f"train step, MLP 32-64-64-1, batch 64, Keras on {engine}",
        unit="µs a step",
        scale=1e6,
        times=measure(contenders, rounds=settings.rounds),
        reference="warm fit",
        budgets=[Budget(next(reversed(list(makers)[:-1])), "warm fit", BUDGETS[engine])],
        packages=("mml", "keras", engine),
        section=f"train_step_keras3_{engine}",
    )
    report.notes.append(f"{settings.threads} thread(s), {STEPS_A_ROUND} steps a round.")
    report.notes.append(reached(losses))
    return report


def _limit_threads(engine: str, threads: int) -> None:
    """Hold the engines to as many threads that can be told; JAX takes them from the environment alone."""
    if engine == "torch":
        import torch

        torch.set_num_threads(threads)
    elif engine == "tensorflow":
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
