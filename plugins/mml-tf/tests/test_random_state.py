"""Random numbers follow the step's seed, and the process-wide generators come back, also after a failure."""

import os
import random
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.framework import config

from mml.errors import ModelError
from mml.graph.optimizers import canonical
from mml_tf import Dropout, random_state
from mml_tf.losses import MeanSquaredError

MSE = MeanSquaredError()
FRAMEWORK_DRAWS = {
    "dropout": lambda inputs: tf.nn.dropout(inputs, 0.5),
    "uniform": lambda inputs: inputs + tf.random.uniform(tf.shape(inputs)),
    "normal": lambda inputs: inputs + tf.random.normal(tf.shape(inputs)),
    "truncated": lambda inputs: inputs + tf.random.truncated_normal(tf.shape(inputs)),
    "integers": lambda inputs: (
        inputs + tf.cast(tf.random.uniform(tf.shape(inputs), maxval=9, dtype=tf.int32), inputs.dtype)
    ),
    "shuffle": tf.random.shuffle,
    "categories": lambda inputs: (
        inputs + tf.cast(tf.random.categorical(inputs, inputs.shape[1]), inputs.dtype)
    ),
}


class Drawing(tf.Module):
    """A model that draws in training, as a user would write it."""

    def __init__(self, layer: Any, draw: Any) -> None:
        super().__init__()
        self.layer, self.draw = layer, draw

    def __call__(self, inputs: Any, training: bool = False) -> Any:
        return self.layer(self.draw(inputs) if training else inputs)


def test_generators_and_determinism_come_back_after_a_failure() -> None:
    framework = context.context()
    before = (framework._seed, vars(framework).get("_rng"), random.getstate())

    def fails() -> None:
        with random_state.swapped(deterministic=True), random_state.seeded(3):
            tf.random.uniform([5])
            assert config.is_op_determinism_enabled()
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        fails()
    assert (framework._seed, vars(framework).get("_rng"), random.getstate()) == before
    assert not config.is_op_determinism_enabled()


def test_a_users_generator_goes_on_where_it_stood() -> None:
    with random_state.swapped():
        tf.random.set_seed(11)
        expected = [tf.random.uniform([]).numpy() for _ in range(3)]
        tf.random.set_seed(11)
        drawn = [tf.random.uniform([]).numpy()]
        with random_state.swapped(), random_state.seeded(4):
            tf.random.uniform([7])
        drawn += [tf.random.uniform([]).numpy() for _ in range(2)]
    assert drawn == expected


@pytest.mark.parametrize("seed", [0, 1, 2**62 + 12345, 2**63 - 1])
def test_a_seed_gives_one_stream(seed: int) -> None:
    draws = []
    for _ in range(2):
        with random_state.swapped(), random_state.seeded(seed):
            drawn = tf.random.stateless_uniform([5], random_state.next_seed())
            draws.append((drawn.numpy().tobytes(), tf.random.uniform([5]).numpy().tobytes()))
    assert draws[0] == draws[1]
    assert random_state.next_seed() is None


@pytest.mark.parametrize("name", FRAMEWORK_DRAWS)
def test_the_frameworks_own_random_operations_follow_the_steps_seed(lab: Any, name: str) -> None:
    x, y = lab.data(6)
    weights = []
    for cut in (6, 1, 6):
        net = Drawing(lab.linear(3, 1), FRAMEWORK_DRAWS[name])
        program = lab.program(lab.segment(lab.wrapped(net), MSE, canonical.Sgd(), lab.store()))
        controls = lab.controls(6)
        if len(weights) == 2:
            controls.seeds[:] += 1
        lab.run(program, lab.block(x=x, y=y), controls, cut=cut)
        weights.append(net.layer.weight.numpy())
    assert weights[0].tobytes() == weights[1].tobytes()
    assert np.abs(weights[0] - weights[2]).max() > 1e-4
    plain = lab.linear(3, 1)
    lab.train(lab.wrapped(plain), canonical.Sgd(), x, y, loss=MSE)
    assert np.abs(weights[0] - plain.weight.numpy()).max() > 1e-4


