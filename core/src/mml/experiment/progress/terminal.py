"""`TerminalProgress`: a live bar for the running phase, and a line that stays for each finished one."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from mml.experiment.progress.drawing import finished_line, running_line
from mml.experiment.progress.run_state import PhaseState, RunState
from mml.experiment.progress.throttled import ThrottledProgress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

_INTERVAL_S = 0.1


class TerminalProgress(ThrottledProgress):
    """Draws with rich, at most ten times a second and in the thread of the run: nothing is started.

    Parameters
    ----------
    console : rich.console.Console, optional
        Where to draw; the standard error stream where left out.
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__(interval_s=_INTERVAL_S)
        self._console = console
        self._live: Live | None = None

    def _open(self, run: RunState) -> None:  # noqa: ARG002 -- a phase will be drawn
        from rich.console import Console
        from rich.live import Live

        # Without a refresh thread: a run must leave no thread behind, and its own calls come often enough.
        self._live = Live(
            console=self._console or Console(stderr=True),
            auto_refresh=False,
            transient=True,
            # What a user prints goes above the bar on a shared terminal; into a file it goes as ever.
            redirect_stdout=sys.stdout is not None and sys.stdout.isatty(),
        )
        self._live.start()

    def _begin(self, run: RunState, phase: PhaseState) -> None:
        self._update(run, phase)

    def _update(self, run: RunState, phase: PhaseState) -> None:
        if self._live is not None:
            self._live.update(running_line(run, phase), refresh=True)

    def _end(self, run: RunState, path: str, results: Any) -> None:  # noqa: ARG002 -- its place is told by now
        if self._live is not None:
            self._live.update("", refresh=True)
            self._live.console.print(finished_line(path, results))

    def _close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
