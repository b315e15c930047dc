"""The named losses in fewer operations than the canonical formulas, and raw losses in the form programs call.

A named loss has the canonical meaning: one value a row, the mean over a row's elements, and the mean over
rows. Rows have equally many elements, so the mean of all elements is the same number in one operation. The
other names are core's formulas as they stand. A raw loss keeps whatever meaning its framework gave it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from mml.backends import CallableLoss, require_equal_shapes
from mml.errors import LossError, ShapeError
from mml_tf import keras_objects
from mml_tf.native import graph_form
from mml_tf.ops import TensorflowOps

# How the framework's own functions name what MML calls targets and outputs; they want them in this order.
_THEIR_NAMES = (("y_true", "y_pred"), ("labels", "logits"))


class MeanSquaredError:
    """Mean squared error of outputs and targets of equal shape."""

    def __call__(self, outputs: tf.Tensor, targets: tf.Tensor, *, reduction: str = "mean") -> tf.Tensor:
        """Compute the loss."""
        return _reduced(tf.math.squared_difference(outputs, _paired(outputs, targets)), reduction)


class MeanAbsoluteError:
    """Mean absolute error of outputs and targets of equal shape."""

    def __call__(self, outputs: tf.Tensor, targets: tf.Tensor, *, reduction: str = "mean") -> tf.Tensor:
        """Compute the loss."""
        return _reduced(tf.abs(outputs - _paired(outputs, targets)), reduction)


class BinaryCrossEntropyLogits:
    """Binary cross-entropy of logits, stable for logits of any size."""

    def __call__(self, outputs: tf.Tensor, targets: tf.Tensor, *, reduction: str = "mean") -> tf.Tensor:
        """Compute the loss."""
        targets = _paired(outputs, targets)
        size = tf.abs(outputs)
        # As in the canonical formula: no kink at 0, and no cancelling for a logit that is right.
        values = 0.5 * size + outputs * (0.5 - targets) + tf.math.log1p(tf.exp(-size))
        return _reduced(values, reduction)


class CrossEntropy:
    """Cross-entropy of logits ``(rows, classes)`` against class numbers ``(rows,)`` or ``(rows, 1)``."""

    def __call__(self, outputs: tf.Tensor, targets: tf.Tensor, *, reduction: str = "mean") -> tf.Tensor:
        """Compute the loss."""
        classes = _class_numbers(outputs, targets)
        rows = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=classes, logits=outputs)
        return rows if reduction == "none" else tf.reduce_mean(rows)


class KerasLoss:
    """A loss object of Keras, whose meaning stays: its reduction, its weights, its smoothing.

    Parameters
    ----------
    loss : keras.Loss
    """

    def __init__(self, loss: Any) -> None:
        self.loss = loss

    @property
    def is_sum(self) -> bool:
        """Whether the value is a sum over rows, which accumulating steps add up as they are."""
        return bool(self.loss.reduction == "sum")

    def __call__(self, *values: tf.Tensor, reduction: str = "mean", **named: tf.Tensor) -> tf.Tensor:
        """Compute the loss; Keras wants the targets first."""
        values = values[::-1] if len(values) == 2 else values
        if reduction == "none":
            return _per_row(self.loss.call(*values, **named))
        result = self.loss(*values, **named)
        return result if result.shape.rank == 0 else tf.reduce_mean(result)


def wrap_loss(loss: Any, ops: TensorflowOps) -> Any:
    """Give a loss object or class of Keras, or a user's callable, the form that programs call.

    Parameters
    ----------
    loss : keras.Loss, type or callable
        A callable returns one value, or one a row. One that names its arguments as the framework does
        (``y_true, y_pred`` or ``labels, logits``) gets them by these names; one that takes ``reduction`` is
        asked for rows when rows are weighted.
    """
    if isinstance(loss, type):
        loss = loss()
    if keras_objects.is_loss(loss):
        keras_objects.require_engine(loss)
        return KerasLoss(loss)
    if not callable(loss):
        raise LossError("TensorFlow cannot call this as a loss.", found=f"{type(loss).__name__}: {loss!r}")
    taken = _arguments(loss)
    function = _by_name(_traceable(loss), taken)
    return _with_reduction(function, ops) if "reduction" in taken else CallableLoss(function, ops)


def _traceable(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let conditions and loops over tensors inside a user's function become operations of the graph."""

    def call(*values: Any, **named: Any) -> Any:
        chosen = function if tf.executing_eagerly() else graph_form(function)
        return chosen(*values, **named)

    return call


def _by_name(function: Callable[..., Any], taken: list[str]) -> Callable[..., Any]:
    for targets, outputs in _THEIR_NAMES:
        if targets in taken and outputs in taken:
            return lambda *values, **named: (
                function(**{outputs: values[0], targets: _as_labels(*values, targets)}, **named)
                if len(values) == 2
                else function(*values, **named)
            )
    return function


def _as_labels(outputs: tf.Tensor, targets: tf.Tensor, name: str) -> tf.Tensor:
    """One column of class numbers arrives as (rows, 1), which the framework's own functions do not take."""
    is_column = targets.shape.rank == 2 and targets.shape[1] == 1 and targets.dtype.is_integer
    is_column = is_column and name == "labels" and outputs.shape.rank == 2
    return tf.squeeze(targets, axis=1) if is_column else targets


def _with_reduction(function: Callable[..., Any], ops: TensorflowOps) -> Callable[..., Any]:
    whole = CallableLoss(function, ops)
    by_row = CallableLoss(lambda *values, **named: function(*values, reduction="none", **named), ops)

    def loss(*values: Any, reduction: str = "mean", **named: Any) -> Any:
        return (by_row if reduction == "none" else whole)(*values, reduction=reduction, **named)

    return loss


def _arguments(function: Callable[..., Any]) -> list[str]:
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return []


def _paired(outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    """Refuse unequal shapes; whole-number targets become the outputs' dtype."""
    require_equal_shapes(outputs, targets)
    return targets if targets.dtype == outputs.dtype else tf.cast(targets, outputs.dtype)


def _reduced(values: tf.Tensor, reduction: str) -> tf.Tensor:
    return _per_row(values) if reduction == "none" else tf.reduce_mean(values)


def _per_row(values: tf.Tensor) -> tf.Tensor:
    rank = values.shape.rank
    return values if rank == 1 else tf.reduce_mean(values, axis=list(range(1, rank)))


def _class_numbers(outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
    shape, wanted = tuple(targets.shape), tuple(outputs.shape)
    if len(wanted) != 2 or shape not in {(wanted[0],), (wanted[0], 1)}:
        raise ShapeError(
            "A loss over classes has outputs and targets that do not fit.",
            expected="outputs of shape (rows, classes) and targets of shape (rows,) or (rows, 1)",
            found=f"outputs of shape {wanted}, targets of shape {shape}",
            hint="Set the model's output_shape to the number of classes; targets are class numbers from 0.",
        )
    if not targets.dtype.is_integer:
        raise LossError(
            "A loss over classes takes whole class numbers as targets.",
            expected="an integer dtype",
            found=targets.dtype.name,
            hint="Ingest the target column as integers, e.g. y.astype('int64').",
        )
    classes = tf.squeeze(targets, axis=1) if len(shape) == 2 else targets
    return classes if classes.dtype in (tf.int32, tf.int64) else tf.cast(classes, tf.int64)