@pytest.mark.parametrize("jit_compile", [False, True])
def test_dropout_draws_the_same_zeros_with_and_without_the_compiler(lab: Any, jit_compile: bool) -> None:
    x, y = lab.data(3)
    rate = 0.4
    net = lab.net(dropout=rate)
    segment = lab.segment(lab.wrapped(net), MSE, canonical.Sgd(), lab.store(), jit_compile=jit_compile)
    losses = lab.run(lab.program(segment), lab.block(x=x, y=y), lab.controls(3, rate=0.0))
    for step in range(3):
        hidden = np.tanh(x[step] @ net.layers[0].weight.numpy() + net.layers[0].bias.numpy())
        bits = tf.random.stateless_uniform(
            hidden.shape, [100 + step, 1], minval=None, maxval=None, dtype=tf.uint32, alg="philox"
        )
        # The framework's signed and unsigned numbers share their bits.
        kept = hidden * (bits.numpy().view("int32") >= rate * 2**32 - 2**31) / (1 - rate)
        outputs = kept @ net.layers[3].weight.numpy() + net.layers[3].bias.numpy()
        np.testing.assert_allclose(losses[step, 0], np.mean((outputs - y[step]) ** 2), rtol=1e-5)


def test_dropout_keeps_the_expectation_outside_a_graph_too() -> None:
    inputs = tf.ones([400, 50])
    outputs = Dropout(0.3)(inputs, training=True).numpy()
    np.testing.assert_allclose(np.unique(outputs), [0.0, 1 / 0.7], rtol=1e-6)
    np.testing.assert_allclose(outputs.mean(), 1.0, atol=5 * np.sqrt(0.3 / 0.7 / outputs.size))
    assert Dropout(0.3)(inputs) is inputs


@pytest.mark.parametrize("rate", [1.0, -0.1, True, "half"])
def test_a_bad_rate_of_dropout_is_named(rate: Any) -> None:
    with pytest.raises(ModelError, match="from 0 to below 1"):
        Dropout(rate)


class WithFunction(tf.Module):
    """A model whose step is a function of its own: traced once, with what it saw then."""

    def __init__(self, layer: Any, *, own: bool) -> None:
        super().__init__()
        self.layer, self.drop = layer, Dropout(0.5)
        self.inner = tf.function(lambda inputs: (self.drop if own else tf.nn.dropout)(inputs, *self.how(own)))

    @staticmethod
    def how(own: bool) -> tuple[Any, ...]:
        return (True,) if own else (0.5,)

    def __call__(self, inputs: Any, training: bool = False) -> Any:
        return self.layer(self.inner(inputs) if training else inputs)


@pytest.mark.parametrize("own", [True, False])
def test_draws_inside_a_function_of_the_models_own_are_refused(lab: Any, own: bool) -> None:
    x, y = lab.data(1)
    with pytest.raises(ModelError, match=r"(?s)'net'.*RandomUniform.*tf\.function"):
        lab.train(lab.wrapped(WithFunction(lab.linear(3, 1), own=own)), canonical.Sgd(), x, y, loss=MSE)


def test_a_call_that_is_a_function_itself_is_compiled_with_the_step(lab: Any, values_of: Any) -> None:
    class Decorated(Drawing):
        @tf.function
        def __call__(self, inputs: Any, training: bool = False) -> Any:
            if tf.reduce_sum(inputs) > 1e6:
                inputs = inputs * 0
            return Drawing.__call__(self, inputs, training)

    x, y = lab.data(3)
    nets = [made(lab.linear(3, 1), FRAMEWORK_DRAWS["dropout"]) for made in (Drawing, Decorated)]
    for net in nets:
        lab.train(lab.wrapped(net), canonical.Sgd(), x, y, loss=MSE)
    np.testing.assert_allclose(nets[0].layer.weight.numpy(), nets[1].layer.weight.numpy(), rtol=1e-6)


