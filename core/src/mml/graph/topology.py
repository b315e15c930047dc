"""The shape of a graph as a graph: order, heads, tails, ancestors; and what makes one invalid.

Pure functions over nodes by label. Nothing here knows models, data or shapes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mml.errors import GraphError, did_you_mean
from mml.graph.nodes.graph_node import GraphNode
from mml.graph.references import ModelIOReference

Nodes = Mapping[str, GraphNode]


def labels_of(given: str | GraphNode | Iterable[str | GraphNode]) -> list[str]:
    """Return the labels of nodes that a user named: one or several, by label or themselves.

    Raises
    ------
    GraphError
        If something else was given.
    """
    several = [given] if isinstance(given, str | GraphNode) or not isinstance(given, Iterable) else given
    labels = [one.label if isinstance(one, GraphNode) else one for one in several]
    if not all(isinstance(one, str) for one in labels):
        raise GraphError("Nodes are named by label, or themselves.", found=repr(given))
    return labels


def upstream_labels(node: GraphNode) -> tuple[str, ...]:
    """Return the labels of the nodes that a node reads, FeatureSets left out."""
    return tuple(one.label for one in node.upstream if isinstance(one, ModelIOReference))


def ordered(nodes: Nodes) -> tuple[str, ...]:
    """Return the labels in topological order, stable in the order of the nodes.

    Raises
    ------
    GraphError
        If a node reads from one that is not in the graph, or nodes read from each other in a circle.
    """
    _check_references(nodes)
    order: list[str] = []
    waiting = dict.fromkeys(nodes)
    while waiting:
        ready = [label for label in waiting if all(up in order for up in upstream_labels(nodes[label]))]
        if not ready:
            raise GraphError(
                "The graph has a cycle.",
                found=" -> ".join(_cycle(nodes, list(waiting))),
                hint="Let one of these nodes read from something else.",
            )
        for label in ready:
            order.append(label)
            del waiting[label]
    return tuple(order)


def heads(nodes: Nodes) -> tuple[str, ...]:
    """Return the labels of nodes that read from a FeatureSet."""
    return tuple(
        label
        for label, node in nodes.items()
        if any(not isinstance(one, ModelIOReference) for one in node.upstream)
    )


def tails(nodes: Nodes) -> tuple[str, ...]:
    """Return the labels of nodes that no other node reads from."""
    read = {label for node in nodes.values() for label in upstream_labels(node)}
    return tuple(label for label in nodes if label not in read)


def with_ancestors(nodes: Nodes, labels: Iterable[str]) -> set[str]:
    """Return the given labels and all that they depend on."""
    found: set[str] = set()
    waiting = list(labels)
    while waiting:
        label = waiting.pop()
        if label not in found:
            found.add(label)
            waiting.extend(upstream_labels(nodes[label]))
    return found


def _check_references(nodes: Nodes) -> None:
    for label, node in nodes.items():
        for reference in node.upstream:
            if not isinstance(reference, ModelIOReference):
                continue
            target = nodes.get(reference.label)
            if target is None:
                others = set(nodes) - {label}
                near = f" {did_you_mean(reference.label, others)}" if others else ""
                raise GraphError(
                    f"The node {label!r} reads from {reference.label!r}, which is not in the graph.",
                    where={"node": label},
                    hint=f"Add it to the graph's nodes.{near}",
                )
            if target.uuid != reference.uuid:
                raise GraphError(
                    f"The node {label!r} reads another node called {reference.label!r} than the graph's.",
                    where={"node": label},
                    hint="Create the nodes of one graph together, or re-wire the node to the new one.",
                )


def _cycle(nodes: Nodes, stuck: list[str]) -> list[str]:
    path: list[str] = []
    label = stuck[0]
    while label not in path:
        path.append(label)
        label = next(up for up in upstream_labels(nodes[label]) if up in stuck)
    return [*path[path.index(label) :], label]
