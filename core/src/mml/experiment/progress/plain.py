"""`PlainProgress`: lines for logs, one where a phase begins and ends and one every ten seconds in between."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Any, TextIO

from mml.experiment.progress.run_state import PhaseState, RunState, clock, headline, outcome
from mml.experiment.progress.throttled import ThrottledProgress

_INTERVAL_S = 10.0


class PlainProgress(ThrottledProgress):
    """Writes text without control characters.

    Parameters
    ----------
    stream : text stream, optional
        The standard error stream, as it is when a line is written, where left out.
    interval_s : float
        Least time between two lines of a running phase.
    """

    def __init__(self, stream: TextIO | None = None, *, interval_s: float = _INTERVAL_S) -> None:
        super().__init__(interval_s=interval_s)
        self._stream = stream

    def _open(self, run: RunState) -> None:
        """Write nothing: the first phase's line follows."""

    def _begin(self, run: RunState, phase: PhaseState) -> None:
        size = f"{phase.n_epochs} epoch{'s' * (phase.n_epochs != 1)}, " if phase.n_epochs else ""
        steps = f"{phase.n_steps:,} step{'s' * (phase.n_steps != 1)}"
        self._write(f"{run.place} {phase.path}: started, {size}{steps}")

    def _update(self, run: RunState, phase: PhaseState) -> None:
        parts = [
            f"{run.place} {phase.path}: {phase.share():.0%}",
            f"epoch {phase.epoch + 1}/{phase.n_epochs}" if phase.n_epochs else "",
            f"{phase.rate():,.0f} steps/s",
            f"{clock(phase.remaining())} left",
            headline(phase.metrics()),
        ]
        self._write("  ".join(part for part in parts if part))

    def _end(self, run: RunState, path: str, results: Any) -> None:
        self._write(f"{run.place} {path}: {results.status}  {outcome(results)}".rstrip())

    def _close(self) -> None:
        """Write nothing: the last phase's line said it."""

    def _write(self, line: str) -> None:
        stream = self._stream or sys.stderr
        # There is none in a process without a console.
        if stream is None or stream.closed:
            return
        # A log that nobody reads any more is no reason to lose a run.
        with suppress(OSError):
            print(line, file=stream, flush=True)
