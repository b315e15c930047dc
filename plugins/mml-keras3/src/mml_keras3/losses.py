"""Keras' own losses in the form that programs call, with the meaning that Keras gave them.

Losses by name are core's canonical formulas over `KerasOps`. Keras passes targets first, and takes weights
that it divides by differently; both stay on its side of this border.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from mml.backends import CallableLoss, require_equal_shapes
from mml.errors import LossError
from mml_keras3.framework import keras
from mml_keras3.ops import KerasOps, mean

ops = keras.ops

_PACKAGE = "keras.src.losses"
# Losses that pair outputs and targets element by element, and would broadcast unequal shapes.
_ELEMENTWISE = (
    "MeanSquaredError",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredLogarithmicError",
    "Huber",
    "LogCosh",
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "Poisson",
)
_MEANS = ("sum_over_batch_size", "mean", "mean_with_sample_weight")


class RawLoss:
    """A loss object of Keras: its formula, its settings, its reduction.

    Parameters
    ----------
    loss : keras.Loss
    """

    def __init__(self, loss: Any) -> None:
        if loss.reduction not in (*_MEANS, "sum", "none", None):
            raise LossError(f"The loss {loss!r} has an unknown reduction.", found=repr(loss.reduction))
        self.loss = loss
        self.elementwise = type(loss).__name__ in _ELEMENTWISE and type(loss).__module__.startswith(_PACKAGE)

    @property
    def is_sum(self) -> bool:
        """Whether the value is a sum over rows, which accumulating steps add up as they are."""
        return bool(self.loss.reduction == "sum")

    def __call__(self, *values: Any, reduction: str = "mean", **named: Any) -> Any:
        """Compute the loss of values of shape ``(rows, ...)``: outputs, then targets."""
        outputs, targets = _paired(values, named)
        if self.elementwise:
            require_equal_shapes(outputs, targets)
        if reduction == "none":
            return _per_row(self.loss.call(*self._standard(targets, outputs)))
        value = self.loss(targets, outputs)
        return value if len(value.shape) == 0 else mean(value)

    def _standard(self, targets: Any, outputs: Any) -> tuple[Any, Any]:
        dtype = self.loss.dtype
        return ops.convert_to_tensor(targets, dtype=dtype), ops.convert_to_tensor(outputs, dtype=dtype)


def wrap_loss(loss: Any, kerasops: KerasOps) -> Callable[..., Any]:
    """Give a loss object, class or function of Keras, or a user's callable, the form that programs call.

    Parameters
    ----------
    loss : keras.Loss, type or callable
        A function of Keras' own gets ``(targets, outputs)``, as Keras passes them; any other callable gets
        ``(outputs, targets)`` and returns one value, or one a row; where it takes ``reduction``, it is asked
        for rows when rows are weighted.
    """
    if isinstance(loss, type):
        loss = loss()
    if isinstance(loss, keras.Loss):
        return RawLoss(loss)
    if not callable(loss):
        raise LossError("Keras cannot call this as a loss.", found=f"{type(loss).__name__}: {loss!r}")
    if str(getattr(loss, "__module__", "")).startswith(_PACKAGE):
        return CallableLoss(_swapped(loss), kerasops)
    return _with_reduction(loss, kerasops) if _takes_reduction(loss) else CallableLoss(loss, kerasops)


def _swapped(function: Callable[..., Any]) -> Callable[..., Any]:
    def swapped(*values: Any, **named: Any) -> Any:
        outputs, targets = _paired(values, named)
        return function(targets, outputs)

    return swapped


def _with_reduction(function: Callable[..., Any], kerasops: KerasOps) -> Callable[..., Any]:
    whole = CallableLoss(function, kerasops)
    by_row = CallableLoss(lambda *values, **named: function(*values, reduction="none", **named), kerasops)

    def loss(*values: Any, reduction: str = "mean", **named: Any) -> Any:
        return (by_row if reduction == "none" else whole)(*values, reduction=reduction, **named)

    return loss


def _takes_reduction(function: Callable[..., Any]) -> bool:
    try:
        return "reduction" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _paired(values: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any]:
    outputs = named.get("outputs", named.get("y_pred", values[0] if values else None))
    targets = named.get("targets", named.get("y_true", values[1] if len(values) > 1 else None))
    if outputs is None or targets is None or len(values) + len(named) != 2:
        raise LossError(
            "A loss of Keras takes outputs and targets.",
            found=f"{len(values)} values and the names {sorted(named)}",
            hint="Give two inputs, or a mapping with 'outputs' and 'targets'.",
        )
    return outputs, targets


def _per_row(values: Any) -> Any:
    trailing = tuple(range(1, len(values.shape)))
    return mean(values, axis=trailing) if trailing else values
