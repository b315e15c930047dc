"""The array operations of the contract as PyTorch's own, since Keras' dispatch costs more than they do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


class TorchOps:
    """Array operations that merges, canonical losses and canonical optimizers are written over."""

    def concat(self, arrays: Sequence[Tensor], axis: int) -> Tensor:
        """Join tensors along an axis."""
        return torch.cat(list(arrays), dim=axis)

    def stack(self, arrays: Sequence[Tensor], axis: int) -> Tensor:
        """Join tensors along a new axis."""
        return torch.stack(list(arrays), dim=axis)

    def pad(self, array: Tensor, widths: Sequence[tuple[int, int]], mode: str, value: float) -> Tensor:
        """Pad each axis before and after; modes ``constant``, ``edge``, ``reflect``."""
        if mode == "constant":
            flat = [width for pair in reversed(list(widths)) for width in pair]
            return torch.nn.functional.pad(array, flat, value=value)
        # The framework's own replicate and reflect take only some ranks; indices take any.
        for axis, width in enumerate(widths):
            if tuple(width) != (0, 0):
                indices = np.pad(np.arange(array.shape[axis]), width, mode=mode)  # type: ignore[call-overload]
                array = array.index_select(axis, torch.from_numpy(indices).to(array.device))
        return array

    def where(self, condition: Tensor, then: Any, otherwise: Any) -> Tensor:
        """Choose element by element."""
        return torch.where(condition, then, otherwise)

    def sum(self, array: Tensor, axis: tuple[int, ...] | None = None) -> Tensor:
        """Sum over axes, all where None."""
        return array.sum() if axis is None else array.sum(dim=axis)

    def mean(self, array: Tensor, axis: tuple[int, ...] | None = None) -> Tensor:
        """Mean over axes, all where None."""
        return array.mean() if axis is None else array.mean(dim=axis)

    def max(self, array: Tensor, axis: int, keepdims: bool = False) -> Tensor:
        """Maximum over one axis."""
        return array.amax(dim=axis, keepdim=keepdims)

    def maximum(self, array: Tensor, other: Any) -> Tensor:
        """Element-wise maximum with a tensor or number."""
        return torch.maximum(array, other) if isinstance(other, Tensor) else array.clamp(min=other)

    def exp(self, array: Tensor) -> Tensor:
        """Exponential."""
        return torch.exp(array)

    def log(self, array: Tensor) -> Tensor:
        """Natural logarithm."""
        return torch.log(array)

    def log1p(self, array: Tensor) -> Tensor:
        """Natural logarithm of one plus the tensor."""
        return torch.log1p(array)

    def sqrt(self, array: Tensor) -> Tensor:
        """Square root."""
        return torch.sqrt(array)

    def abs(self, array: Tensor) -> Tensor:
        """Absolute value."""
        return torch.abs(array)

    def reshape(self, array: Tensor, shape: Sequence[int]) -> Tensor:
        """Give another shape to the same elements."""
        return array.reshape(tuple(shape))

    def take_along_last(self, array: Tensor, indices: Tensor) -> Tensor:
        """Take one element of the last axis for each row."""
        return array.gather(-1, indices.long().unsqueeze(-1)).squeeze(-1)

    def zeros_like(self, array: Tensor) -> Tensor:
        """Zeros of the same shape, dtype and device, that take no gradients."""
        return torch.zeros_like(array, requires_grad=False)
