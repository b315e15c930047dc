"""Symbolic pointers from one node of a graph to what another one produces.

A reference holds a UUID and a label and nothing else, so a graph can be written down, copied and bound to
other data. What it points to is looked up when the graph is assembled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

from mml.data import FeatureSet, FeatureSetReference
from mml.errors import GraphError
from mml.protocols import Config


@dataclass(frozen=True, slots=True)
class ModelIOReference:
    """Points to the output of a node.

    Parameters
    ----------
    label : str
        Label of the node.
    uuid : str
        UUID of the node; it wins over the label where both are known.
    """

    label: str
    uuid: str

    def get_config(self) -> Config:
        """Return the pointer as JSON."""
        return {"node": self.label, "uuid": self.uuid}

    @classmethod
    def from_config(cls, config: Config) -> ModelIOReference:
        """Build the pointer again."""
        return cls(label=config["node"], uuid=config["uuid"])


Reference: TypeAlias = FeatureSetReference | ModelIOReference


def as_reference(upstream: Any, *, node: str) -> Reference:
    """Turn whatever a user names as upstream into a reference.

    Parameters
    ----------
    upstream : FeatureSetReference, ModelIOReference, GraphNode or FeatureSet
        A FeatureSet stands for all its features and targets.
    node : str
        Label of the node that asks, for messages.

    Raises
    ------
    GraphError
        If it is nothing that can stand upstream.
    """
    from mml.graph.nodes.graph_node import GraphNode

    if isinstance(upstream, FeatureSetReference | ModelIOReference):
        return upstream
    if isinstance(upstream, GraphNode):
        return upstream.reference()
    if isinstance(upstream, FeatureSet):
        return upstream.reference()
    raise GraphError(
        "A node's upstream is another node or a reference to a FeatureSet.",
        where={"node": node},
        found=f"{type(upstream).__name__}: {upstream!r}",
        hint="Pass a node, or featureset.reference(features=..., targets=...); splits are chosen by phases.",
    )


def reference_from_config(config: Config) -> Reference:
    """Build either kind of reference from its configuration."""
    if "node" in config:
        return ModelIOReference.from_config(config)
    return FeatureSetReference.from_config(config)
