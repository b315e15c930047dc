"""Whole experiments on TensorFlow: by name, in files, resumed, stage-wise, beside other backends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import mml
from mml.files import state_digest
from mml_tf.layers import Linear


def _data(rows: int = 53) -> mml.FeatureSet:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, 5)).astype(np.float32)
    return mml.FeatureSet.from_dict(
        "rows", {"x": x, "y": (x[:, :1] > 0).astype(np.float32)}, feature_keys="x", target_keys="y"
    )


def _experiment(model: Any = None, *, n_epochs: int = 2, **settings: Any) -> mml.Experiment:
    model = model or mml.Model(
        "tensorflow/mlp", hidden=[7], output_shape=1, dropout=0.2, batch_norm=True, **settings
    )
    node = mml.ModelNode("net", model, _data())
    graph = mml.ModelGraph([node], optimizer=mml.Optimizer("adam", lr=0.01))
    made = mml.Experiment("small", graph, seed=3)
    made.execution_plan.add_phase(
        mml.TrainPhase.from_split(
            "train",
            split=None,
            sampler=mml.SimpleSampler(batch_size=7, shuffle=True),
            losses=[mml.AppliedLoss("bce_logits", on="net")],
            n_epochs=n_epochs,
        )
    )
    return made


def _digest(made: mml.Experiment) -> str:
    return state_digest(made.graph.get_state())


def test_two_runs_of_one_experiment_are_equal_to_the_bit_and_learn():
    with mml.ExperimentContext().activate():
        first = _experiment(n_epochs=30)
        results = first.run()
    with mml.ExperimentContext().activate():
        second = _experiment(n_epochs=30)
        second.run()
    assert _digest(first) == _digest(second)
    losses = results.get_train_result("train").metrics().where(name="train_loss").values
    assert losses[-1] < 0.6 * losses[0]


def test_an_experiment_comes_back_from_a_file_and_goes_on_alike(tmp_path):
    made = _experiment()
    made.run()
    loaded = mml.Experiment.load(made.save(tmp_path / "small.mml"))
    assert _digest(loaded) == _digest(made)
    made.run()
    loaded.run()
    assert _digest(loaded) == _digest(made)


def test_a_listener_to_batches_changes_no_bit():
    class Listening(mml.Callback):
        def __init__(self) -> None:
            self.losses: list[float] = []

        def on_batch_end(self, *, context: Any, **_: Any) -> None:
            self.losses.append(float(context.losses["net/bce_logits"]))

    with mml.ExperimentContext().activate():
        plain = _experiment()
        plain.run()
    with mml.ExperimentContext().activate():
        heard = _experiment()
        listener = Listening()
        (phase,) = heard.execution_plan.flatten()
        phase.callbacks = [listener]
        heard.run()
    assert len(listener.losses) == 16
    assert np.isfinite(listener.losses).all()
    assert _digest(heard) == _digest(plain)


def test_a_module_that_was_passed_sees_every_update():
    net = Linear(5, 1)
    before = net.weight.numpy()
    made = _experiment(net)
    made.run()
    assert (net.weight.numpy() != before).all()


def test_stages_train_one_after_the_other_without_gradients_between_them():
    data = _data()
    first = mml.ModelNode(
        "first", mml.Model("tensorflow/mlp", hidden=[], output_shape=1), data, optimizer=mml.Optimizer("sgd")
    )
    second = mml.ModelNode(
        "second",
        mml.Model("tensorflow/mlp", hidden=[], output_shape=1),
        first,
        optimizer=mml.Optimizer("sgd"),
    )
    graph = mml.ModelGraph([first, second])
    phase = mml.TrainPhase.from_split(
        "train",
        split=None,
        sampler=mml.SimpleSampler(batch_size=7),
        losses=[mml.AppliedLoss("mse", on="first"), mml.AppliedLoss("mse", on="second")],
    )
    made = mml.Experiment("stages", graph, seed=1)
    graph.build(seed=0)
    weights = {
        label: {name: value.astype(float) for name, value in state.items()}
        for label, state in ((node.label, node.model.get_state()) for node in (first, second))
    }
    made.run_phase(phase)
    x, y = data.get_features("x").astype(float), data.get_targets("y").astype(float)
    for start in range(0, 53, 7):
        inputs, targets = x[start : start + 7], y[start : start + 7]
        for label in ("first", "second"):
            state = weights[label]
            outputs = inputs @ state["layers.0.weight"] + state["layers.0.bias"]
            slope = 2 * (outputs - targets) / len(targets)
            state["layers.0.weight"] = state["layers.0.weight"] - 0.01 * inputs.T @ slope
            state["layers.0.bias"] = state["layers.0.bias"] - 0.01 * slope.sum(0)
            inputs = outputs
    for node in (first, second):
        for name, value in node.model.get_state().items():
            np.testing.assert_allclose(value, weights[node.label][name], rtol=1e-4, atol=1e-6)


def test_features_come_as_tensors():
    data = _data()
    tensor = data.get_features("x", fmt="tensorflow")
    assert isinstance(tensor, tf.Tensor)
    np.testing.assert_array_equal(tensor.numpy(), data.get_features("x"))


def test_global_generators_are_as_they_were_after_a_run():
    from tensorflow.python.eager import context

    before = context.context()._seed
    _experiment().run()
    assert context.context()._seed == before


def test_the_mistakes_of_a_newcomer_are_named():
    data = _data()
    narrow = mml.ModelGraph([mml.ModelNode("net", Linear(4, 1), data)])
    with pytest.raises(mml.MMLError, match=r"(?s)'net'.*\(4, 1\).*\(5,\)"):
        narrow.build(seed=0)
    wrong = mml.Model("tensorflow/mlp", hidden=[3], output_shape=1, actvation="relu")
    misspelt = mml.ModelGraph([mml.ModelNode("other", wrong, data)])
    with pytest.raises(mml.MMLError, match=r"(?s)actvation.*activation"):
        misspelt.build(seed=0)
