"""Showing the progress of a run, and what it came to."""

from mml.experiment.progress.display import ProgressDisplay
from mml.experiment.progress.notebook import NotebookProgress
from mml.experiment.progress.plain import PlainProgress
from mml.experiment.progress.run_report import PhaseReport, RunReport
from mml.experiment.progress.terminal import TerminalProgress

__all__ = [
    "NotebookProgress",
    "PhaseReport",
    "PlainProgress",
    "ProgressDisplay",
    "RunReport",
    "TerminalProgress",
]
