"""`Epoch`: the batches of one epoch, as one array of rows per role and the borders of the batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import overload

import numpy as np

from mml.processing.batch_view import BatchView


class Epoch(Sequence[BatchView]):
    """Batch views, made when they are asked for.

    Parameters
    ----------
    order : mapping of str to numpy.ndarray
        Role → absolute row numbers of all batches, one behind the other, int64 ``(n,)``.
    borders : numpy.ndarray
        Where each batch begins, and the end, int64 ``(n_batches + 1,)``.
    """

    __slots__ = ("borders", "order")

    def __init__(self, order: Mapping[str, np.ndarray], borders: np.ndarray) -> None:
        self.order = dict(order)
        self.borders = borders

    def __len__(self) -> int:
        return len(self.borders) - 1

    @overload
    def __getitem__(self, index: int) -> BatchView: ...

    @overload
    def __getitem__(self, index: slice) -> Epoch: ...

    def __getitem__(self, index: int | slice) -> BatchView | Epoch:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                raise IndexError("batches of an epoch are sliced in order")
            return Epoch(self.order, self.borders[start : max(start, stop) + 1])
        if not -len(self) <= index < len(self):
            raise IndexError(f"the epoch has {len(self)} batches")
        return BatchView(self.rows(index % len(self), index % len(self) + 1))

    def rows(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Return the rows of batches ``start`` to ``stop - 1`` in one piece per role, without a copy."""
        first, last = int(self.borders[start]), int(self.borders[stop])
        return {role: order[first:last] for role, order in self.order.items()}
