"""`BoundSampler`: a sampler with its rows. Orders, batches, and the cursor that an exact resume needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from mml.data import ColumnSource, FeatureSetView
from mml.data.schema import FEATURES, TAGS, TARGETS
from mml.errors import StateError
from mml.processing.batch import Batch
from mml.processing.batch_view import BatchView
from mml.processing.gather import Gatherer
from mml.processing.samplers.epoch import Epoch
from mml.protocols import State


class BoundSampler:
    """Batches of a view, epoch by epoch; made by ``sampler.bind(view)``.

    Iterating yields the `Batch`es from the cursor to the end of its epoch and moves the cursor along.

    Parameters
    ----------
    view : FeatureSetView
        Where rows come from; its columns are read from the snapshot taken now.
    order : callable
        Epoch number → `Epoch`; a pure function.
    seed : int
        The seed that the order derives from; part of the state.
    n_batches : int, optional
        The number of batches where every epoch has the same; None where only an epoch's order can tell.
    """

    def __init__(
        self,
        view: FeatureSetView,
        *,
        order: Callable[[int], Epoch],
        seed: int,
        n_batches: int | None = None,
    ) -> None:
        self.view = view
        self.seed = seed
        self._n_batches = n_batches
        self.source: ColumnSource = view.featureset.snapshot()
        self._order = order
        self._last: tuple[int, Epoch] | None = None
        # Names are looked up now, with the snapshot: a scaler fitted later changes neither.
        schema = view.schema
        names = {domain: schema.select(f"{domain}.*") for domain in (FEATURES, TARGETS, TAGS)}
        self._gatherer = Gatherer(self.source, names)
        self._cursor = (0, 0)

    def epoch(self, epoch: int) -> Epoch:
        """Return the batch views of an epoch: a pure function of the seed and its number."""
        if self._last is None or self._last[0] != epoch:
            self._last = (epoch, self._order(epoch))
        return self._last[1]

    def n_batches(self, epoch: int = 0) -> int:
        """Return the number of batches of an epoch; no order is made where all epochs have as many."""
        return len(self.epoch(epoch)) if self._n_batches is None else self._n_batches

    def materialize(self, view: BatchView) -> Batch:
        """Read the rows of a batch view: all visible columns, transformed where they are."""
        return Batch.from_view(view, self._gatherer)

    def __iter__(self) -> Iterator[Batch]:
        epoch, start = self._cursor
        batches = self.epoch(epoch)
        for number in range(start, len(batches)):
            batch = self.materialize(batches[number])
            # Moved before the batch is handed out: a state taken while it is used counts it as consumed.
            self._cursor = (epoch, number + 1)
            yield batch
        self._cursor = (epoch + 1, 0)

    def __len__(self) -> int:
        return self.n_batches(self._cursor[0])

    def get_state(self) -> State:
        """Return the cursor and the seed."""
        return {"epoch": self._cursor[0], "batch": self._cursor[1], "seed": self.seed}

    def set_state(self, state: State) -> None:
        """Put the cursor back.

        Raises
        ------
        StateError
            If the state is of another seed, or no state of a sampler.
        """
        try:
            epoch, batch, seed = (int(state[key]) for key in ("epoch", "batch", "seed"))
        except (KeyError, TypeError, ValueError) as cause:
            raise StateError("This is no state of a bound sampler.", found=repr(state)[:80]) from cause
        if seed != self.seed:
            raise StateError(
                "The state belongs to another order of rows.",
                expected=f"seed {self.seed}",
                found=f"seed {seed}",
            )
        if epoch < 0 or not 0 <= batch <= self.n_batches(epoch):
            raise StateError("The cursor lies outside of the epoch.", found=f"epoch {epoch}, batch {batch}")
        self._cursor = (epoch, batch)

    def __repr__(self) -> str:
        epoch, batch = self._cursor
        return f"BoundSampler({self.view.label!r}, epoch {epoch}, batch {batch})"


def single_run(rows: np.ndarray, *, batch_size: int, drop_last: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and borders of batches cut from one run of rows."""
    n_used = len(rows) // batch_size * batch_size if drop_last else len(rows)
    borders = np.append(np.arange(0, n_used, batch_size, dtype=np.int64), n_used)
    return rows[:n_used], borders
