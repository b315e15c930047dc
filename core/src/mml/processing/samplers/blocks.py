"""Batches by the block: the rows of several batches are gathered at once; each batch is a slice of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

from mml.processing.batch import Batch
from mml.processing.batch_view import BatchView
from mml.processing.gather import Gatherer
from mml.processing.samplers.epoch import Epoch

# Few enough rows that they stay in the processor's cache, and that a batch that is kept keeps little else.
_BLOCK_BYTES = 1 << 20
_MOST_BATCHES = 16


def batches_of(epoch: Epoch, gatherers: Mapping[str, Gatherer], *, start: int = 0) -> Iterator[Batch]:
    """Yield the batches of an epoch from one on, equal to those that are read one by one.

    Parameters
    ----------
    epoch : Epoch
    gatherers : mapping of str to Gatherer
        Stream → what reads it.
    start : int
        Number of the first batch.
    """
    step = _batches_a_block(epoch, gatherers)
    for first in range(start, len(epoch), step):
        last = min(first + step, len(epoch))
        view = epoch.view(first, last)
        if last - first == 1 or _any_masked(view):
            # A masked row holds a copy of a live one of its own batch, which a block does not know.
            yield from (Batch.from_view(epoch[number], gatherers) for number in range(first, last))
            continue
        block = Batch.from_view(view, gatherers)
        borders = (epoch.borders[first : last + 1] - epoch.borders[first]).tolist()
        for begin, end in pairwise(borders):
            yield block.part(slice(begin, end))


def _batches_a_block(epoch: Epoch, gatherers: Mapping[str, Gatherer]) -> int:
    if not len(epoch):
        return 1
    rows = max(1, int(epoch.borders[-1]) // len(epoch))
    row_bytes = sum(gatherers[name].row_bytes * len(epoch.stream(name).order) for name in epoch.streams)
    return max(1, min(_MOST_BATCHES, _BLOCK_BYTES // max(1, rows * row_bytes)))


def _any_masked(view: BatchView) -> bool:
    streams = [view.stream(name).rows for name in view.streams]
    return any(len(rows) and int(rows.min()) < 0 for roles in streams for rows in roles.values())
