"""The array operations of the contract on tensors, with NumPy's meaning and gradients.

Inside a program tensors have no values yet, and their number of rows is unknown: shapes hold None there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf


class TensorflowOps:
    """Array operations that merges, canonical losses and canonical optimizers are written over."""

    def concat(self, arrays: Sequence[tf.Tensor], axis: int) -> tf.Tensor:
        """Join tensors along an axis."""
        return tf.concat(list(arrays), axis=axis)

    def stack(self, arrays: Sequence[tf.Tensor], axis: int) -> tf.Tensor:
        """Join tensors along a new axis."""
        return tf.stack(list(arrays), axis=axis)

    def pad(self, array: tf.Tensor, widths: Sequence[tuple[int, int]], mode: str, value: float) -> tf.Tensor:
        """Pad each axis before and after; modes ``constant``, ``edge``, ``reflect``."""
        if mode == "constant":
            filling = tf.constant(value, array.dtype)
            return tf.pad(array, [tuple(width) for width in widths], constant_values=filling)
        # The framework knows no mode `edge`; indices serve both.
        for axis, width in enumerate(widths):
            if tuple(width) != (0, 0):
                indices = np.pad(np.arange(array.shape[axis]), width, mode=mode)  # type: ignore[call-overload]
                array = tf.gather(array, indices, axis=axis)
        return array

    def where(self, condition: tf.Tensor, then: Any, otherwise: Any) -> tf.Tensor:
        """Choose element by element."""
        then, otherwise = _paired(then, otherwise)
        return tf.where(condition, then, otherwise)

    def sum(self, array: tf.Tensor, axis: tuple[int, ...] | None = None) -> tf.Tensor:
        """Sum over axes, all where None."""
        return tf.reduce_sum(array, axis=axis)

    def mean(self, array: tf.Tensor, axis: tuple[int, ...] | None = None) -> tf.Tensor:
        """Mean over axes, all where None."""
        return tf.reduce_mean(array, axis=axis)

    def max(self, array: tf.Tensor, axis: int, keepdims: bool = False) -> tf.Tensor:
        """Maximum over one axis."""
        return tf.reduce_max(array, axis=axis, keepdims=keepdims)

    def maximum(self, array: tf.Tensor, other: Any) -> tf.Tensor:
        """Element-wise maximum with a tensor or number."""
        return tf.maximum(*_paired(array, other))

    def exp(self, array: tf.Tensor) -> tf.Tensor:
        """Exponential."""
        return tf.exp(array)

    def log(self, array: tf.Tensor) -> tf.Tensor:
        """Natural logarithm."""
        return tf.math.log(array)

    def log1p(self, array: tf.Tensor) -> tf.Tensor:
        """Natural logarithm of one plus the tensor."""
        return tf.math.log1p(array)

    def sqrt(self, array: tf.Tensor) -> tf.Tensor:
        """Square root."""
        return tf.sqrt(array)

    def abs(self, array: tf.Tensor) -> tf.Tensor:
        """Absolute value."""
        return tf.abs(array)

    def reshape(self, array: tf.Tensor, shape: Sequence[int | None]) -> tf.Tensor:
        """Give another shape to the same elements; a number of rows that is not known yet is None."""
        return tf.reshape(array, [-1 if one is None else one for one in shape])

    def take_along_last(self, array: tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
        """Take one element of the last axis for each row."""
        rows = len(indices.shape)
        return tf.squeeze(tf.gather(array, indices[..., None], axis=rows, batch_dims=rows), axis=rows)

    def zeros_like(self, array: tf.Tensor) -> tf.Tensor:
        """Zeros of the same shape and dtype."""
        return tf.zeros_like(array)


def _paired(one: Any, other: Any) -> tuple[Any, Any]:
    """Give a plain number the dtype of the tensor beside it; the framework would round it to float32."""
    if isinstance(one, tf.Tensor) and not isinstance(other, tf.Tensor):
        return one, tf.constant(other, one.dtype)
    if isinstance(other, tf.Tensor) and not isinstance(one, tf.Tensor):
        return tf.constant(one, other.dtype), other
    return one, other
