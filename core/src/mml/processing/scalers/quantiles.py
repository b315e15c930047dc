"""Exact quantiles per feature element: a few elements of all rows are held at a time, never the column.

NaN is left out. Between two values the quantile is interpolated in float64, as `numpy.quantile` does by
default.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from mml.errors import ScalerError
from mml.processing.scalers.elementwise import require_numbers
from mml.processing.scalers.statistics import refuse_infinite, require_values

_HELD_BYTES = 16 << 20


def quantiles(blocks: Iterable[np.ndarray], shares: Sequence[float]) -> np.ndarray:
    """Return quantiles of rows that come in blocks, which can be iterated more than once.

    Parameters
    ----------
    blocks : iterable of numpy.ndarray
        Numbers ``(k, *shape)``.
    shares : sequence of float
        Between 0 and 1.

    Returns
    -------
    numpy.ndarray
        float64 ``(len(shares), *shape)``.

    Raises
    ------
    ScalerError
        If there are no rows, an element is NaN in all, or a value is infinite.
    """
    n_rows, shape, itemsize = _measured(blocks)
    width = math.prod(shape)
    found = np.empty((len(shares), width))
    counts = np.empty(width, dtype=np.int64)
    step = max(1, _HELD_BYTES // max(n_rows * itemsize, 1))
    for start in range(0, width, step):
        some = slice(start, min(start + step, width))
        _fill(found[:, some], counts[some], _elements(blocks, some, n_rows), shares)
    require_values(counts.reshape(shape))
    return found.reshape(len(shares), *shape)


def _fill(found: np.ndarray, counts: np.ndarray, held: np.ndarray, shares: Sequence[float]) -> None:
    """Write quantiles ``(shares, elements)`` and how many values each element has."""
    refuse_infinite(held.T)
    for element, values in enumerate(held):
        present = values[~np.isnan(values)] if values.dtype.kind == "f" else values
        counts[element] = len(present)
        found[:, element] = _quantiles(present, shares) if len(present) else np.nan


def _measured(blocks: Iterable[np.ndarray]) -> tuple[int, tuple[int, ...], int]:
    n_rows, shape, itemsize = 0, (), 1
    for block in map(require_numbers, blocks):
        n_rows, shape, itemsize = n_rows + len(block), block.shape[1:], block.itemsize
    if not n_rows:
        raise ScalerError("A scaler cannot be fitted on no rows.")
    return n_rows, shape, itemsize


def _elements(blocks: Iterable[np.ndarray], which: slice, n_rows: int) -> np.ndarray:
    """Return some elements of all rows, ``(elements, rows)``, each element's values side by side."""
    held: np.ndarray | None = None
    start = 0
    for block in blocks:
        flat = block.reshape(len(block), math.prod(block.shape[1:]))[:, which]
        if held is None:
            # float16 is sorted in float32, which holds its values and is many times as fast.
            wide = np.promote_types(block.dtype, np.float32) if block.dtype == np.float16 else block.dtype
            held = np.empty((flat.shape[1], n_rows), dtype=wide)
        held[:, start : start + len(flat)] = flat.T
        start += len(flat)
    if held is None:
        raise ScalerError("A scaler cannot be fitted on no rows.")
    return held


def _quantiles(values: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    places = np.asarray(shares, dtype=np.float64) * (len(values) - 1)
    below = np.floor(places).astype(np.int64)
    above = np.minimum(below + 1, len(values) - 1)
    values = np.partition(values, np.unique(np.concatenate([below, above])))
    low, high = values[below].astype(np.float64), values[above].astype(np.float64)
    share = places - below
    # Halved first: the distance between float64's own extremes would overflow.
    rise = (high / 2 - low / 2) * np.minimum(share, 1 - share) * 2
    return np.asarray(np.where(share < 0.5, low + rise, high - rise))
