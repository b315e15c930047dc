"""What a run tells whoever shows its progress; the base class shows nothing."""

from __future__ import annotations

import os
import sys
from typing import Any

VARIABLE = "MML_PROGRESS"
_OFF = ("0", "off", "false", "no")


class ProgressDisplay:
    """Told about a run as it goes; every method may be left as it is, which is silent.

    Calls come in this order: `run_started`, then for each phase `phase_started`, `advanced` after each block
    of steps, `epoch_ended` after each epoch, `phase_ended`; at last `run_ended`. Previews are not told. A
    phase that cannot be prepared ends without having started.
    """

    @staticmethod
    def automatic() -> ProgressDisplay:
        """Return the display that fits the surroundings.

        Bars in a notebook and on a terminal, plain lines elsewhere, and nothing where the environment
        variable ``MML_PROGRESS`` is ``0``. Everything is written to the standard error stream.
        """
        from mml.context import RegistrationPolicy

        if os.environ.get(VARIABLE, "").strip().lower() in _OFF:
            return ProgressDisplay()
        # Contexts know whether this is a notebook, and are lenient there for the same reason.
        if RegistrationPolicy.default() is RegistrationPolicy.OVERWRITE_WARN:
            from mml.experiment.progress.notebook import NotebookProgress

            return NotebookProgress()
        if _is_terminal():
            from mml.experiment.progress.terminal import TerminalProgress

            return TerminalProgress()
        from mml.experiment.progress.plain import PlainProgress

        return PlainProgress()

    def run_started(self, label: str, *, n_phases: int) -> None:
        """Note that a run of so many phases begins."""

    def phase_started(self, path: tuple[str, ...], *, phase: Any, n_steps: int) -> None:
        """Note that a phase begins; `path` holds the labels of its groups and its own."""

    def advanced(self, n_steps: int, *, epoch: int) -> None:
        """Note that so many more steps are done."""

    def epoch_ended(self, epoch: int, results: Any) -> None:
        """Note that an epoch is over; its metrics are in the results."""

    def phase_ended(self, results: Any) -> None:
        """Note how a phase ended."""

    def run_ended(self, status: str) -> None:
        """Note how the run ended."""


def _is_terminal() -> bool:
    stream = sys.stderr
    return stream is not None and not stream.closed and stream.isatty() and os.environ.get("TERM") != "dumb"
