"""The layers that the named models are made of, and `Dropout` for models of the user's own.

They mean what other backends' layers of these names mean: linear layers start from a uniform distribution
bounded by one over the root of the number of inputs, a batch norm's running statistics move by a tenth of the
way at each batch, and dropout follows the step's seed.
"""

from __future__ import annotations

import math

import tensorflow as tf

from mml.errors import ModelError
from mml_tf import random_state


class Linear(tf.Module):
    """``inputs @ weight + bias`` along the last axis.

    Parameters
    ----------
    width, outputs : int
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.weight = tf.Variable(_initial((width, outputs), fan_in=width))
        self.bias = tf.Variable(_initial((outputs,), fan_in=width))

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        """Map ``(rows, width)`` to ``(rows, outputs)``."""
        return tf.nn.bias_add(tf.matmul(inputs, self.weight), self.bias)


class Conv1d(tf.Module):
    """A convolution along the middle axis that keeps its length.

    Parameters
    ----------
    width, outputs : int
        Channels.
    kernel_size : int
        Odd.
    """

    def __init__(self, width: int, outputs: int, kernel_size: int) -> None:
        super().__init__()
        fan_in = width * kernel_size
        self.weight = tf.Variable(_initial((kernel_size, width, outputs), fan_in=fan_in))
        self.bias = tf.Variable(_initial((outputs,), fan_in=fan_in))

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        """Map ``(rows, length, width)`` to ``(rows, length, outputs)``."""
        return tf.nn.bias_add(tf.nn.conv1d(inputs, self.weight, stride=1, padding="SAME"), self.bias)


class BatchNorm(tf.Module):
    """Normalisation over all axes but the last: by the batch in training, else by running statistics.

    Parameters
    ----------
    width : int
    momentum : float
        Share of the batch in the running statistics' next values.
    eps : float
        Added to the variance.
    """

    def __init__(self, width: int, *, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = tf.Variable(tf.ones(width))
        self.bias = tf.Variable(tf.zeros(width))
        self.running_mean = tf.Variable(tf.zeros(width), trainable=False)
        self.running_var = tf.Variable(tf.ones(width), trainable=False)
        self.momentum = momentum
        self.eps = eps

    def __call__(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Normalise ``(rows, ..., width)``."""
        mean, variance = self.running_mean, self.running_var
        if training:
            axes = list(range(len(inputs.shape) - 1))
            mean = tf.reduce_mean(inputs, axes)
            variance = tf.reduce_mean(tf.math.squared_difference(inputs, mean), axes)
            self._move(inputs, mean, variance)
        scale = self.weight * tf.math.rsqrt(variance + self.eps)
        return (inputs - mean) * scale + self.bias

    def _move(self, inputs: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor) -> None:
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), variance.dtype)
        unbiased = variance * (count / tf.maximum(count - 1.0, 1.0))
        for kept, new in ((self.running_mean, mean), (self.running_var, unbiased)):
            kept.assign((1.0 - self.momentum) * kept + self.momentum * tf.stop_gradient(new))


class Dropout(tf.Module):
    """Zero elements at random in training, and scale the rest so that the expectation stays.

    In a graph of MML the zeros follow the step's seed alone; elsewhere they follow the framework's generator.

    Parameters
    ----------
    rate : float
        Share of the elements that becomes zero, from 0 to below 1.

    Examples
    --------
    >>> import tensorflow as tf
    >>> Dropout(0.5)(tf.ones([2, 3])).shape
    TensorShape([2, 3])
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate < 1:
            raise ModelError(
                "Dropout got a bad rate.", expected="a number from 0 to below 1", found=repr(rate)
            )
        self.rate = rate

    def __call__(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Drop in training, pass otherwise."""
        if not training or not self.rate:
            return inputs
        kept = _bits(tf.shape(inputs)) >= int(self.rate * 2**32) - 2**31
        return inputs * (tf.cast(kept, inputs.dtype) / (1.0 - self.rate))


def _initial(shape: tuple[int, ...], *, fan_in: int) -> tf.Tensor:
    bound = 1.0 / math.sqrt(fan_in)
    seed = random_state.next_seed()
    if seed is None:
        return tf.random.uniform(shape, -bound, bound)
    return tf.random.stateless_uniform(shape, seed, -bound, bound, alg=random_state.ALGORITHM)


def _bits(shape: tf.Tensor) -> tf.Tensor:
    """Draw whole numbers of 32 bits: unlike fractions, equal with and without the optimising compiler."""
    seed = random_state.next_seed()
    if seed is None:
        return tf.random.uniform(shape, -(2**31), 2**31 - 1, dtype=tf.int32)
    return tf.random.stateless_uniform(
        shape, seed, minval=None, maxval=None, dtype=tf.int32, alg=random_state.ALGORITHM
    )
