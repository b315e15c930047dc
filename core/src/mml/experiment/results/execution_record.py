"""When something ran and how it ended: the part that phases, groups and runs have in common."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias, final, get_args

from mml.errors import ResultError, StateError
from mml.experiment.results.state_fields import field
from mml.protocols import State

Status: TypeAlias = Literal["running", "completed", "stopped", "failed"]
"""How an execution stands."""


@final
@dataclass(frozen=True)
class Failure:
    """What is kept of an exception: its type's name and its message."""

    type: str
    message: str

    def __str__(self) -> str:
        return f"{self.type}: {self.message}"


class ExecutionRecord:
    """Label, status, times and failure of something that was executed.

    Parameters
    ----------
    label : str
        Its label.

    Attributes
    ----------
    started_at, ended_at : datetime or None
        Set by whoever runs it; with a time zone.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self.started_at: datetime | None = None
        self.ended_at: datetime | None = None
        self._status: Status = "running"
        self._exception: BaseException | None = None
        self._failure: Failure | None = None

    @property
    def status(self) -> Status:
        """``running``, ``completed``, ``stopped`` or ``failed``."""
        return self._status

    @status.setter
    def status(self, status: Status) -> None:
        if status not in get_args(Status):
            raise ResultError(
                f"There is no status {status!r}.",
                where={"label": self.label},
                expected=", ".join(get_args(Status)),
            )
        self._status = status

    @property
    def exception(self) -> BaseException | None:
        """The exception that ended it; None after loading, where only ``failure`` is kept."""
        return self._exception

    @exception.setter
    def exception(self, exception: BaseException | None) -> None:
        self._exception = exception
        self._failure = None if exception is None else Failure(type(exception).__name__, str(exception))

    @property
    def failure(self) -> Failure | None:
        """Type and message of the exception that ended it."""
        return self._failure

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to end, or None while it runs."""
        return duration_s(self.started_at, self.ended_at)

    def _record_state(self) -> State:
        failure = self._failure
        return {
            "kind": type(self).__name__,
            "label": self.label,
            "status": self.status,
            "started_at": None if self.started_at is None else self.started_at.isoformat(),
            "ended_at": None if self.ended_at is None else self.ended_at.isoformat(),
            "failure": None if failure is None else {"type": failure.type, "message": failure.message},
        }

    def _checked_record(self, state: State) -> dict[str, Any]:
        """Read what :meth:`_record_state` wrote, without changing anything."""
        for key, mine in (("kind", type(self).__name__), ("label", self.label)):
            if field(state, key, kind=str) != mine:
                raise StateError(
                    f"The state belongs to another {key}.", expected=repr(mine), found=repr(state[key])
                )
        if field(state, "status", kind=str) not in get_args(Status):
            raise StateError(f"The state has an unknown status {state['status']!r}.")
        failure = field(state, "failure", kind=(dict, type(None)))
        return {
            "_status": state["status"],
            "started_at": _moment(state, "started_at"),
            "ended_at": _moment(state, "ended_at"),
            "_exception": None,
            "_failure": failure
            and Failure(field(failure, "type", kind=str), field(failure, "message", kind=str)),
        }


def duration_s(started_at: datetime | None, ended_at: datetime | None) -> float | None:
    """Return the seconds between two moments, or None where one is missing."""
    if started_at is None or ended_at is None:
        return None
    return (ended_at - started_at).total_seconds()


def _moment(state: State, key: str) -> datetime | None:
    text = field(state, key, kind=(str, type(None)))
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError as cause:
        raise StateError(f"Field {key!r} of the state is not a time.", found=repr(text)) from cause
