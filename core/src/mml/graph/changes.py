"""What a mutation does to the wiring of a graph, worked out before anything is touched.

A `Change` names the nodes that there will be, and what those read that read something else than before.
Whether the result is a valid graph is found out by whoever carries it out.

A node with one upstream is wired to the place where it is put, whatever it was made with. A node that merges
several keeps the wiring that it was made with; where it is inserted, that has to lead through the place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mml.data import FeatureSet
from mml.errors import GraphError, did_you_mean, listed
from mml.graph.nodes import ComputeNode, GraphNode, MergeNode
from mml.graph.references import ModelIOReference, Reference
from mml.graph.topology import upstream_labels

Nodes = Mapping[str, ComputeNode]


@dataclass(frozen=True)
class Wiring:
    """What a node reads after a change.

    Parameters
    ----------
    upstream : tuple of Reference
    renamed : mapping of str to str
        Label of an upstream → label of what stands in its place.
    """

    upstream: tuple[Reference, ...]
    renamed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Change:
    """One mutation of a graph.

    Parameters
    ----------
    nodes : dict of str to ComputeNode
        All nodes after it.
    wiring : dict of str to Wiring
        By label: what the nodes read that read something else than before.
    added, removed : ComputeNode or None
    """

    nodes: dict[str, ComputeNode]
    wiring: dict[str, Wiring] = field(default_factory=dict)
    added: ComputeNode | None = None
    removed: ComputeNode | None = None


def addition(nodes: Nodes, node: Any) -> Change:
    """Add a node that is wired already."""
    return Change({**nodes, _new(nodes, node).label: node}, added=node)


def removal(nodes: Nodes, removed: Any) -> Change:
    """Remove a node; those that read it read what it read.

    Raises
    ------
    GraphError
        If a reader cannot: it reads one upstream and would read several, or it reads that already.
    """
    node = _known(nodes, removed)
    rest = {label: one for label, one in nodes.items() if one is not node}
    if not rest:
        raise GraphError("The last node of a graph cannot be removed.", where={"node": node.label})
    wiring = {one.label: _rerouted(one, node) for one in _readers(nodes, node)}
    return Change(rest, wiring, removed=node)


def replacement(nodes: Nodes, old: Any, new: Any) -> Change:
    """Put a node in the place of another one, whose readers read it from then on."""
    before = _known(nodes, old)
    after = _new({label: one for label, one in nodes.items() if one is not before}, new)
    if before is after:
        raise GraphError("A node cannot replace itself.", where={"node": before.label})
    if after.max_upstream == 1 and len(before.upstream) > 1:
        raise GraphError(
            f"{after.label!r} reads one upstream and cannot take the place of {before.label!r}.",
            found=f"{before.label!r} reads {listed(one.label for one in before.upstream)}",
            hint="Replace it with a node that merges several, or put the new node behind it: "
            "insert_node_after(node, upstream=...).",
        )
    wiring = {one.label: _exchanged(one, before.reference(), after) for one in _readers(nodes, before)}
    if after.max_upstream == 1:
        wiring[after.label] = Wiring(before.upstream)
    put = {
        (after.label if one is before else label): (after if one is before else one)
        for label, one in nodes.items()
    }
    return Change(put, wiring, added=after, removed=before)


def insertion_between(nodes: Nodes, node: Any, upstream: Any, downstream: Any) -> Change:
    """Put a node on the way from one place to one of its readers."""
    new, reader = _new(nodes, node), _known(nodes, downstream)
    place = _place(reader, upstream)
    return _inserted(nodes, new, place, [reader])


def insertion_before(nodes: Nodes, node: Any, downstream: Any) -> Change:
    """Put a node on the way to another one.

    Raises
    ------
    GraphError
        If that one reads several upstreams, so that it is not said which way is meant.
    """
    new, reader = _new(nodes, node), _known(nodes, downstream)
    if len(reader.upstream) > 1:
        raise GraphError(
            f"{reader.label!r} merges several upstreams, and one node before all of them would leave it one.",
            found=f"upstreams {listed(one.label for one in reader.upstream)}",
            hint=f"Name the branch: insert_node_between(node, upstream=..., downstream={reader.label!r}).",
        )
    return _inserted(nodes, new, reader.upstream[0], [reader])


def insertion_after(nodes: Nodes, node: Any, upstream: Any) -> Change:
    """Put a node on the way from another one to all that read it; a tail becomes what the node reads."""
    new, source = _new(nodes, node), _known(nodes, upstream)
    return _inserted(nodes, new, source.reference(), _readers(nodes, source))


def _inserted(nodes: Nodes, new: ComputeNode, place: Reference, readers: Sequence[ComputeNode]) -> Change:
    wiring = {reader.label: _exchanged(reader, place, new) for reader in readers}
    if new.max_upstream == 1:
        wiring[new.label] = Wiring((place,))
    elif place not in new.upstream:
        raise GraphError(
            f"{new.label!r} merges several upstreams, and none of them is the place where it is put.",
            expected=f"{place.label!r} among its upstreams",
            found=listed(one.label for one in new.upstream),
            hint="Make it with that upstream, or wire it yourself and use add_node.",
        )
    return Change({**nodes, new.label: new}, wiring, added=new)


def _exchanged(reader: ComputeNode, place: Reference, new: ComputeNode) -> Wiring:
    """Return what a reader reads with a new node in place of one upstream."""
    upstream = tuple(new.reference() if one == place else one for one in reader.upstream)
    return Wiring(upstream, {place.label: new.label})


def _rerouted(reader: ComputeNode, removed: ComputeNode) -> Wiring:
    """Return what a reader reads when what a removed node read comes in its place."""
    kept = [one for one in reader.upstream if one != removed.reference()]
    upstream = [
        other
        for one in reader.upstream
        for other in (removed.upstream if one == removed.reference() else (one,))
    ]
    what = f"{removed.label!r} cannot be removed, because {reader.label!r} reads it and cannot read instead "
    what += f"what it reads: {listed(one.label for one in removed.upstream)}."
    most = reader.max_upstream
    if most is not None and len(upstream) > most:
        raise GraphError(
            what,
            expected=f"{most} upstream of {reader.label!r}",
            hint=f"Remove {reader.label!r} before, or replace {removed.label!r} with another merge.",
        )
    if set(kept) & set(removed.upstream):
        raise GraphError(
            what,
            found=f"{reader.label!r} would read the same twice",
            hint=f"Remove {reader.label!r} before, or replace {removed.label!r}.",
        )
    if len(removed.upstream) == 1:
        return Wiring(tuple(upstream), {removed.label: removed.upstream[0].label})
    if isinstance(reader, MergeNode) and removed.label in (reader.targets, reader.tags):
        raise GraphError(
            what,
            found=f"{reader.label!r} carries on targets or tags of {removed.label!r}, which merges several",
            hint=f"Replace {reader.label!r} with a merge that says otherwise.",
        )
    return Wiring(tuple(upstream))


def _place(reader: ComputeNode, upstream: Any) -> Reference:
    """Return which of a node's upstreams is meant: by label, node, FeatureSet or reference."""
    if isinstance(upstream, FeatureSet | GraphNode):
        upstream = upstream.label
    found = [one for one in reader.upstream if upstream in (one, one.label)]
    if len(found) == 1:
        return found[0]
    named = upstream if isinstance(upstream, str) else getattr(upstream, "label", upstream)
    if not found:
        raise GraphError(
            f"{reader.label!r} does not read {named!r}.",
            found=f"upstreams {listed(one.label for one in reader.upstream)}",
            hint=did_you_mean(str(named), [one.label for one in reader.upstream]),
        )
    raise GraphError(
        f"{reader.label!r} reads {named!r} several times.",
        hint=f"Pass the reference that is meant: graph[{reader.label!r}].upstream[0], or another of them.",
    )


