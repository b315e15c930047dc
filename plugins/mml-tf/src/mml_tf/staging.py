"""A block of host arrays as tensors: one copy for each input, cut into chunks and pieces.

A chunk is what one call of a loop can read: the whole block, or as many steps as a program of fixed shapes
holds. A piece is a run of steps in a chunk that one loop executes: those that have live rows in the same
columns, or equally many of them where shapes are fixed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
import tensorflow as tf

from mml.backends import Block, SegmentInput
from mml_tf import convert


@dataclass(frozen=True, slots=True)
class Piece:
    """The steps `first` to `last` - 1 of a chunk, and what they have in common.

    Parameters
    ----------
    first, last : int
    live : tuple of bool
        By column of the counts: whether there are live rows.
    counts : tuple of int or None
        How many, where shapes are fixed.
    """

    first: int
    last: int
    live: tuple[bool, ...]
    counts: tuple[int, ...] | None


@dataclass(slots=True)
class Chunk:
    """Consecutive steps of a block as a program reads them.

    Parameters
    ----------
    first : int
        Number of its first step in the block.
    values : dict of str to tensor
        By input name, ``(steps, capacity, ...)``; an input without live rows in the whole block is absent.
    rows : ndarray of int64, shape (steps, n_rows)
        Counts of live rows.
    pieces : tuple of Piece
    specs : dict of str to tuple
        Dtype and row shape of each input.
    tables : dict
        What a program computed for all steps and may use again for the next range of them.
    """

    first: int
    values: dict[str, tf.Tensor]
    rows: np.ndarray
    pieces: tuple[Piece, ...]
    specs: dict[str, tuple[Any, ...]]
    tables: dict[Any, Any] = field(default_factory=dict)

    def overlapping(self, start: int, stop: int) -> Iterator[Piece]:
        """Yield the pieces of a range of the block, cut to it."""
        start, stop = max(start - self.first, 0), min(stop - self.first, len(self.rows))
        for piece in self.pieces:
            first, last = max(piece.first, start), min(piece.last, stop)
            if first < last:
                whole = (first, last) == (piece.first, piece.last)
                yield piece if whole else Piece(first, last, piece.live, piece.counts)

    def piece_end(self, step: int) -> int:
        """Return where the piece ends that a step is in."""
        return next(piece.last for piece in self.pieces if piece.first <= step < piece.last)


@dataclass(frozen=True, slots=True)
class FixedShapes:
    """The shapes that a program is compiled for: so many steps a chunk, and so many rows a step."""

    steps: int
    rows: int


def stage(block: Block, inputs: tuple[SegmentInput, ...], *, fixed: FixedShapes | None = None) -> list[Chunk]:
    """Copy a block; the host buffers may be overwritten afterwards."""
    rows = block.rows.copy()
    size = len(rows) if fixed is None else fixed.steps
    chunks = []
    for first in range(0, len(rows), max(size, 1)):
        part = slice(first, min(first + size, len(rows)))
        values = {}
        for entry in inputs:
            given = block.values[entry.name][part]
            tensor = _stacked(given) if isinstance(given, list) else _copied(given, fixed)
            if tensor is not None:
                values[entry.name] = _padded(tensor, fixed)
        specs = {name: (one.dtype, tuple(one.shape[2:])) for name, one in values.items()}
        pieces = tuple(_pieces(rows[part], fixed=fixed is not None))
        chunks.append(Chunk(first, values, rows[part], pieces, specs))
    return chunks


def row_capacity(values: np.ndarray | list[Any]) -> int:
    """Return how many rows the steps of one input have at most."""
    if isinstance(values, np.ndarray):
        return int(values.shape[1])
    return max((int(one.shape[0]) for one in values if one is not None), default=1)


def _pieces(rows: np.ndarray, *, fixed: bool) -> Iterator[Piece]:
    kinds = rows if fixed else rows > 0
    edges = [0, *(np.flatnonzero((kinds[1:] != kinds[:-1]).any(axis=1)) + 1).tolist(), len(rows)]
    for first, last in pairwise(edges):
        if first < last:
            counts = tuple(rows[first].tolist())
            yield Piece(first, last, tuple(one > 0 for one in counts), counts if fixed else None)


def _copied(array: np.ndarray, fixed: FixedShapes | None) -> tf.Tensor:
    convert.check_array(array)
    if fixed is not None and array.shape[:2] != (fixed.steps, fixed.rows):
        whole = np.zeros((fixed.steps, fixed.rows, *array.shape[2:]), array.dtype)
        whole[: array.shape[0], : array.shape[1]] = array
        array = whole
    return convert.to_tensor(array)


def _padded(tensor: tf.Tensor, fixed: FixedShapes | None) -> tf.Tensor:
    steps, rows, *rest = tensor.shape
    if fixed is None or (steps, rows) == (fixed.steps, fixed.rows):
        return tensor
    return tf.pad(tensor, [[0, fixed.steps - steps], [0, fixed.rows - rows], *[[0, 0]] * len(rest)])


def _stacked(steps: list[Any]) -> tf.Tensor | None:
    """Put what another program returned, live rows of each step, into one tensor; None if no step has any."""
    present = [one for one in steps if one is not None]
    if not present:
        return None
    lengths = np.array([0 if one is None else one.shape[0] for one in steps])
    if (lengths == lengths[0]).all():
        return tf.stack(present)
    # Behind the live rows stands any row, which nobody reads.
    starts = np.cumsum(lengths) - lengths
    places = starts[:, None] + np.minimum(np.arange(lengths.max()), np.maximum(lengths[:, None] - 1, 0))
    return tf.gather(tf.concat(present, 0), np.minimum(places, lengths.sum() - 1))
