"""Arrays on their way into an estimator and out of it: rows by features in, rows by anything out.

Views wherever memory allows: an array of the right form goes in as it is.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mml.errors import ModelError, ShapeError

_NUMBERS = "biuf"
_COPY_PARAMETERS = ("copy", "copy_X", "copy_x")


def n_features_of(shape: tuple[int, ...], *, node: str | None) -> int:
    """Return how many features a sample of this shape has when it is ravelled, e.g. ``()`` and ``(1,)``: 1.

    Raises
    ------
    ShapeError
        If it has none.
    """
    count = math.prod(shape)
    if count < 1:
        raise ShapeError(
            "An estimator needs at least one feature.",
            where={"node": node},
            expected="a sample shape without zeros",
            found=str(tuple(shape)),
        )
    return count


def as_matrix(inputs: Any, *, node: str | None) -> np.ndarray:
    """Return inputs of shape (rows, ...) as (rows, features), every sample ravelled in C order.

    Raises
    ------
    ShapeError
        If there is no row axis or no feature.
    ModelError
        If it is no array of numbers.
    """
    if not isinstance(inputs, np.ndarray) or inputs.dtype.kind not in _NUMBERS:
        raise ModelError(
            "An estimator takes NumPy arrays of numbers.",
            where={"node": node},
            found=f"dtype {inputs.dtype}" if isinstance(inputs, np.ndarray) else type(inputs).__name__,
            hint="Turn texts and categories into numbers before they reach the graph.",
        )
    if inputs.ndim == 0:
        raise ShapeError(
            "The inputs of an estimator have no row axis.",
            where={"node": node},
            expected="(rows, features) or (rows, ...)",
            found="a single number, shape ()",
        )
    count = n_features_of(inputs.shape[1:], node=node)
    return inputs if inputs.ndim == 2 else inputs.reshape(len(inputs), count)


def overwrites_inputs(estimator: Any) -> bool:
    """Whether the estimator, or one inside it, was made with ``copy=False`` and may write into its inputs."""
    return any(
        value is False and name.rpartition("__")[2] in _COPY_PARAMETERS
        for name, value in estimator.get_params(deep=True).items()
    )


def as_targets(targets: Any, n_rows: int, *, node: str | None) -> np.ndarray:
    """Return targets as estimators take them: (rows,) for one value a row, else (rows, k).

    Raises
    ------
    ShapeError
        If the targets have other rows than the inputs.
    """
    if not isinstance(targets, np.ndarray) or targets.ndim == 0 or len(targets) != n_rows:
        raise ShapeError(
            "The targets do not have the rows of the inputs.",
            where={"node": node},
            expected=f"an array of {n_rows} rows",
            found=str(targets.shape) if isinstance(targets, np.ndarray) else type(targets).__name__,
        )
    count = n_features_of(targets.shape[1:], node=node)
    return targets.reshape(-1) if count == 1 else targets.reshape(n_rows, count)


def as_output(result: Any, n_rows: int, *, node: str | None, method: str) -> np.ndarray:
    """Return what an estimator gave as a dense array of shape (rows, ...) with at least two axes.

    One value a row becomes (rows, 1); sparse matrices become dense; the probabilities of several targets
    are stacked to (rows, targets, classes). The dtype is kept.

    Raises
    ------
    ShapeError
        If it has other rows than the inputs, or the targets have different numbers of classes.
    ModelError
        If it holds something else than numbers.
    """
    if hasattr(result, "toarray"):
        result = result.toarray()
    elif isinstance(result, list):
        result = _stacked(result, node=node, method=method)
    array = np.asarray(result)
    if array.dtype.kind not in _NUMBERS:
        raise ModelError(
            f"The estimator's {method} gives no numbers, and only numbers go on in a graph.",
            where={"node": node},
            found=f"dtype {array.dtype}",
            hint="Number the classes in the targets, or ask for output='predict_proba'.",
        )
    if n_rows == 1 and array.ndim == 1 and len(array) != 1:
        array = array.reshape(1, -1)  # some estimators squeeze a lone row
    if array.ndim == 0 or len(array) != n_rows:
        raise ShapeError(
            f"The estimator's {method} did not keep the rows, so it cannot stand in a graph.",
            where={"node": node},
            expected=f"{n_rows} rows",
            found=str(array.shape),
        )
    return array.reshape(n_rows, 1) if array.ndim == 1 else array


def _stacked(parts: list[Any], *, node: str | None, method: str) -> np.ndarray:
    shapes = {np.shape(part) for part in parts}
    if len(shapes) != 1:
        raise ShapeError(
            f"The estimator's {method} gives arrays of different shapes, one for each target.",
            where={"node": node},
            found=", ".join(str(np.shape(part)) for part in parts),
            hint="Ask for output='predict', or give each target a node of its own.",
        )
    return np.stack(parts, axis=1)
