"""Building the nodes of a graph: shapes inferred from the references down, without touching data."""

from __future__ import annotations

from collections.abc import Mapping

from mml.context import ExperimentContext
from mml.errors import MMLError
from mml.graph.nodes import ComputeNode, ModelNode
from mml.graph.references import ModelIOReference, Reference
from mml.graph.shapes import Shape, reference_shape
from mml.random import derive_seed


def initial_seed(seed: int, label: str) -> int:
    """Return the seed of a node's initial values, which depends on the graph's seed and the label alone."""
    return derive_seed(seed, "initial values", label)


def build_nodes(
    nodes: Mapping[str, ComputeNode], *, seed: int, context: ExperimentContext | None = None
) -> None:
    """Build every node whose input is known, in topological order.

    Parameters
    ----------
    nodes : mapping of str to ComputeNode
        In topological order.
    seed : int
        The graph's.
    context : ExperimentContext, optional
        Where FeatureSets are looked up; the active one where left out.

    Raises
    ------
    ShapeError
        If shapes do not fit; both nodes are named.
    """
    shapes: dict[str, Shape | None] = {}
    for label, node in nodes.items():
        incoming = [_shape(node, one, shapes, context) for one in node.upstream]
        known = [shape for shape in incoming if shape is not None]
        if len(known) == len(incoming):
            node.build(known, seed=initial_seed(seed, label))
        elif isinstance(node, ModelNode):
            node.wrap()
        shapes[label] = node.output_shape


def _shape(
    node: ComputeNode,
    reference: Reference,
    shapes: Mapping[str, Shape | None],
    context: ExperimentContext | None,
) -> Shape | None:
    if isinstance(reference, ModelIOReference):
        return shapes[reference.label]
    try:
        return reference_shape(reference, context=context)
    except MMLError as error:
        raise error.located({"node": node.label}) from error.__cause__
