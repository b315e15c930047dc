"""Building a node from its configuration, by the kind that is written in it."""

from __future__ import annotations

from mml.errors import ConfigError
from mml.graph.nodes.graph_node import ComputeNode
from mml.graph.nodes.model_node import ModelNode
from mml.plugins import registry
from mml.protocols import Config


def node_from_config(config: Config) -> ComputeNode:
    """Build the node that a configuration describes.

    Raises
    ------
    ConfigError
        If it names no kind of node.
    UnknownComponentError
        If the kind is a merge that no plugin registered.
    """
    kind = config.get("node") if isinstance(config, dict) else None
    if not isinstance(kind, str):
        raise ConfigError(
            "A node's configuration names its kind.",
            expected="a mapping with a key 'node'",
            found=repr(config),
        )
    cls = ModelNode if kind == "model" else registry("merge_nodes").load(kind)
    try:
        made = cls.from_config(config)
    except (KeyError, TypeError) as cause:
        raise ConfigError(
            f"The configuration of a node of kind {kind!r} lacks a key or has one too many: {cause}",
            where={"node": config.get("label")},
            found=str(sorted(config)),
        ) from cause
    if not isinstance(made, ComputeNode):
        raise ConfigError(f"{kind!r} is no kind of node.", found=type(made).__name__)
    return made
