"""The nodes of a model graph."""

from mml.graph.nodes.concat_node import ConcatNode
from mml.graph.nodes.graph_node import ComputeNode, GraphNode
from mml.graph.nodes.merge_node import MergeNode
from mml.graph.nodes.model_node import ModelNode

__all__ = ["ComputeNode", "ConcatNode", "GraphNode", "MergeNode", "ModelNode"]
