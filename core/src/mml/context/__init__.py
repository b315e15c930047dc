"""Contexts: where nodes register themselves, and where references look for them."""

from mml.context.experiment_context import ExperimentContext
from mml.context.node import ExperimentNode
from mml.context.policy import RegistrationPolicy

__all__ = ["ExperimentContext", "ExperimentNode", "RegistrationPolicy"]
