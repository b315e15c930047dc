"""The slope of a merge, found by probing.

A merge is written over array operations and has no backward. Those of the graph are affine and treat every
row alike: joining, padding, sums, means and stacks. An affine map is known exactly from its value at zero and
at the unit vectors, so one merge of ``1 + width`` rows (zero, then one unit vector a row) gives the whole
matrix, which is kept as its few non-zero entries. It is found anew at every step, because a merge may change.
A random probe refuses whatever is not affine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mml.backends import NumpyOps
from mml.errors import BackendError

_PROBE_ROWS = 3


@dataclass(frozen=True, slots=True)
class LinearPart:
    """The linear part of a merge of one row: entries of its matrix, by flat input and output position."""

    shapes: tuple[tuple[int, ...], ...]
    sources: np.ndarray
    targets: np.ndarray
    coefficients: np.ndarray

    def pull(self, slope: np.ndarray) -> list[np.ndarray]:
        """Return the slopes at the inputs, each ``(rows, *shape)``, for the slope at the output."""
        rows, sizes = len(slope), [int(np.prod(shape)) for shape in self.shapes]
        flat = slope.reshape(rows, -1)
        whole = np.zeros((sum(sizes), rows), slope.dtype)
        parts = self.coefficients.astype(slope.dtype)[:, None] * flat.T[self.targets]
        np.add.at(whole, self.sources, parts)
        pieces = np.split(whole.T, np.cumsum(sizes)[:-1], axis=1)
        return [piece.reshape(rows, *shape) for piece, shape in zip(pieces, self.shapes, strict=True)]


def linear_part(merge: Any, shapes: Sequence[tuple[int, ...]], *, node: str) -> LinearPart:
    """Probe a merge of inputs of these row shapes.

    Raises
    ------
    BackendError
        If the merge is not affine, row by row.
    """
    sizes = [int(np.prod(shape)) for shape in shapes]
    width = sum(sizes)
    basis = np.concatenate([np.zeros((1, width)), np.eye(width)])
    merged = _merged(merge, basis, shapes)
    matrix = merged[1:] - merged[0]
    sample = np.random.default_rng(0).normal(size=(_PROBE_ROWS, width))
    if not np.allclose(_merged(merge, sample, shapes), sample @ matrix + merged[0], rtol=1e-9, atol=1e-9):
        raise BackendError(
            "The reference backend has no slope for this merge.",
            where={"node": node},
            expected="a merge that is affine and treats every row alike",
            hint="Use a backend with automatic differentiation.",
        )
    sources, targets = np.nonzero(matrix)
    return LinearPart(tuple(shapes), sources, targets, matrix[sources, targets])


def _merged(merge: Any, flat: np.ndarray, shapes: Sequence[tuple[int, ...]]) -> np.ndarray:
    sizes = [int(np.prod(shape)) for shape in shapes]
    pieces = np.split(flat, np.cumsum(sizes)[:-1], axis=1)
    arrays = [piece.reshape(len(flat), *shape) for piece, shape in zip(pieces, shapes, strict=True)]
    return np.asarray(merge.merge(NumpyOps(), arrays)).reshape(len(flat), -1)
