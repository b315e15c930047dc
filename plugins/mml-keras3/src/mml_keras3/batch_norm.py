"""Batch normalisation as the other backends' `mlp` and `cnn1d` have it.

Keras' own layer keeps the biased variance as its running statistic and has another momentum; with it, equal
weights would not give equal numbers.
"""

from __future__ import annotations

from typing import Any

from mml_keras3.framework import keras
from mml_keras3.ops import mean

ops = keras.ops


class BatchNorm(keras.layers.Layer):
    """Normalise each feature of the last axis by the batch in training, by running statistics otherwise.

    The running variance takes the unbiased estimate, the normalisation the biased one.

    Parameters
    ----------
    momentum : float
        Share of the running statistics that a batch replaces.
    epsilon : float
    """

    def __init__(self, *, momentum: float = 0.1, epsilon: float = 1e-5, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.momentum = momentum
        self.epsilon = epsilon

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make scale, shift and running statistics."""
        width = (input_shape[-1],)
        self.gamma = self.add_weight(shape=width, initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=width, initializer="zeros", name="beta")
        self.moving_mean = self.add_weight(
            shape=width, initializer="zeros", name="moving_mean", trainable=False
        )
        self.moving_variance = self.add_weight(
            shape=width, initializer="ones", name="moving_variance", trainable=False
        )

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Normalise, scale and shift."""
        if training and self.trainable:
            axes = tuple(range(len(inputs.shape) - 1))
            centre = mean(inputs, axes)
            centred = inputs - centre
            variance = mean(centred * centred, axes)
            self._move(inputs, centre, variance)
        else:
            variance = ops.convert_to_tensor(self.moving_variance)
            centred = inputs - ops.convert_to_tensor(self.moving_mean)
        return centred * (ops.rsqrt(variance + self.epsilon) * self.gamma) + self.beta

    def _move(self, inputs: Any, centre: Any, variance: Any) -> None:
        count = ops.size(inputs) // ops.shape(inputs)[-1]
        count = ops.cast(count, variance.dtype)
        unbiased = variance * (count / ops.maximum(count - 1, 1))
        for running, new in ((self.moving_mean, centre), (self.moving_variance, unbiased)):
            kept = (1.0 - self.momentum) * ops.convert_to_tensor(running)
            running.assign(kept + self.momentum * ops.stop_gradient(new))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the input's shape."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return what makes an equal layer."""
        return {**super().get_config(), "momentum": self.momentum, "epsilon": self.epsilon}
