"""Whole experiments on torch: framework classes by name, in files, and beside scikit-learn's absence."""

from __future__ import annotations

import numpy as np
import torch

import mml
from mml.files import state_digest


def _experiment() -> mml.Experiment:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(53, 5)).astype(np.float32)
    data = mml.FeatureSet.from_dict(
        "rows", {"x": x, "y": (x[:, :1] > 0).astype(np.float32)}, feature_keys="x", target_keys="y"
    )
    node = mml.ModelNode("net", mml.Model(torch.nn.Linear, in_features=5, out_features=1), data)
    graph = mml.ModelGraph([node], optimizer=mml.Optimizer(torch.optim.Adam, lr=0.01))
    made = mml.Experiment("classes", graph, seed=3)
    made.execution_plan.add_phase(
        mml.TrainPhase.from_split(
            "train",
            split=None,
            sampler=mml.SimpleSampler(batch_size=7, shuffle=True),
            losses=[mml.AppliedLoss(torch.nn.BCEWithLogitsLoss, on="net")],
            n_epochs=2,
        )
    )
    return made


def _digest(made: mml.Experiment) -> str:
    return state_digest(made.graph.get_state())


def test_classes_of_the_framework_come_back_from_a_file_and_go_on_alike(tmp_path):
    made = _experiment()
    made.run()
    loaded = mml.Experiment.load(made.save(tmp_path / "classes.mml"))
    assert _digest(loaded) == _digest(made)
    made.run()
    loaded.run()
    assert _digest(loaded) == _digest(made)


def test_global_generators_are_as_they_were_after_a_run():
    before = torch.random.get_rng_state()
    _experiment().run()
    assert torch.equal(torch.random.get_rng_state(), before)