def test_operations_that_nobody_can_repeat_are_refused_by_name(lab: Any) -> None:
    x, y = lab.data(1)
    net = Drawing(lab.linear(3, 1), lambda inputs: inputs + tf.random.gamma([3], 1.0))
    with pytest.raises(ModelError, match=r"(?s)RandomGamma.*mml_tf\.Dropout"):
        lab.train(lab.wrapped(net), canonical.Sgd(), x, y, loss=MSE)


def test_a_generator_is_a_variable_and_its_position_is_saved(lab: Any, values_of: Any) -> None:
    class Own(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.generator = lab.linear(3, 1), tf.random.Generator.from_seed(7, alg="philox")

        def __call__(self, inputs: Any, training: bool = False) -> Any:
            return self.layer(inputs + self.generator.normal([3]) if training else inputs)

    x, y = lab.data(6)
    whole = Own()
    lab.train(lab.wrapped(whole), canonical.Sgd(), x, y, loss=MSE)
    first = lab.wrapped(Own())
    roles = {spec.name: spec.role for spec in first.variables()}
    assert roles == {"layer.weight": "param", "layer.bias": "param", "generator.state": "random"}
    lab.train(first, canonical.Sgd(), x[:2], y[:2], loss=MSE)
    second = lab.wrapped(Own())
    second.set_state(first.get_state())
    lab.train(second, canonical.Sgd(), x[2:], y[2:], loss=MSE)
    assert second.native.layer.weight.numpy().tobytes() == whole.layer.weight.numpy().tobytes()
    before = second.get_state()["generator.state"]
    second.forward(x[0])
    assert (second.get_state()["generator.state"] == before).all()


def test_variables_that_only_the_graph_reaches_are_values_too(lab: Any) -> None:
    generator = tf.random.Generator.from_seed(5, alg="philox")
    calls = tf.Variable(0.0, trainable=False)

    class Reaching(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = lab.linear(3, 1)

        def __call__(self, inputs: Any, training: bool = False) -> Any:
            if training:
                calls.assign_add(1.0)
                inputs = inputs + generator.normal([3])
            return self.layer(inputs)

    x, y = lab.data(3)
    model = lab.wrapped(Reaching())
    roles = sorted((spec.name.partition(".")[0], spec.role) for spec in model.variables())
    assert roles == [("captured", "buffer"), ("captured", "random"), ("layer", "param"), ("layer", "param")]
    saved = model.get_state()
    lab.train(model, canonical.Sgd(), x, y, loss=MSE)
    assert calls.numpy() == 3.0
    after = model.native.layer.weight.numpy().tobytes()
    model.set_state(saved)
    assert calls.numpy() == 0.0
    lab.train(model, canonical.Sgd(), x, y, loss=MSE)
    assert model.native.layer.weight.numpy().tobytes() == after


def test_training_is_equal_in_another_process() -> None:
    script = (
        "import hashlib, numpy as np, mml\n"
        "rng = np.random.default_rng(0); x = rng.normal(size=(21, 3)).astype('float32')\n"
        "data = mml.FeatureSet.from_dict('d', {'x': x, 'y': x[:, :1]}, feature_keys='x', target_keys='y')\n"
        "model = mml.Model('tensorflow/mlp', hidden=[5], output_shape=1, dropout=0.3, batch_norm=True)\n"
        "graph = mml.ModelGraph([mml.ModelNode('net', model, data)], optimizer=mml.Optimizer('adam'))\n"
        "sampler = mml.SimpleSampler(batch_size=5, shuffle=True)\n"
        "losses = [mml.AppliedLoss('mse', on='net')]\n"
        "phase = mml.TrainPhase.from_split('t', split=None, n_epochs=2, sampler=sampler, losses=losses)\n"
        "mml.Experiment('e', graph, seed=3).run_phase(phase)\n"
        "from mml.files import state_digest; print(state_digest(graph.get_state()))\n"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
        ).stdout
        for hash_seed in ("0", "7")
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) > 10
