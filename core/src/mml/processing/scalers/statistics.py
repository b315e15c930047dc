"""Statistics per feature element in float64, from blocks of rows: one column is never held as a whole.

Blocks are cut to a fixed number of rows first, so that the bits do not depend on how the rows arrived.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from mml.errors import ScalerError

_ROWS = 1024


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
    """Return count, mean and variance (of the population) by two passes over the blocks."""
    count, mean = _sums(blocks)
    _require_values(count)
    mean = mean / count
    first, second = _deviations(blocks, mean)
    # The corrected two-pass algorithm: the deviations' own mean repairs the rounding of the first pass.
    correction = first / count
    return Moments(count, mean + correction, np.maximum(second / count - correction**2, 0.0))


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
    _require_values(~np.isnan(low))
    return np.asarray(low), np.asarray(high)


def _sums(blocks: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    counts, sums = [], []
    for block in _float_blocks(blocks):
        missing = np.isnan(block)
        counts.append(len(block) - missing.sum(axis=0))
        sums.append(np.where(missing, 0.0, block).sum(axis=0) if missing.any() else block.sum(axis=0))
    if not counts:
        raise ScalerError("A scaler cannot be fitted on no rows.")
    return np.sum(counts, axis=0), np.sum(sums, axis=0)


def _deviations(blocks: Iterable[np.ndarray], mean: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = [], []
    for block in _float_blocks(blocks):
        deviation = np.nan_to_num(block - mean, copy=False, nan=0.0)
        first.append(deviation.sum(axis=0))
        second.append(np.square(deviation).sum(axis=0))
    return np.sum(first, axis=0), np.sum(second, axis=0)


def _float_blocks(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    start = 0
    for block in _even_blocks(blocks):
        values = block.astype(np.float64)
        infinite = np.isinf(values)
        if infinite.any():
            row = int(np.argmax(infinite.reshape(len(values), -1).any(axis=1)))
            raise ScalerError(
                f"An infinite value stands in row {start + row} of those to learn from.",
                hint="Filter such rows out, or replace the value by NaN, which is left out.",
            )
        start += len(values)
        yield values


def _even_blocks(blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    held: list[np.ndarray] = []
    n_held = 0
    for block in blocks:
        start = 0
        while start < len(block):
            piece = block[start : start + _ROWS - n_held]
            held.append(piece)
            n_held += len(piece)
            start += len(piece)
            if n_held == _ROWS:
                yield held[0] if len(held) == 1 else np.concatenate(held)
                held, n_held = [], 0
    if held:
        yield held[0] if len(held) == 1 else np.concatenate(held)


def _require_values(count: np.ndarray) -> None:
    if not np.all(count):
        position = tuple(int(index) for index in np.argwhere(np.atleast_1d(count == 0))[0])
        raise ScalerError(
            "There is no value to learn from: all are NaN.",
            where={"element": position if count.ndim else None},
        )
