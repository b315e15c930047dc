"""The models that come with a name: `mlp` and `cnn1d`, equal in structure to other backends' of that name.

Both are plain Keras models; nothing in a graph treats them differently from a user's own. Layers are given
their widths when the model is made, so that it is built at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from mml.errors import ModelError, ShapeError, did_you_mean
from mml_keras3.batch_norm import BatchNorm
from mml_keras3.framework import keras
from mml_keras3.internals import tanh
from mml_keras3.ops import mean

Shape = tuple[int, ...]
Run = Callable[[Any, bool], Any]

layers, ops = keras.layers, keras.ops

ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "relu": layers.ReLU,
    "leaky_relu": partial(layers.LeakyReLU, negative_slope=0.01),
    "elu": layers.ELU,
    "gelu": partial(layers.Activation, partial(keras.activations.gelu, approximate=False)),
    "silu": partial(layers.Activation, "silu"),
    "softplus": partial(layers.Activation, "softplus"),
    # Not `keras.ops.tanh`, which computes in 32 bits whatever goes in.
    "tanh": partial(layers.Activation, tanh),
    "sigmoid": partial(layers.Activation, "sigmoid"),
    "identity": layers.Identity,
}


class MLP(keras.Model):
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
    dtype : str, optional
        Keras' dtype or dtype policy, its default where left out.

    Examples
    --------
    >>> import numpy
    >>> tuple(MLP((3, 5), 2, hidden=[7])(numpy.zeros((4, 3, 5), "float32")).shape)
    (4, 2)
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
        dtype: str | None = None,
    ) -> None:
        super().__init__(name="mlp", dtype=dtype)
        self.sample_shape = _shape("mlp", "output_shape", output_shape)
        _check_dropout("mlp", dropout)
        make_activation = _activation("mlp", activation)
        width = math.prod(_shape("mlp", "input_shape", input_shape))
        parts: list[Any] = []
        for size in _sizes("mlp", "hidden", hidden):
            parts.append(_dense(width, size, dtype))
            if batch_norm:
                parts.append(_built(BatchNorm(dtype=dtype), size))
            parts.append(make_activation(dtype=dtype))
            if dropout:
                parts.append(layers.Dropout(dropout, dtype=dtype))
            width = size
        parts.append(_dense(width, math.prod(self.sample_shape), dtype))
        self.parts = parts
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Map ``(rows, *input_shape)`` to ``(rows, *output_shape)``."""
        return self.through(inputs, training, _called)

    def through(self, inputs: Any, training: bool, run_of: Callable[[Any], Run]) -> Any:
        """Run the layers one after the other, each by what `run_of` gives for it."""
        outputs = inputs if len(inputs.shape) == 2 else ops.reshape(inputs, (-1, math.prod(inputs.shape[1:])))
        for part in self.parts:
            outputs = run_of(part)(outputs, training)
        return outputs if len(self.sample_shape) == 1 else ops.reshape(outputs, (-1, *self.sample_shape))


class CNN1d(keras.Model):
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
    activation, dropout, batch_norm, dtype
        As in `MLP`, after each convolution.

    Examples
    --------
    >>> import numpy
    >>> tuple(CNN1d((3, 11), 2, channels=[5])(numpy.zeros((4, 3, 11), "float32")).shape)
    (4, 2)
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
        dtype: str | None = None,
    ) -> None:
        super().__init__(name="cnn1d", dtype=dtype)
        self.sample_shape = _shape("cnn1d", "output_shape", output_shape)
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
        make_activation = _activation("cnn1d", activation)
        width = shape[0] if len(shape) == 2 else 1
        parts: list[Any] = []
        for size in _sizes("cnn1d", "channels", channels):
            parts.append(_convolution(width, size, kernel_size, dtype))
            if batch_norm:
                parts.append(_built(BatchNorm(dtype=dtype), size))
            parts.append(make_activation(dtype=dtype))
            if dropout:
                parts.append(layers.Dropout(dropout, dtype=dtype))
            width = size
        self.parts = parts
        self.head = _dense(width, math.prod(self.sample_shape), dtype)
        self.built = True

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Map ``(rows, *input_shape)`` to ``(rows, *output_shape)``."""
        return self.through(inputs, training, _called)

    def through(self, inputs: Any, training: bool, run_of: Callable[[Any], Run]) -> Any:
        """Run the layers one after the other, each by what `run_of` gives for it."""
        # Channels go last, where every engine has a kernel for them on the CPU.
        outputs = ops.expand_dims(inputs, -1) if len(inputs.shape) == 2 else ops.swapaxes(inputs, 1, 2)
        for part in self.parts:
            outputs = run_of(part)(outputs, training)
        outputs = run_of(self.head)(mean(outputs, axis=1), training)
        return outputs if len(self.sample_shape) == 1 else ops.reshape(outputs, (-1, *self.sample_shape))


def _called(part: Any) -> Run:
    return lambda inputs, training: part(inputs, training=training)


def _dense(width: int, size: int, dtype: str | None) -> Any:
    return _built(layers.Dense(size, dtype=dtype, **_within(width)), width)


def _convolution(width: int, size: int, kernel_size: int, dtype: str | None) -> Any:
    settings = {"padding": "same", "data_format": "channels_last", "dtype": dtype}
    return _built(layers.Conv1D(size, kernel_size, **settings, **_within(width * kernel_size)), None, width)


def _within(fan_in: int) -> dict[str, Any]:
    """Draw weights and biases uniformly within 1/√fan_in, as the other backends do."""
    bound = 1.0 / math.sqrt(fan_in)
    made = partial(keras.initializers.RandomUniform, -bound, bound)
    return {"kernel_initializer": made(), "bias_initializer": made()}


def _built(layer: Any, *shape: int | None) -> Any:
    layer.build((None, *shape))
    return layer


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


def _activation(model: str, name: str) -> Callable[..., Any]:
    if name not in ACTIVATIONS:
        raise ModelError(f"{model} knows no activation {name!r}.", hint=did_you_mean(str(name), ACTIVATIONS))
    return ACTIVATIONS[name]


def _check_dropout(model: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ModelError(
            f"{model} got a bad dropout.", expected="a number from 0 to below 1", found=repr(value)
        )
