"""From batch views to the host arrays of a block: gathered once a block, live rows first in each step.

A masked row never enters a model as it is. Its place holds a copy of a live row, behind the live ones, and a
count per step says where they end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mml.errors import MMLError
from mml.graph.plan import DataInput, Joined, Lane, Plan
from mml.processing import BatchView, assemble

Step = Mapping[str, BatchView]


class Feed:
    """Gathers the data of one plan.

    Parameters
    ----------
    plan : Plan
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.lanes: dict[str, Lane] = {lane.name: lane for lane in plan.lanes}
        self._pairs = [(lane.name, role) for lane in plan.lanes for role in lane.roles]

    def block(self, steps: Sequence[Step]) -> FedBlock:
        """Order the rows of consecutive steps and count the live ones."""
        rows = {pair: _stacked([step[pair[0]].rows[pair[1]] for step in steps]) for pair in self._pairs}
        if any((indices < 0).any() for indices in rows.values()):
            rows = _live_first(rows)
        live = {pair: (indices >= 0).sum(axis=1) for pair, indices in rows.items()}
        counts = np.empty((len(steps), len(self.plan.counts)), dtype=np.int64)
        for number, pairs in enumerate(self.plan.counts):
            counts[:, number] = np.minimum.reduce([live[pair] for pair in sorted(pairs)])
        return FedBlock(feed=self, rows=rows, counts=counts)


class FedBlock:
    """The rows of a block, and its arrays as they are asked for.

    Parameters
    ----------
    feed : Feed
    rows : mapping of (lane, role) to ndarray of int64, shape (steps, capacity)
        Absolute rows, live ones first, -1 behind them.
    counts : ndarray of int64, shape (steps, n_counts)
    """

    def __init__(self, *, feed: Feed, rows: Mapping[tuple[str, str], np.ndarray], counts: np.ndarray) -> None:
        self.feed = feed
        self.rows = rows
        self.counts = counts
        self._safe: dict[tuple[str, str], np.ndarray] = {}
        self._arrays: dict[Any, np.ndarray] = {}

    @property
    def n_steps(self) -> int:
        """How many steps the block holds."""
        return len(self.counts)

    def array(self, wanted: DataInput | Joined) -> np.ndarray:
        """Return the array of one input, shape ``(steps, capacity, ...)``."""
        if wanted not in self._arrays:
            made = self._joined(wanted) if isinstance(wanted, Joined) else self._gathered(wanted)
            self._arrays[wanted] = made
        return self._arrays[wanted]

    def uuids(self, lane: str, role: str, step: int, count: int) -> np.ndarray:
        """Return the sample UUIDs of a step's live rows, uint8 ``(count, 16)``."""
        return self.feed.lanes[lane].source.uuids(self.rows[lane, role][step, :count])

    def _gathered(self, wanted: DataInput) -> np.ndarray:
        source = self.feed.lanes[wanted.lane].source
        safe = self._safe_rows((wanted.lane, wanted.role))
        flat = safe.reshape(-1)
        try:
            joined = np.asarray(
                assemble([source.take(column, flat) for column in wanted.columns], wanted.combine)
            )
        except MMLError as error:
            raise error.located(
                {"lane": wanted.lane, "columns": ", ".join(wanted.columns)}
            ) from error.__cause__
        if wanted.dtype is not None and joined.dtype.kind == "f" and joined.dtype != wanted.dtype:
            joined = joined.astype(wanted.dtype)
        return joined.reshape(*safe.shape, *joined.shape[1:])

    def _joined(self, wanted: Joined) -> np.ndarray:
        parts = [self.array(part) for part in wanted.parts]
        if wanted.how == "mean":
            return np.mean(np.stack(parts), axis=0, dtype=np.float64).astype(parts[0].dtype)
        axis = int(wanted.how)
        return np.concatenate(parts, axis=axis if axis < 0 else axis + 1)

    def _safe_rows(self, pair: tuple[str, str]) -> np.ndarray:
        """Return the rows with the masked ones replaced by a live one of the same step."""
        if pair not in self._safe:
            rows = self.rows[pair]
            if (rows < 0).any():
                first = np.where(rows[:, :1] >= 0, rows[:, :1], 0)
                rows = np.where(rows >= 0, rows, first)
            self._safe[pair] = rows
        return self._safe[pair]


def _stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Put the rows of the steps under each other, short ones filled with -1."""
    capacity = max(len(one) for one in rows)
    if all(len(one) == capacity for one in rows):
        return np.stack(rows) if len(rows) > 1 else rows[0][None]
    stacked = np.full((len(rows), capacity), -1, dtype=np.int64)
    for number, one in enumerate(rows):
        stacked[number, : len(one)] = one
    return stacked


def _live_first(rows: Mapping[tuple[str, str], np.ndarray]) -> dict[tuple[str, str], np.ndarray]:
    """Order each step so that rows live everywhere come first, alike in every lane and role.

    Rows that are live in some lanes only follow, those live in more lanes first; where that leaves a lane with
    a masked row before a live one, the later one is masked too, for a row must be whole to be merged.
    """
    capacity = max(indices.shape[1] for indices in rows.values())
    padded = {
        pair: np.pad(indices, ((0, 0), (0, capacity - indices.shape[1])), constant_values=-1)
        for pair, indices in rows.items()
    }
    live = np.stack([indices >= 0 for indices in padded.values()])
    # A lane that is masked for a whole step says nothing about single rows.
    present = live.any(axis=2, keepdims=True)
    order = np.argsort(-(live & present).sum(axis=0), axis=1, kind="stable")
    ordered = {pair: np.take_along_axis(indices, order, axis=1) for pair, indices in padded.items()}
    for pair, indices in ordered.items():
        whole = np.logical_and.accumulate(indices >= 0, axis=1)
        ordered[pair] = np.where(whole, indices, -1)
    return ordered
