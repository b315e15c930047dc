"""What changes from step to step: seeds, learning rates, and where accumulated gradients are applied."""

from __future__ import annotations

from collections.abc import Sequence

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
    seed : int
        Seed of the phase's own stream.
    epoch_steps : sequence of int
        Steps of each epoch.
    """

    def __init__(self, plan: Plan, *, seed: int, epoch_steps: Sequence[int]) -> None:
        self._plan = plan
        self._seed = seed
        self._epoch_steps = list(epoch_steps)
        self._starts = np.concatenate([[0], np.cumsum(self._epoch_steps)])

    def for_block(self, fed: FedBlock, *, epoch: int, first_batch: int) -> list[Controls]:
        """Return one `Controls` a segment for consecutive steps of one epoch."""
        start = int(self._starts[epoch]) + first_batch
        seeds = derive_seeds(self._seed, "steps", start=start, count=fed.n_steps)
        return [self._of(planned, fed, epoch, first_batch, seeds) for planned in self._plan.segments]

    def epoch_length(self, epoch: int) -> int:
        """Return the number of steps of an epoch."""
        return self._epoch_steps[epoch]

    def rates(self, *, epoch: int, batch: int) -> dict[str, float]:
        """Return the learning rate of each learning optimizer at one step, by the node or ``"graph"``."""
        found: dict[str, float] = {}
        for planned in self._plan.segments:
            for number, optimizer in enumerate(planned.optimizers):
                rate = self._rates(planned, optimizer, epoch, np.array([batch]))[0]
                for node in planned.segment.optimizers[number].nodes:
                    found[node] = float(rate)
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
        updates = [-(-steps // window) for steps in self._epoch_steps]
        first = sum(updates[:epoch]) + int(batches[0]) // window
        count = int(batches[-1]) // window - int(batches[0]) // window + 1
        backend = get_backend(planned.segment.backend)
        known: np.ndarray = optimizer.rates(
            optimizer.resolve(backend), start=first, count=count, total=sum(updates)
        )
        chosen: np.ndarray = known[batches // window - int(batches[0]) // window]
        return chosen

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
