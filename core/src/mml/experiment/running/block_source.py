"""`BlockSource`: a phase's steps cut into blocks, the data of the next block gathered while one runs.

Blocks end where epochs end, and no step of an epoch is looked at before the epoch has begun. It knows neither
callbacks nor results, and runs nothing.
"""

from __future__ import annotations

from collections import deque
from types import TracebackType
from typing import Any, Self

import numpy as np

from mml.experiment.phases.execution_context import ExecutionContext
from mml.experiment.running.running_phase import RunningPhase
from mml.graph.execution import LoadedBlock
from mml.graph.feeding import FedBlock, Feed
from mml.processing.prefetch import Prefetch, Worth

Contexts = list[ExecutionContext]


class BlockSource:
    """The blocks of one execution of a phase; a context manager, which leaves no thread behind.

    Parameters
    ----------
    running : RunningPhase
        Its plan may change between blocks; what was gathered for the old one is then gathered again.
    """

    def __init__(self, running: RunningPhase) -> None:
        self._running = running
        self._steps = iter(running.phase.iter_execution(running.inputs))
        self._read: deque[ExecutionContext] = deque()
        self._ahead: Contexts = []
        self._ahead_feed: Feed | None = None
        self._prefetch: Prefetch[tuple[Feed, Contexts, dict[str, Any]], FedBlock] = Prefetch(_gathered)
        self._worth = Worth.from_environment()
        self._gather_s = 0.0
        self._failed: Exception | None = None

    def peek(self) -> ExecutionContext | None:
        """Return the first step of the next block, or None at the end."""
        if self._ahead:
            return self._ahead[0]
        if not self._read:
            following = self._next()
            if following is None:
                return None
            self._read.append(following)
        return self._read[0]

    def cut(self) -> Contexts:
        """Return the steps of the next block: of one epoch, and as many as pacing says.

        Call it after :meth:`peek` found a step.
        """
        if self._ahead and self._ahead_feed is not self._running.execution.feed:
            self._put_back()
        if self._ahead:
            return self._ahead
        return self._cut()

    def load(self, contexts: Contexts) -> LoadedBlock:
        """Return a block's data and controls; arrays that nobody gathered yet are gathered when needed."""
        running = self._running
        fed = self._taken(contexts) if contexts is self._ahead else _ordered(running.execution.feed, contexts)
        return LoadedBlock(fed, running.controls.for_block(fed, contexts))

    def look_ahead(self, contexts: Contexts, block: LoadedBlock) -> None:
        """Begin to gather the block after this one where that pays; never beyond the end of an epoch."""
        if contexts[-1].is_last or not self._worth.after(self._gather_s):
            return
        # First things first: scalers are called block after block, by one thread at a time.
        block.fed.gather_ahead()
        try:
            self._ahead = self._cut()
        except Exception as error:  # noqa: BLE001 -- raised when the block is due
            self._failed = error
            return
        self._ahead_feed = self._running.execution.feed
        if self._ahead:
            self._prefetch.begin((self._ahead_feed, self._ahead, dict(np.geterr())))

    def ran(self, block: LoadedBlock) -> None:
        """Learn from a block that was executed how long gathering takes."""
        self._gather_s = block.fed.gather_s

    def close(self) -> None:
        """Wait for the thread, if there is one."""
        self._prefetch.close()

    def _cut(self) -> Contexts:
        block: Contexts = []
        try:
            while (context := self._next()) is not None:
                block.append(context)
                rows = max(view.n_rows for view in context.views.values())
                if context.is_last or len(block) >= self._running.pacing.size(rows):
                    break
        except BaseException:
            self._read.extendleft(reversed(block))
            raise
        return block

    def _next(self) -> ExecutionContext | None:
        """Return one more step; what reading it raised before, while looking ahead, is raised now."""
        if self._read:
            return self._read.popleft()
        if self._failed is not None:
            raise self._failed
        return next(self._steps, None)

    def _taken(self, contexts: Contexts) -> FedBlock:
        self._ahead = []
        try:
            return self._prefetch.take()
        except MemoryError:
            # Two blocks at a time may be what did not fit.
            return _ordered(self._running.execution.feed, contexts)

    def _put_back(self) -> None:
        """Give up what was gathered for another plan; its steps are cut anew."""
        self._prefetch.close()
        self._read.extendleft(reversed(self._ahead))
        self._ahead = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _ordered(feed: Feed, contexts: Contexts) -> FedBlock:
    return feed.block([context.views for context in contexts])


def _gathered(wanted: tuple[Feed, Contexts, dict[str, Any]]) -> FedBlock:
    feed, contexts, floating_errors = wanted
    # Before NumPy 2 every thread has settings of its own for division by zero and its like.
    with np.errstate(**floating_errors):
        fed = _ordered(feed, contexts)
        fed.gather_ahead()
    return fed
