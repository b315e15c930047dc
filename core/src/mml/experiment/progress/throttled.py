"""`ThrottledProgress`: counting is done at every call, showing only now and then."""

from __future__ import annotations

import time
from abc import abstractmethod
from typing import Any, final

from mml.experiment.progress.display import ProgressDisplay
from mml.experiment.progress.run_state import PhaseState, RunState


class ThrottledProgress(ProgressDisplay):
    """Base of the displays that show something; a subclass says how.

    Parameters
    ----------
    interval_s : float
        Least time between two looks at a running phase.
    """

    def __init__(self, *, interval_s: float) -> None:
        self._interval_s = interval_s
        self._run: RunState | None = None
        self._next = 0.0

    @abstractmethod
    def _open(self, run: RunState) -> None:
        """Begin to show a run."""

    @abstractmethod
    def _begin(self, run: RunState, phase: PhaseState) -> None:
        """Show that a phase begins."""

    @abstractmethod
    def _update(self, run: RunState, phase: PhaseState) -> None:
        """Show how far the running phase is."""

    @abstractmethod
    def _end(self, run: RunState, path: str, results: Any) -> None:
        """Show how a phase ended; it still counts as running."""

    @abstractmethod
    def _close(self) -> None:
        """Stop showing, and leave everything as it was before."""

    @final
    def run_started(self, label: str, *, n_phases: int) -> None:
        """Begin to count."""
        self._run = RunState(label, n_phases=n_phases)
        self._open(self._run)

    @final
    def phase_started(self, path: tuple[str, ...], *, phase: Any, n_steps: int) -> None:
        """Show that a phase begins."""
        if self._run is not None:
            self._begin(self._run, self._run.begin(path, phase=phase, n_steps=n_steps))
            self._next = time.monotonic() + self._interval_s

    @final
    def advanced(self, n_steps: int, *, epoch: int) -> None:
        """Count; show it if the last time is long enough ago."""
        run = self._run
        if run is None or run.phase is None:
            return
        run.phase.steps += n_steps
        run.phase.epoch = epoch
        if time.monotonic() >= self._next:
            self._update(run, run.phase)
            # From the end of showing, so that a slow terminal takes no more than a share of the time.
            self._next = time.monotonic() + self._interval_s

    @final
    def epoch_ended(self, epoch: int, results: Any) -> None:  # noqa: ARG002 -- told by `advanced` already
        """Remember where the metrics are; they are read only where they are shown."""
        if self._run is not None and self._run.phase is not None:
            self._run.phase.results = results

    @final
    def phase_ended(self, results: Any) -> None:
        """Show how a phase ended, also one that never began."""
        if self._run is not None:
            path = results.label if self._run.phase is None else self._run.phase.path
            self._end(self._run, path, results)
            self._run.end()

    @final
    def run_ended(self, status: str) -> None:  # noqa: ARG002 -- the phases' lines tell it
        """Stop showing."""
        if self._run is not None:
            self._run = None
            self._close()
