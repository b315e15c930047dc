"""Networks and estimators in one graph, against the same pipelines written by hand; and what is refused."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import Ridge
from sklearn.metrics import accuracy_score, r2_score
from torch import nn

import mml
from mml.backends import get_backend
from mml.errors import GraphError, PhaseError
from mml.plugins import registry
from mml_sklearn.random_state import random_state_of

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "mixed_backends.py"
# Whatever is installed that learns by gradient: each brings a network of this name.
NETWORKS = sorted(
    f"{one.plugin}/mlp" for one in registry("backends") if get_backend(one.qualified).capabilities.gradients
)


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mixed_backends_example", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class ByHand:
    """Plain modules with the initial values of an experiment's nodes, and the batches that it took."""

    def __init__(self, made: mml.Experiment) -> None:
        self.made = made
        made.graph.build(seed=made.initial_seed, context=made.context)
        self.nets = {
            label: sequential(node.model.native)
            for label, node in made.graph.nodes.items()
            if isinstance(node, mml.ModelNode) and node.backend == "torch"
        }
        self.phases = {phase.label: made.run_phase(phase) for phase in made.execution_plan.phases}
        (self.data,) = made.featuresets

    def rows(self, head: str, phase: str = "train") -> list[np.ndarray]:
        """Return the rows of every batch, in order."""
        return list(self.phases[phase].batches(head).values)

    def trained(self, label: str) -> list[np.ndarray]:
        return [one.detach().numpy() for one in self.made.graph[label].model.native.parameters()]


def sequential(module: nn.Module) -> nn.Sequential:
    """Return fresh layers with the values of a module's: linear ones with ReLU between them."""
    values = list(module.state_dict().values())
    layers: list[nn.Module] = []
    for weight, bias in zip(values[::2], values[1::2], strict=True):
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": weight.clone(), "bias": bias.clone()})
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def fit(net: nn.Module, loss: Any, batches: list[np.ndarray], x: Any, y: Any, *, lr: float) -> list[float]:
    """Train by the loop that everybody writes; return the loss of each step."""
    # Fused as in the plugin: Adam divides by small numbers, which magnifies any other rounding.
    optimizer = torch.optim.Adam(net.parameters(), lr=lr, fused=True)
    losses = []
    for rows in batches:
        optimizer.zero_grad()
        value = loss(net(torch.from_numpy(x[rows])), torch.from_numpy(y[rows]))
        value.backward()
        optimizer.step()
        losses.append(value.item())
    return losses


