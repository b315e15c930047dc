"""Training in bfloat16: matrix products in half the bits, everything that stays in its own dtype."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import mml
from mml.errors import OptimizerError


def data(label: str = "rows") -> mml.FeatureSet:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 7)).astype("float32")
    y = (x @ rng.normal(size=(7, 1)) + 0.1 * rng.normal(size=(90, 1))).astype("float32")
    return mml.FeatureSet.from_dict(label, {"x": x, "y": y}, feature_keys="x", target_keys="y")


class Watched(nn.Module):
    """Notes the dtypes that it computes in while it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(7, 32), nn.Linear(32, 1)
        self.seen: set[torch.dtype] = set()

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.first(inputs)
        if self.training:
            self.seen.add(hidden.dtype)
        return self.last(torch.relu(hidden))


def trained(precision: str, *, loss: object = "mse", n_epochs: int = 30):
    with mml.ExperimentContext().activate(), torch.random.fork_rng():
        torch.manual_seed(0)
        rows, module = data(), Watched()
        graph = mml.ModelGraph(
            [mml.ModelNode("net", module, rows)],
            optimizer=mml.Optimizer("adam", lr=0.01, precision=precision),
        )
        phase = mml.TrainPhase.from_split(
            "train",
            split=None,
            sampler=mml.SimpleSampler(batch_size=16, shuffle=True, seed=0),
            losses=[mml.AppliedLoss(loss, on="net", label="loss")],
            n_epochs=n_epochs,
            result_recording="last",
        )
        results = mml.Experiment("toy", graph).run_phase(phase)
        return module, graph, results


def test_products_are_half_precise_and_the_rest_is_not():
    module, graph, results = trained("bf16", n_epochs=2)
    assert module.seen == {torch.bfloat16}
    assert {one.dtype for one in module.parameters()} == {torch.float32}
    slots = graph.optimizer.get_state()["net/first.weight"]
    assert {slots[name].dtype for name in ("first_moment", "second_moment")} == {np.dtype("float32")}
    assert results.tensors("net").values[0].dtype == np.float32


def test_it_learns_what_float32_learns():
    half, whole = (
        trained(precision)[2].metrics().where(name="train_loss").values for precision in ("bf16", "float32")
    )
    assert half[0] == pytest.approx(whole[0], rel=0.02)
    assert half.tolist() != whole.tolist()
    assert half[-1] < 0.05 * half[0]


def test_losses_are_computed_in_float32():
    seen = []

    def watched(outputs, targets):
        seen.append(outputs.dtype)
        return (outputs - targets) ** 2

    trained("bf16", loss=watched, n_epochs=1)
    assert set(seen) == {torch.float32}


def test_evaluation_is_exact_again():
    module, graph, _ = trained("bf16", n_epochs=1)
    x = np.ones((3, 7), "float32")
    with torch.no_grad():
        np.testing.assert_array_equal(graph.forward(x)["net"], module(torch.from_numpy(x)).numpy())


def test_one_backward_pass_has_one_precision():
    rows = data()
    first = mml.ModelNode(
        "first", mml.Model("torch/mlp", hidden=[], output_shape=3), rows, optimizer=mml.Optimizer("sgd")
    )
    last = mml.ModelNode("last", mml.Model("torch/mlp", hidden=[], output_shape=1), first)
    graph = mml.ModelGraph([first, last], optimizer=mml.Optimizer("adam", precision="bf16"))
    phase = mml.TrainPhase.from_split(
        "train",
        split=None,
        sampler=mml.SimpleSampler(batch_size=16),
        losses=[mml.AppliedLoss("mse", on="last")],
    )
    with pytest.raises(OptimizerError, match=r"different precisions(.|\n)*first: float32; last: bf16"):
        mml.Experiment("toy", graph).run_phase(phase)
