"""The models that come with a name, against NumPy in float64 and the reference backend's training."""

from typing import Any

import keras
import numpy as np
import pytest

from mml.backends import get_backend
from mml.errors import ModelError, ShapeError
from mml.graph.optimizers.optimizer import Optimizer
from mml_conformance.bench import Head, Settings, Wiring, make_model, train
from mml_keras3 import random_state
from mml_keras3.models import ACTIVATIONS, MLP, CNN1d

ops = keras.ops


def _weights(model: Any) -> list[np.ndarray]:
    return [ops.convert_to_numpy(one.value).astype("float64") for one in model.weights]


def _run(model: Any, inputs: np.ndarray) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(model(inputs.astype("float32"), training=False)))


def test_mlp_computes_its_layers() -> None:
    net = MLP((3, 2), (2, 5), hidden=[7], activation="tanh")
    inputs = np.random.default_rng(0).normal(size=(4, 3, 2))
    first, first_bias, last, last_bias = _weights(net)
    hidden = np.tanh(inputs.reshape(4, 6) @ first + first_bias)
    expected = (hidden @ last + last_bias).reshape(4, 2, 5)
    np.testing.assert_allclose(_run(net, inputs), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 11), (11,)])
def test_cnn1d_averages_what_its_convolutions_see(shape: tuple[int, ...]) -> None:
    net = CNN1d(shape, 3, channels=[5], kernel_size=3, activation="identity")
    inputs = np.random.default_rng(0).normal(size=(4, *shape))
    kernel, bias, head, head_bias = _weights(net)
    channels = inputs if len(shape) == 2 else inputs[:, None]
    padded = np.pad(channels, [(0, 0), (0, 0), (1, 1)])
    seen = sum(np.einsum("ncl,co->nlo", padded[:, :, i : i + 11], kernel[i]) for i in range(3)) + bias
    expected = seen.mean(1) @ head + head_bias
    np.testing.assert_allclose(_run(net, inputs), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("model", [MLP, CNN1d])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_options_build_and_keep_the_rows(model: Any, activation: str) -> None:
    net = model((11,), (2, 3), activation=activation, dropout=0.2, batch_norm=True)
    shapes = [_run(net, np.zeros((rows, 11))).shape for rows in (1, 7)]
    assert shapes == [(1, 2, 3), (7, 2, 3)]
    kinds = [type(one).__name__ for one in net.parts]
    assert (kinds[1], kinds[3]) == ("BatchNorm", "Dropout")


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("leaky_relu", lambda x: np.where(x > 0, x, 0.01 * x)),
        ("elu", lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0)))),
        ("gelu", lambda x: x * 0.5 * (1 + np.vectorize(__import__("math").erf)(x / np.sqrt(2)))),
        ("silu", lambda x: x / (1 + np.exp(-x))),
        ("softplus", lambda x: np.logaddexp(0, x)),
        ("tanh", np.tanh),
    ],
)
def test_activations_are_those_of_the_other_backends(name: str, formula: Any) -> None:
    inputs = np.linspace(-4, 4, 33)
    outputs = ops.convert_to_numpy(ACTIVATIONS[name]()(inputs.astype("float32")))
    np.testing.assert_allclose(outputs, formula(inputs), rtol=1e-5, atol=1e-6)


def test_weights_are_drawn_within_the_bound_of_the_other_backends() -> None:
    with random_state.seeded(0):
        net = MLP(100, 41, hidden=[51])
    for value, fan_in in zip(_weights(net), (100, 100, 51, 51), strict=True):
        bound = 1 / np.sqrt(fan_in)
        assert np.abs(value).max() <= bound
        assert np.abs(value).max() > 0.8 * bound


def test_an_mlp_without_hidden_layers_is_linear() -> None:
    assert [type(one).__name__ for one in MLP(3, 2, hidden=[]).parts] == ["Dense"]


@pytest.mark.parametrize(
    ("make", "error", "named"),
    [
        (lambda: MLP(3, 2, activation="rellu"), ModelError, "'relu'"),
        (lambda: MLP(3, 2, hidden="64"), ModelError, "hidden"),
        (lambda: MLP(3, 2, hidden=[0]), ModelError, "hidden"),
        (lambda: MLP(3, 2, dropout=1.0), ModelError, "dropout"),
        (lambda: MLP(3, 0), ShapeError, "output_shape"),
        (lambda: CNN1d((3, 5, 7), 2), ShapeError, "cnn1d"),
        (lambda: CNN1d((3, 5), 2, kernel_size=4), ModelError, "kernel_size"),
        (lambda: CNN1d((3, 5), 2, channels=[-1]), ModelError, "channels"),
    ],
)
def test_bad_settings_are_named(make: Any, error: Any, named: str) -> None:
    with pytest.raises(error, match=named):
        make()


_NAMES = {
    "kernel": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}


def _reference_name(name: str) -> str:
    """Return what the reference calls one of Keras' variables, e.g. ``norms.0.weight`` for a first gamma."""
    layer, _, value = name.partition(".")
    kind, _, number = layer.rpartition("_")
    if not number.isdigit():
        kind, number = layer, "0"
    return f"{'norms' if kind == 'batch_norm' else 'layers'}.{number}.{_NAMES[value]}"


def _wiring(backend: Any, start: Any, *, dtype: str) -> Wiring:
    extra = {"dtype": "float64"} if dtype == "float64" else {}
    model = make_model(
        backend,
        input_shape=(4,),
        output_shape=(2,),
        hidden=[5, 3],
        activation="tanh",
        batch_norm=True,
        **extra,
    )
    if start is not None:
        state = {name: start[_reference_name(name)].astype("float32") for name in model.get_state()}
        model.set_state(state)
    rng = np.random.default_rng(3)
    inputs = {"x": rng.normal(size=(9, 7, 4)).astype(dtype), "y": rng.normal(size=(9, 7, 2)).astype(dtype)}
    inputs["w"] = rng.uniform(0.5, 2.0, size=(9, 7, 1)).astype(dtype)
    return Wiring({"model": (model, ("x",))}, inputs, [Head("model", loss="huber", sample_weight="w")])


def test_training_gives_the_losses_of_the_reference_backend_in_float64() -> None:
    reference, keras3 = get_backend("reference"), get_backend("keras3")
    expected = _wiring(reference, None, dtype="float64")
    start = expected.models["model"].get_state()
    seen = _wiring(keras3, start, dtype="float32")
    live = [7, 3, 7, 7, 5, 7, 7, 3, 7]
    losses = [
        train(
            backend,
            wiring,
            optimizer=Optimizer("sgd", momentum=0.9, clip_norm=0.5),
            settings=Settings(rates=[0.05] * 9, live=live),
        )
        for backend, wiring in ((reference, expected), (keras3, seen))
    ]
    np.testing.assert_allclose(losses[1], losses[0], rtol=2e-5, atol=2e-6)
    end = expected.models["model"].get_state()
    for name, value in seen.models["model"].get_state().items():
        np.testing.assert_allclose(value, end[_reference_name(name)], rtol=2e-4, atol=2e-5)
