"""From batch views to the host arrays of a block: gathered once a block, live rows first in each step.

A masked row never enters a model as it is. Its place holds a copy of a live row, behind the live ones, and a
count per step says where they end. Arrays are made when a segment asks for them, or before, on another
thread: the same arrays, and the same errors at the same places.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from mml.data import ColumnSource
from mml.errors import DataError, MMLError, ShapeError
from mml.graph.plan import DataInput, Joined, Lane, Plan
from mml.graph.row_order import connected, live_first, stacked
from mml.processing import BatchView, assemble
from mml.processing.batch_view import MASKED
from mml.processing.gather import may_run_ahead

Step = Mapping[str, BatchView]
Wanted: TypeAlias = DataInput | Joined


class Feed:
    """Gathers the data of one plan.

    Parameters
    ----------
    plan : Plan
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.lanes: dict[str, Lane] = {lane.name: lane for lane in plan.lanes}
        pairs = [(lane.name, role) for lane in plan.lanes for role in lane.roles]
        self._groups = connected(pairs, plan.counts)
        self._group_of = {pair: number for number, group in enumerate(self._groups) for pair in group}
        self._from_one_set = [
            (label, pairs) for label, merged in plan.aligned for pairs in self._same_collection(merged)
        ]
        self.ahead = tuple(one for one in dict.fromkeys(_asked_for(plan)) if self._may_run_ahead(one))

    def block(self, steps: Sequence[Step]) -> FedBlock:
        """Order the rows of consecutive steps and count the live ones.

        Raises
        ------
        DataError
            If a row does not exist, or a merge would put different samples of one FeatureSet side by side.
        """
        ordered = [live_first({pair: self._stacked(pair, steps) for pair in group}) for group in self._groups]
        counts = np.empty((len(steps), len(self.plan.counts)), dtype=np.int64)
        for number, pairs in enumerate(self.plan.counts):
            counts[:, number] = ordered[self._group_of[min(pairs)]].shared(pairs)
        rows = {pair: indices for one in ordered for pair, indices in one.rows.items()}
        for label, pairs in self._from_one_set:
            _check_same_rows(label, [rows[pair] for pair in pairs], counts[:, self.plan.counts.index(pairs)])
        return FedBlock(feed=self, rows=rows, counts=counts)

    def row_bytes(self) -> int:
        """Return how many bytes a row of a step takes in all arrays together."""
        data = [part for one in dict.fromkeys(_asked_for(self.plan)) for part in _parts(one)]
        specs = [self.source_of(one).spec(column) for one in data for column in one.columns]
        return sum(math.prod(spec.shape) * (spec.dtype.itemsize if spec.dtype else 8) for spec in specs)

    def _stacked(self, pair: tuple[str, str], steps: Sequence[Step]) -> np.ndarray:
        """Return the rows of a lane and role, step by step, if all of them exist."""
        lane, role = pair
        rows = stacked([step[lane].rows[role] for step in steps])
        n_rows = self.lanes[lane].source.n_rows
        # Further in, rows are clipped into their range, and all that is negative counts as masked.
        lowest, highest = int(rows.min(initial=0)), int(rows.max(initial=0))
        if lowest < MASKED or highest >= n_rows:
            raise DataError(
                f"The sampler asks for row {highest if highest >= n_rows else lowest}, which does not exist.",
                where={"lane": lane, "role": role},
                expected=f"rows from 0 to {n_rows - 1}, or {MASKED} for a masked one",
            )
        return rows

    def source_of(self, wanted: DataInput) -> ColumnSource:
        """Return the columns that an array is gathered from."""
        return self.lanes[wanted.lane].source if wanted.match is None else wanted.match.elsewhere.source

    def _may_run_ahead(self, wanted: Wanted) -> bool:
        return all(
            may_run_ahead(self.source_of(part), column) for part in _parts(wanted) for column in part.columns
        )

    def _same_collection(self, pairs: frozenset[tuple[str, str]]) -> list[frozenset[tuple[str, str]]]:
        """Return, by FeatureSet, the lanes of a merge that read from one."""
        found: dict[int, set[tuple[str, str]]] = {}
        for pair in pairs:
            found.setdefault(id(self.lanes[pair[0]].source.collection), set()).add(pair)
        return [frozenset(one) for one in found.values() if len(one) > 1]


