"""Wrapping modules: building, shapes, values, configuration, reset."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from mml.backends import ModelSource, get_backend
from mml.errors import ConfigError, ModelError, ShapeError, StateError
from mml_tf import MLP, TensorflowBaseModel
from mml_tf.layers import BatchNorm, Dropout, Linear


class Custom(tf.Module):
    """Takes shapes under its own names, moves a counter, and draws its values from the framework."""

    def __init__(self, features: int, out: int = 2) -> None:
        super().__init__()
        self.weight = tf.Variable(tf.random.normal([features, out]))
        self.norm = BatchNorm(out)
        self.calls = tf.Variable(0, dtype=tf.int64, trainable=False)

    def __call__(self, inputs: Any, training: bool = False) -> Any:
        self.calls.assign_add(1)
        return self.norm(tf.matmul(inputs, self.weight), training=training)


class Lazy(tf.Module):
    """Makes its values at the first input."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.scale = tf.Variable(2.0)
        self.weight: Any = None

    def __call__(self, inputs: Any) -> Any:
        if self.weight is None:
            self.weight = tf.Variable(tf.random.normal([inputs.shape[-1], self.outputs]))
        return self.scale * tf.matmul(inputs, self.weight)


class Tower(tf.Module):
    """Values in lists, dictionaries, and shared."""

    def __init__(self) -> None:
        super().__init__()
        self.parts = [Linear(3, 3), {"deep": Linear(3, 3), "rate": tf.Variable(0.5, trainable=False)}]
        self.parts[1]["deep"].weight = self.parts[0].weight

    def __call__(self, inputs: Any) -> Any:
        return self.parts[1]["deep"](self.parts[0](inputs))


def source(target: Any, **changes: Any) -> ModelSource:
    settings = {"is_instance": isinstance(target, tf.Module), "name": None, "kwargs": {}, "label": "node"}
    return ModelSource(target=target, **(settings | changes))


def bits(model: TensorflowBaseModel) -> dict[str, bytes]:
    return {name: value.tobytes() for name, value in model.get_state().items()}


def test_a_class_receives_the_inferred_shapes_and_users_arguments_win() -> None:
    model = TensorflowBaseModel(MLP, kwargs={"hidden": [5], "output_shape": 4})
    model.build((3, 2), (4,), seed=1)
    assert (model.input_shape, model.output_shape, model.dtype) == ((3, 2), (4,), "float32")
    assert [(spec.name, spec.shape) for spec in model.variables()] == [
        ("layers.0.weight", (6, 5)),
        ("layers.0.bias", (5,)),
        ("layers.2.weight", (5, 4)),
        ("layers.2.bias", (4,)),
    ]


def test_shapes_go_to_arguments_of_other_names_and_as_widths_where_those_are_numbers() -> None:
    model = TensorflowBaseModel(Custom, input_argument="features", output_argument="out")
    model.build((3,), (5,))
    assert model.output_shape == (5,)
    linear = TensorflowBaseModel(Linear, kwargs={"outputs": 2}, input_argument="width")
    linear.build((3,))
    assert linear.output_shape == (2,)
    with pytest.raises(ShapeError, match="width"):
        TensorflowBaseModel(Linear, kwargs={"outputs": 2}, input_argument="width").build((3, 2))


def test_a_declared_output_shape_that_the_class_does_not_take_is_checked() -> None:
    TensorflowBaseModel(Lazy, kwargs={"outputs": 2, "output_shape": 2}).build((3,), (2,))
    with pytest.raises(ShapeError, match=r"(?s)\(7,\).*\(2,\)"):
        TensorflowBaseModel(Lazy, kwargs={"outputs": 2}).build((3,), (7,))


@pytest.mark.parametrize("target", [MLP, Custom])
def test_initial_values_depend_on_the_seed_alone(target: Any) -> None:
    def built(seed: int) -> dict[str, bytes]:
        model = TensorflowBaseModel(target, input_argument="features" if target is Custom else "input_shape")
        model.build((3,), None if target is Custom else (2,), seed=seed)
        return bits(model)

    first = built(7)
    tf.random.uniform([13])
    TensorflowBaseModel(MLP, kwargs={"hidden": [3]}).build((3,), (2,), seed=7)
    assert built(7) == first
    assert built(8) != first


def test_initial_values_follow_the_distribution_of_linear_layers() -> None:
    model = TensorflowBaseModel(MLP, kwargs={"hidden": [300]})
    model.build((400,), (1,), seed=3)
    weight, bias = model.get_state()["layers.0.weight"], model.get_state()["layers.0.bias"]
    for values in (weight, bias):
        assert np.abs(values).max() <= 1 / 20
        np.testing.assert_allclose(values.std(), 1 / 20 / np.sqrt(3), rtol=0.1)


def test_initial_values_are_equal_in_another_process() -> None:
    script = (
        "import hashlib; from mml_tf import MLP, TensorflowBaseModel\n"
        "m = TensorflowBaseModel(MLP, kwargs={'hidden': [5]}); m.build((3,), (2,), seed=7)\n"
        "print(hashlib.sha256(b''.join(v.tobytes() for v in m.get_state().values())).hexdigest())"
    )
    digests = {
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    }
    assert len(digests) == 1
    assert len(digests.pop().strip()) == 64


