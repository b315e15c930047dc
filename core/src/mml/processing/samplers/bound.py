"""`BoundSampler`: a sampler with its rows. Orders, batches, and the cursor that an exact resume needs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from mml.data import FeatureSetView
from mml.data.rows import compact, count
from mml.data.schema import FEATURES, TAGS, TARGETS
from mml.errors import SamplerError, StateError, listed
from mml.processing.batch import Batch
from mml.processing.batch_view import DEFAULT_STREAM, BatchView, one_stream
from mml.processing.gather import Gatherer
from mml.processing.samplers.blocks import batches_of
from mml.processing.samplers.epoch import Epoch
from mml.processing.samplers.settings import checked_epoch, checked_seed
from mml.protocols import State

_COUNTS = ("epoch", "batch", "seed")


class BoundSampler:
    """Batches of one or several views, epoch by epoch; made by ``sampler.bind(view)``.

    Iterating yields the `Batch`es from the cursor to the end of its epoch and moves the cursor along. Behind
    the last batch of an epoch it stands at the first of the next one.

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
    settings : tuple
        What the order derives from besides the seed and the rows: the sampler's key.
    """

    def __init__(
        self,
        views: FeatureSetView | Mapping[str, FeatureSetView],
        *,
        order: Callable[[int], Epoch],
        seed: int,
        n_batches: int | None = None,
        settings: tuple[Any, ...] = (),
    ) -> None:
        self.views: dict[str, FeatureSetView] = (
            dict(views) if isinstance(views, Mapping) else {DEFAULT_STREAM: views}
        )
        self.seed = seed
        self.n_batches_always = n_batches
        self.settings = settings
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
        """Return the batch views of an epoch: a pure function of the seed and its number.

        Raises
        ------
        SamplerError
            If the number is no integer from 0.
        """
        epoch = checked_epoch(epoch)
        if self._last is None or self._last[0] != epoch:
            self._last = (epoch, self._order(epoch))
        return self._last[1]

    def n_batches(self, epoch: int = 0) -> int:
        """Return the number of batches of an epoch; no order is made where all epochs have as many."""
        epoch = checked_epoch(epoch)
        return len(self.epoch(epoch)) if self.n_batches_always is None else self.n_batches_always

    def materialize(self, view: BatchView) -> Batch:
        """Read the rows of a batch view: all visible columns, transformed where they are.

        Raises
        ------
        SamplerError
            If it is none, or has other streams than the sampler.
        """
        if not isinstance(view, BatchView):
            raise SamplerError(
                "Batches are read from batch views.",
                expected="a BatchView, such as sampler.epoch(0)[0]",
                found=f"{type(view).__name__}: {view!r}"[:80],
            )
        if not set(view.streams) <= set(self._gatherers):
            raise SamplerError(
                "The batch view is of another sampler: its streams are others.",
                expected=listed(self.streams),
                found=listed(view.streams),
            )
        return Batch.from_view(view, self._gatherers)

    def __iter__(self) -> Iterator[Batch]:
        epoch, start = self._cursor
        order = self.epoch(epoch)
        for number, batch in enumerate(batches_of(order, self._gatherers, start=start), start + 1):
            # Moved before the batch is handed out: a state taken while it is used counts it as consumed, and
            # whoever stops at the last one has read the epoch.
            self._cursor = (epoch, number) if number < len(order) else (epoch + 1, 0)
            yield batch
        self._cursor = (epoch + 1, 0)

    def __len__(self) -> int:
        epoch, batch = self._cursor
        return self.n_batches(epoch) - batch

    def get_state(self) -> State:
        """Return the cursor, the seed, and a digest of what else the order derives from."""
        epoch, batch = self._cursor
        return {"epoch": epoch, "batch": batch, "seed": self.seed, "order": self._digest}

    def set_state(self, state: State) -> None:
        """Put the cursor back.

        Raises
        ------
        StateError
            If the state is of another seed, sampler or rows, or no state of a sampler.
        """
        if not isinstance(state, Mapping) or not all(_is_count(state.get(name)) for name in _COUNTS):
            raise StateError(
                "This is no state of a bound sampler.",
                expected=f"a mapping with whole numbers from 0 under {listed(_COUNTS)}",
                found=repr(state)[:80],
            )
        epoch, batch, seed = (int(state[name]) for name in _COUNTS)
        if seed != self.seed:
            raise StateError(
                "The state belongs to another order of rows.",
                expected=f"seed {self.seed}",
                found=f"seed {seed}",
            )
        if state.get("order") != self._digest:
            raise StateError(
                "The state belongs to another order of rows: the sampler has other settings or other rows.",
                expected=f"order {self._digest!r}",
                found=f"order {state.get('order')!r}"[:80],
                hint="Bind an equal sampler to a view of the same rows.",
            )
        n_batches = self.n_batches(epoch)
        if batch > n_batches:
            raise StateError("The cursor lies outside of the epoch.", found=f"epoch {epoch}, batch {batch}")
        self._cursor = (epoch, batch) if batch < n_batches else (epoch + 1, 0)

    @cached_property
    def _digest(self) -> str:
        digest = hashlib.blake2b(repr(self.settings).encode(), digest_size=8)
        for stream, view in self.views.items():
            rows = compact(view.row_index)
            digest.update(f"{stream!r} {count(rows)} ".encode())
            digest.update(repr(rows).encode() if isinstance(rows, slice) else np.ascontiguousarray(rows).data)
        return digest.hexdigest()

    def __repr__(self) -> str:
        epoch, batch = self._cursor
        labels = ", ".join(repr(view.label) for view in self.views.values())
        return f"BoundSampler({labels}, epoch {epoch}, batch {batch})"


def _is_count(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= 0)


def chosen_seed(own: int | None, given: Any) -> int:
    """Return a sampler's own seed, else the one that it is bound with, else 0."""
    return own if own is not None else (checked_seed(given) or 0)


def _gatherer(view: FeatureSetView) -> Gatherer:
    # Names are looked up now, with the snapshot: a scaler fitted later changes neither.
    schema = view.schema
    names = {domain: schema.select(f"{domain}.*") for domain in (FEATURES, TARGETS, TAGS)}
    return Gatherer(view.featureset.snapshot(), names)