class FedBlock:
    """The rows of a block, and its arrays as they are asked for.

    Parameters
    ----------
    feed : Feed
    rows : mapping of (lane, role) to ndarray of int64, shape (steps, capacity)
        Absolute rows, live ones first, -1 behind them.
    counts : ndarray of int64, shape (steps, n_counts)

    Attributes
    ----------
    gather_s : float
        Seconds spent so far on what another thread could gather.
    """

    def __init__(self, *, feed: Feed, rows: Mapping[tuple[str, str], np.ndarray], counts: np.ndarray) -> None:
        self.feed = feed
        self.rows = rows
        self.counts = counts
        self._safe: dict[tuple[str, str], np.ndarray] = {}
        self._arrays: dict[Wanted, np.ndarray] = {}
        self._failed: dict[Wanted, BaseException] = {}
        self.gather_s = 0.0

    @property
    def n_steps(self) -> int:
        """How many steps the block holds."""
        return len(self.counts)

    def array(self, wanted: Wanted) -> np.ndarray:
        """Return the array of one input, shape ``(steps, capacity, ...)``."""
        if wanted in self._failed:
            raise self._failed[wanted]
        if wanted not in self._arrays:
            start = time.perf_counter()
            made = self._joined(wanted) if isinstance(wanted, Joined) else self._gathered(wanted)
            self._arrays[wanted] = made
            if wanted in self.feed.ahead:
                self.gather_s += time.perf_counter() - start
        return self._arrays[wanted]

    def gather_ahead(self) -> None:
        """Make every array that may be made on another thread; what fails is raised by `array`."""
        for wanted in self.feed.ahead:
            try:
                self.array(wanted)
            except BaseException as error:  # noqa: BLE001 -- raised where the array is asked for
                if isinstance(error, MemoryError) or isinstance(error.__cause__, MemoryError):
                    # There may be enough when the block before is gone.
                    return
                self._failed[wanted] = error

    def uuids(self, lane: str, role: str, step: int, count: int) -> np.ndarray:
        """Return the sample UUIDs of a step's live rows, uint8 ``(count, 16)``."""
        return self.feed.lanes[lane].source.uuids(self.rows[lane, role][step, :count])

    def _gathered(self, wanted: DataInput) -> np.ndarray:
        # Into fresh memory: it costs no more than a buffer that is kept, and nobody can overwrite it.
        source = self.feed.source_of(wanted)
        safe = self._safe_rows((wanted.lane, wanted.role))
        flat = safe.reshape(-1) if wanted.match is None else wanted.match.rows[safe.reshape(-1)]
        try:
            columns = [source.take(column, flat) for column in wanted.columns]
            alone = len(columns) == 1 and columns[0].ndim > 1
            joined = columns[0] if alone else np.asarray(assemble(columns, wanted.combine))
        except MMLError as error:
            raise error.located(
                {"lane": wanted.lane, "columns": ", ".join(wanted.columns)}
            ) from error.__cause__
        if wanted.dtype is not None and joined.dtype.kind == "f" and joined.dtype != wanted.dtype:
            joined = joined.astype(wanted.dtype)
        return joined.reshape(*safe.shape, *joined.shape[1:])

    def _joined(self, wanted: Joined) -> np.ndarray:
        parts = [self.array(part) for part in wanted.parts]
        capacity = min(part.shape[1] for part in parts)
        parts = [part[:, :capacity] for part in parts]
        try:
            if wanted.how == "mean":
                kept = parts[0].dtype if parts[0].dtype.kind == "f" else np.dtype(wanted.dtype or np.float64)
                return np.asarray(np.mean(np.stack(parts), axis=0, dtype=np.float64), dtype=kept)
            axis = int(wanted.how)
            return np.concatenate(parts, axis=axis if axis < 0 else axis + 1)
        except (ValueError, TypeError) as cause:
            raise ShapeError(
                "The targets or tags that meet at a merge do not fit each other.",
                expected="equal shapes"
                if wanted.how == "mean"
                else f"equal shapes apart from axis {wanted.how}",
                found=" and ".join(f"{part.dtype} {part.shape[2:]}" for part in parts),
                hint="Name one upstream: targets='<label>', which a ConcatNode calls concat_axis_targets.",
            ) from cause

    def _safe_rows(self, pair: tuple[str, str]) -> np.ndarray:
        """Return the rows with the masked ones replaced by a live one of the same step."""
        if pair not in self._safe:
            rows = self.rows[pair]
            if rows.size and rows.min() < 0:
                first = np.where(rows[:, :1] >= 0, rows[:, :1], 0)
                rows = np.where(rows >= 0, rows, first)
            self._safe[pair] = rows
        return self._safe[pair]


def _asked_for(plan: Plan) -> Iterator[Wanted]:
    """Yield what segments read and recordings compare with, in order, some of it repeatedly."""
    for planned in plan.segments:
        yield from (plan.data[one.name] for one in planned.segment.inputs if one.origin is None)
    yield from plan.targets.values()


def _parts(wanted: Wanted) -> Iterator[DataInput]:
    if isinstance(wanted, DataInput):
        yield wanted
        return
    for part in wanted.parts:
        yield from _parts(part)


def _check_same_rows(label: str, rows: Sequence[np.ndarray], counts: np.ndarray) -> None:
    width = min(one.shape[1] for one in rows)
    for other in rows[1:]:
        differing = (rows[0][:, :width] != other[:, :width]) & (np.arange(width) < counts[:, None])
        if differing.any():
            step, place = np.argwhere(differing)[0]
            raise DataError(
                "The upstreams of a merge bring different samples of one FeatureSet.",
                where={"node": label},
                found=f"rows {rows[0][step, place]} and {other[step, place]} side by side",
                hint="Bind them to the same split with equal samplers.",
            )