def run(net: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return net(torch.from_numpy(np.array(x))).numpy()


def same(mine: list[np.ndarray], net: nn.Module) -> bool:
    theirs = [one.detach().numpy() for one in net.parameters()]
    pairs = list(zip(mine, theirs, strict=True))
    return all(np.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in pairs)


def test_pca_then_network_gives_the_numbers_of_scikit_learn_and_torch_by_hand(example):
    by_hand = ByHand(example.reduced(seed=3))
    data = by_hand.data
    x, y = data.get_features("x"), data.get_targets("y")
    pca = PCA(n_components=8).fit(data["train"].get_features("x"))
    losses = fit(
        by_hand.nets["net"],
        nn.functional.binary_cross_entropy_with_logits,
        by_hand.rows("pca"),
        pca.transform(x),
        y,
        lr=0.01,
    )
    assert same(by_hand.trained("net"), by_hand.nets["net"])
    recorded = by_hand.phases["train"].losses().where(label="bce").values
    np.testing.assert_allclose(np.ravel(recorded), losses, rtol=1e-3, atol=1e-5)
    logits = run(by_hand.nets["net"], pca.transform(data["test"].get_features("x")))
    expected = accuracy_score(data["test"].get_targets("y"), logits > 0)
    assert by_hand.phases["test"].metric_store.latest("eval_accuracy") == pytest.approx(expected)
    assert expected > 0.95


def test_network_then_forest_gives_the_numbers_of_torch_and_scikit_learn_by_hand(example):
    by_hand = ByHand(example.encoded(seed=3))
    data = by_hand.data
    x, y = data.get_features("x"), data.get_targets("y").ravel()
    encoder, teacher = by_hand.nets["encoder"], by_hand.nets["teacher"]
    both = nn.Sequential(encoder, teacher)
    fit(both, nn.functional.cross_entropy, by_hand.rows("encoder"), x, y, lr=0.005)
    assert same(by_hand.trained("encoder") + by_hand.trained("teacher"), both)
    train, test = data["train"].rows, data["test"].rows
    model = by_hand.made.graph["forest"].model
    forest = RandomForestClassifier(n_estimators=100, random_state=random_state_of(model._seed))
    forest.fit(by_hand.made.graph["encoder"].forward(x[train]), y[train])
    probabilities = forest.predict_proba(by_hand.made.graph["encoder"].forward(x[test]))
    np.testing.assert_array_equal(by_hand.phases["test"].stacked_tensors("forest"), probabilities)
    expected = accuracy_score(y[test], probabilities.argmax(axis=1))
    assert by_hand.phases["test"].metric_store.latest("eval_accuracy") == pytest.approx(expected)
    # A forest turns on the last bits of its input, so the whole chain by hand is held to its score.
    mine = RandomForestClassifier(n_estimators=100, random_state=0).fit(run(encoder, x[train]), y[train])
    assert mine.score(run(encoder, x[test]), y[test]) == pytest.approx(expected, abs=0.02)


def test_two_networks_merged_into_a_ridge_give_the_numbers_of_hand_written_stages(example):
    by_hand = ByHand(example.stacked(seed=3))
    data = by_hand.data
    y, halves = data.get_targets("y"), []
    for key in ("body", "blood"):
        net, label = by_hand.nets[f"{key}-net"], f"{key}-net"
        x = data.get_features(key)
        fit(net, nn.functional.mse_loss, by_hand.rows(label), x, y, lr=0.01)
        assert same(by_hand.trained(label), net)
        halves.append(run(net, x))
    joined, train, test = np.concatenate(halves, axis=1), data["train"].rows, data["test"].rows
    ridge = Ridge(alpha=1.0).fit(joined[train], y[train].ravel())
    native = by_hand.made.graph["ridge"].model.native
    np.testing.assert_allclose(native.coef_, ridge.coef_, rtol=1e-3, atol=1e-4)
    predicted = by_hand.phases["test"].stacked_tensors("ridge")
    np.testing.assert_allclose(predicted.ravel(), ridge.predict(joined[test]), rtol=1e-3, atol=1e-3)
    expected = r2_score(y[test].ravel(), ridge.predict(joined[test]))
    assert by_hand.phases["test"].metric_store.latest("eval_r2") == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize(
    ("pipeline", "metric", "least"),
    [("reduced", "accuracy", 0.95), ("encoded", "accuracy", 0.93), ("stacked", "r2", 0.4)],
)
def test_every_pipeline_runs_on_every_backend_and_again_with_equal_bits(
    example, network, pipeline, metric, least
):
    outcomes = []
    for _ in range(2):
        with mml.ExperimentContext().activate():
            made = getattr(example, pipeline)(seed=1, network=network)
            made.run()
        results = made.last_run.results.get_eval_result("test")
        outcomes.append(
            (mml.files.state_digest(made.graph.get_state()), results.metric_store.latest(f"eval_{metric}"))
        )
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][1] > least


