"""The nodes of a model graph."""

from mml.graph.nodes.concat_node import ConcatNode
from mml.graph.nodes.graph_node import ComputeNode, GraphNode
from mml.graph.nodes.mean_node import MeanNode
from mml.graph.nodes.merge_node import MergeNode
from mml.graph.nodes.model_node import ModelNode
from mml.graph.nodes.stack_node import StackNode
from mml.graph.nodes.sum_node import SumNode

__all__ = [
    "ComputeNode",
    "ConcatNode",
    "GraphNode",
    "MeanNode",
    "MergeNode",
    "ModelNode",
    "StackNode",
    "SumNode",
]
