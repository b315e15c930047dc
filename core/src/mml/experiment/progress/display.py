"""What a run tells whoever shows its progress; the base class shows nothing."""

from __future__ import annotations

from typing import Any


class ProgressDisplay:
    """Told about a run as it goes; every method may be left as it is, which is silent.

    Calls come in this order: `run_started`, then for each phase `phase_started`, `advanced` after each block
    of steps, `epoch_ended` after each epoch, `phase_ended`; at last `run_ended`. Previews are not told.
    """

    @staticmethod
    def automatic() -> ProgressDisplay:
        """Return the display that fits the surroundings."""
        return ProgressDisplay()

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
