"""ExperimentRun: one entry of an experiment's history."""

from __future__ import annotations

from datetime import datetime
from typing import final

from mml.experiment.results.execution_meta import PhaseGroupExecutionMeta
from mml.experiment.results.execution_record import ExecutionRecord, Status
from mml.experiment.results.group_results import PhaseGroupResults
from mml.experiment.results.state_fields import field
from mml.protocols import State


@final
class ExperimentRun(ExecutionRecord):
    """What one call of ``run``, ``run_phase`` or ``run_group`` did.

    Parameters
    ----------
    label : str
        Label of the experiment.
    results : PhaseGroupResults
        Results of what was executed.
    status : {"running", "completed", "stopped", "failed"}
        How it ended.
    started_at, ended_at : datetime, optional
        When, with a time zone.
    exception : BaseException, optional
        What ended it, where it failed.
    """

    def __init__(
        self,
        label: str,
        results: PhaseGroupResults,
        *,
        status: Status = "running",
        started_at: datetime | None = None,
        ended_at: datetime | None = None,
        exception: BaseException | None = None,
    ) -> None:
        super().__init__(label)
        self.results = results
        self.status = status
        self.started_at = started_at
        self.ended_at = ended_at
        self.exception = exception

    @property
    def meta(self) -> PhaseGroupExecutionMeta:
        """Timing and status per phase, in the shape of the results."""
        return self.results.meta

    def summary(self) -> str:
        """Describe the run as plain text."""
        return self.results.summary()

    def __repr__(self) -> str:
        seconds = "" if self.duration_s is None else f" in {self.duration_s:.3g} s"
        return f"<ExperimentRun {self.label!r} {self.status}{seconds}: {', '.join(self.results) or 'empty'}>"

    def get_state(self) -> State:
        """Return the run with its results: arrays and JSON only."""
        return self._record_state() | {"results": self.results.get_state()}

    def set_state(self, state: State) -> None:
        """Put back what :meth:`get_state` returned; a state that does not fit changes nothing."""
        record = self._checked_record(state)
        stored = field(state, "results", kind=dict)
        results = type(self.results)(field(stored, "label", kind=str))
        results.set_state(stored)
        for name, value in (record | {"results": results}).items():
            setattr(self, name, value)

    @classmethod
    def from_state(cls, state: State) -> ExperimentRun:
        """Build a run from what :meth:`get_state` returned."""
        run = cls(field(state, "label", kind=str), PhaseGroupResults(""))
        run.set_state(state)
        return run
