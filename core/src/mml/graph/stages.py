"""How a graph is cut into segments: which nodes one step executes together, and in which order.

With a graph optimizer all learning nodes of one backend share a segment; without, each learning node is a
stage of its own and gradients stop at its border. Nodes that do not learn join what they can.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mml.backends import Backend
from mml.graph.nodes import ComputeNode, ModelNode
from mml.graph.topology import upstream_labels


@dataclass(frozen=True)
class Stage:
    """The nodes of one segment, in order."""

    backend: str
    level: int
    labels: tuple[str, ...]


def node_backends(nodes: Mapping[str, ComputeNode], order: Sequence[str]) -> dict[str, str]:
    """Return the backend of each node; a merge runs where it is consumed, else where it comes from."""
    backends = {label: node.backend for label in order if isinstance(node := nodes[label], ModelNode)}
    for label in reversed(order):
        if label in backends:
            continue
        consumers = [other for other in order if label in upstream_labels(nodes[other])]
        wanted = next((backends[other] for other in consumers), None)
        if wanted is not None:
            backends[label] = wanted
    for label in order:
        if label not in backends:
            sources = {backends[up] for up in upstream_labels(nodes[label])}
            backends[label] = sources.pop() if len(sources) == 1 else Backend.NUMPY
    return backends


def cut_into_stages(
    nodes: Mapping[str, ComputeNode],
    order: Sequence[str],
    *,
    backends: Mapping[str, str],
    alone: frozenset[str],
) -> tuple[Stage, ...]:
    """Group nodes into stages and put the stages in order.

    Parameters
    ----------
    nodes, order
        The nodes that run, in topological order.
    backends : mapping of str to str
    alone : frozenset of str
        Labels of the nodes that are a stage of their own.
    """
    levels = _latest(nodes, order, backends, alone, _earliest(nodes, order, backends, alone))
    groups: dict[tuple[str, int, str], list[str]] = {}
    for label in order:
        key = (backends[label], levels[label], label if label in alone else "")
        groups.setdefault(key, []).append(label)
    # Within a level, what learns alone comes after the constants that it may read.
    ranked = sorted(
        groups.items(), key=lambda group: (group[0][1], group[0][2] != "", order.index(group[1][0]))
    )
    return tuple(Stage(backend, level, tuple(labels)) for (backend, level, _), labels in ranked)


def _border(up: str, down: str, backends: Mapping[str, str], alone: frozenset[str]) -> int:
    return int(backends[up] != backends[down] or up in alone)


def _earliest(
    nodes: Mapping[str, ComputeNode], order: Sequence[str], backends: Mapping[str, str], alone: frozenset[str]
) -> dict[str, int]:
    levels: dict[str, int] = {}
    for label in order:
        levels[label] = max(
            (levels[up] + _border(up, label, backends, alone) for up in upstream_labels(nodes[label])),
            default=0,
        )
    return levels


def _latest(
    nodes: Mapping[str, ComputeNode],
    order: Sequence[str],
    backends: Mapping[str, str],
    alone: frozenset[str],
    earliest: dict[str, int],
) -> dict[str, int]:
    """Push every node as late as its consumers allow, so that nodes of one backend meet in one level."""
    last = {
        backend: max(earliest[label] for label in order if backends[label] == backend)
        for backend in set(backends[label] for label in order)
    }
    levels: dict[str, int] = {}
    for label in reversed(order):
        consumers = [other for other in order if label in upstream_labels(nodes[other])]
        levels[label] = min(
            (levels[other] - _border(label, other, backends, alone) for other in consumers),
            default=last[backends[label]],
        )
    return levels
