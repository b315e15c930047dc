"""Nodes, references, models, losses, optimizers, the graph and its execution."""

from mml.graph.losses import AppliedLoss, Loss
from mml.graph.model import Model
from mml.graph.model_graph import ModelGraph
from mml.graph.nodes import (
    ComputeNode,
    ConcatNode,
    GraphNode,
    MeanNode,
    MergeNode,
    ModelNode,
    StackNode,
    SumNode,
)
from mml.graph.optimizers import Optimizer
from mml.graph.outline import Outline
from mml.graph.references import ModelIOReference
from mml.graph.steppable import StepOutcome

__all__ = [
    "AppliedLoss",
    "ComputeNode",
    "ConcatNode",
    "GraphNode",
    "Loss",
    "MeanNode",
    "MergeNode",
    "Model",
    "ModelGraph",
    "ModelIOReference",
    "ModelNode",
    "Optimizer",
    "Outline",
    "StackNode",
    "StepOutcome",
    "SumNode",
]
