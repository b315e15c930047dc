"""The named losses as the framework's fused kernels, and raw losses in the form that programs call.

A named loss has the canonical meaning: one value a row, the mean over a row's elements, and the mean over
rows. A raw loss keeps whatever meaning its framework gave it.
"""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from mml.backends import CallableLoss, require_equal_shapes
from mml.errors import LossError, ShapeError
from mml_torch.ops import TorchOps

# No class has this number, so no row is ever ignored; the framework's own default drops rows of class -100.
_IGNORE_NOTHING = -(2**63)
# As in the canonical formula: the smallest number whose logarithm and reciprocal are finite in float32.
_TINY = 1e-37

# Losses that the framework computes between arrays of one shape, and would broadcast with a mere warning.
_ELEMENTWISE = (nn.MSELoss, nn.L1Loss, nn.SmoothL1Loss, nn.HuberLoss, nn.BCELoss, nn.BCEWithLogitsLoss)
_OVER_CLASSES = (nn.CrossEntropyLoss, nn.NLLLoss, nn.MultiMarginLoss)


class MeanSquaredError:
    """Mean squared error of outputs and targets of equal shape."""

    def __call__(self, outputs: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
        """Compute the loss."""
        targets = _paired(outputs, targets)
        if reduction == "mean":
            return functional.mse_loss(outputs, targets)
        return _per_row(functional.mse_loss(outputs, targets, reduction="none"))


class MeanAbsoluteError:
    """Mean absolute error of outputs and targets of equal shape."""

    def __call__(self, outputs: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
        """Compute the loss."""
        targets = _paired(outputs, targets)
        if reduction == "mean":
            return functional.l1_loss(outputs, targets)
        return _per_row(functional.l1_loss(outputs, targets, reduction="none"))


class Huber:
    """Squared up to `delta`, linear beyond: d²/2, and delta·(|d| - delta/2).

    Parameters
    ----------
    delta : float
        Above 0.
    """

    def __init__(self, *, delta: float = 1.0) -> None:
        if isinstance(delta, bool) or not isinstance(delta, int | float) or not 0 < delta < math.inf:
            raise LossError("huber got a bad delta.", expected="delta a number above 0", found=repr(delta))
        self.delta = float(delta)

    def __call__(self, outputs: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
        """Compute the loss."""
        targets = _paired(outputs, targets)
        if reduction == "mean":
            return functional.huber_loss(outputs, targets, delta=self.delta)
        return _per_row(functional.huber_loss(outputs, targets, reduction="none", delta=self.delta))


class BinaryCrossEntropy:
    """Binary cross-entropy of probabilities.

    The framework's own kernel bounds the slope at probabilities below 1e-12, exactly where the loss is most
    wrong; this is the canonical formula instead, which bounds nothing that float32 resolves.
    """

    def __call__(self, outputs: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
        """Compute the loss."""
        targets = _paired(outputs, targets)
        right = targets * torch.log(outputs + _TINY)
        wrong = (1.0 - targets) * torch.log((1.0 - outputs) + _TINY)
        values = -(right + wrong)
        return values.mean() if reduction == "mean" else _per_row(values)


class BinaryCrossEntropyLogits:
    """Binary cross-entropy of logits, stable for logits of any size."""

    def __call__(self, outputs: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
        """Compute the loss."""
        targets = _paired(outputs, targets)
        if reduction == "mean":
            return functional.binary_cross_entropy_with_logits(outputs, targets)
        return _per_row(functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none"))


class CrossEntropy:
    """Cross-entropy of logits ``(rows, classes)`` against class numbers ``(rows,)`` or ``(rows, 1)``."""

    def __call__(self, outputs: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
        """Compute the loss."""
        classes = _class_numbers(outputs, targets)
        try:
            return functional.cross_entropy(
                outputs, classes, reduction=reduction, ignore_index=_IGNORE_NOTHING
            )
        except IndexError as cause:
            raise _no_such_class(outputs, classes) from cause


class NegativeLogLikelihood:
    """Negative log likelihood of log probabilities; shapes as `CrossEntropy`."""

    def __call__(self, outputs: Tensor, targets: Tensor, *, reduction: str = "mean") -> Tensor:
        """Compute the loss."""
        classes = _class_numbers(outputs, targets)
        try:
            return functional.nll_loss(outputs, classes, reduction=reduction, ignore_index=_IGNORE_NOTHING)
        except IndexError as cause:
            raise _no_such_class(outputs, classes) from cause


class RawLoss:
    """A framework's own loss, whose meaning stays: its reduction, its weights, its ignored classes.

    Parameters
    ----------
    module : nn.Module
        With a ``reduction`` of ``"mean"``, ``"sum"`` or ``"none"``.
    """

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.rows_module = copy.copy(module)
        self.rows_module.reduction = "none"  # type: ignore[assignment]
        self.elementwise = isinstance(module, _ELEMENTWISE)
        self.over_classes = isinstance(module, _OVER_CLASSES)

    @property
    def is_sum(self) -> bool:
        """Whether the value is a sum over rows, which accumulating steps add up as they are."""
        return bool(self.module.reduction == "sum")

    def to(self, device: torch.device) -> None:
        """Carry class weights and the like to a device."""
        self.module.to(device)
        self.rows_module.to(device)

    def __call__(self, *values: Any, reduction: str = "mean", **named: Any) -> Tensor:
        """Compute the loss of values of shape ``(rows, ...)``."""
        if self.elementwise and len(values) == 2:
            require_equal_shapes(*values)
        if self.over_classes and len(values) == 2 and not values[1].is_floating_point():
            # One column of class numbers arrives as (rows, 1), which the framework has no meaning for.
            values = (values[0], _squeezed(values[0], values[1]))
        if reduction == "none":
            return _per_row(self.rows_module(*values, **named))
        result: Tensor = self.module(*values, **named)
        return result if result.dim() == 0 else result.mean()


def wrap_loss(loss: Any, ops: TorchOps) -> Any:
    """Give a framework's loss module or class, or a user's callable, the form that programs call.

    Parameters
    ----------
    loss : nn.Module, type or callable
        A callable returns one value, or one a row; where it takes ``reduction``, it is asked for rows when
        rows are weighted.
    """
    if isinstance(loss, type):
        loss = loss()
    if isinstance(loss, nn.Module):
        return RawLoss(loss) if isinstance(getattr(loss, "reduction", None), str) else CallableLoss(loss, ops)
    if not callable(loss):
        raise LossError("PyTorch cannot call this as a loss.", found=f"{type(loss).__name__}: {loss!r}")
    return _with_reduction(loss, ops) if _takes_reduction(loss) else CallableLoss(loss, ops)


def _with_reduction(function: Callable[..., Any], ops: TorchOps) -> Callable[..., Any]:
    whole = CallableLoss(function, ops)
    by_row = CallableLoss(lambda *values, **named: function(*values, reduction="none", **named), ops)

    def loss(*values: Any, reduction: str = "mean", **named: Any) -> Any:
        return (by_row if reduction == "none" else whole)(*values, reduction=reduction, **named)

    return loss


def _takes_reduction(function: Callable[..., Any]) -> bool:
    try:
        return "reduction" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _paired(outputs: Tensor, targets: Tensor) -> Tensor:
    """Refuse unequal shapes; whole-number targets become the outputs' dtype."""
    if outputs.shape != targets.shape:
        require_equal_shapes(outputs, targets)
    return targets if targets.dtype is outputs.dtype else targets.to(outputs.dtype)


def _per_row(values: Tensor) -> Tensor:
    return values if values.dim() == 1 else values.flatten(1).mean(dim=1)


def _squeezed(outputs: Tensor, targets: Tensor) -> Tensor:
    fits = outputs.dim() == 2 and targets.dim() == 2 and targets.shape[1] == 1
    return targets.squeeze(1) if fits else targets


def _class_numbers(outputs: Tensor, targets: Tensor) -> Tensor:
    classes = _squeezed(outputs, targets)
    if outputs.dim() != 2 or classes.shape != outputs.shape[:1]:
        raise ShapeError(
            "A loss over classes has outputs and targets that do not fit.",
            expected="outputs of shape (rows, classes) and targets of shape (rows,) or (rows, 1)",
            found=f"outputs of shape {tuple(outputs.shape)}, targets of shape {tuple(targets.shape)}",
            hint="Set the model's output_shape to the number of classes; targets are class numbers from 0.",
        )
    if classes.is_floating_point() or classes.is_complex() or classes.dtype is torch.bool:
        raise LossError(
            "A loss over classes takes whole class numbers as targets.",
            expected="an integer dtype",
            found=str(targets.dtype),
            hint="Ingest the target column as integers, e.g. y.astype('int64').",
        )
    return classes if classes.dtype is torch.int64 else classes.long()


def _no_such_class(outputs: Tensor, classes: Tensor) -> LossError:
    n_classes = outputs.shape[1]
    return LossError(
        "A target is the number of no class.",
        expected=f"0 to {n_classes - 1}, for outputs of {n_classes} class{'es' * (n_classes != 1)}",
        found=f"targets from {int(classes.min())} to {int(classes.max())}",
        hint="Set the model's output_shape to the number of classes, or number the classes from 0.",
    )
