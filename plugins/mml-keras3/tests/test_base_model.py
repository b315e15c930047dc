"""Wrapping Keras models: building, shapes, names, values, configuration, reset."""

import json
import os
import random
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import pytest

from mml.backends import ModelSource, get_backend
from mml.errors import BackendError, ConfigError, ModelError, ShapeError, StateError
from mml_keras3 import MLP, KerasBaseModel
from mml_keras3.engines import engine

layers, ops = keras.layers, keras.ops


class Custom(keras.Model):
    """Takes shapes under its own names, is built by its first call, and counts calls."""

    def __init__(self, features: int, out: int = 2) -> None:
        super().__init__()
        self.first = layers.Dense(features)
        self.second = layers.Dense(out)
        self.norm = layers.BatchNormalization()
        self.calls = self.add_weight(
            shape=(), dtype="int32", initializer="zeros", trainable=False, name="calls"
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        self.calls.assign(self.calls + 1)
        return self.norm(self.second(self.first(inputs)), training=training)


def source(target: Any, **changes: Any) -> ModelSource:
    settings = {"is_instance": isinstance(target, keras.Layer), "name": None, "kwargs": {}, "label": "node"}
    return ModelSource(target=target, **(settings | changes))


def bits(model: KerasBaseModel) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in model.get_state().items()}


def built(target: Any, shape: tuple[int, ...] = (3,), *, seed: int = 0, **kwargs: Any) -> KerasBaseModel:
    model = KerasBaseModel(target, kwargs=kwargs)
    model.build(shape, seed=seed)
    return model


def test_a_class_receives_the_inferred_shapes_and_users_arguments_win() -> None:
    model = KerasBaseModel(MLP, kwargs={"hidden": [5], "output_shape": 4})
    model.build((3, 2), (4,), seed=1)
    assert (model.input_shape, model.output_shape, model.dtype) == ((3, 2), (4,), "float32")
    assert [spec.shape for spec in model.variables()] == [(6, 5), (5,), (5, 4), (4,)]


def test_shapes_go_to_arguments_of_other_names_and_as_widths_where_those_are_numbers() -> None:
    model = KerasBaseModel(Custom, input_argument="features", output_argument="out")
    model.build((3,), (5,))
    assert model.output_shape == (5,)
    assert model.native.first.units == 3
    with pytest.raises(ShapeError, match="features"):
        KerasBaseModel(Custom, input_argument="features").build((3, 2))


def test_a_declared_output_shape_that_the_class_does_not_take_is_checked() -> None:
    KerasBaseModel(layers.Dense, kwargs={"units": 2, "output_shape": 2}).build((3,), (2,))
    with pytest.raises(ShapeError, match=r"(?s)\(7,\).*\(2,\)"):
        KerasBaseModel(layers.Dense, kwargs={"units": 2}).build((3,), (7,))


def test_names_are_equal_whatever_was_built_before() -> None:
    def names() -> list[str]:
        inner = keras.Sequential([layers.Dense(4), layers.Dropout(0.1), layers.Dense(4, name="mine")])
        model = keras.Sequential([layers.Dense(5), inner, layers.BatchNormalization(), layers.Dense(1)])
        return [spec.name for spec in built(model).variables()]

    first = names()
    for _ in range(3):
        layers.Dense(2)
    assert names() == first
    assert first == [
        "dense.kernel",
        "dense.bias",
        "sequential.dense.kernel",
        "sequential.dense.bias",
        "sequential.dropout.seed_generator_state",
        "sequential.mine.kernel",
        "sequential.mine.bias",
        "batch_normalization.gamma",
        "batch_normalization.beta",
        "batch_normalization.moving_mean",
        "batch_normalization.moving_variance",
        "dense_1.kernel",
        "dense_1.bias",
    ]


