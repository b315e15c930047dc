"""Recorded outputs, targets and sample UUIDs of a phase, by node, role, epoch and batch.

The log obeys the phase's `result_recording`: ``all`` keeps everything, ``last`` the latest epoch, ``none``
nothing. It explains itself when asked for what it was told not to keep.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, final, get_args

import numpy as np
from numpy.typing import NDArray

from mml.errors import ResultError, StateError, did_you_mean, listed
from mml.experiment.results.data_series import TensorDataSeries
from mml.experiment.results.reducers import concatenate_rows
from mml.experiment.results.state_fields import field
from mml.protocols import State

ResultRecording: TypeAlias = Literal["none", "last", "all"]
"""Which tensors results keep."""

Content: TypeAlias = Literal["outputs", "targets", "sample_uuids"]
"""Which of the recorded arrays is meant."""


@dataclass(frozen=True, slots=True)
class TensorRecord:
    """What one node returned for one role of one batch; masked rows are left out.

    ``outputs`` is (n_rows, ...), ``targets`` (n_rows, ...) or None, ``sample_uuids`` uint8 (n_rows, 16).
    """

    epoch: int
    batch: int
    node: str
    role: str
    outputs: NDArray[Any]
    targets: NDArray[Any] | None
    sample_uuids: NDArray[np.uint8]


@final
class TensorLog:
    """Tensors by node and role.

    Parameters
    ----------
    recording : {"none", "last", "all"}
        What to keep.
    """

    def __init__(self, recording: ResultRecording) -> None:
        if recording not in get_args(ResultRecording):
            raise ResultError(
                f"There is no result_recording {recording!r}.", expected="'none', 'last' or 'all'"
            )
        self.recording: ResultRecording = recording
        self._records: list[TensorRecord] = []
        self._dropped = False

    def add(self, record: TensorRecord) -> None:
        """Keep a record, as far as the recording asks for it."""
        if self.recording == "none":
            return
        if self.recording == "last" and self._records and record.epoch > self._records[-1].epoch:
            self._records = []
        self._records.append(record)

    def drop(self) -> None:
        """Forget all tensors, to free their memory."""
        self._dropped = self._dropped or bool(self._records)
        self._records = []

    def __len__(self) -> int:
        return len(self._records)

    def nodes(self) -> list[str]:
        """List the nodes with records, in order of first appearance."""
        return list(dict.fromkeys(record.node for record in self._records))

    def series(self, node: str | None, *, role: str, content: Content, phase: str) -> TensorDataSeries:
        """Return the arrays of one node and role with axes (epoch, batch)."""
        records = self._of(node, role=role, phase=phase)
        arrays = [getattr(record, content) for record in records]
        if any(array is None for array in arrays):
            raise ResultError(
                f"No {content} were recorded for node {records[0].node!r}.", where={"phase": phase}
            )
        axes = {"epoch": [one.epoch for one in records], "batch": [one.batch for one in records]}
        return TensorDataSeries(axes, arrays)

    def stacked(self, node: str | None, *, role: str, content: Content, phase: str) -> NDArray[Any]:
        """Concatenate the arrays of one node and role over (epoch, batch)."""
        series = self.series(node, role=role, content=content, phase=phase)
        places = zip(series.coordinates("epoch").tolist(), series.coordinates("batch").tolist(), strict=True)
        arrays = series.select()
        ordered = sorted(enumerate(places), key=lambda one: one[1])
        return concatenate_rows([arrays[position] for position, _ in ordered])

    def get_state(self) -> State:
        """Return all records; labels as lists of strings."""
        return {
            "recording": self.recording,
            "dropped": self._dropped,
            "node": [record.node for record in self._records],
            "role": [record.role for record in self._records],
            "epoch": [int(record.epoch) for record in self._records],
            "batch": [int(record.batch) for record in self._records],
            "outputs": [record.outputs.copy() for record in self._records],
            "targets": [None if one.targets is None else one.targets.copy() for one in self._records],
            "sample_uuids": [record.sample_uuids.copy() for record in self._records],
        }

    @classmethod
    def from_state(cls, state: State) -> TensorLog:
        """Build a log from what :meth:`get_state` returned."""
        log = cls(field(state, "recording", kind=str))
        columns: dict[str, list[Any]] = {
            key: field(state, key, kind=list)
            for key in ("epoch", "batch", "node", "role", "outputs", "targets", "sample_uuids")
        }
        if len({len(column) for column in columns.values()}) > 1:
            raise StateError("The columns of recorded tensors differ in length.")
        checks: dict[str, Callable[[Any], bool]] = {
            "epoch": lambda one: isinstance(one, int),
            "batch": lambda one: isinstance(one, int),
            "node": lambda one: isinstance(one, str),
            "role": lambda one: isinstance(one, str),
            "outputs": lambda one: isinstance(one, np.ndarray),
            "targets": lambda one: one is None or isinstance(one, np.ndarray),
            "sample_uuids": lambda one: isinstance(one, np.ndarray),
        }
        for key, fits in checks.items():
            if not all(map(fits, columns[key])):
                raise StateError(f"Column {key!r} of recorded tensors holds a value of a wrong type.")
        log._records = [TensorRecord(*row) for row in zip(*columns.values(), strict=True)]
        log._dropped = bool(field(state, "dropped", kind=bool))
        return log

    def _of(self, node: str | None, *, role: str, phase: str) -> list[TensorRecord]:
        if not self._records:
            raise self._nothing(phase)
        name = self._only_node(phase) if node is None else node
        mine = [record for record in self._records if record.node == name]
        if not mine:
            raise ResultError(
                f"No tensors of node {name!r} were recorded.",
                where={"phase": phase},
                hint=did_you_mean(name, self.nodes()),
            )
        found = [record for record in mine if record.role == role]
        if not found:
            roles = dict.fromkeys(record.role for record in mine)
            raise ResultError(
                f"Node {name!r} has no tensors of role {role!r}.",
                where={"phase": phase},
                expected=f"one of {listed(roles)}",
            )
        return found

    def _only_node(self, phase: str) -> str:
        nodes = self.nodes()
        if len(nodes) > 1:
            raise ResultError(
                "Tensors of several nodes were recorded, and none was named.",
                where={"phase": phase},
                expected=f"one of {listed(nodes)}",
            )
        return nodes[0]

    def _nothing(self, phase: str) -> ResultError:
        if self._dropped:
            return ResultError(
                "The tensors of this phase were dropped after its metrics were computed.",
                where={"phase": phase},
                hint="Run the phase on its own with result_recording='all' to read them.",
            )
        if self.recording == "none":
            return ResultError(
                "Tensors were not recorded.",
                where={"phase": phase},
                found="result_recording='none'",
                hint="Give the phase result_recording='all', or 'last' for the latest epoch only.",
            )
        return ResultError(
            f"No tensors have been recorded yet (result_recording={self.recording!r}).",
            where={"phase": phase},
        )
