"""Losses: declared, resolved for a backend, and applied on nodes."""

from mml.graph.losses.applied_loss import AppliedLoss
from mml.graph.losses.loss import Loss
from mml.graph.losses.routing import LossInput

__all__ = ["AppliedLoss", "Loss", "LossInput"]
