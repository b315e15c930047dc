"""The two forms in which a loss reaches a program: a canonical formula, or somebody's own callable.

A canonical formula is written once over `ArrayOps` and gives one value a row; a user's callable gives what
it likes, and is held to one number or one a row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mml.backends.ops import ArrayOps
from mml.backends.segment import SegmentLoss
from mml.errors import LossError, MMLError, ShapeError

# The keyword under which a callable receives a step's context, which is no array.
_CONTEXT = "context"


class CanonicalLoss:
    """A formula over array operations, reduced over rows by the suite's one rule: the mean over live rows.

    Parameters
    ----------
    formula : callable
        ``formula(ops, *values, **kwargs)`` giving one value a row, shape ``(rows,)``.
    ops : ArrayOps
    kwargs : dict
        Settings of the formula.
    """

    def __init__(self, formula: Callable[..., Any], ops: ArrayOps, kwargs: dict[str, Any]) -> None:
        self.formula = formula
        self.ops = ops
        self.kwargs = kwargs

    def __call__(self, *values: Any, reduction: str = "mean", **named: Any) -> Any:
        """Compute the loss of values of shape ``(rows, ...)``."""
        per_row = self.formula(self.ops, *values, **named, **self.kwargs)
        return per_row if reduction == "none" else self.ops.mean(per_row)


class CallableLoss:
    """A user's callable over native arrays, returning one value or one a row.

    Parameters
    ----------
    function : callable
    ops : ArrayOps
    """

    def __init__(self, function: Callable[..., Any], ops: ArrayOps) -> None:
        self.function = function
        self.ops = ops

    def __call__(self, *values: Any, reduction: str = "mean", **named: Any) -> Any:
        """Compute the loss of values of shape ``(rows, ...)``."""
        arrays = [*values, *(value for key, value in named.items() if key != _CONTEXT)]
        try:
            result = self.function(*values, **named)
        except MMLError:
            raise
        except Exception as cause:
            raise LossError(
                f"The loss {self.function!r} raised {type(cause).__name__}: {cause}",
                found=f"values of shapes {[tuple(one.shape) for one in arrays]}",
            ) from cause
        shape = getattr(result, "shape", None)
        if shape is None:
            raise LossError(
                f"The loss {self.function!r} returned {type(result).__name__}, not an array.",
                expected="an array of the backend: a scalar, or one value a row",
            )
        rows = arrays[0].shape[0]
        if len(shape) > 0 and shape[0] != rows:
            raise LossError(
                f"The loss {self.function!r} returned neither one number nor one value a row.",
                expected=f"shape () or ({rows}, ...)",
                found=str(tuple(shape)),
            )
        if reduction == "mean":
            return self.ops.mean(result)
        if len(shape) == 0:
            raise LossError(
                f"The loss {self.function!r} returns one number, so rows cannot be weighted.",
                expected="one value a row",
                hint="Return the loss of each row and let MML take the mean, or leave sample_weight out.",
            )
        trailing = tuple(range(1, len(shape)))
        return self.ops.mean(result, trailing) if trailing else result


def loss_on_rows(loss: SegmentLoss, values: Mapping[str, np.ndarray], count: int) -> Any:
    """Compute one loss of a step over NumPy values, row weights included.

    Parameters
    ----------
    loss : SegmentLoss
    values : mapping of str to ndarray
        The step's values by name, live rows first.
    count : int
        Rows that are live in all arguments, at least one.
    """
    arrays = [values[name][:count] for name in loss.arguments]
    positional = () if loss.keywords else arrays
    named: dict[str, Any] = dict(zip(loss.keywords, arrays, strict=True)) if loss.keywords else {}
    if loss.sample_weight is None:
        return loss.function(*positional, **named)
    per_row = loss.function(*positional, reduction="none", **named)
    return np.sum(per_row * values[loss.sample_weight][:count].reshape(-1)) / count


def require_equal_shapes(outputs: Any, targets: Any) -> None:
    """Refuse outputs and targets that would broadcast against each other.

    Raises
    ------
    ShapeError
        If the shapes differ, e.g. ``(N,)`` against ``(N, 1)``.
    """
    if tuple(outputs.shape) != tuple(targets.shape):
        raise ShapeError(
            "The outputs and the targets of a loss have different shapes.",
            expected=f"targets of shape {tuple(outputs.shape)}, as the outputs",
            found=f"targets of shape {tuple(targets.shape)}",
            hint="Give the model the targets' width as output_shape, or reshape the targets.",
        )
