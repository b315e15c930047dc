"""What the built-in scalers share: arithmetic in blocks, the dtype of results, checks of values and state.

All arithmetic is float64 on blocks that stay in the processor's cache, whatever comes in; no result depends
on where a block ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from mml.errors import ScalerError, StateError
from mml.protocols import State

# 512 KiB of float64.
_BLOCK_ELEMENTS = 1 << 16
# NumPy's loops over fewer elements than this are mostly overhead.
_LOOP_ELEMENTS = 512

Step = tuple[np.ufunc, "np.ndarray | float"]


def output_dtype(dtype: np.dtype) -> np.dtype:
    """Return the dtype of scaled values: a float's own; for integers float32 or, where needed, float64."""
    return dtype if dtype.kind == "f" else np.result_type(dtype, np.float32)


def in_blocks(values: np.ndarray, change: Callable[[np.ndarray, int], None]) -> np.ndarray:
    """Return values that a function changed block by block.

    Parameters
    ----------
    values : numpy.ndarray
        Numbers ``(n, *shape)``; they stay as they are.
    change : callable
        Gets a float64 buffer ``(k, *shape)`` of consecutive rows to change in place, and the first row's
        number.

    Returns
    -------
    numpy.ndarray
        ``(n, *shape)`` of `output_dtype`; what that cannot hold becomes infinite.
    """
    values = require_numbers(values)
    n_rows, shape = len(values), values.shape[1:]
    result = np.empty(values.shape, dtype=output_dtype(values.dtype))
    step = max(1, _BLOCK_ELEMENTS // max(math.prod(shape), 1))
    buffer = np.empty((min(step, n_rows), *shape))
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, n_rows, step):
            block = buffer[: n_rows - start]
            np.copyto(block, values[start : start + step])
            change(block, start)
            result[start : start + step] = block
    return result


def apply_steps(values: np.ndarray, *steps: Step, shape: tuple[int, ...]) -> np.ndarray:
    """Return values after binary operations with numbers per element, e.g. ``(np.subtract, mean)``.

    Parameters
    ----------
    values : numpy.ndarray
        Numbers ``(n, *shape)``.
    steps : (ufunc, operand)
        Operands are float64 of the sample's shape, or one number for all elements.
    shape : tuple of int
        The shape of a sample that the operands were learnt from.
    """
    values = np.asarray(values)
    if values.shape[1:] != shape or not values.ndim:
        raise ScalerError(
            "These values are not shaped as those that the scaler was fitted on.",
            expected=f"(n, {', '.join(map(str, shape))})".replace(", )", ",)"),
            found=f"{values.shape}",
        )
    width = math.prod(shape)
    repeats = max(1, _LOOP_ELEMENTS // width) if width > 1 and len(values) * width > _LOOP_ELEMENTS else 1
    plain = [(operation, np.ravel(operand)) for operation, operand in steps]
    tiled = [(operation, np.tile(one, repeats) if one.size > 1 else one) for operation, one in plain]

    def change(block: np.ndarray, _start: int) -> None:
        flat = block.reshape(-1)
        whole = len(block) // repeats * repeats * width
        _apply(tiled, flat[:whole], repeats * width)
        _apply(plain, flat[whole:], width)

    return in_blocks(values, change)


def divided_by(scale: np.ndarray, dtype: np.dtype) -> Step:
    """Return the step that divides by a scale.

    Results narrower than float64 are multiplied by the reciprocal, which takes half the time: the error of
    one float64 rounding is lost in theirs.
    """
    return (np.divide, scale) if output_dtype(dtype) == np.float64 else (np.multiply, 1 / scale)


def require_numbers(values: np.ndarray) -> np.ndarray:
    """Return values as an array of at least one axis, or raise ScalerError where they are no numbers."""
    try:
        array = np.asarray(values)
    except (TypeError, ValueError) as cause:
        raise ScalerError("These values are no array.", found=type(values).__name__) from cause
    if array.dtype.kind not in "biuf" or not array.ndim:
        raise ScalerError(
            "Scalers work on arrays of numbers.",
            expected="booleans, integers or floats of shape (n, *shape)",
            found=f"{array.dtype} of shape {array.shape}",
        )
    return array


def sample_shape(blocks: Iterable[np.ndarray]) -> tuple[int, ...]:
    """Return the shape of the samples in blocks of rows, or raise ScalerError where there is none."""
    for block in blocks:
        if len(require_numbers(block)):
            return np.shape(block)[1:]
    raise ScalerError("A scaler cannot be fitted on no rows.")


def require_fitted(scaler: object, *statistics: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """Return the statistics, or raise ScalerError where the scaler has learnt nothing."""
    known = tuple(one for one in statistics if one is not None)
    if len(known) != len(statistics):
        raise ScalerError(f"{scaler!r} is not fitted.", hint="Call fit, or FeatureSet.fit_transform.")
    return known


def read_statistics(scaler: object, state: State, names: Sequence[str]) -> tuple[np.ndarray | None, ...]:
    """Return owned float64 statistics of one shape; an empty state means not fitted."""
    if not state:
        return (None,) * len(names)
    if set(state) != set(names):
        raise StateError(
            f"This is no state of {scaler!r}.", expected=repr(list(names)), found=repr(list(state))
        )
    arrays = [np.array(state[name], dtype=np.float64) for name in names]
    if len({array.shape for array in arrays}) != 1:
        raise StateError(f"The statistics of {scaler!r} differ in shape.")
    return tuple(arrays)


def require_empty(scaler: object, state: State) -> None:
    """Raise StateError for any state of a scaler that learns nothing."""
    if state:
        raise StateError(f"{scaler!r} has no state.", found=repr(list(state)))


def _apply(steps: Sequence[tuple[np.ufunc, np.ndarray]], flat: np.ndarray, width: int) -> None:
    rows = flat.reshape(-1, width) if width > 1 else flat
    for operation, operand in steps:
        operation(rows, operand, out=rows)