def test_the_script_runs_as_it_stands(tmp_path):
    ran = subprocess.run(
        [sys.executable, str(EXAMPLE), "1"],
        cwd=tmp_path,
        env={**os.environ, "MML_PROGRESS": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    assert "Between encoder and forest gradients stop" in ran.stdout
    assert list(tmp_path.iterdir()) == []


class TestGraphOptimizer:
    """One optimizer over a graph of several backends: refused wherever it could not do what it says."""

    def data(self) -> mml.FeatureSet:
        rng = np.random.default_rng(0)
        x = rng.normal(size=(60, 4)).astype(np.float32)
        made = mml.FeatureSet.from_dict("rows", {"x": x, "y": x[:, :1]}, feature_keys="x", target_keys="y")
        made.split_random(ratios={"train": 0.7, "test": 0.3}, seed=0)
        return made

    def train(self, on: str) -> mml.TrainPhase:
        return mml.TrainPhase.from_split(
            "train",
            split="train",
            sampler=mml.SimpleSampler(batch_size=8),
            losses=[mml.AppliedLoss("mse", on=on)],
        )

    def chain(self, *models: Any) -> mml.Experiment:
        upstream: Any = self.data()
        nodes = []
        for number, model in enumerate(models):
            upstream = mml.ModelNode(f"n{number}", model, upstream)
            nodes.append(upstream)
        return mml.Experiment("toy", mml.ModelGraph(nodes, optimizer="adam"))

    @pytest.mark.parametrize("head", ["Ridge", "SGDRegressor"])
    def test_a_loss_on_an_estimator_reaches_no_network_above_it(self, head):
        network = mml.Model("torch/mlp", hidden=[4], output_shape=2)
        made = self.chain(network, mml.Model(f"sklearn/{head}"))
        phase = self.train("n1")
        made.run_phase(mml.FitPhase.from_split("fit", split="train", freeze_after_fit=False))
        assert "Between n0 and n1 gradients stop" in made.graph.explain(phase)
        with pytest.raises(PhaseError, match="reached by no loss") as caught:
            made.run_phase(phase)
        assert "node 'n0'" in caught.value.where
        assert "gradients stop between 'n0' (torch) and 'n1' (sklearn)" in caught.value.found
        assert "gradients stop between 'n0' (torch) and 'n1' (sklearn)" in made.graph.explain(phase)

    def test_an_estimator_between_two_networks_stops_gradients(self):
        made = self.chain(
            mml.Model("torch/mlp", hidden=[4], output_shape=3),
            mml.Model("sklearn/StandardScaler"),
            mml.Model("torch/mlp", hidden=[], output_shape=1),
        )
        made.run_phase(mml.FitPhase.from_split("fit", split="train"))
        phase = self.train("n2")
        with pytest.raises(
            GraphError, match="cannot train all learning nodes in one backward pass"
        ) as caught:
            made.run_phase(phase)
        for border in ("'n0' (torch) and 'n1' (sklearn)", "'n1' (sklearn) and 'n2' (torch)"):
            assert f"gradients stop between {border}" in caught.value.found
            assert border in made.graph.explain(phase)
        assert "active_nodes" in caught.value.hint
        # The way out that the message names.
        made.run_phase(
            mml.TrainPhase.from_split(
                "head only",
                split="train",
                sampler=mml.SimpleSampler(batch_size=8),
                losses=phase.losses,
                active_nodes=["n2"],
            )
        )

    def test_two_backends_with_gradients_do_not_share_a_backward_pass(self):
        made = self.chain(
            mml.Model("torch/mlp", hidden=[4], output_shape=3),
            mml.Model("reference/mlp", hidden=[], output_shape=1),
        )
        phase = self.train("n1")
        with pytest.raises(GraphError, match="gradients stop") as caught:
            made.run_phase(phase)
        assert "gradients stop between 'n0' (torch) and 'n1' (reference)" in caught.value.found
        assert "Training as a whole: not possible" in made.graph.explain(phase)

    def test_estimators_above_it_are_constants_and_allowed(self):
        made = self.chain(
            mml.Model("sklearn/PCA", n_components=2), mml.Model("torch/mlp", hidden=[4], output_shape=1)
        )
        made.run_phase(mml.FitPhase.from_split("fit", split="train"))
        before = made.graph["n0"].get_state()["model"]["estimator"].tobytes()
        results = made.run_phase(self.train("n1"))
        assert results.status == "completed"
        assert made.graph["n0"].get_state()["model"]["estimator"].tobytes() == before
