"""The reference's losses: value and slope, both derived by hand.

``__call__`` is the `LossFunction` protocol. `slopes` gives the derivative of Σ factorᵢ·ℓᵢ by each argument,
by name; the factors carry weight, row weights and the mean, so that there is one place for them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from mml.backends import require_equal_shapes
from mml.errors import LossError, ShapeError

Slopes = dict[str, np.ndarray]


class ReferenceLoss(ABC):
    """A loss of outputs and targets, with one value a row."""

    def __call__(self, outputs: np.ndarray, targets: np.ndarray, *, reduction: str = "mean") -> np.ndarray:
        """Return one value a row, or their mean, of arrays of shape ``(rows, ...)``."""
        values = self.values(outputs, targets)
        return values if reduction == "none" else np.asarray(values.mean())

    @abstractmethod
    def values(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return one value a row, shape ``(rows,)``."""

    @abstractmethod
    def slopes(self, outputs: np.ndarray, targets: np.ndarray, *, factors: np.ndarray) -> Slopes:
        """Return the derivative of Σ factorᵢ·ℓᵢ by argument; `factors` have shape ``(rows,)``."""


class ElementwiseLoss(ReferenceLoss):
    """A loss that is the mean over a row's elements, each paired with one target."""

    def values(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Average `element` over each row."""
        require_equal_shapes(outputs, targets)
        return self.element(outputs, targets).reshape(len(outputs), -1).mean(axis=1)

    def slopes(self, outputs: np.ndarray, targets: np.ndarray, *, factors: np.ndarray) -> Slopes:
        """Spread each row's factor over its elements."""
        width = max(int(np.prod(outputs.shape[1:])), 1)
        share = (factors / width).astype(outputs.dtype).reshape(-1, *[1] * (outputs.ndim - 1))
        by_output, by_target = self.element_slopes(outputs, targets)
        return {"outputs": share * by_output, "targets": share * by_target}

    @abstractmethod
    def element(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return one value an element."""

    @abstractmethod
    def element_slopes(self, outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the derivatives by output and by target, element by element."""


class MeanSquaredError(ElementwiseLoss):
    """(o - t)²."""

    def element(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Square the difference."""
        return np.square(outputs - targets)

    def element_slopes(self, outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return ±2(o - t)."""
        slope = 2.0 * (outputs - targets)
        return slope, -slope


class MeanAbsoluteError(ElementwiseLoss):
    """|o - t|, with slope 0 at 0."""

    def element(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Take the distance."""
        return np.abs(outputs - targets)

    def element_slopes(self, outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the sign, both ways."""
        slope = np.sign(outputs - targets)
        return slope, -slope


class Huber(ElementwiseLoss):
    """d²/2 up to `delta`, delta·(|d| - delta/2) beyond."""

    def __init__(self, *, delta: float = 1.0) -> None:
        if isinstance(delta, bool) or not isinstance(delta, int | float) or not 0 < delta < np.inf:
            raise LossError("huber got a bad delta.", expected="delta a number above 0", found=repr(delta))
        self.delta = float(delta)

    def element(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Choose by distance."""
        distance = np.abs(outputs - targets)
        inner = np.minimum(distance, self.delta)
        return 0.5 * inner * inner + self.delta * (distance - inner)

    def element_slopes(self, outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the difference, cut at ±delta."""
        slope = np.clip(outputs - targets, -self.delta, self.delta)
        return slope, -slope


class BinaryCrossEntropyOfLogits(ElementwiseLoss):
    """log(1 + eˣ) - t·x."""

    def element(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Evaluate it without overflow and without cancelling."""
        size = np.abs(outputs)
        return 0.5 * size + outputs * (0.5 - targets) + np.log1p(np.exp(-size))

    def element_slopes(self, outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return sigmoid(x) - t, and -x."""
        small = np.exp(-np.abs(outputs))
        sigmoid = np.where(outputs >= 0, 1.0, small) / (1.0 + small)
        return sigmoid.astype(outputs.dtype) - targets, -outputs


class CrossEntropy(ReferenceLoss):
    """-log softmax(x) at the target's class, of logits ``(rows, classes)``."""

    def values(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return one value a row."""
        classes = _classes(outputs, targets)
        shifted = outputs - outputs.max(axis=1, keepdims=True)
        return np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(outputs)), classes]

    def slopes(self, outputs: np.ndarray, targets: np.ndarray, *, factors: np.ndarray) -> Slopes:
        """Return softmax minus the target's unit vector; class numbers have no slope."""
        powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        slope = powers / powers.sum(axis=1, keepdims=True)
        slope[np.arange(len(outputs)), _classes(outputs, targets)] -= 1.0
        return {"outputs": slope * factors.astype(outputs.dtype)[:, None]}


def _classes(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    if outputs.ndim != 2 or targets.shape not in {(len(outputs),), (len(outputs), 1)}:
        raise ShapeError(
            "cross_entropy got outputs and targets that do not fit.",
            expected="outputs of shape (rows, classes) and targets of shape (rows,) or (rows, 1)",
            found=f"outputs of shape {outputs.shape}, targets of shape {targets.shape}",
        )
    classes = targets.reshape(-1)
    if classes.dtype.kind not in "iu" or (
        classes.size and not 0 <= classes.min() <= classes.max() < outputs.shape[1]
    ):
        raise LossError(
            "cross_entropy takes whole class numbers.",
            expected=f"integers from 0 to {outputs.shape[1] - 1}",
            found=f"{classes.dtype}, {classes.min()} to {classes.max()}",
        )
    return classes
