"""A training step on TensorFlow: MML through its public API, against the loop that a person would write."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np

from benchmarks.measure import Budget, Contender, Report, Settings, measure
from benchmarks.mml_training import noted, reached, training
from benchmarks.train_task import (
    BATCH_SIZE,
    EPOCHS_A_ROUND,
    HIDDEN,
    LEARNING_RATE,
    N_ROWS,
    STEPS_A_ROUND,
    STEPS_AN_EPOCH,
    TrainTask,
)


def raw_loop(
    task: TrainTask, record: Callable[[float], None], *, jit_compile: bool = False
) -> Callable[[], float]:
    """Call one `tf.function` a step, with the framework's own Adam, and read each loss."""
    import tensorflow as tf

    # Its model and optimizer are Keras', which on this engine are what the framework's guides use.
    model = tf.keras.Sequential(
        [tf.keras.layers.Dense(width, activation="relu") for width in HIDDEN] + [tf.keras.layers.Dense(1)]
    )
    model.build((None, task.x.shape[1]))
    optimizer = tf.keras.optimizers.Adam(LEARNING_RATE)
    optimizer.build(model.trainable_variables)
    x, y, rng = tf.constant(task.x), tf.constant(task.y), np.random.default_rng(0)

    @tf.function(jit_compile=jit_compile)
    def step(features: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.square(model(features, training=True) - targets))
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    def run() -> float:
        start = time.perf_counter()
        for _ in range(EPOCHS_A_ROUND):
            order, total = tf.constant(rng.permutation(N_ROWS)), 0.0
            for first in range(0, N_ROWS, BATCH_SIZE):
                rows = order[first : first + BATCH_SIZE]
                total += float(step(tf.gather(x, rows), tf.gather(y, rows)))
        seconds = time.perf_counter() - start
        record(total / STEPS_AN_EPOCH)
        return seconds / STEPS_A_ROUND

    return run


def run(settings: Settings) -> Report:
    """Measure blocks, blocks under XLA, and single steps for a callback, against the raw loop.

    Returns
    -------
    Report
        Microseconds a step, as ratios of the raw loop.
    """
    os.environ.setdefault("MML_PROGRESS", "0")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
    tf.config.threading.set_inter_op_parallelism_threads(settings.threads)
    task, losses = TrainTask.make(), dict[str, float]()
    makers = {
        "MML": training("tensorflow/mlp"),
        "MML, XLA": training("tensorflow/mlp", jit_compile=True),
        "MML, batch listener": training("tensorflow/mlp", listens=True),
        "raw loop": raw_loop,
        "raw loop, XLA": lambda *given: raw_loop(*given, jit_compile=True),
    }
    contenders = [Contender(name, make(task, noted(losses, name))) for name, make in makers.items()]
    report = Report(
        title="train step, MLP 32-64-64-1, batch 64, TensorFlow",
        unit="µs a step",
        scale=1e6,
        times=measure(contenders, rounds=settings.rounds),
        reference="raw loop",
        budgets=[
            Budget("MML", "raw loop", 0.30),
            Budget("MML, XLA", "raw loop", 0.15),
            Budget("MML, batch listener", "raw loop", 1.10),
        ],
        packages=("mml", "tensorflow", "tensorflow-cpu", "keras"),
    )
    report.notes.append(f"{settings.threads} thread(s), {STEPS_A_ROUND} steps a round.")
    report.notes.append(reached(losses))
    return report
