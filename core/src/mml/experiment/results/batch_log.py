"""Which rows the executed batches of a phase held, by head node, role, epoch and batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from mml.errors import ResultError, StateError, did_you_mean, listed
from mml.experiment.results.data_series import BatchDataSeries
from mml.experiment.results.state_fields import array_field, names_field
from mml.protocols import State


@dataclass(frozen=True, slots=True)
class _Block:
    epoch: int
    batches: NDArray[np.int64]
    node: str
    role: str
    rows: Sequence[NDArray[np.int64]]


@final
class BatchLog:
    """Row numbers of executed batches."""

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._series: dict[str, BatchDataSeries] = {}

    def add(
        self,
        *,
        epoch: int,
        batches: NDArray[np.int64],
        node: str,
        role: str,
        rows: Sequence[NDArray[np.int64]],
    ) -> None:
        """Append a block of batches; the arrays are kept, not copied."""
        if len(rows) != len(batches):
            raise ResultError(
                "Recorded rows do not fit their batches.",
                where={"node": node, "epoch": epoch},
                expected=f"{len(batches)} arrays of row numbers",
                found=str(len(rows)),
            )
        self._blocks.append(_Block(epoch, batches, node, role, rows))
        self._series.pop(node, None)

    @property
    def epochs(self) -> list[int]:
        """Epochs with recorded batches, ascending."""
        return sorted({block.epoch for block in self._blocks})

    def series(self, node: str | None, *, phase: str) -> BatchDataSeries:
        """Return the batches of one node with axes (epoch, batch, role)."""
        nodes = list(dict.fromkeys(block.node for block in self._blocks))
        if not nodes:
            raise ResultError("No batches were recorded.", where={"phase": phase})
        if node is None and len(nodes) > 1:
            raise ResultError(
                "Batches of several nodes were recorded, and none was named.",
                where={"phase": phase},
                expected=f"one of {listed(nodes)}",
            )
        name = nodes[0] if node is None else node
        if name not in nodes:
            raise ResultError(
                f"No batches of node {name!r} were recorded.",
                where={"phase": phase},
                hint=did_you_mean(name, nodes),
            )
        if name not in self._series:
            self._series[name] = self._build(name)
        return self._series[name]

    def get_state(self) -> State:
        """Return one flat array of row numbers, and where each batch ends in it."""
        entries = [
            (block.node, block.role, block.epoch, int(batch), rows)
            for block in self._blocks
            for batch, rows in zip(block.batches, block.rows, strict=True)
        ]
        return {
            "node": [entry[0] for entry in entries],
            "role": [entry[1] for entry in entries],
            "epoch": np.array([entry[2] for entry in entries], dtype=np.int64),
            "batch": np.array([entry[3] for entry in entries], dtype=np.int64),
            "ends": np.cumsum([len(entry[4]) for entry in entries], dtype=np.int64),
            "rows": np.concatenate([np.zeros(0, dtype=np.int64), *(entry[4] for entry in entries)]),
        }

    @classmethod
    def from_state(cls, state: State) -> BatchLog:
        """Build a log from what :meth:`get_state` returned."""
        nodes = names_field(state, "node")
        n = len(nodes)
        roles = names_field(state, "role", length=n)
        epochs = array_field(state, "epoch", dtype=np.int64, length=n)
        batches = array_field(state, "batch", dtype=np.int64, length=n)
        ends = array_field(state, "ends", dtype=np.int64, length=n)
        rows = array_field(state, "rows", dtype=np.int64)
        if (np.diff(ends, prepend=0) < 0).any() or (ends[-1] if n else 0) != len(rows):
            raise StateError("The columns of recorded batches do not fit each other.")
        parts: list[NDArray[Any]] = np.split(rows, ends[:-1]) if n else []
        log = cls()
        log._blocks = [
            _Block(int(epochs[one]), batches[one : one + 1], nodes[one], roles[one], [parts[one]])
            for one in range(n)
        ]
        return log

    def _build(self, node: str) -> BatchDataSeries:
        blocks = [block for block in self._blocks if block.node == node]
        sizes = [len(block.batches) for block in blocks]
        return BatchDataSeries(
            {
                "epoch": np.repeat([block.epoch for block in blocks], sizes),
                "batch": np.concatenate([block.batches for block in blocks]),
                "role": [block.role for block in blocks for _ in block.rows],
            },
            [rows for block in blocks for rows in block.rows],
        )