def _readers(nodes: Nodes, node: ComputeNode) -> list[ComputeNode]:
    return [one for one in nodes.values() if node.label in upstream_labels(one)]


def _known(nodes: Nodes, given: Any) -> ComputeNode:
    label = given.label if isinstance(given, GraphNode | ModelIOReference) else given
    if not isinstance(label, str) or label not in nodes:
        raise GraphError(f"The graph has no node {label!r}.", hint=did_you_mean(str(label), nodes))
    if isinstance(given, GraphNode) and nodes[label] is not given:
        raise GraphError(f"The graph's {label!r} is another node than the one that is given.")
    return nodes[label]


def _new(nodes: Nodes, node: Any) -> ComputeNode:
    if not isinstance(node, ComputeNode):
        raise GraphError(
            "A graph consists of compute nodes.",
            expected="ModelNode, ConcatNode or another ComputeNode",
            found=f"{type(node).__name__}: {node!r}",
            hint="Wrap a model: ModelNode('label', model, upstream).",
        )
    if nodes.get(node.label) is node:
        raise GraphError("The graph has this node already.", where={"node": node.label})
    if node.label in nodes:
        raise GraphError(
            f"The graph has another node called {node.label!r}.",
            hint="Use replace_node, or give the new one another label.",
        )
    return node
