"""The few array operations that merges, canonical losses and canonical optimizers are written over.

Each backend brings them under the same names and with NumPy's meaning; core brings NumPy's own, which the
others are checked against.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from mml.errors import LossError


class ArrayOps(Protocol):
    """Array operations of one backend, with NumPy's meaning; arithmetic operators work on its arrays."""

    def concat(self, arrays: Sequence[Any], axis: int) -> Any:
        """Join arrays along an axis."""
        ...

    def stack(self, arrays: Sequence[Any], axis: int) -> Any:
        """Join arrays along a new axis."""
        ...

    def pad(self, array: Any, widths: Sequence[tuple[int, int]], mode: str, value: float) -> Any:
        """Pad each axis before and after; modes ``constant``, ``edge``, ``reflect``."""
        ...

    def where(self, condition: Any, then: Any, otherwise: Any) -> Any:
        """Choose element by element."""
        ...

    def sum(self, array: Any, axis: tuple[int, ...] | None = None) -> Any:
        """Sum over axes, all where None."""
        ...

    def mean(self, array: Any, axis: tuple[int, ...] | None = None) -> Any:
        """Mean over axes, all where None."""
        ...

    def max(self, array: Any, axis: int, keepdims: bool = False) -> Any:
        """Maximum over one axis."""
        ...

    def maximum(self, array: Any, other: Any) -> Any:
        """Element-wise maximum with an array or number."""
        ...

    def exp(self, array: Any) -> Any:
        """Exponential."""
        ...

    def log(self, array: Any) -> Any:
        """Natural logarithm."""
        ...

    def log1p(self, array: Any) -> Any:
        """Natural logarithm of one plus the array."""
        ...

    def sqrt(self, array: Any) -> Any:
        """Square root."""
        ...

    def abs(self, array: Any) -> Any:
        """Absolute value."""
        ...

    def reshape(self, array: Any, shape: Sequence[int]) -> Any:
        """Give another shape to the same elements."""
        ...

    def take_along_last(self, array: Any, indices: Any) -> Any:
        """Take one element of the last axis for each row: ``array[i, indices[i]]``.

        An index outside the axis is refused where the backend can look at its values.
        """
        ...

    def zeros_like(self, array: Any) -> Any:
        """Zeros of the same shape, dtype and device."""
        ...


class NumpyOps:
    """The array operations on NumPy arrays: the reference for every other backend."""

    def concat(self, arrays: Sequence[Any], axis: int) -> Any:
        """Join arrays along an axis."""
        return np.concatenate(list(arrays), axis=axis)

    def stack(self, arrays: Sequence[Any], axis: int) -> Any:
        """Join arrays along a new axis."""
        return np.stack(list(arrays), axis=axis)

    def pad(self, array: Any, widths: Sequence[tuple[int, int]], mode: str, value: float) -> Any:
        """Pad each axis before and after."""
        if mode == "constant":
            return np.pad(array, widths, mode="constant", constant_values=value)
        return np.pad(array, widths, mode=mode)  # type: ignore[call-overload]

    def where(self, condition: Any, then: Any, otherwise: Any) -> Any:
        """Choose element by element."""
        return np.where(condition, then, otherwise)

    def sum(self, array: Any, axis: tuple[int, ...] | None = None) -> Any:
        """Sum over axes, all where None."""
        return np.sum(array, axis=axis)

    def mean(self, array: Any, axis: tuple[int, ...] | None = None) -> Any:
        """Mean over axes, all where None."""
        return np.mean(array, axis=axis)

    def max(self, array: Any, axis: int, keepdims: bool = False) -> Any:
        """Maximum over one axis."""
        return np.max(array, axis=axis, keepdims=keepdims)

    def maximum(self, array: Any, other: Any) -> Any:
        """Element-wise maximum with an array or number."""
        return np.maximum(array, other)

    def exp(self, array: Any) -> Any:
        """Exponential."""
        return np.exp(array)

    def log(self, array: Any) -> Any:
        """Natural logarithm."""
        return np.log(array)

    def log1p(self, array: Any) -> Any:
        """Natural logarithm of one plus the array."""
        return np.log1p(array)

    def sqrt(self, array: Any) -> Any:
        """Square root."""
        return np.sqrt(array)

    def abs(self, array: Any) -> Any:
        """Absolute value."""
        return np.abs(array)

    def reshape(self, array: Any, shape: Sequence[int]) -> Any:
        """Give another shape to the same elements."""
        return np.reshape(array, tuple(shape))

    def take_along_last(self, array: Any, indices: Any) -> Any:
        """Take one element of the last axis for each row; refuse indices outside it."""
        width = array.shape[-1]
        if indices.size and not (indices.min() >= 0 and indices.max() < width):
            # NumPy would count a negative class from the end and go on.
            raise LossError(
                "A class number lies outside the outputs' classes.",
                expected=f"whole numbers from 0 to {width - 1}",
                found=f"{indices.min()} to {indices.max()}",
                hint="Number the classes from 0, and set the model's output_shape to their count.",
            )
        return np.take_along_axis(array, indices[..., None], axis=-1)[..., 0]

    def zeros_like(self, array: Any) -> Any:
        """Zeros of the same shape and dtype."""
        return np.zeros_like(array)
