"""Running phases, groups and plans: what an experiment is made of, not its surface."""

from mml.experiment.running.phase_runner import PhaseRunner

__all__ = ["PhaseRunner"]
