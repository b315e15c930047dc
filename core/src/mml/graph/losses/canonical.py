"""The canonical losses: one formula for each name, written once over a backend's array operations.

Each is ``formula(ops, outputs, targets, **settings)`` and gives one value a row, shape ``(rows,)``; reducing
over rows, weights and masks belong to the program. The formulas know no backend and no graph. Where a
function has a kink, it is written so that every backend's automatic differentiation gives the same slope.
"""

from __future__ import annotations

import math
from typing import Any

from mml.backends.losses import require_equal_shapes
from mml.backends.ops import ArrayOps
from mml.errors import LossError, ShapeError

# Smallest number whose logarithm and reciprocal are both finite in float32, and which is not denormal there.
_TINY = 1e-37
# Squared, it is lost beside any norm that float32 resolves, and keeps the slope of a zero row finite.
_NORM_FLOOR = 1e-8


def mse(ops: ArrayOps, outputs: Any, targets: Any) -> Any:
    """Squared error, averaged over a row's elements.

    Parameters
    ----------
    ops : ArrayOps
    outputs, targets : native array, shape (rows, ...), equal shapes, floating

    Returns
    -------
    native array, shape (rows,)
    """
    require_equal_shapes(outputs, targets)
    difference = outputs - targets
    return _row_mean(ops, difference * difference)


def mae(ops: ArrayOps, outputs: Any, targets: Any) -> Any:
    """Absolute error, averaged over a row's elements; shapes as `mse`."""
    require_equal_shapes(outputs, targets)
    return _row_mean(ops, ops.abs(outputs - targets))


def huber(ops: ArrayOps, outputs: Any, targets: Any, *, delta: float = 1.0) -> Any:
    """Squared error up to `delta`, linear beyond it; shapes as `mse`.

    Parameters
    ----------
    delta : float
        Positive distance at which d²/2 turns into delta·(|d| - delta/2).

    References
    ----------
    Huber, "Robust estimation of a location parameter", 1964.
    """
    require_positive("huber", "delta", delta)
    require_equal_shapes(outputs, targets)
    distance = ops.abs(outputs - targets)
    # A minimum instead of a choice between two branches: the branch not taken cannot overflow into the slope.
    inner = -ops.maximum(-distance, -float(delta))
    return _row_mean(ops, 0.5 * inner * inner + float(delta) * (distance - inner))


def log_cosh(ops: ArrayOps, outputs: Any, targets: Any) -> Any:
    """Logarithm of the hyperbolic cosine of the error, without overflow; shapes as `mse`."""
    require_equal_shapes(outputs, targets)
    distance = ops.abs(outputs - targets)
    return _row_mean(ops, distance + ops.log1p(ops.exp(-2.0 * distance)) - math.log(2.0))


def bce(ops: ArrayOps, outputs: Any, targets: Any) -> Any:
    """Binary cross entropy of probabilities, averaged over a row's elements; shapes as `mse`.

    Nothing is clipped: a clipped probability would have no slope exactly where it is most wrong. Instead
    1e-37 is added inside each logarithm, which changes no value that float32 resolves, gives 85.2 for a
    probability of exactly 0 or 1 that is wrong (with a huge but finite slope towards the right side), and 0
    for one that is right. A model whose last step is a sigmoid should use `bce_logits`: a sigmoid that
    rounds to 0 or 1 has lost its own slope.

    Parameters
    ----------
    outputs : native array, shape (rows, ...)
        Probabilities from 0 to 1, float32 or wider.
    targets : native array, shape (rows, ...)
        From 0 to 1.
    """
    require_equal_shapes(outputs, targets)
    right = targets * ops.log(outputs + _TINY)
    wrong = (1.0 - targets) * ops.log((1.0 - outputs) + _TINY)
    return _row_mean(ops, -(right + wrong))


def bce_logits(ops: ArrayOps, outputs: Any, targets: Any) -> Any:
    """Binary cross entropy of logits, averaged over a row's elements; shapes as `mse`.

    Exact for logits of any size: the slope is sigmoid(x) - t everywhere, 1 for a saturated wrong logit and
    1/2 - t at 0.
    """
    require_equal_shapes(outputs, targets)
    size = ops.abs(outputs)
    # |x|/2 + x·(1/2 - t) is max(x, 0) - x·t without the kink at 0, where backends choose different slopes,
    # and without cancelling for a logit that is right.
    return _row_mean(ops, 0.5 * size + outputs * (0.5 - targets) + ops.log1p(ops.exp(-size)))


def cross_entropy(ops: ArrayOps, outputs: Any, targets: Any) -> Any:
    """Cross entropy of class logits against class numbers.

    Parameters
    ----------
    ops : ArrayOps
    outputs : native array, shape (rows, classes), floating
        Logits.
    targets : native array, shape (rows,) or (rows, 1), integer
        Class numbers from 0.

    Returns
    -------
    native array, shape (rows,)
    """
    classes = _class_numbers(ops, outputs, targets)
    shifted = outputs - ops.max(outputs, axis=1, keepdims=True)
    return ops.log(ops.sum(ops.exp(shifted), (1,))) - ops.take_along_last(shifted, classes)


def nll(ops: ArrayOps, outputs: Any, targets: Any) -> Any:
    """Negative log likelihood of class numbers under log probabilities; shapes as `cross_entropy`."""
    return -ops.take_along_last(outputs, _class_numbers(ops, outputs, targets))


