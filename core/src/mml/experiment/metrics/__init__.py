"""Metrics: mergeable numbers about outputs and targets, independent of the batch size."""

from mml.experiment.metrics.accuracy import Accuracy
from mml.experiment.metrics.auroc import AUROC
from mml.experiment.metrics.f1_score import F1Score
from mml.experiment.metrics.mean_absolute_error import MeanAbsoluteError
from mml.experiment.metrics.metric import Metric
from mml.experiment.metrics.r2_score import R2Score
from mml.experiment.metrics.root_mean_squared_error import RootMeanSquaredError

__all__ = [
    "AUROC",
    "Accuracy",
    "F1Score",
    "MeanAbsoluteError",
    "Metric",
    "R2Score",
    "RootMeanSquaredError",
]