def test_building_changes_no_value_of_a_module() -> None:
    module = Custom(3)
    module.norm.running_mean.assign([0.5, 0.25])
    before = [one.numpy().tobytes() for one in module.variables]
    model = TensorflowBaseModel(module)
    model.build((3,))
    assert [one.numpy().tobytes() for one in module.variables] == before
    assert model.native is module


def test_a_given_module_keeps_its_values_and_lazy_parts_draw_from_the_seed() -> None:
    module = Lazy(2)
    module.scale.assign(3.0)
    model = TensorflowBaseModel(module)
    model.build((3,), seed=3)
    first = bits(model)
    module.weight.assign(tf.ones_like(module.weight))
    module.scale.assign(5.0)
    model.reset(seed=3)
    assert bits(model) == first
    model.reset(seed=4)
    assert module.scale.numpy() == 3.0
    assert bits(model) != first


def test_reset_returns_a_module_to_what_it_came_with_and_a_class_to_its_seed() -> None:
    given = TensorflowBaseModel(Custom(3))
    given.build((3,))
    made = TensorflowBaseModel(Custom, input_argument="features")
    made.build((3,), seed=5)
    for model in (given, made):
        start, variable = bits(model), model.native.weight
        for value in model.native.variables:
            value.assign(tf.cast(tf.fill(value.shape, 3), value.dtype))
        model.reset(seed=5)
        assert bits(model) == start
        assert model.native.weight is variable
    made.reset(seed=6)
    assert bits(made) != start


def test_state_is_a_snapshot_and_goes_back_to_the_bit() -> None:
    module = Custom(3)
    model = TensorflowBaseModel(module)
    model.build((3,))
    state = model.get_state()
    before = bits(model)
    assert {spec.name: spec.role for spec in model.variables()} == {
        "weight": "param",
        "norm.weight": "param",
        "norm.bias": "param",
        "norm.running_mean": "buffer",
        "norm.running_var": "buffer",
        "calls": "buffer",
    }
    module.weight.assign(tf.fill([3, 2], np.nan))
    assert bits(model) != before
    model.set_state(state)
    assert bits(model) == before


def test_values_without_a_dtype_in_numpy_go_out_and_back() -> None:
    module = Linear(3, 2)
    for name in ("weight", "bias"):
        setattr(module, name, tf.Variable(tf.cast(getattr(module, name), tf.bfloat16)))
    model = TensorflowBaseModel(module)
    model.build((3,))
    state, before = model.get_state(), tf.cast(module.weight, tf.float32).numpy()
    assert (model.dtype, state["weight"].dtype) == ("bfloat16", np.dtype("int16"))
    module.weight.assign(tf.zeros_like(module.weight))
    model.set_state(state)
    assert (tf.cast(module.weight, tf.float32).numpy() == before).all()


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
    model = TensorflowBaseModel(Linear(3, 2))
    model.build((3,))
    before, state = bits(model), {name: value + 1 for name, value in model.get_state().items()}
    spoil(state)
    with pytest.raises(StateError, match=named):
        model.set_state(state)
    assert bits(model) == before


