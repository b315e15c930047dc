"""Keras models on TensorFlow, where no other plugin claims them."""

import random
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from mml.backends import ModelSource, get_backend
from mml.errors import ModelError
from mml.graph.optimizers import canonical
from mml_tf import TensorflowBaseModel
from mml_tf.losses import MeanSquaredError

MSE = MeanSquaredError()
keras = tf.keras


def model(*, dropout: float = 0.0, batch_norm: bool = False) -> Any:
    layers = [keras.layers.Input((3,)), keras.layers.Dense(5, activation="tanh")]
    layers += [keras.layers.BatchNormalization()] if batch_norm else []
    layers += [keras.layers.Dropout(dropout)] if dropout else []
    return keras.Sequential([*layers, keras.layers.Dense(1)])


def copied(source: Any, **settings: Any) -> Any:
    made = model(**settings)
    made.set_weights(source.get_weights())
    return made


def test_training_equals_the_hand_written_loop(lab: Any) -> None:
    x, y = lab.data(9)
    expected = model(batch_norm=True)
    net = copied(expected, batch_norm=True)
    velocity = [np.zeros(one.shape) for one in expected.trainable_variables]
    for step in range(9):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((expected(tf.constant(x[step]), training=True) - y[step]) ** 2)
        gradients = tape.gradient(loss, [one.value for one in expected.trainable_variables])
        for number, (variable, gradient) in enumerate(
            zip(expected.trainable_variables, gradients, strict=True)
        ):
            velocity[number] = 0.9 * velocity[number] + gradient.numpy()
            variable.assign(variable.numpy() - 1e-2 * velocity[number])
    lab.train(lab.wrapped(net), canonical.Sgd(momentum=0.9), x, y, loss=MSE)
    for mine, theirs in zip(net.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=2e-5, atol=1e-6)


def test_names_do_not_count_the_layers_of_the_process_and_roles_are_told_apart() -> None:
    keras.layers.Dense(7)
    wrapped = TensorflowBaseModel(model(dropout=0.3, batch_norm=True))
    wrapped.build((3,))
    assert {spec.name: spec.role for spec in wrapped.variables()} == {
        "0.kernel": "param",
        "1.bias": "param",
        "2.gamma": "param",
        "3.beta": "param",
        "4.moving_mean": "buffer",
        "5.moving_variance": "buffer",
        "6.seed_generator_state": "random",
        "7.kernel": "param",
        "8.bias": "param",
    }


def test_seedless_dropout_follows_the_steps_seed(lab: Any) -> None:
    x, y = lab.data(6)
    source = model(dropout=0.4)
    weights = []
    for cut in (6, 1):
        net = copied(source, dropout=0.4)
        program = lab.program(lab.segment(lab.wrapped(net), MSE, canonical.Sgd(), lab.store()))
        lab.run(program, lab.block(x=x, y=y), lab.controls(6), cut=cut)
        weights.append([one.tobytes() for one in net.get_weights()])
    assert weights[0] == weights[1]


def test_two_dropouts_draw_different_zeros(lab: Any) -> None:
    x, y = lab.data(1)
    masks: list[Any] = []

    class Watched(keras.layers.Layer):
        def call(self, inputs: Any) -> Any:
            tf.py_function(lambda one: masks.append(one.numpy() == 0), [inputs], [])
            return inputs

    ones = keras.layers.Lambda(lambda one: one * 0 + 1)
    net = keras.Sequential([ones, keras.layers.Dropout(0.5), Watched(), ones, keras.layers.Dropout(0.5)])
    net.add(Watched())
    net.add(keras.layers.Dense(1))
    lab.train(lab.wrapped(net), canonical.Sgd(), x, y, loss=MSE)
    first, second = masks[-2:]
    assert (first != second).any()


