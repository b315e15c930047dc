"""The losses of a phase as they arrive, block by block, and their row-weighted combinations.

Recording appends a block and does nothing else; values may still be on a device then, as a callable that
fetches them. Reading an epoch sorts its blocks into columns once, by batch and label, so that no result
depends on how the executor cut its blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, final

import numpy as np
from numpy.typing import NDArray

from mml.errors import ResultError
from mml.experiment.results.axis import Axis
from mml.experiment.results.data_series import LossDataSeries
from mml.experiment.results.state_fields import array_field, codes_field, names_field
from mml.protocols import State

LossValues: TypeAlias = "NDArray[Any] | Callable[[], NDArray[Any]]"
"""Losses of a block, shape (k, n_losses), or a callable that fetches them on first read."""


@dataclass(frozen=True, slots=True)
class LossBlock:
    """Losses of `k` consecutive batches, as recorded; arrays are not copied."""

    batches: NDArray[np.int64]
    labels: tuple[str, ...]
    values: LossValues
    rows: NDArray[np.int64]


class LossColumns(NamedTuple):
    """Losses of one epoch, one entry per batch and label, sorted by both; shape (n_entries,) each."""

    batches: NDArray[np.int64]
    codes: NDArray[np.int32]
    values: NDArray[np.float64]
    rows: NDArray[np.int64]


class LossMeans(NamedTuple):
    """Row-weighted means per label, and their weighted total.

    ``total`` is NaN where no label had an unmasked row; such labels are absent from ``by_label``.
    """

    total: float
    by_label: dict[str, float]


@final
class LossLog:
    """Losses by epoch, batch and label."""

    def __init__(self) -> None:
        self._pending: dict[int, list[LossBlock]] = {}
        self._columns: dict[int, LossColumns] = {}
        self._nodes: dict[str, str] = {}
        self._weights: dict[str, float] = {}
        self._series: LossDataSeries | None = None

    def add(
        self, block: LossBlock, *, epoch: int, nodes: tuple[str, ...], weights: NDArray[np.float64]
    ) -> None:
        """Append a block; a label's node and weight are those recorded last."""
        for label, node, weight in zip(block.labels, nodes, weights, strict=True):
            self._nodes[label] = node
            self._weights[label] = float(weight)
        self._pending.setdefault(epoch, []).append(block)
        self._series = None

    @property
    def epochs(self) -> list[int]:
        """Epochs with losses, ascending."""
        return sorted(self._columns.keys() | self._pending.keys())

    @property
    def nodes(self) -> dict[str, str]:
        """Label of a loss → label of the node that it applies to."""
        return dict(self._nodes)

    @property
    def weights(self) -> dict[str, float]:
        """Label of a loss → its weight in the total."""
        return dict(self._weights)

    def series(self) -> LossDataSeries:
        """Return all losses with axes (epoch, batch, label); cached until a block is added."""
        if self._series is None:
            epochs, columns = self._joined()
            axes = {
                "epoch": Axis.encode(epochs),
                "batch": Axis.encode(columns.batches),
                "label": Axis(columns.codes, tuple(self._nodes)),
            }
            self._series = LossDataSeries(axes, columns.values, rows=columns.rows)
        return self._series

    def means(self, epochs: Iterable[int] | None = None) -> LossMeans:
        """Combine losses over the batches of some epochs (all by default), weighted by unmasked rows."""
        parts = [self._epoch(epoch) for epoch in (self.epochs if epochs is None else epochs)]
        joined = _concatenated(parts)
        live = _select(joined, joined.rows > 0)
        labels = list(self._nodes)
        weighted = np.bincount(live.codes, weights=live.values * live.rows, minlength=len(labels))
        counts = np.bincount(live.codes, weights=live.rows, minlength=len(labels))
        by_label = {
            label: float(weighted[code] / counts[code])
            for code, label in enumerate(labels)
            if counts[code] > 0
        }
        total = sum(self._weights[label] * mean for label, mean in by_label.items())
        return LossMeans(float(total) if by_label else float("nan"), by_label)

    def batch_totals(self) -> tuple[NDArray[np.int64], LossColumns]:
        """Return the weighted total of each batch: epochs, and columns whose codes are all zero.

        Rows are those of the label with the most unmasked rows; batches without any are left out.
        """
        epochs, columns = self.counted_columns()
        if not len(epochs):
            return epochs, columns
        # Entries are sorted by place, so that a new batch starts wherever the place changes.
        changes = (np.diff(epochs) != 0) | (np.diff(columns.batches) != 0)
        starts = np.r_[0, np.flatnonzero(changes) + 1]
        weights = np.fromiter(self._weights.values(), dtype=np.float64, count=len(self._weights))
        totals = LossColumns(
            columns.batches[starts],
            np.zeros(len(starts), dtype=np.int32),
            np.add.reduceat(columns.values * weights[columns.codes], starts),
            np.maximum.reduceat(columns.rows, starts),
        )
        return epochs[starts], totals

    def counted_columns(self) -> tuple[NDArray[np.int64], LossColumns]:
        """Return epochs and columns of all entries with unmasked rows.

        The values of the others mean nothing, and may be NaN.
        """
        epochs, columns = self._joined()
        live = columns.rows > 0
        return epochs[live], _select(columns, live)

    def get_state(self) -> State:
        """Return all losses as columns, and labels and nodes as lists."""
        epochs, columns = self._joined()
        return {
            "labels": list(self._nodes),
            "nodes": list(self._nodes.values()),
            "weights": np.array(list(self._weights.values()), dtype=np.float64),
            "epoch": epochs,
            "batch": columns.batches,
            "label": columns.codes,
            "value": columns.values,
            "rows": columns.rows,
        }

    @classmethod
    def from_state(cls, state: State) -> LossLog:
        """Build a log from what :meth:`get_state` returned."""
        log = cls()
        labels = names_field(state, "labels")
        nodes = names_field(state, "nodes", length=len(labels))
        weights = array_field(state, "weights", dtype=np.float64, length=len(labels))
        log._nodes = dict(zip(labels, nodes, strict=True))
        log._weights = dict(zip(labels, weights.tolist(), strict=True))
        epochs = array_field(state, "epoch", dtype=np.int64)
        n = len(epochs)
        columns = LossColumns(
            array_field(state, "batch", dtype=np.int64, length=n),
            codes_field(state, "label", n_names=len(labels), length=n),
            array_field(state, "value", dtype=np.float64, length=n),
            array_field(state, "rows", dtype=np.int64, length=n),
        )
        for epoch in np.unique(epochs).tolist():
            mine = epochs == epoch
            log._columns[epoch] = _select(columns, mine)
        return log

    def _joined(self) -> tuple[NDArray[np.int64], LossColumns]:
        known = self.epochs
        parts = [self._epoch(epoch) for epoch in known]
        epochs = np.repeat(np.asarray(known, dtype=np.int64), [len(part.codes) for part in parts])
        return epochs, _concatenated(parts)

    def _epoch(self, epoch: int) -> LossColumns:
        """Sort what arrived since the last reading into the epoch's columns."""
        pending = self._pending.get(epoch, [])
        known = self._columns.get(epoch)
        if pending:
            codes = {label: code for code, label in enumerate(self._nodes)}
            parts = [_block_columns(block, codes) for block in pending]
            known = _sorted(_concatenated(parts if known is None else [known, *parts]))
            self._columns[epoch] = known
            del self._pending[epoch]
        return _concatenated([]) if known is None else known