def test_values_stand_in_the_order_of_definition_and_shared_ones_once() -> None:
    model = TensorflowBaseModel(Tower())
    model.build((3,))
    assert [(spec.name, spec.role) for spec in model.variables()] == [
        ("parts.0.weight", "param"),
        ("parts.0.bias", "param"),
        ("parts.1.deep.bias", "param"),
        ("parts.1.rate", "buffer"),
    ]


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_forward_infers_what_it_gives_and_changes_nothing(rows: int) -> None:
    class Net(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = [Linear(3, 5), BatchNorm(5), Dropout(0.5)]

        def __call__(self, inputs: Any, training: bool = False) -> Any:
            outputs = self.layers[1](self.layers[0](inputs), training=training)
            return self.layers[2](outputs, training=training)

    model = TensorflowBaseModel(Net())
    model.build((3,))
    before = bits(model)
    inputs = np.random.default_rng(0).normal(size=(rows, 3))
    outputs = model.forward(inputs)
    assert (outputs.shape, outputs.dtype) == ((rows, 5), np.dtype("float32"))
    layer = model.native.layers[0]
    weight, bias = layer.weight.numpy().astype(float), layer.bias.numpy().astype(float)
    np.testing.assert_allclose(outputs, (inputs @ weight + bias) / np.sqrt(1 + 1e-5), rtol=1e-5, atol=1e-6)
    assert bits(model) == before


def test_whole_numbers_reach_an_embedding() -> None:
    class Embedding(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = tf.Variable(tf.ones([11, 2]))

        def __call__(self, inputs: Any) -> Any:
            return tf.reshape(tf.gather(self.table, inputs), [-1, 6])

    model = TensorflowBaseModel(Embedding())
    model.build((3,))
    assert model.output_shape == (6,)
    assert model.forward(np.array([[1, 2, 3], [4, 5, 10]])).shape == (2, 6)


def test_a_wrong_width_names_node_variable_and_what_was_found() -> None:
    with pytest.raises(ShapeError, match=r"(?s)'node'.*\(3, 2\).*\(4,\)"):
        get_backend("tensorflow").wrap(source(Linear(3, 2))).build((4,))
    model = TensorflowBaseModel(Linear(3, 2))
    model.build((3,))
    with pytest.raises(ShapeError, match=r"(?s)3.*\(5, 4\)"):
        model.forward(np.zeros((5, 4)))


class Pair(tf.Module):
    def __call__(self, inputs: Any) -> Any:
        return inputs, inputs


class Flat(tf.Module):
    def __call__(self, inputs: Any) -> Any:
        return tf.reshape(inputs, [-1])


class Silent(tf.Module):
    pass


@pytest.mark.parametrize(
    ("target", "error"),
    [
        (lambda: 3, ModelError),
        (Pair, ModelError),
        (Flat, ShapeError),
        (Silent, ModelError),
        (lambda wanted: Linear(3, wanted), ModelError),
    ],
)
def test_what_is_no_model_of_a_graph_is_refused(target: Any, error: Any) -> None:
    with pytest.raises(error, match="'node'"):
        get_backend("tensorflow").wrap(source(target)).build((3,))


def test_a_module_that_cannot_be_called_is_refused_at_once() -> None:
    with pytest.raises(ModelError, match=r"(?s)'node'.*Silent.*__call__"):
        get_backend("tensorflow").wrap(source(Silent()))


def test_a_class_that_needs_an_output_shape_says_so() -> None:
    with pytest.raises(ModelError, match="output_shape="):
        TensorflowBaseModel(MLP).build((3,))


@pytest.mark.parametrize("target", [dict, 3, "mlp", tf.keras.optimizers.Adam])
def test_foreign_objects_are_not_wrapped(target: Any) -> None:
    with pytest.raises(ModelError, match="Module"):
        get_backend("tensorflow").wrap(source(target))


def test_a_module_that_is_ready_takes_no_arguments() -> None:
    with pytest.raises(ModelError, match=r"(?s)Linear.*width"):
        get_backend("tensorflow").wrap(source(Linear(3, 2), kwargs={"width": 3}))


def test_a_configuration_builds_an_equal_model() -> None:
    given = source(MLP, name="tensorflow/mlp", kwargs={"hidden": (5,), "output_shape": 2})
    model = get_backend("tensorflow").wrap(given)
    config = json.loads(json.dumps(model.get_config()))
    assert config == {
        "model": "tensorflow/mlp",
        "backend": "tensorflow",
        "kwargs": {"hidden": [5], "output_shape": 2},
    }
    other = TensorflowBaseModel.from_config(config)
    for one in (model, other):
        one.build((3,), (2,), seed=9)
    assert other.get_config() == config
    assert bits(other) == bits(model)


def test_what_cannot_be_written_down_names_node_and_mend() -> None:
    for target, kwargs in ((Linear(3, 2), {}), (lambda: Linear(3, 2), {})):
        with pytest.raises(ConfigError, match=r"(?s)'node'.*Model\("):
            get_backend("tensorflow").wrap(source(target, kwargs=kwargs)).get_config()
    named = source(MLP, name="tensorflow/mlp", kwargs={"activation": tf.nn.relu})
    with pytest.raises(ConfigError, match="'node'"):
        get_backend("tensorflow").wrap(named).get_config()


def test_can_learn_follows_the_users_switches() -> None:
    module = Linear(3, 2)
    model = TensorflowBaseModel(module)
    model.build((3,))
    assert model.can_learn
    for name in ("weight", "bias"):
        setattr(module, name, tf.Variable(getattr(module, name), trainable=False))
    assert not model.can_learn
    assert not model.can_fit


def test_a_model_that_is_not_built_says_so() -> None:
    model = TensorflowBaseModel(MLP, label="node")
    assert (model.is_built, model.input_shape, model.output_shape, model.dtype) == (False, None, None, None)
    for action in (model.get_state, model.variables, lambda: model.native, lambda: model.reset(seed=0)):
        with pytest.raises(ModelError, match="'node'"):
            action()


def test_a_mode_is_told_under_either_name() -> None:
    class Telling(tf.Module):
        def __call__(self, inputs: Any, is_training: bool) -> Any:
            return inputs + (1.0 if is_training else 0.0)

    model = TensorflowBaseModel(Telling())
    model.build((3,))
    np.testing.assert_array_equal(model.forward(np.zeros((1, 3), "float32")), np.zeros((1, 3)))
    told = model.call(tf.zeros([1, 3]), training=True)
    np.testing.assert_array_equal(told.numpy(), np.ones((1, 3)))


def test_a_class_that_chooses_what_trains_is_asked() -> None:
    class Half(Tower):
        @property
        def trainable_variables(self) -> Any:
            return (self.parts[0].weight,)

    model = TensorflowBaseModel(Half())
    model.build((3,))
    assert [spec.name for spec in model.variables() if spec.role == "param"] == ["parts.0.weight"]