def test_a_class_is_built_from_the_seed_and_pythons_generator_is_left_alone() -> None:
    def built(seed: int) -> list[bytes]:
        wrapped = TensorflowBaseModel(keras.layers.Dense, kwargs={"units": 2})
        before = random.getstate()
        wrapped.build((3,), seed=seed)
        assert random.getstate() == before
        assert wrapped.output_shape == (2,)
        return [one.tobytes() for one in wrapped.get_state().values()]

    first = built(7)
    keras.layers.Dense(3).build((None, 4))
    assert built(7) == first
    assert built(8) != first


def test_a_layer_that_is_not_built_yet_draws_from_the_seed_at_each_reset() -> None:
    wrapped = TensorflowBaseModel(keras.Sequential([keras.layers.Dense(2)]))
    wrapped.build((3,), seed=1)
    first = wrapped.get_state()["0.kernel"].tobytes()
    wrapped.reset(seed=2)
    assert wrapped.get_state()["0.kernel"].tobytes() != first
    wrapped.reset(seed=1)
    assert wrapped.get_state()["0.kernel"].tobytes() == first


def test_a_layer_that_was_turned_off_stays(lab: Any) -> None:
    x, y = lab.data(2)
    net, store = model(), lab.store()
    wrapped = lab.wrapped(net)
    program = lab.program(lab.segment(wrapped, MSE, canonical.Adam(weight_decay=0.1), store))
    staged, controls = program.stage(lab.block(x=x, y=y)), lab.controls(2)
    program.run(staged, 0, 1, controls)
    net.layers[0].trainable = False
    before = [one.tobytes() for one in net.layers[0].get_weights()]
    last = net.layers[-1].get_weights()[0].tobytes()
    program.run(staged, 1, 2, controls)
    assert [one.tobytes() for one in net.layers[0].get_weights()] == before
    assert net.layers[-1].get_weights()[0].tobytes() != last


def test_a_layer_inside_a_module_learns_too(lab: Any) -> None:
    class Mixed(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(5, activation="tanh")
            self.head = lab.linear(5, 1)

        def __call__(self, inputs: Any) -> Any:
            return self.head(self.dense(inputs))

    x, y = lab.data(3)
    net = Mixed()
    wrapped = lab.wrapped(net)
    assert [spec.name for spec in wrapped.variables() if spec.role == "param"] == [
        "dense.0.kernel",
        "dense.1.bias",
        "head.weight",
        "head.bias",
    ]
    before = net.dense.get_weights()[0]
    lab.train(wrapped, canonical.Sgd(), x, y, loss=MSE)
    assert (net.dense.get_weights()[0] != before).all()


def test_dropout_inside_a_module_follows_the_steps_seed_too(lab: Any) -> None:
    class Mixed(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = [lab.linear(3, 5), keras.layers.Dropout(0.5), lab.linear(5, 1)]

        def __call__(self, inputs: Any, training: bool = False) -> Any:
            hidden = self.parts[1](self.parts[0](inputs), training=training)
            return self.parts[2](hidden)

    x, y = lab.data(4)
    weights = []
    for _ in range(2):
        net = Mixed()
        lab.train(lab.wrapped(net), canonical.Sgd(), x, y, loss=MSE)
        weights.append(net.parts[0].weight.numpy().tobytes())
    assert weights[0] == weights[1]


def test_losses_that_a_layer_adds_are_refused_instead_of_dropped() -> None:
    net = keras.Sequential([keras.layers.Dense(2, kernel_regularizer="l2")])
    with pytest.raises(ModelError, match=r"(?s)'node'.*weight_decay"):
        get_backend("tensorflow").wrap(
            ModelSource(target=net, is_instance=True, name=None, kwargs={}, label="node")
        ).build((3,))


@pytest.mark.parametrize("made", [True, False])
def test_another_engine_is_refused_by_name(monkeypatch: Any, made: bool) -> None:
    target = model() if made else keras.layers.Dense
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    source = ModelSource(target=target, is_instance=made, name=None, kwargs={}, label="node")
    with pytest.raises(ModelError, match=r"(?s)KERAS_BACKEND=tensorflow.*'jax'.*mml\[keras3\]") as caught:
        get_backend("tensorflow").wrap(source)
    assert "'node'" in str(caught.value)
