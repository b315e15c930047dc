"""The task of the train-step benchmarks in MML, on any backend, through its public API."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.train_task import BATCH_SIZE, EPOCHS_A_ROUND, HIDDEN, LEARNING_RATE, STEPS_A_ROUND, TrainTask

Record = Callable[[float], None]
Maker = Callable[[TrainTask, Record], Callable[[], float]]


def training(model: str, *, jit_compile: bool = False, listens: bool = False) -> Maker:
    """Return a maker of rounds; a round is one whole `run_phase`, its start and its end included.

    Parameters
    ----------
    model : str
        Registered name of the network.
    jit_compile : bool
        Ask for the framework's compiler.
    listens : bool
        Have a callback that is called after every batch.
    """

    def make(task: TrainTask, record: Record) -> Callable[[], float]:
        import mml

        with mml.ExperimentContext().activate():
            experiment = mml.Experiment("train-step", _graph(task, model, jit_compile), seed=0)
        phase = mml.TrainPhase.from_split(
            "train",
            split="train",
            sampler=mml.SimpleSampler(batch_size=BATCH_SIZE, shuffle=True),
            losses=[mml.AppliedLoss("mse", on="net")],
            n_epochs=EPOCHS_A_ROUND,
            callbacks=[_listener()] if listens else [],
        )

        def run() -> float:
            start = time.perf_counter()
            results = experiment.run_phase(phase)
            seconds = time.perf_counter() - start
            record(results.metric_store.latest("train_loss"))
            return seconds / STEPS_A_ROUND

        return run

    return make


def _graph(task: TrainTask, model: str, jit_compile: bool) -> Any:
    import mml

    data = mml.FeatureSet.from_dict(
        "benchmark", {"x": task.x, "y": task.y}, feature_keys="x", target_keys="y"
    )
    data.split_random(ratios={"train": 1.0}, seed=0)
    declared = mml.Model(model, hidden=list(HIDDEN), output_shape=1)
    node = mml.ModelNode("net", declared, data.reference(features="x", targets="y"))
    adam = mml.Optimizer("adam", lr=LEARNING_RATE)
    return mml.ModelGraph([node], optimizer=adam, jit_compile=jit_compile)


def _listener() -> Any:
    import mml

    class Listens(mml.Callback):
        def on_batch_end(self, **_: Any) -> None:
            pass

    return Listens()


def noted(losses: dict[str, float], name: str) -> Record:
    """Return what notes the last loss of a contender."""
    return lambda loss: losses.update({name: float(loss)})


def reached(losses: Mapping[str, float]) -> str:
    """Return a line that shows that everyone learns: who learns nothing is fast.

    All have trained equally long, from the same distribution of weights.
    """
    listed = ", ".join(f"{name} {loss:.4f}" for name, loss in losses.items())
    return f"mean loss of the last epoch: {listed}"
