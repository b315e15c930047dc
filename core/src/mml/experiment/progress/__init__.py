"""Showing the progress of a run."""

from mml.experiment.progress.display import ProgressDisplay

__all__ = ["ProgressDisplay"]
