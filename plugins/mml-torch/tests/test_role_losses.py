"""Losses of several roles on torch: a function of the outputs of anchors, positives and negatives learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import mml
from mml.errors import LossError

ROLES = ("anchor", "positive", "negative")


def triplet_margin(anchor, positive, negative):
    return torch.nn.functional.triplet_margin_loss(anchor, positive, negative, reduction="none")


def _experiment(optimizer: str = "adam") -> mml.Experiment:
    rng = np.random.default_rng(0)
    cell = np.arange(60) % 5
    x = (np.eye(5, 6)[cell] + 0.4 * rng.normal(size=(60, 6))).astype(np.float32)
    data = mml.FeatureSet.from_dict("rows", {"x": x, "cell": cell}, feature_keys="x", tag_keys="cell")
    node = mml.ModelNode("net", mml.Model("torch/mlp", hidden=[16], output_shape=3), data)
    graph = mml.ModelGraph([node], optimizer=mml.Optimizer(optimizer, lr=0.01))
    return mml.Experiment("triplets", graph, seed=1)


def _phase(loss, inputs, n_epochs) -> mml.TrainPhase:
    return mml.TrainPhase.from_split(
        "train",
        split=None,
        sampler=mml.TripletSampler(batch_size=16, by="cell", shuffle=True),
        losses=[mml.AppliedLoss(loss, on="net", inputs=inputs, label="triplet")],
        n_epochs=n_epochs,
    )


def test_a_function_of_three_roles_learns_the_cells_apart():
    phase = _phase(triplet_margin, [f"outputs.{role}" for role in ROLES], 25)
    losses = _experiment().run_phase(phase).metrics().where(name="train_loss").values
    assert losses[-1] < 0.4 * losses[0]


def test_a_function_that_fails_names_its_inputs_as_they_were_written():
    inputs = ["outputs.anchor", "tags.positive.cell"]
    with pytest.raises(LossError, match="The loss failed") as caught:
        _experiment().run_phase(_phase(torch.nn.TripletMarginLoss, inputs, 1))
    assert caught.value.found.startswith("'outputs.anchor': torch.float32 of shape (16, 3), ")
    assert "'tags.positive.cell': torch.int64" in caught.value.found


def test_roles_by_keyword_are_those_by_position():
    by_position = _phase(triplet_margin, [f"outputs.{role}" for role in ROLES], 2)
    by_keyword = _phase(triplet_margin, {role: f"outputs.{role}" for role in reversed(ROLES)}, 2)
    with mml.ExperimentContext().activate():
        first = _experiment().run_phase(by_position)
    with mml.ExperimentContext().activate():
        second = _experiment().run_phase(by_keyword)
    assert first.losses("net").values.tolist() == second.losses("net").values.tolist()


def test_the_named_loss_is_the_formula_of_distances():
    # The framework's own function adds 1e-6 to every difference, which training multiplies.
    def formula(anchor, positive, negative):
        near = torch.linalg.vector_norm(anchor - positive, dim=1)
        far = torch.linalg.vector_norm(anchor - negative, dim=1)
        return torch.relu(near - far + 1.0)

    inputs = [f"outputs.{role}" for role in ROLES]
    by_name, by_function = [], []
    for loss, found in (("triplet", by_name), (formula, by_function)):
        with mml.ExperimentContext().activate():
            results = _experiment("sgd").run_phase(_phase(loss, inputs, 3))
            found.extend(results.losses("net").values.tolist())
    np.testing.assert_allclose(by_name, by_function, rtol=1e-5)


def test_contrastive_by_name_learns_from_the_labels_of_both_roles():
    sampler = mml.PairedSampler(batch_size=16, conditions={"cell": "dissimilar"}, shuffle=True)
    reads = ["outputs.anchor", "outputs.pair", "tags.anchor.cell", "tags.pair.cell"]
    applied = mml.AppliedLoss(mml.Loss("contrastive", margin=2.0), on="net", inputs=reads, label="apart")
    phase = mml.TrainPhase.from_split("train", split=None, sampler=sampler, losses=[applied], n_epochs=25)
    losses = _experiment().run_phase(phase).metrics().where(name="train_loss").values
    assert losses[-1] < 0.1 * losses[0]


def test_a_loss_with_a_context_learns_and_sees_each_step():
    seen = []

    def curriculum(outputs, others, context):
        seen.append((context.epoch, context.batch))
        return ((outputs - others) ** 2).sum(dim=1) * (1.0 + context.epoch)

    with mml.ExperimentContext().activate():
        made = _experiment("sgd")
        made.run_phase(_phase(curriculum, ["outputs.anchor", "outputs.positive"], 2))
    assert seen == [(epoch, batch) for epoch in range(2) for batch in range(4)]
