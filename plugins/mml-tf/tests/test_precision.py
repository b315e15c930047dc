"""Training in bfloat16: matrix products in half the bits, everything that stays in its own dtype."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import mml
from mml.errors import BackendError
from mml.graph.optimizers import canonical
from mml_tf import CNN1d
from mml_tf.losses import MeanSquaredError

MSE = MeanSquaredError()


def halved(array: np.ndarray) -> np.ndarray:
    return tf.cast(tf.cast(array, tf.bfloat16), tf.float32).numpy()


@pytest.mark.parametrize("jit_compile", [False, True])
def test_products_forward_and_backward_are_half_precise_and_the_rest_is_not(
    lab: Any, jit_compile: bool
) -> None:
    x, y = lab.data(1)
    net = lab.linear(lab.width, 1)
    weight, bias = net.weight.numpy(), net.bias.numpy()
    losses = lab.train(
        lab.wrapped(net), canonical.Sgd(), x, y, loss=MSE, precision="bf16", jit_compile=jit_compile
    )
    outputs = halved(halved(x[0]) @ halved(weight)) + bias
    np.testing.assert_allclose(losses, np.mean((outputs - y[0]) ** 2), rtol=1e-5)
    slope = 2 * (outputs - y[0]) / len(y[0])
    np.testing.assert_allclose((bias - net.bias.numpy()) / 1e-2, slope.sum(0), rtol=1e-4)
    moved = (weight - net.weight.numpy()) / 1e-2
    exact = x[0].T @ slope
    np.testing.assert_allclose(moved, halved(halved(x[0]).T @ halved(slope)), rtol=1e-2)
    assert np.abs(moved - exact).max() > 1e-4
    assert net.weight.dtype == tf.float32


def test_convolutions_are_products_too(lab: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 7, 2, 11)).astype("float32"), rng.normal(size=(2, 7, 1)).astype("float32")
    losses = []
    for precision in ("float32", "bf16"):
        from mml_tf import TensorflowBaseModel

        model = TensorflowBaseModel(CNN1d, kwargs={"channels": [5]}, label="net")
        model.build((2, 11), (1,), seed=1)
        losses.append(lab.train(model, canonical.Sgd(), x, y, loss=MSE, precision=precision))
    np.testing.assert_allclose(losses[0], losses[1], rtol=0.05)
    assert (losses[0] != losses[1]).all()


def trained(precision: str, *, n_epochs: int = 30) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(90, 7)).astype("float32")
    y = (x @ rng.normal(size=(7, 1)) + 0.1 * rng.normal(size=(90, 1))).astype("float32")
    with mml.ExperimentContext().activate():
        data = mml.FeatureSet.from_dict("rows", {"x": x, "y": y}, feature_keys="x", target_keys="y")
        node = mml.ModelNode("net", mml.Model("tensorflow/mlp", hidden=[32], output_shape=1), data)
        optimizer = mml.Optimizer("adam", lr=0.01, precision=precision)
        graph = mml.ModelGraph([node], optimizer=optimizer)
        phase = mml.TrainPhase.from_split(
            "train",
            split=None,
            sampler=mml.SimpleSampler(batch_size=16, shuffle=True, seed=0),
            losses=[mml.AppliedLoss("mse", on="net")],
            n_epochs=n_epochs,
            result_recording="last",
        )
        return graph, mml.Experiment("toy", graph).run_phase(phase)


def test_it_learns_what_float32_learns_and_keeps_slots_and_outputs_whole():
    runs = {precision: trained(precision) for precision in ("bf16", "float32")}
    half, whole = (runs[one][1].metrics().where(name="train_loss").values for one in ("bf16", "float32"))
    assert half[0] == pytest.approx(whole[0], rel=0.02)
    assert half.tolist() != whole.tolist()
    assert half[-1] < 0.05 * half[0]
    graph, results = runs["bf16"]
    slots = graph.optimizer.get_state()["net/layers.0.weight"]
    assert {slots[name].dtype for name in ("first_moment", "second_moment")} == {np.dtype("float32")}
    assert results.tensors("net").values[0].dtype == np.float32


def test_steps_that_run_by_hand_refuse_it(lab: Any) -> None:
    x, y = lab.data(1)

    def loss(outputs: Any, targets: Any, *, context: Any) -> Any:
        return MSE(outputs, targets)

    with pytest.raises(BackendError, match=r"(?s)net/loss.*bf16.*float32"):
        lab.train(lab.wrapped(lab.net()), canonical.Sgd(), x, y, loss=loss, context=True, precision="bf16")