def test_roles_stay_when_a_layer_is_frozen() -> None:
    model = built(keras.Sequential([layers.Dense(2), layers.BatchNormalization(), layers.Dropout(0.5)]))
    roles = {spec.name: spec.role for spec in model.variables()}
    assert roles["dense.kernel"] == roles["batch_normalization.gamma"] == "param"
    assert roles["batch_normalization.moving_mean"] == "buffer"
    assert roles["dropout.seed_generator_state"] == "random"
    model.native.trainable = False
    assert {spec.name: spec.role for spec in model.variables()} == roles


def test_initial_values_depend_on_the_seed_alone() -> None:
    first = bits(built(MLP, seed=7, hidden=[5], output_shape=2, dropout=0.2))
    keras.initializers.GlorotUniform()((3, 3))
    assert bits(built(MLP, seed=7, hidden=[5], output_shape=2, dropout=0.2)) == first
    assert bits(built(MLP, seed=8, hidden=[5], output_shape=2, dropout=0.2)) != first


def test_pythons_and_numpys_generators_are_left_alone() -> None:
    before = random.getstate(), np.random.get_state()[1].tobytes()
    model = built(MLP, seed=7, hidden=[5], output_shape=2)
    model.reset(seed=3)
    model.forward(np.zeros((2, 3), "float32"))
    assert (random.getstate(), np.random.get_state()[1].tobytes()) == before


def test_initial_values_are_equal_in_another_process() -> None:
    script = (
        "import hashlib, keras; from mml_keras3 import KerasBaseModel\n"
        "l = keras.layers\n"
        "made = keras.Sequential([l.Dense(5), l.Dropout(0.5), l.Dense(2)])\n"
        "m = KerasBaseModel(made); m.build((3,), (2,), seed=7)\n"
        "print(hashlib.sha256(b''.join(v.tobytes() for v in m.get_state().values())).hexdigest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", script],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == 64


def test_building_changes_no_buffer_and_no_flag() -> None:
    model = keras.Sequential([layers.Dense(3), layers.BatchNormalization()])
    model.build((None, 3))
    model.layers[1].moving_mean.assign(np.full(3, 0.5, "float32"))
    model.layers[0].bias.trainable = False
    before = [ops.convert_to_numpy(one.value).tobytes() for one in model.variables]
    KerasBaseModel(model).build((3,))
    assert [ops.convert_to_numpy(one.value).tobytes() for one in model.variables] == before
    assert not model.layers[0].bias.trainable
    counting = Custom(3)
    KerasBaseModel(counting).build((3,))
    assert int(ops.convert_to_numpy(counting.calls.value)) == 0


def test_a_given_model_keeps_its_values_and_unbuilt_parts_draw_from_the_seed() -> None:
    kept = layers.Dense(2)
    kept.build((None, 5))
    values = ops.convert_to_numpy(kept.kernel.value).copy()
    given = keras.Sequential([layers.Dense(5), layers.BatchNormalization(), kept])
    model = KerasBaseModel(given)
    model.build((3,), seed=3)
    assert model.native is given
    np.testing.assert_array_equal(ops.convert_to_numpy(kept.kernel.value), values)
    first = bits(model)
    for one in given.weights:
        one.assign(ops.ones_like(one.value))
    model.reset(seed=3)
    assert bits(model) == first
    model.reset(seed=4)
    np.testing.assert_array_equal(ops.convert_to_numpy(kept.kernel.value), values)
    assert bits(model) != first
    twin = KerasBaseModel(keras.Sequential([layers.Dense(5), layers.BatchNormalization(), layers.Dense(2)]))
    twin.build((3,), seed=3)
    assert bits(twin)["dense.kernel"] == first["dense.kernel"]


