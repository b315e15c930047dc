"""Callbacks: hooks of phases and experiments, and the built-in ones."""

from mml.experiment.callbacks.callback import Callback, ExperimentCallback, FreezeChange
from mml.experiment.callbacks.early_stopping import EarlyStopping
from mml.experiment.callbacks.evaluation import Evaluation
from mml.experiment.callbacks.evaluation_metric import EvalLossMetric, EvaluationMetric, OutputMetric

__all__ = [
    "Callback",
    "EarlyStopping",
    "EvalLossMetric",
    "Evaluation",
    "EvaluationMetric",
    "ExperimentCallback",
    "FreezeChange",
    "OutputMetric",
]
