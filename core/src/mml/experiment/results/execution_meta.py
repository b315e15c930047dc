"""Timing and status of an execution as an immutable tree, apart from its results."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import final

from mml.experiment.results.execution_record import Failure, Status, duration_s


@dataclass(frozen=True, kw_only=True)
class ExecutionMeta:
    """When one thing ran and how it ended.

    Parameters
    ----------
    label, kind : str
        Its label, and the name of its results class.
    status : {"running", "completed", "stopped", "failed"}
        How it ended.
    started_at, ended_at : datetime or None
        When.
    failure : Failure or None
        What ended it, where it failed.
    """

    label: str
    kind: str
    status: Status
    started_at: datetime | None = None
    ended_at: datetime | None = None
    failure: Failure | None = None

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to end, or None while it runs."""
        return duration_s(self.started_at, self.ended_at)


@final
@dataclass(frozen=True, kw_only=True)
class PhaseExecutionMeta(ExecutionMeta):
    """Timing and status of one phase."""


@final
@dataclass(frozen=True, kw_only=True)
class PhaseGroupExecutionMeta(ExecutionMeta):
    """Timing and status of a group, with those of its phases and sub-groups in order of execution."""

    children: tuple[PhaseExecutionMeta | PhaseGroupExecutionMeta, ...] = ()
