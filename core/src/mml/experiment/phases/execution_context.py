"""`ExecutionContext`: the transient state of one batch step, seen by callbacks and users."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mml.processing import Batch, BatchView, Gatherer


class ExecutionContext:
    """One step of a phase.

    Attributes
    ----------
    phase_label : str
    epoch, batch : int
        Counted from 0; the batch within its epoch.
    views : mapping of str to BatchView
        By lane: the rows of the step.
    is_last : bool
        Whether it is the last step of its epoch.
    outputs : dict of str to ndarray
        By node label, after the step, where outputs are recorded.
    losses : dict of str to float
        By loss label, after the step; NaN where a loss had no live row.
    """

    __slots__ = (
        "_inputs",
        "_lanes",
        "batch",
        "epoch",
        "is_last",
        "losses",
        "outputs",
        "phase_label",
        "views",
    )

    def __init__(
        self,
        phase_label: str,
        *,
        epoch: int,
        batch: int,
        views: Mapping[str, BatchView],
        lanes: Mapping[str, Any],
        is_last: bool,
    ) -> None:
        self.phase_label = phase_label
        self.epoch = epoch
        self.batch = batch
        self.views = views
        self.is_last = is_last
        self.outputs: dict[str, Any] = {}
        self.losses: dict[str, float] = {}
        self._lanes = lanes
        self._inputs: dict[str, Batch] | None = None

    @property
    def inputs(self) -> dict[str, Batch]:
        """By head node (and lane, where a head reads several FeatureSets): its batch, gathered when read."""
        if self._inputs is None:
            self._inputs = {
                name: Batch.from_view(view, Gatherer(self._lanes[name].source, self._lanes[name].columns))
                for name, view in self.views.items()
            }
        return self._inputs

    def __repr__(self) -> str:
        return f"ExecutionContext({self.phase_label!r}, epoch={self.epoch}, batch={self.batch})"
