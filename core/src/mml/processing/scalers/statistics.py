"""Statistics per feature element in float64, from blocks of rows: one column is never held as a whole.

Blocks are cut to a number of rows that only a sample's size decides, so that the bits do not depend on how
the rows arrived.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from mml.errors import ScalerError
from mml.processing.scalers.elementwise import require_numbers

_ROWS = 1024
_BLOCK_ELEMENTS = 1 << 20


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, mean and variance per element, each of the sample's shape; NaN is left out."""

    count: np.ndarray
    mean: np.ndarray
    variance: np.ndarray

    @property
    def is_constant(self) -> np.ndarray:
        """Where the variance is nothing but rounding.

        References
        ----------
        Chan, Golub and LeVeque, "Algorithms for computing the sample variance", 1983: the bound on the error
        of the two-pass algorithm.
        """
        epsilon = np.finfo(np.float64).eps
        bound = self.count * epsilon * self.variance + (self.count * self.mean * epsilon) ** 2
        return np.asarray(self.variance <= bound)


def moments(blocks: Iterable[np.ndarray]) -> Moments:
    """Return count, mean and variance (of the population) by two passes over the blocks.

    Raises
    ------
    ScalerError
        If there is nothing to learn from, or the variance does not fit float64.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        count, mean = _sums(blocks)
        require_values(count)
        mean = mean / count
        first, second = _deviations(blocks, mean)
        # The corrected two-pass algorithm: the deviations' own mean repairs the rounding of the first pass.
        correction = first / count
        variance = np.maximum(second / count - correction**2, 0.0)
    if not np.isfinite(variance).all():
        raise ScalerError(
            "The values are too large for their variance in float64.",
            hint="Divide them by a constant first, or use 'minmax' or 'maxabs'.",
        )
    return Moments(count, mean + correction, variance)


def extremes(blocks: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return smallest and largest value per element, each of the sample's shape; NaN is left out."""
    low: np.ndarray | None = None
    high: np.ndarray | None = None
    for block in _float_blocks(blocks):
        lowest, highest = np.fmin.reduce(block, axis=0), np.fmax.reduce(block, axis=0)
        low = lowest if low is None else np.fmin(low, lowest)
        high = highest if high is None else np.fmax(high, highest)
    if low is None or high is None:
        raise ScalerError("A scaler cannot be fitted on no rows.")
    require_values(~np.isnan(low))
    return np.asarray(low), np.asarray(high)


class _Sum:
    """A running sum of arrays whose rounding is made good by what each addition lost.

    References
    ----------
    Kahan, "Further remarks on reducing truncation errors", 1965.
    """

    def __init__(self) -> None:
        self.total: np.ndarray | float = 0.0
        self._lost: np.ndarray | float = 0.0

    def add(self, values: np.ndarray) -> None:
        term = values - self._lost
        total = self.total + term
        self._lost = (total - self.total) - term
        self.total = total


def _sums(blocks: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    count: np.ndarray | int = 0
    total = _Sum()
    for block in _float_blocks(blocks):
        missing = np.isnan(block)
        count = count + (len(block) - missing.sum(axis=0))
        total.add(np.where(missing, 0.0, block).sum(axis=0) if missing.any() else block.sum(axis=0))
    if isinstance(count, int):
        raise ScalerError("A scaler cannot be fitted on no rows.")
    return np.asarray(count), np.asarray(total.total)


def _deviations(blocks: Iterable[np.ndarray], mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = _Sum(), _Sum()
    for block in _float_blocks(blocks):
        deviation = np.subtract(block, mean, out=block)
        if np.isnan(deviation).any():
            deviation[np.isnan(deviation)] = 0.0
        first.add(deviation.sum(axis=0))
        second.add(np.square(deviation, out=deviation).sum(axis=0))
    return np.asarray(first.total), np.asarray(second.total)


def _float_blocks(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    start = 0
    for block in _even_blocks(blocks):
        values = block.astype(np.float64)
        refuse_infinite(values, first_row=start)
        start += len(values)
        yield values


def _even_blocks(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    held: list[np.ndarray] = []
    n_held = 0
    for given in blocks:
        block = require_numbers(given)
        n_rows = min(_ROWS, max(1, _BLOCK_ELEMENTS // max(math.prod(block.shape[1:]), 1)))
        start = 0
        while start < len(block):
            piece = block[start : start + n_rows - n_held]
            held.append(piece)
            n_held += len(piece)
            start += len(piece)
            if n_held == n_rows:
                yield held[0] if len(held) == 1 else np.concatenate(held)
                held, n_held = [], 0
    if held:
        yield held[0] if len(held) == 1 else np.concatenate(held)


def refuse_infinite(values: np.ndarray, *, first_row: int = 0) -> None:
    """Raise ScalerError naming the first row of ``(n, *shape)`` that holds an infinity."""
    infinite = np.isinf(values)
    if infinite.any():
        row = int(np.argmax(infinite.reshape(len(values), -1).any(axis=1)))
        raise ScalerError(
            f"An infinite value stands in row {first_row + row} of those to learn from.",
            hint="Filter such rows out, or replace the value by NaN, which is left out.",
        )


def require_values(count: np.ndarray) -> None:
    """Raise ScalerError naming the first element without a value; ``count`` is of the sample's shape."""
    if not np.all(count):
        position = tuple(int(index) for index in np.argwhere(np.atleast_1d(count == 0))[0])
        raise ScalerError(
            "There is no value to learn from: all are NaN.",
            where={"element": position if count.ndim else None},
        )
