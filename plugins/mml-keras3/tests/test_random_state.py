"""Generators are lent out under a lock and given back; seeds of a step decide alone."""

import os
import random
import subprocess
import sys
from typing import Any

import keras
import numpy as np

from mml.graph.optimizers.canonical import Sgd
from mml_keras3 import random_state
from mml_keras3.internals import GLOBAL_SEED_GENERATOR, global_state

layers = keras.layers


def test_states_of_generators_follow_seed_and_place_alone() -> None:
    seeds = np.array([3, 2**62, 5, 3], dtype=np.int64)
    states = random_state.generator_states(seeds, 3)
    assert (states.shape, states.dtype) == ((4, 3, 2), np.dtype("uint32"))
    np.testing.assert_array_equal(states[0], states[3])
    np.testing.assert_array_equal(random_state.generator_states(seeds[1:2], 2)[0], states[1, :2])
    assert len({one.tobytes() for one in states[:3].reshape(9, 2)}) == 9
    assert states.max() < 2**31
    assert random_state.generator_states(seeds, 0).shape == (4, 0, 2)


def _generators() -> list[Any]:
    if global_state.get_global_attribute(GLOBAL_SEED_GENERATOR) is None:
        keras.random.uniform((1,))
    state = global_state.get_global_attribute(GLOBAL_SEED_GENERATOR).state
    keras_position = keras.ops.convert_to_numpy(state.value).tolist()
    return [random.getstate(), np.random.get_state()[1].tobytes(), keras_position]


def test_what_is_drawn_inside_leaves_every_generator_as_it_was() -> None:
    before = _generators()
    with random_state.seeded(3):
        first = random.random(), np.random.random()
        keras.random.uniform((2,))
        keras.initializers.GlorotUniform()((2, 2))
        with random_state.seeded(4):
            random.random()
    assert _generators() == before
    with random_state.seeded(3):
        assert (random.random(), np.random.random()) == first


def _dropping(lab: Any, dropout: Any, seeds: np.ndarray, cut: int | None = None) -> list[bytes]:
    net = lab.drawn(keras.Sequential([layers.Dense(5), dropout, layers.Dense(1)]), 3, 0)
    x, y = (np.repeat(one, len(seeds), axis=0) for one in lab.data(1))
    program = lab.program(lab.segment(lab.wrapped(net), lab.loss("mse"), Sgd(), lab.store()))
    controls = lab.controls(len(seeds), rate=0.0)
    controls.seeds[:] = seeds
    return [one.tobytes() for one in lab.run(program, lab.block(x=x, y=y), controls, cut=cut)]


def test_dropout_follows_the_steps_seed_whatever_the_layer_was_given(lab: Any) -> None:
    for made in (lambda: layers.Dropout(0.5), lambda: layers.Dropout(0.5, seed=3)):
        first = _dropping(lab, made(), np.array([1, 2, 1, 3]))
        assert first[0] == first[2]
        assert len(set(first)) == 3
        assert _dropping(lab, made(), np.array([3, 1]), cut=1) == [first[3], first[0]]


def test_a_users_generator_is_not_moved_by_training(lab: Any) -> None:
    dropout = layers.Dropout(0.5, seed=3)
    state = dropout.seed_generator.state
    before = keras.ops.convert_to_numpy(state.value).copy()
    _dropping(lab, dropout, np.array([1, 2, 3]))
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(state.value), before)


def test_two_layers_do_not_drop_alike(lab: Any) -> None:
    class Twice(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = layers.Dropout(0.5, seed=7), layers.Dropout(0.5, seed=7)

        def call(self, inputs: Any, training: bool = False) -> Any:
            difference = self.first(inputs, training=training) - self.second(inputs, training=training)
            return keras.ops.sum(difference * difference, axis=1, keepdims=True)

    x, y = np.ones((1, 7, 3), "float32"), np.zeros((1, 7, 1), "float32")
    net = keras.Sequential([layers.Dense(3, kernel_initializer="identity"), Twice()])
    program = lab.program(lab.segment(lab.wrapped(net), lab.loss("mae"), Sgd(), lab.store()))
    assert lab.run(program, lab.block(x=x, y=y), lab.controls(1, rate=0.0))[0, 0] > 0.1


_SCRIPT = """
import hashlib, keras, numpy as np
import mml
l = keras.layers
rng = np.random.default_rng(0)
data = mml.FeatureSet.from_dict("rows", {
    "x": rng.normal(size=(30, 3)).astype("float32"), "y": rng.normal(size=(30, 1)).astype("float32")},
    feature_keys="x", target_keys="y")
net = keras.Sequential([l.Dense(5), l.Dropout(0.5), l.BatchNormalization(), l.Dense(1)])
node = mml.ModelNode("net", net, data)
graph = mml.ModelGraph([node], optimizer=mml.Optimizer("adam", lr=0.01))
made = mml.Experiment("e", graph, seed=3)
made.run_phase(mml.TrainPhase.from_split("t", split=None, n_epochs=2,
    sampler=mml.SimpleSampler(batch_size=7, shuffle=True), losses=[mml.AppliedLoss("mse", on="net")]))
values = node.model.get_state()
print(hashlib.sha256(b"".join(np.asarray(values[k]).tobytes() for k in sorted(values))).hexdigest())
"""


def test_a_model_without_seeds_trains_alike_in_every_process() -> None:
    digests = {
        subprocess.run(
            [sys.executable, "-c", _SCRIPT],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert len(digests) == 1
    assert len(digests.pop()) == 64
