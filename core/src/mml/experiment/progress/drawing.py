"""What terminals and notebooks draw of a run: a line a finished phase, a bar for the running one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mml.experiment.progress.run_state import PhaseState, RunState, clock, headline, outcome

if TYPE_CHECKING:
    from rich.console import RenderableType

_MARKS = {"completed": ("✓", "green"), "stopped": ("■", "yellow"), "failed": ("✗", "red")}
_BAR_WIDTH = 20


def finished_line(path: str, results: Any) -> RenderableType:
    """Draw a phase that has ended."""
    from rich.text import Text

    mark, colour = _MARKS.get(results.status, ("·", "dim"))
    status = "" if results.status == "completed" else f"  {results.status}"
    return Text.assemble(
        (f"{mark} ", colour),
        (path, "bold"),
        (status, colour),
        "  ",
        (outcome(results), "dim"),
        overflow="ellipsis",
        no_wrap=True,
    )


def running_line(run: RunState, phase: PhaseState) -> RenderableType:
    """Draw the running phase: its place in the run, a bar, epoch, rate, remaining time and metrics."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    epoch = f"epoch {phase.epoch + 1}/{phase.n_epochs}" if phase.n_epochs else ""
    rate = f"{phase.rate():,.0f} steps/s" if phase.steps else ""
    head = Table.grid(padding=(0, 1))
    head.add_row(
        Text(run.place, style="dim"),
        Text(phase.path, style="bold", overflow="ellipsis", no_wrap=True),
        ProgressBar(total=max(phase.n_steps, 1), completed=phase.steps, width=_BAR_WIDTH),
        Text(epoch, no_wrap=True),
        Text(rate, style="dim", no_wrap=True),
        Text(f"{clock(phase.remaining())} left", style="cyan", no_wrap=True),
    )
    # A second line always, and no wider than its text: the terminal echoes ^C behind it, and must not wrap.
    return Group(
        head, Text(f"      {headline(phase.metrics())}", style="dim", overflow="ellipsis", no_wrap=True)
    )
