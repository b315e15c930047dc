"""The array operations of the contract over Keras' own, with NumPy's meaning, on every engine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from mml_keras3.framework import keras

ops = keras.ops


def mean(array: Any, axis: int | tuple[int, ...] | None = None) -> Any:
    """Return the mean over axes, all where None, in the array's own dtype.

    Keras' own computes in 32 bits on some engines, whatever goes in.
    """
    if not keras.backend.is_float_dtype(array.dtype):
        array = ops.cast(array, "float32")
    shape = ops.shape(array)
    axes = range(len(shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
    total = ops.sum(array, axis=axis)
    count = math.prod(shape[one] for one in axes)
    return total / (count if isinstance(count, int) else ops.cast(count, total.dtype))


class KerasOps:
    """Array operations that merges, canonical losses and canonical optimizers are written over."""

    def concat(self, arrays: Sequence[Any], axis: int) -> Any:
        """Join arrays along an axis."""
        return ops.concatenate(list(arrays), axis=axis)

    def stack(self, arrays: Sequence[Any], axis: int) -> Any:
        """Join arrays along a new axis."""
        return ops.stack(list(arrays), axis=axis)

    def pad(self, array: Any, widths: Sequence[tuple[int, int]], mode: str, value: float) -> Any:
        """Pad each axis before and after; modes ``constant``, ``edge``, ``reflect``."""
        if mode == "constant":
            return ops.pad(array, widths, mode=mode, constant_values=value)
        # The engines' own paddings take only some modes and ranks; indices take any.
        for axis, width in enumerate(widths):
            if tuple(width) != (0, 0):
                indices = np.pad(np.arange(array.shape[axis]), width, mode=mode)  # type: ignore[call-overload]
                array = ops.take(array, indices.astype(np.int32), axis=axis)
        return array

    def where(self, condition: Any, then: Any, otherwise: Any) -> Any:
        """Choose element by element."""
        return ops.where(condition, then, otherwise)

    def sum(self, array: Any, axis: tuple[int, ...] | None = None) -> Any:
        """Sum over axes, all where None."""
        return ops.sum(array, axis=axis)

    def mean(self, array: Any, axis: tuple[int, ...] | None = None) -> Any:
        """Mean over axes, all where None."""
        return mean(array, axis)

    def max(self, array: Any, axis: int, keepdims: bool = False) -> Any:
        """Maximum over one axis."""
        return ops.max(array, axis=axis, keepdims=keepdims)

    def maximum(self, array: Any, other: Any) -> Any:
        """Element-wise maximum with an array or number."""
        return ops.maximum(array, other)

    def exp(self, array: Any) -> Any:
        """Exponential."""
        return ops.exp(array)

    def log(self, array: Any) -> Any:
        """Natural logarithm."""
        return ops.log(array)

    def log1p(self, array: Any) -> Any:
        """Natural logarithm of one plus the array."""
        return ops.log1p(array)

    def sqrt(self, array: Any) -> Any:
        """Square root."""
        return ops.sqrt(array)

    def abs(self, array: Any) -> Any:
        """Absolute value."""
        return ops.abs(array)

    def reshape(self, array: Any, shape: Sequence[int]) -> Any:
        """Give another shape to the same elements."""
        return ops.reshape(array, tuple(shape))

    def take_along_last(self, array: Any, indices: Any) -> Any:
        """Take one element of the last axis for each row; indices are looked at where a block is staged."""
        return ops.take_along_axis(array, ops.expand_dims(indices, -1), axis=-1)[..., 0]

    def zeros_like(self, array: Any) -> Any:
        """Zeros of the same shape and dtype."""
        return ops.zeros_like(array)
