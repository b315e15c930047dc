"""The models that come with a name: `mlp` and `cnn1d`, equal in structure to other backends' of that name.

Both are plain modules; nothing in a graph treats them differently from a user's own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from mml.errors import ModelError, ShapeError, did_you_mean
from mml_tf.layers import BatchNorm, Conv1d, Dropout, Linear

Shape = tuple[int, ...]


def leaky_relu(inputs: tf.Tensor) -> tf.Tensor:
    """Pass what is positive, and a hundredth of the rest."""
    return tf.where(inputs > 0, inputs, 0.01 * inputs)


def gelu(inputs: tf.Tensor) -> tf.Tensor:
    """Weigh by the normal distribution; the framework's own rounds its constants to float32."""
    return 0.5 * inputs * (1.0 + tf.math.erf(inputs * math.sqrt(0.5)))


ACTIVATIONS: dict[str, Callable[[tf.Tensor], tf.Tensor]] = {
    "relu": tf.nn.relu,
    "leaky_relu": leaky_relu,
    "elu": tf.nn.elu,
    "gelu": gelu,
    "silu": tf.nn.silu,
    "softplus": tf.nn.softplus,
    "tanh": tf.nn.tanh,
    "sigmoid": tf.nn.sigmoid,
    "identity": tf.identity,
}


class MLP(tf.Module):
    """Fully connected layers, each with an activation; the last one linear.

    Parameters
    ----------
    input_shape : tuple of int or int
        Shape of one input sample; more than one axis is flattened.
    output_shape : tuple of int or int
        Shape of one output sample.
    hidden : sequence of int
        Widths of the hidden layers.
    activation : str
        One of `ACTIVATIONS`.
    dropout : float
        Share of hidden units that training drops, from 0 to below 1.
    batch_norm : bool
        Normalise over the batch before each activation.

    Examples
    --------
    >>> import tensorflow as tf
    >>> MLP((3, 5), 2, hidden=[7])(tf.zeros([4, 3, 5])).shape
    TensorShape([4, 2])
    """

    def __init__(
        self,
        input_shape: Shape | int,
        output_shape: Shape | int,
        *,
        hidden: Sequence[int] = (64, 64),
        activation: str = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.output_shape = _shape("mlp", "output_shape", output_shape)
        _check_dropout("mlp", dropout)
        activate = _activation("mlp", activation)
        self.width = math.prod(_shape("mlp", "input_shape", input_shape))
        width, layers = self.width, []
        for size in _sizes("mlp", "hidden", hidden):
            layers += _block(Linear(width, size), size, activate, dropout=dropout, batch_norm=batch_norm)
            width = size
        self.layers = [*layers, Linear(width, math.prod(self.output_shape))]

    def __call__(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Map ``(rows, *input_shape)`` to ``(rows, *output_shape)``."""
        flat = inputs if len(inputs.shape) == 2 else tf.reshape(inputs, [-1, self.width])
        outputs = _through(self.layers, flat, training=training)
        return outputs if len(self.output_shape) == 1 else tf.reshape(outputs, [-1, *self.output_shape])


class CNN1d(tf.Module):
    """Convolutions along one axis, averaged over it, then a linear layer.

    Parameters
    ----------
    input_shape : tuple of int
        ``(channels, length)``, or ``(length,)`` for one channel.
    output_shape : tuple of int or int
        Shape of one output sample.
    channels : sequence of int
        Channels of the convolutions.
    kernel_size : int
        Odd, so that the length stays.
    activation, dropout, batch_norm
        As in `MLP`, after each convolution.

    Examples
    --------
    >>> import tensorflow as tf
    >>> CNN1d((3, 11), 2, channels=[5])(tf.zeros([4, 3, 11])).shape
    TensorShape([4, 2])
    """

    def __init__(
        self,
        input_shape: Shape | int,
        output_shape: Shape | int,
        *,
        channels: Sequence[int] = (16, 32),
        kernel_size: int = 3,
        activation: str = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.output_shape = _shape("cnn1d", "output_shape", output_shape)
        shape = _shape("cnn1d", "input_shape", input_shape)
        if len(shape) not in (1, 2):
            raise ShapeError(
                "cnn1d convolves along one axis.",
                expected="(channels, length) or (length,)",
                found=str(shape),
            )
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ModelError(
                "cnn1d got a bad kernel_size.", expected="an odd number above 0", found=repr(kernel_size)
            )
        _check_dropout("cnn1d", dropout)
        activate = _activation("cnn1d", activation)
        width, layers = shape[0] if len(shape) == 2 else 1, []
        for size in _sizes("cnn1d", "channels", channels):
            convolution = Conv1d(width, size, kernel_size)
            layers += _block(convolution, size, activate, dropout=dropout, batch_norm=batch_norm)
            width = size
        self.layers = layers
        self.head = Linear(width, math.prod(self.output_shape))

    def __call__(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Map ``(rows, *input_shape)`` to ``(rows, *output_shape)``."""
        # The framework's convolutions want the channels last.
        moved = tf.transpose(inputs, [0, 2, 1]) if len(inputs.shape) == 3 else inputs[:, :, None]
        features = _through(self.layers, moved, training=training)
        outputs = self.head(tf.reduce_mean(features, axis=1))
        return outputs if len(self.output_shape) == 1 else tf.reshape(outputs, [-1, *self.output_shape])


def _block(
    layer: Any,
    size: int,
    activate: Callable[[tf.Tensor], tf.Tensor],
    *,
    dropout: float,
    batch_norm: bool,
) -> list[Any]:
    """Return one layer and what follows it, in the order that all backends share."""
    return [
        layer,
        *([BatchNorm(size)] if batch_norm else []),
        activate,
        *([Dropout(dropout)] if dropout else []),
    ]


def _through(layers: Sequence[Any], inputs: tf.Tensor, *, training: bool) -> tf.Tensor:
    for layer in layers:
        modal = isinstance(layer, BatchNorm | Dropout)
        inputs = layer(inputs, training=training) if modal else layer(inputs)
    return inputs


def _shape(model: str, argument: str, value: Shape | int) -> Shape:
    shape = (value,) if isinstance(value, int) else tuple(value)
    if not all(isinstance(one, int) and one > 0 for one in shape):
        raise ShapeError(
            f"{model} got a bad {argument}.", expected="whole numbers above 0", found=repr(value)
        )
    return shape


def _sizes(model: str, argument: str, value: Sequence[int]) -> list[int]:
    if not isinstance(value, list | tuple) or not all(isinstance(one, int) and one > 0 for one in value):
        raise ModelError(
            f"{model} got a bad {argument}.",
            expected="a list of whole numbers above 0, one a layer",
            found=repr(value),
            hint=f"Write {argument}=[{value}]." if isinstance(value, int) and value > 0 else None,
        )
    return list(value)


def _activation(model: str, name: str) -> Callable[[tf.Tensor], tf.Tensor]:
    if name not in ACTIVATIONS:
        raise ModelError(f"{model} knows no activation {name!r}.", hint=did_you_mean(str(name), ACTIVATIONS))
    return ACTIVATIONS[name]


def _check_dropout(model: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ModelError(
            f"{model} got a bad dropout.", expected="a number from 0 to below 1", found=repr(value)
        )
