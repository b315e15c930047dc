"""What went wrong elsewhere with frameworks in it. Each check passes on MML and fails on a faulty double."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import SGDClassifier
from sklearn.preprocessing import StandardScaler
from torch import nn

import mml
from mml.backends import get_backend
from mml.plugins import registry
from mml_sklearn.datasets import load

IRIS = load("iris")["data"]
LEARNING = sorted(
    one.plugin for one in registry("backends") if get_backend(one.qualified).capabilities.gradients
)


def iris(**more):
    made = mml.FeatureSet.from_dict("iris", {**IRIS, **more}, feature_keys=["x", *more], target_keys="y")
    made.split_random(ratios={"train": 0.7, "test": 0.3}, stratify_by="y", seed=0)
    return made


def train(losses=(), *, n_epochs=5, batch_size=16, **settings):
    sampler = mml.SimpleSampler(batch_size=batch_size, shuffle=True, seed=0)
    return mml.TrainPhase.from_split(
        "train", split="train", sampler=sampler, losses=losses, n_epochs=n_epochs, **settings
    )


# --- estimators in phases --------------------------------------------------------------------------------


def mml_phases():
    """Fit a scaler in a FitPhase, train a classifier behind it batch by batch; return both estimators."""
    with mml.ExperimentContext().activate():
        scale = mml.ModelNode("scale", StandardScaler(), iris())
        judge = mml.ModelNode("judge", SGDClassifier(loss="log_loss", random_state=0), scale)
        made = mml.Experiment("toy", mml.ModelGraph([scale, judge]))
    made.run_phase(mml.FitPhase.from_split("fit", split="train", active_nodes=["scale"]))
    made.run_phase(train())
    return made.graph["scale"].model.native, made.graph["judge"].model.native


def phases_that_step_gradients():
    """The double: a phase knows nodes that take gradient steps, and passes over all others."""
    return StandardScaler(), SGDClassifier(loss="log_loss", random_state=0)


def check_that_phases_train_estimators(run):
    scale, judge = run()
    accuracy = judge.score(scale.transform(IRIS["x"]), IRIS["y"].ravel())
    assert accuracy > 0.85
    assert judge.classes_.tolist() == [0, 1, 2]
    assert judge.t_ > 5 * 100, "not every row of every epoch was seen"


def test_phases_train_scikit_learn_nodes():
    """'No phase trains a scikit-learn node ...'"""
    check_that_phases_train_estimators(mml_phases)
    with pytest.raises(NotFittedError):
        check_that_phases_train_estimators(phases_that_step_gradients)


# --- every backend ---------------------------------------------------------------------------------------


def mml_trained(backend):
    """Train two branches, a merge and a head on a backend by losses by name; return what they came to."""
    name = f"{backend}/mlp"
    with mml.ExperimentContext().activate():
        rows = iris(narrow=IRIS["x"][:, :2].copy())
        branches = [
            mml.ModelNode(
                key, mml.Model(f"{backend}/mlp", hidden=[6], output_shape=4), rows.reference(features=key)
            )
            for key in ("x", "narrow")
        ]
        both = mml.ConcatNode("both", branches)
        head = mml.ModelNode("head", mml.Model(name, hidden=[], output_shape=3), both)
        graph = mml.ModelGraph([*branches, both, head], optimizer=mml.Optimizer("adam", lr=0.02))
        made = mml.Experiment("toy", graph)
    loss = mml.AppliedLoss("cross_entropy", on="head", label="ce")
    losses = made.run_phase(train([loss], n_epochs=15)).metrics().where(name="train_loss").values
    test = mml.EvalPhase.from_split("test", split="test", losses=[loss], metrics=["accuracy"])
    return list(losses), made.run_phase(test).metric_store.latest("eval_accuracy")


def on_one_framework(backend):
    """The double: what trains was written, and ever run, for one framework."""
    if backend != "torch":
        raise NotImplementedError(backend)
    return [1.0, 0.1], 1.0


def check_that_a_backend_trains(run, backend):
    losses, accuracy = run(backend)
    assert losses[-1] < 0.5 * losses[0]
    assert accuracy > 0.85


@pytest.mark.parametrize("backend", LEARNING)
def test_every_backend_trains_through_merges_on_several_classes(backend):
    """'... TensorFlow training raises; training through a merge raises; multi-class ... losses ... raise'"""
    check_that_a_backend_trains(mml_trained, backend)
    with pytest.raises(NotImplementedError):
        check_that_a_backend_trains(on_one_framework, "reference")


# --- gradients that the user turned off ------------------------------------------------------------------


class InMML:
    """A layer in MML whose bias shall stay as it is."""

    def __init__(self, layer):
        with mml.ExperimentContext().activate():
            node = mml.ModelNode("layer", layer, iris())
            self.made = mml.Experiment("toy", mml.ModelGraph([node], optimizer="adam"))

    def train(self):
        self.made.run_phase(train([mml.AppliedLoss("cross_entropy", on="layer")]))


class TurningOn:
    """The double: a phase begins by asking every parameter of every node to learn."""

    def __init__(self, layer):
        self.layer = layer

    def train(self):
        for one in self.layer.parameters():
            one.requires_grad_(True)
        optimizer = torch.optim.Adam(self.layer.parameters())
        outputs = self.layer(torch.from_numpy(np.array(IRIS["x"])))
        nn.functional.cross_entropy(outputs, torch.from_numpy(np.array(IRIS["y"]).ravel())).backward()
        optimizer.step()


def check_that_gradients_stay_off(kind):
    layer = nn.Linear(4, 3)
    layer.bias.requires_grad_(False)
    weight, bias = layer.weight.detach().clone(), layer.bias.detach().clone()
    kind(layer).train()
    assert not torch.equal(layer.weight, weight), "nothing was trained"
    assert torch.equal(layer.bias, bias), "a parameter learned whose gradient was off"
    assert not layer.bias.requires_grad


def test_gradients_that_the_user_turned_off_stay_off():
    """'A TrainPhase ... turns on gradients the user turned off.'"""
    check_that_gradients_stay_off(InMML)
    with pytest.raises(AssertionError, match="whose gradient was off"):
        check_that_gradients_stay_off(TurningOn)


# --- means -----------------------------------------------------------------------------------------------


def mml_step(loss, layer, x, y, *, lr):
    """Take one step of gradient descent in MML."""
    with mml.ExperimentContext().activate():
        rows = mml.FeatureSet.from_dict("rows", {"x": x, "y": y}, feature_keys="x", target_keys="y")
        node = mml.ModelNode("layer", layer, rows)
        made = mml.Experiment("toy", mml.ModelGraph([node], optimizer=mml.Optimizer("sgd", lr=lr)))
    phase = mml.TrainPhase.from_split(
        "train",
        split=None,
        sampler=mml.SimpleSampler(batch_size=len(x)),
        losses=[mml.AppliedLoss(loss, on="layer", label="own")],
    )
    return made.run_phase(phase).metric_store.latest("train_loss")


def times_the_rows(loss, layer, x, y, *, lr):
    """The double: a loss is taken for a mean of single rows, and multiplied by their number."""
    value = loss(layer(torch.from_numpy(x)), torch.from_numpy(y)) * len(x)
    value.backward()
    with torch.no_grad():
        for one in layer.parameters():
            one.sub_(lr * one.grad)
    return value.item()


def check_that_a_mean_is_stepped_by(step):
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(12, width)).astype(np.float32) for width in (3, 1))
    layer = nn.Linear(3, 1)
    weight, bias = (one.detach().numpy().copy() for one in layer.parameters())
    value = step(lambda outputs, targets: ((outputs - targets) ** 2).mean(), layer, x, y, lr=0.1)
    off = x @ weight.T + bias - y
    assert value == pytest.approx(np.mean(off**2), rel=1e-5), f"{value / np.mean(off**2):.1f} times the mean"
    expected = weight - 0.1 * 2 * off.T @ x / len(x)
    np.testing.assert_allclose(layer.weight.detach().numpy(), expected, rtol=1e-4, atol=1e-6)


def test_a_mean_of_ones_own_is_stepped_by_as_it_is():
    """'A loss that returns a mean is multiplied by the batch size.'"""
    check_that_a_mean_is_stepped_by(mml_step)
    with pytest.raises(AssertionError, match=r"12\.0 times the mean"):
        check_that_a_mean_is_stepped_by(times_the_rows)