def kl_div(ops: ArrayOps, outputs: Any, targets: Any) -> Any:
    """Kullback-Leibler divergence Σ t·(log t - output), summed over the last axis.

    Parameters
    ----------
    outputs : native array, shape (rows, ..., classes)
        Log probabilities.
    targets : native array, shape (rows, ..., classes)
        Probabilities; a target of 0 contributes 0.
    """
    require_equal_shapes(outputs, targets)
    _require_vectors("kl_div", outputs)
    parts = targets * (ops.log(ops.maximum(targets, _TINY)) - outputs)
    return _row_mean(ops, ops.sum(parts, (len(outputs.shape) - 1,)))


def cosine(ops: ArrayOps, outputs: Any, targets: Any) -> Any:
    """One minus the cosine between outputs and targets along the last axis.

    Parameters
    ----------
    outputs, targets : native array, shape (rows, ..., features)
        A row of zeros has cosine 0 with everything, and a finite slope.
    """
    require_equal_shapes(outputs, targets)
    _require_vectors("cosine", outputs)
    last = (len(outputs.shape) - 1,)
    product = ops.sum(outputs * targets, last)
    norms = norm(ops, outputs, last) * norm(ops, targets, last)
    return _row_mean(ops, 1.0 - product / norms)


def hinge(ops: ArrayOps, outputs: Any, targets: Any) -> Any:
    """Hinge loss max(0, 1 - t·x), averaged over a row's elements; shapes as `mse`.

    Parameters
    ----------
    targets : native array, shape (rows, ...)
        -1 or +1. At the kink itself the slope is half of that on the losing side.
    """
    require_equal_shapes(outputs, targets)
    margin = 1.0 - targets * outputs
    return _row_mean(ops, 0.5 * (margin + ops.abs(margin)))


def gaussian_nll(
    ops: ArrayOps, outputs: Any, targets: Any, log_variance: Any = None, *, full: bool = False
) -> Any:
    """Negative log likelihood of a normal distribution, (log σ² + (y - μ)²/σ²) / 2.

    Parameters
    ----------
    outputs : native array, shape (rows, 2k), or (rows, ...) with `log_variance`
        Means, followed by as many logarithms of variances where one node gives both.
    targets : native array, shape (rows, k), or as the means
    log_variance : native array, optional
        Logarithms of the variances where another node gives them, shaped as the means.
    full : bool
        Add the constant log(2π)/2.
    """
    means = outputs
    if log_variance is None:
        means, log_variance = _halves(outputs)
    require_equal_shapes(means, targets)
    require_equal_shapes(means, log_variance)
    difference = targets - means
    value = 0.5 * (log_variance + difference * difference * ops.exp(-log_variance))
    return _row_mean(ops, value + 0.5 * math.log(2.0 * math.pi) if full else value)


def _row_mean(ops: ArrayOps, values: Any) -> Any:
    trailing = tuple(range(1, len(values.shape)))
    return ops.mean(values, trailing) if trailing else values


def norm(ops: ArrayOps, array: Any, axis: tuple[int, ...]) -> Any:
    """Return the Euclidean norm over axes; at zero it is 1e-8, with a slope of zero."""
    return ops.sqrt(ops.sum(array * array, axis) + _NORM_FLOOR**2)


def _halves(outputs: Any) -> tuple[Any, Any]:
    shape = tuple(outputs.shape)
    if len(shape) != 2 or shape[1] % 2:
        raise ShapeError(
            "gaussian_nll takes means and logarithms of variances.",
            expected="outputs of shape (rows, 2k), or log_variance= as an input of its own",
            found=f"outputs of shape {shape}",
        )
    width = shape[1] // 2
    return outputs[:, :width], outputs[:, width:]


def _class_numbers(ops: ArrayOps, outputs: Any, targets: Any) -> Any:
    shape, wanted = tuple(targets.shape), tuple(outputs.shape)
    if len(wanted) != 2 or shape not in {(wanted[0],), (wanted[0], 1)}:
        raise ShapeError(
            "A loss over classes has outputs and targets that do not fit.",
            expected="outputs of shape (rows, classes) and targets of shape (rows,) or (rows, 1)",
            found=f"outputs of shape {wanted}, targets of shape {shape}",
            hint="Set the model's output_shape to the number of classes; targets are class numbers from 0.",
        )
    if "int" not in str(targets.dtype):
        raise LossError(
            "A loss over classes takes whole class numbers as targets.",
            expected="an integer dtype",
            found=str(targets.dtype),
            hint="Ingest the target column as integers, e.g. y.astype('int64').",
        )
    return targets if len(shape) == 1 else ops.reshape(targets, (wanted[0],))


def _require_vectors(loss: str, outputs: Any) -> None:
    if len(outputs.shape) < 2:
        raise ShapeError(
            f"{loss} compares vectors.",
            expected="outputs and targets of shape (rows, ..., features)",
            found=str(tuple(outputs.shape)),
        )


def require_positive(loss: str, argument: str, value: Any) -> None:
    """Raise LossError where a setting is no positive finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise LossError(
            f"{loss} got a bad {argument}.", expected=f"{argument} a number above 0", found=repr(value)
        )
