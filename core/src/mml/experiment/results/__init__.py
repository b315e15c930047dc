"""Results: what phases, groups and runs leave behind, and how it is queried."""

from mml.experiment.results.axis_series import AxisSeries
from mml.experiment.results.callback_result import CallbackResult, MetricResult
from mml.experiment.results.data_series import (
    BatchDataSeries,
    CallbackDataSeries,
    LossDataSeries,
    MetricDataSeries,
    TensorDataSeries,
)
from mml.experiment.results.eval_results import EvalResults
from mml.experiment.results.execution_meta import PhaseExecutionMeta, PhaseGroupExecutionMeta
from mml.experiment.results.experiment_run import ExperimentRun
from mml.experiment.results.fit_results import FitResults
from mml.experiment.results.group_results import PhaseGroupResults
from mml.experiment.results.metric_store import MetricStore
from mml.experiment.results.phase_results import PhaseResults
from mml.experiment.results.train_results import TrainResults

__all__ = [
    "AxisSeries",
    "BatchDataSeries",
    "CallbackDataSeries",
    "CallbackResult",
    "EvalResults",
    "ExperimentRun",
    "FitResults",
    "LossDataSeries",
    "MetricDataSeries",
    "MetricResult",
    "MetricStore",
    "PhaseExecutionMeta",
    "PhaseGroupExecutionMeta",
    "PhaseGroupResults",
    "PhaseResults",
    "TensorDataSeries",
    "TrainResults",
]
