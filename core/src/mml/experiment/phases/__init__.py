"""Phases: what happens with which data, declared."""

from mml.experiment.phases.eval_phase import EvalPhase
from mml.experiment.phases.execution_context import ExecutionContext
from mml.experiment.phases.fit_phase import FitPhase
from mml.experiment.phases.input_binding import InputBinding
from mml.experiment.phases.phase import ExperimentPhase
from mml.experiment.phases.phase_group import PhaseGroup, phase_from_config
from mml.experiment.phases.scheduling import BatchSchedulingPolicy
from mml.experiment.phases.train_phase import TrainPhase

__all__ = [
    "BatchSchedulingPolicy",
    "EvalPhase",
    "ExecutionContext",
    "ExperimentPhase",
    "FitPhase",
    "InputBinding",
    "PhaseGroup",
    "TrainPhase",
    "phase_from_config",
]