def test_reset_returns_a_model_to_what_it_came_with_and_a_class_to_its_seed() -> None:
    given = keras.Sequential([layers.Dense(5), layers.Dense(2)])
    given.build((None, 3))
    for model in (built(given), built(Custom, seed=5, features=4)):
        start, variable = bits(model), model.native.weights[0]
        for one in model.native.weights:
            one.assign(ops.zeros_like(one.value) + 3)
        assert bits(model) != start
        model.reset(seed=5)
        assert bits(model) == start
        assert model.native.weights[0] is variable
    made = built(Custom, seed=5, features=4)
    start = bits(made)
    made.reset(seed=6)
    assert bits(made) != start


def test_state_is_a_snapshot_and_goes_back_to_the_bit() -> None:
    model = built(Custom, features=4)
    state, before = model.get_state(), bits(model)
    assert set(state) == {
        "calls",
        "dense.kernel",
        "dense.bias",
        "dense_1.kernel",
        "dense_1.bias",
        "batch_normalization.gamma",
        "batch_normalization.beta",
        "batch_normalization.moving_mean",
        "batch_normalization.moving_variance",
    }
    state["dense.bias"][0] = np.array([0x7FC12345], dtype="uint32").view("float32")[0]
    model.set_state(state)
    assert bits(model)["dense.bias"] == state["dense.bias"].tobytes()
    state["dense.bias"][0] = 0.0
    model.set_state(state)
    assert bits(model) == before


def test_values_without_a_dtype_in_numpy_go_out_and_back() -> None:
    model = built(layers.Dense, units=2, dtype="bfloat16")
    state = model.get_state()
    assert state["kernel"].dtype == np.int16
    before = bits(model)
    model.native.kernel.assign(ops.zeros_like(model.native.kernel.value))
    assert bits(model) != before
    model.set_state(state)
    assert bits(model) == before


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda state: state.pop("bias"), "bias"),
        (lambda state: state.update(extra=np.ones(1)), "extra"),
        (lambda state: state.update(bias=np.ones(3, dtype="float32")), "bias"),
        (lambda state: state.update(bias=np.ones(2)), "float64"),
        (lambda state: state.update(bias=[1.0, 1.0]), "list"),
    ],
)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(spoil: Any, named: str) -> None:
    model = built(layers.Dense, units=2)
    before, state = bits(model), {name: value + 1 for name, value in model.get_state().items()}
    spoil(state)
    with pytest.raises(StateError, match=named):
        model.set_state(state)
    assert bits(model) == before


def test_shared_layers_are_listed_once() -> None:
    shared = layers.Dense(3)
    inputs = keras.Input((3,))
    model = built(keras.Model(inputs, layers.Add()([shared(inputs), shared(shared(inputs))])))
    assert [spec.name for spec in model.variables()] == ["dense.kernel", "dense.bias"]


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_forward_infers_what_it_gives_and_changes_nothing(rows: int) -> None:
    model = built(keras.Sequential([layers.Dense(5), layers.BatchNormalization(), layers.Dropout(0.5)]))
    before = bits(model)
    inputs = np.random.default_rng(0).normal(size=(rows, 3))
    outputs = model.forward(inputs)
    assert (outputs.shape, outputs.dtype) == ((rows, 5), np.dtype("float32"))
    kernel, bias = (model.get_state()[f"dense.{name}"].astype("float64") for name in ("kernel", "bias"))
    np.testing.assert_allclose(outputs, (inputs @ kernel + bias) / np.sqrt(1 + 1e-3), rtol=1e-5, atol=1e-6)
    assert bits(model) == before


def test_whole_numbers_reach_an_embedding() -> None:
    model = built(keras.Sequential([layers.Embedding(11, 2), layers.Flatten()]))
    assert model.output_shape == (6,)
    assert model.forward(np.array([[1, 2, 3], [4, 5, 10]])).shape == (2, 6)


def test_recurrent_and_attending_layers_are_wrapped_whole() -> None:
    inputs = keras.Input((5, 4))
    attended = layers.MultiHeadAttention(2, 3, dropout=0.1)(inputs, inputs)
    model = keras.Model(inputs, layers.Bidirectional(layers.LSTM(3))(attended))
    wrapped = built(model, (5, 4))
    assert wrapped.output_shape == (6,)
    names = [spec.name for spec in wrapped.variables()]
    assert len(names) == len(set(names)) == len(model.variables)