def _block_columns(block: LossBlock, codes: dict[str, int]) -> LossColumns:
    fetched = block.values() if callable(block.values) else block.values
    values = np.asarray(fetched, dtype=np.float64)
    shape = (len(block.batches), len(block.labels))
    rows = np.asarray(block.rows, dtype=np.int64)
    if values.shape != shape or rows.shape != shape:
        raise ResultError(
            "Recorded losses do not fit their batches and labels.",
            expected=f"values and rows of shape {shape}",
            found=f"values {values.shape}, rows {rows.shape}",
        )
    numbers = np.fromiter((codes[label] for label in block.labels), dtype=np.int32, count=shape[1])
    return LossColumns(
        np.repeat(np.asarray(block.batches, dtype=np.int64), shape[1]),
        np.tile(numbers, shape[0]),
        values.reshape(-1),
        rows.reshape(-1),
    )


def _concatenated(parts: list[LossColumns]) -> LossColumns:
    if len(parts) == 1:
        return parts[0]
    return LossColumns(
        np.concatenate([np.zeros(0, dtype=np.int64), *(part.batches for part in parts)]),
        np.concatenate([np.zeros(0, dtype=np.int32), *(part.codes for part in parts)]),
        np.concatenate([np.zeros(0), *(part.values for part in parts)]),
        np.concatenate([np.zeros(0, dtype=np.int64), *(part.rows for part in parts)]),
    )


def _sorted(columns: LossColumns) -> LossColumns:
    return _select(columns, np.lexsort((columns.codes, columns.batches)))


def _select(columns: LossColumns, entries: NDArray[Any]) -> LossColumns:
    return LossColumns(
        columns.batches[entries], columns.codes[entries], columns.values[entries], columns.rows[entries]
    )
