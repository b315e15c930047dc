"""Small data, graphs and experiments that the tests of this folder share; odd sizes on purpose."""

from __future__ import annotations

from typing import Any

import numpy as np

import mml
from mml.files import state_digest

N_ROWS, N_FEATURES = 47, 5
RATIOS = {"train": 0.6, "val": 0.2, "test": 0.2}


def rows(*, seed: int = 0, n_rows: int = N_ROWS) -> mml.FeatureSet:
    """Return a regression set whose target is a noisy linear map of its features."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_rows, N_FEATURES)).astype(np.float32)
    slope = np.linspace(-1, 1, N_FEATURES, dtype=np.float32)
    y = (x @ slope + 0.1 * rng.normal(size=n_rows)).astype(np.float32).reshape(-1, 1)
    made = mml.FeatureSet.from_dict("rows", {"x": x, "y": y}, feature_keys="x", target_keys="y")
    made.split_random(ratios=RATIOS, seed=0)
    return made


def network(data: mml.FeatureSet, *, dropout: float = 0.0, **settings: Any) -> mml.ModelGraph:
    """Return a graph of a trunk and a head on it."""
    trunk = mml.ModelNode(
        "trunk",
        mml.Model("reference/mlp", hidden=[7], output_shape=3, dropout=dropout),
        data.reference(features="x", targets="y"),
    )
    head = mml.ModelNode("head", mml.Model("reference/mlp", output_shape=1), trunk)
    settings.setdefault("optimizer", mml.Optimizer("adam", lr=0.01))
    return mml.ModelGraph([trunk, head], **settings)


def mse(**settings: Any) -> mml.AppliedLoss:
    """Return the squared error of the head."""
    return mml.AppliedLoss("mse", on="head", **settings)


def training(label: str = "train", **settings: Any) -> mml.TrainPhase:
    """Return a TrainPhase of three epochs in shuffled batches of 5."""
    settings.setdefault("n_epochs", 3)
    settings.setdefault("losses", [mse()])
    settings.setdefault("sampler", mml.SimpleSampler(batch_size=5, shuffle=True))
    return mml.TrainPhase.from_split(label, split="train", **settings)


def validation(label: str = "validate", split: str = "val", **settings: Any) -> mml.EvalPhase:
    """Return an EvalPhase with the head's squared error."""
    settings.setdefault("losses", [mse()])
    return mml.EvalPhase.from_split(label, split=split, **settings)


def experiment(*, seed: int = 0, dropout: float = 0.0, phases: Any = None, **settings: Any) -> mml.Experiment:
    """Return an experiment with these phases, one TrainPhase where none are given."""
    graph = network(rows(), dropout=dropout)
    made = mml.Experiment("toy", graph, seed=seed, **settings)
    for phase in [training()] if phases is None else phases:
        made.execution_plan.add_phase(phase)
    return made


def digest(made: mml.Experiment) -> str:
    """Return a digest of every model, optimizer slot and freeze flag."""
    assert made.graph is not None
    made.graph.build(seed=made.initial_seed, context=made.context)
    return state_digest(made.graph.get_state())


def in_own_context(function: Any, *arguments: Any, **settings: Any) -> Any:
    """Call a function where its labels clash with nothing."""
    with mml.ExperimentContext().activate():
        return function(*arguments, **settings)
