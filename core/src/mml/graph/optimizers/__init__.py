"""Optimizers and learning-rate schedules."""

from mml.graph.optimizers.optimizer import Optimizer
from mml.graph.optimizers.schedules import (
    ConstantSchedule,
    CosineSchedule,
    OneCycleSchedule,
    Schedule,
    StepSchedule,
    WarmupSchedule,
)

__all__ = [
    "ConstantSchedule",
    "CosineSchedule",
    "OneCycleSchedule",
    "Optimizer",
    "Schedule",
    "StepSchedule",
    "WarmupSchedule",
]
