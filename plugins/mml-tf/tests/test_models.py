"""The models that come with a name."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from mml.errors import ModelError, ShapeError
from mml_tf.layers import BatchNorm, Conv1d, Dropout, Linear
from mml_tf.models import ACTIVATIONS, MLP, CNN1d


def test_mlp_computes_its_layers() -> None:
    net = MLP((3, 2), (2, 5), hidden=[7], activation="tanh")
    inputs = np.random.default_rng(0).normal(size=(4, 3, 2)).astype("float32")
    first, last = (one for one in net.layers if isinstance(one, Linear))
    hidden = np.tanh(inputs.reshape(4, 6) @ first.weight.numpy() + first.bias.numpy())
    expected = (hidden @ last.weight.numpy() + last.bias.numpy()).reshape(4, 2, 5)
    np.testing.assert_allclose(net(tf.constant(inputs)).numpy(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(2, 11), (11,)])
def test_cnn1d_averages_what_its_convolutions_see(shape: tuple[int, ...]) -> None:
    net = CNN1d(shape, 3, channels=[5], kernel_size=3, activation="identity")
    inputs = np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")
    channels = inputs if inputs.ndim == 3 else inputs[:, None]
    weight, bias = net.layers[0].weight.numpy(), net.layers[0].bias.numpy()
    padded = np.pad(channels, [(0, 0), (0, 0), (1, 1)])
    seen = np.stack(
        [np.einsum("nck,kco->no", padded[:, :, i : i + 3], weight) + bias for i in range(11)], axis=-1
    )
    expected = seen.mean(-1) @ net.head.weight.numpy() + net.head.bias.numpy()
    np.testing.assert_allclose(net(tf.constant(inputs)).numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("model", [MLP, CNN1d])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_options_build_and_keep_the_rows(model: Any, activation: str) -> None:
    net = model((11,), (2, 3), activation=activation, dropout=0.2, batch_norm=True)
    assert [tuple(net(tf.zeros([rows, 11])).shape) for rows in (1, 7)] == [(rows, 2, 3) for rows in (1, 7)]
    kinds = [type(one) for one in net.layers[:4]]
    assert kinds == [Linear if model is MLP else Conv1d, BatchNorm, kinds[2], Dropout]
    assert net.layers[2] is ACTIVATIONS[activation]


# By their formulas: log1p and erf in float64 are NumPy's and the standard library's own.
def _gelu(x: np.ndarray) -> np.ndarray:
    from math import erf

    return x * 0.5 * (1 + np.vectorize(erf)(x / np.sqrt(2)))


FORMULAS = {
    "relu": lambda x: np.maximum(x, 0),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.01 * x),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "gelu": _gelu,
    "silu": lambda x: x / (1 + np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "identity": lambda x: x,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_are_the_formulas_that_all_backends_share(name: str) -> None:
    inputs = np.linspace(-5, 5, 23)
    found = ACTIVATIONS[name](tf.constant(inputs)).numpy()
    np.testing.assert_allclose(found, FORMULAS[name](inputs), rtol=1e-12, atol=1e-14)


def test_batch_norm_moves_its_statistics_by_a_tenth_and_normalises_by_the_biased_variance() -> None:
    layer, rng = BatchNorm(3), np.random.default_rng(0)
    layer.weight.assign([1.0, 2.0, 0.5])
    mean, variance = np.zeros(3), np.ones(3)
    for rows in (7, 2, 5):
        inputs = rng.normal(2.0, 3.0, size=(rows, 3)).astype("float32")
        outputs = layer(tf.constant(inputs), training=True).numpy()
        wide = inputs.astype(float)
        normal = (wide - wide.mean(0)) / np.sqrt(wide.var(0) + 1e-5)
        np.testing.assert_allclose(outputs, normal * [1.0, 2.0, 0.5], rtol=1e-4, atol=1e-5)
        mean, variance = 0.9 * mean + 0.1 * wide.mean(0), 0.9 * variance + 0.1 * wide.var(0, ddof=1)
        np.testing.assert_allclose(layer.running_mean.numpy(), mean, rtol=1e-5)
        np.testing.assert_allclose(layer.running_var.numpy(), variance, rtol=1e-5)
    outputs = layer(tf.constant(inputs)).numpy()
    expected = (wide - mean) / np.sqrt(variance + 1e-5) * [1.0, 2.0, 0.5]
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)


def test_batch_norm_over_a_sequence_counts_every_position() -> None:
    layer = BatchNorm(2)
    inputs = np.random.default_rng(0).normal(size=(3, 5, 2)).astype("float32")
    layer(tf.constant(inputs), training=True)
    expected = 0.9 + 0.1 * inputs.astype(float).reshape(15, 2).var(0, ddof=1)
    np.testing.assert_allclose(layer.running_var.numpy(), expected, rtol=1e-5)


def test_an_mlp_without_hidden_layers_is_linear() -> None:
    assert [type(one) for one in MLP(3, 2, hidden=[]).layers] == [Linear]


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
