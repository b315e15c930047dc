"""`BoundSampler`: a sampler with its rows. Orders, batches, and the cursor that an exact resume needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mml.data import FeatureSetView
from mml.data.schema import FEATURES, TAGS, TARGETS
from mml.errors import SamplerError, StateError, listed
from mml.processing.batch import Batch
from mml.processing.batch_view import DEFAULT_STREAM, BatchView, one_stream
from mml.processing.gather import Gatherer
from mml.processing.samplers.blocks import batches_of
from mml.processing.samplers.epoch import Epoch
from mml.processing.samplers.settings import checked_seed
from mml.protocols import State


class BoundSampler:
    """Batches of one or several views, epoch by epoch; made by ``sampler.bind(view)``.

    Iterating yields the `Batch`es from the cursor to the end of its epoch and moves the cursor along.

    Parameters
    ----------
    views : FeatureSetView, or mapping of str to FeatureSetView
        Where rows come from, or stream → where its rows come from; columns are read from the snapshots taken
        now.
    order : callable
        Epoch number → `Epoch`; a pure function.
    seed : int
        The seed that the order derives from; part of the state.
    n_batches : int, optional
        The number of batches where every epoch has the same; None where only an epoch's order can tell.
    """

    def __init__(
        self,
        views: FeatureSetView | Mapping[str, FeatureSetView],
        *,
        order: Callable[[int], Epoch],
        seed: int,
        n_batches: int | None = None,
    ) -> None:
        self.views: dict[str, FeatureSetView] = (
            dict(views) if isinstance(views, Mapping) else {DEFAULT_STREAM: views}
        )
        self.seed = seed
        self.n_batches_always = n_batches
        self._order = order
        self._last: tuple[int, Epoch] | None = None
        self._gatherers = {stream: _gatherer(view) for stream, view in self.views.items()}
        self._cursor = (0, 0)

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams, in order; ``("default",)`` where there is one without a name."""
        return tuple(self.views)

    @property
    def view(self) -> FeatureSetView:
        """Where the rows of the only stream come from."""
        return one_stream(self.views, None, what="sampler")

    def epoch(self, epoch: int) -> Epoch:
        """Return the batch views of an epoch: a pure function of the seed and its number."""
        if self._last is None or self._last[0] != epoch:
            self._last = (epoch, self._order(epoch))
        return self._last[1]

    def n_batches(self, epoch: int = 0) -> int:
        """Return the number of batches of an epoch; no order is made where all epochs have as many."""
        return len(self.epoch(epoch)) if self.n_batches_always is None else self.n_batches_always

    def materialize(self, view: BatchView) -> Batch:
        """Read the rows of a batch view: all visible columns, transformed where they are.

        Raises
        ------
        SamplerError
            If the view has other streams than the sampler.
        """
        if not set(view.streams) <= set(self._gatherers):
            raise SamplerError(
                "The batch view is of another sampler: its streams are others.",
                expected=listed(self.streams),
                found=listed(view.streams),
            )
        return Batch.from_view(view, self._gatherers)

    def __iter__(self) -> Iterator[Batch]:
        epoch, start = self._cursor
        batches = batches_of(self.epoch(epoch), self._gatherers, start=start)
        for number, batch in enumerate(batches, start):
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
        labels = ", ".join(repr(view.label) for view in self.views.values())
        return f"BoundSampler({labels}, epoch {epoch}, batch {batch})"


def chosen_seed(own: int | None, given: Any) -> int:
    """Return a sampler's own seed, else the one that it is bound with, else 0."""
    return own if own is not None else (checked_seed(given) or 0)


def _gatherer(view: FeatureSetView) -> Gatherer:
    # Names are looked up now, with the snapshot: a scaler fitted later changes neither.
    schema = view.schema
    names = {domain: schema.select(f"{domain}.*") for domain in (FEATURES, TARGETS, TAGS)}
    return Gatherer(view.featureset.snapshot(), names)