def test_a_wrong_width_names_node_and_what_was_found() -> None:
    dense = layers.Dense(2)
    dense.build((None, 3))
    with pytest.raises(ShapeError, match=r"(?s)'node'.*Dense.*\(4,\)"):
        get_backend("keras3").wrap(source(dense)).build((4,))
    model = built(dense)
    with pytest.raises(ShapeError, match=r"(?s)3.*\(5, 4\)"):
        model.forward(np.zeros((5, 4)))


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (lambda: 3, ModelError),
        (
            lambda: keras.Model((one := keras.Input((3,))), [layers.Dense(1)(one), layers.Dense(2)(one)]),
            ModelError,
        ),
        (lambda: layers.Lambda(lambda inputs: ops.reshape(inputs, (-1,)), output_shape=()), ShapeError),
        (layers.Dense, ModelError),
    ],
)
def test_what_is_no_model_of_a_graph_is_refused(target: Any, error: Any) -> None:
    with pytest.raises(error, match="'node'"):
        get_backend("keras3").wrap(source(target)).build((3,))


def test_a_class_that_needs_an_output_shape_says_so() -> None:
    with pytest.raises(ModelError, match="output_shape="):
        KerasBaseModel(MLP).build((3,))


@pytest.mark.parametrize("target", [dict, 3, "mlp", keras.optimizers.Adam])
def test_foreign_objects_are_not_wrapped(target: Any) -> None:
    with pytest.raises(ModelError, match="Layer"):
        get_backend("keras3").wrap(source(target))


def test_a_ready_model_takes_no_arguments() -> None:
    with pytest.raises(ModelError, match="units"):
        get_backend("keras3").wrap(source(layers.Dense(2), kwargs={"units": 3}))


def test_a_configuration_builds_an_equal_model() -> None:
    given = source(MLP, name="keras3/mlp", kwargs={"hidden": (5,), "output_shape": 2})
    model = get_backend("keras3").wrap(given)
    config = json.loads(json.dumps(model.get_config()))
    assert config == {
        "model": "keras3/mlp",
        "backend": "keras3",
        "kwargs": {"hidden": [5], "output_shape": 2},
    }
    other = KerasBaseModel.from_config(config)
    for one in (model, other):
        one.build((3,), (2,), seed=9)
    assert other.get_config() == config
    assert bits(other) == bits(model)


def test_what_cannot_be_written_down_names_node_and_mend() -> None:
    for target, kwargs in ((layers.Dense(2), {}), (lambda: layers.Dense(2), {})):
        with pytest.raises(ConfigError, match=r"(?s)'node'.*Model\("):
            get_backend("keras3").wrap(source(target, kwargs=kwargs)).get_config()
    with pytest.raises(ConfigError, match="'node'"):
        get_backend("keras3").wrap(
            source(MLP, name="keras3/mlp", kwargs={"activation": keras.activations.relu})
        ).get_config()


def test_can_learn_follows_the_users_switches() -> None:
    model = built(layers.Dense, units=2)
    assert model.can_learn
    model.native.trainable = False
    assert not model.can_learn
    assert not model.can_fit
    assert not built(layers.Flatten).can_learn


def test_a_model_that_would_be_narrower_than_it_says_is_refused() -> None:
    if engine().has_float64:
        assert built(layers.Dense, units=2, dtype="float64").dtype == "float64"
        return
    for make in (MLP, layers.Dense):
        kwargs = {"hidden": [5], "output_shape": 2} if make is MLP else {"units": 2}
        model = get_backend("keras3").wrap(source(make, kwargs={**kwargs, "dtype": "float64"}))
        with pytest.raises(BackendError, match=r"(?s)32 bits.*float64.*'node'"):
            model.build((3,))
