"""What changes from step to step: seeds, learning rates, and where accumulated gradients are applied."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mml.backends import Controls, get_backend
from mml.graph.feeding import FedBlock
from mml.graph.optimizers import Optimizer
from mml.graph.plan import Plan, PlannedSegment
from mml.random import derive_seeds


class StepControls:
    """Makes the controls of the blocks of one phase.

    Parameters
    ----------
    plan : Plan
    owners : mapping of str to Optimizer
        By label of the graph or node: its optimizer.
    seed : int
        Seed of the phase's own stream.
    epoch_steps : sequence of int
        Steps of each epoch.
    """

    def __init__(
        self, plan: Plan, *, owners: Mapping[str, Optimizer], seed: int, epoch_steps: Sequence[int]
    ) -> None:
        self._plan = plan
        self._owners = owners
        self._seed = seed
        self._epoch_steps = np.asarray(epoch_steps, dtype=np.int64)
        self._starts = {1: _starts(self._epoch_steps)}

    def for_block(self, fed: FedBlock, contexts: Sequence[Any]) -> list[Controls]:
        """Return one `Controls` a segment for consecutive steps of one epoch, given by their contexts."""
        epoch, first_batch = contexts[0].epoch, contexts[0].batch
        start = int(self._starts[1][epoch]) + first_batch
        seeds = derive_seeds(self._seed, "steps", start=start, count=fed.n_steps)
        found = [self._of(planned, fed, epoch, first_batch, seeds) for planned in self._plan.segments]
        for planned, controls in zip(self._plan.segments, found, strict=True):
            if any(loss.context for loss in planned.segment.losses):
                controls.contexts = contexts
        return found

    def epoch_length(self, epoch: int) -> int:
        """Return the number of steps of an epoch."""
        return int(self._epoch_steps[epoch])

    def rates(self, *, epoch: int, batch: int) -> dict[str, float]:
        """Return the learning rate of each optimizer that steps, by the label of its graph or node."""
        found: dict[str, float] = {}
        for planned in self._plan.segments:
            for optimizer in planned.optimizers:
                rate = float(self._rates(planned, optimizer, epoch, np.array([batch]))[0])
                found.update({label: rate for label, one in self._owners.items() if one is optimizer})
        return found

    def _of(
        self, planned: PlannedSegment, fed: FedBlock, epoch: int, first: int, seeds: np.ndarray
    ) -> Controls:
        batches = np.arange(first, first + fed.n_steps)
        rates = np.zeros((fed.n_steps, len(planned.optimizers)))
        if not planned.optimizers:
            return Controls(seeds=seeds, rates=rates)
        for number, optimizer in enumerate(planned.optimizers):
            rates[:, number] = self._rates(planned, optimizer, epoch, batches)
        if all(optimizer.accumulate == 1 for optimizer in planned.optimizers):
            return Controls(seeds=seeds, rates=rates)
        last = self._epoch_steps[epoch] - 1
        apply = np.stack(
            [((batches + 1) % one.accumulate == 0) | (batches == last) for one in planned.optimizers], axis=1
        )
        return Controls(
            seeds=seeds, rates=rates, apply=apply, accumulated=self._window_rows(planned, fed, batches)
        )

    def _rates(
        self, planned: PlannedSegment, optimizer: Optimizer, epoch: int, batches: np.ndarray
    ) -> np.ndarray:
        window = optimizer.accumulate
        starts = self._starts_of(window)
        first = int(starts[epoch]) + int(batches[0]) // window
        count = int(batches[-1]) // window - int(batches[0]) // window + 1
        backend = get_backend(planned.segment.backend)
        rule = optimizer.resolve(backend)
        known: np.ndarray = optimizer.rates(rule, start=first, count=count, total=int(starts[-1]))
        chosen: np.ndarray = known[batches // window - int(batches[0]) // window]
        return chosen

    def _starts_of(self, window: int) -> np.ndarray:
        """Return the number of the first update of each epoch, and the number of all."""
        if window not in self._starts:
            self._starts[window] = _starts(-(-self._epoch_steps // window))
        return self._starts[window]

    @staticmethod
    def _window_rows(planned: PlannedSegment, fed: FedBlock, batches: np.ndarray) -> np.ndarray:
        """Return, for each step and loss, the live rows of its whole accumulation window.

        Blocks hold whole windows, so nothing beyond the block counts.
        """
        window = max(optimizer.accumulate for optimizer in planned.optimizers)
        windows = batches // window - int(batches[0]) // window
        rows = fed.counts[:, [loss.rows for loss in planned.segment.losses]]
        totals = np.zeros((int(windows[-1]) + 1, rows.shape[1]), dtype=np.int64)
        np.add.at(totals, windows, rows)
        of_steps: np.ndarray = totals[windows]
        return of_steps


def _starts(counts: np.ndarray) -> np.ndarray:
    """Return where each epoch begins, and the end, int64 ``(n_epochs + 1,)``."""
    return np.concatenate([[0], np.cumsum(counts)])
