"""How a graph is cut into segments: which nodes one step executes together, and in which order.

With a graph optimizer all learning nodes of one backend share a segment; without, each learning node is a
stage of its own and gradients stop at its border. Nodes that do not learn join what they can.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from mml.backends import Backend
from mml.graph.nodes import ComputeNode, MergeNode, ModelNode
from mml.graph.topology import upstream_labels

Sources = Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Stage:
    """The nodes of one segment, in order."""

    backend: str
    level: int
    labels: tuple[str, ...]


def node_backends(
    nodes: Mapping[str, ComputeNode], order: Sequence[str], *, scored: Iterable[str] = ()
) -> dict[str, str]:
    """Return the backend of each node; a merge runs where it is consumed, else where it comes from.

    Where several backends consume a merge, or a loss reads it, the one that its upstreams run on goes first,
    so that gradients pass through it.

    Parameters
    ----------
    nodes, order
        The nodes that run, in topological order.
    scored : iterable of str
        Labels of the nodes that losses are applied on.
    """
    backends = {label: node.backend for label in order if isinstance(node := nodes[label], ModelNode)}
    above: dict[str, set[str]] = {}
    for label in order:
        ups = upstream_labels(nodes[label])
        above[label] = {backends[label]} if label in backends else set().union(*(above[up] for up in ups))
    scored = set(scored)
    for label in reversed(order):
        if label in backends:
            continue
        wanted = [backends[other] for other in order if label in upstream_labels(nodes[other])]
        native = [backend for backend in wanted if backend in above[label]]
        if len(above[label]) == 1 and (not wanted or label in scored):
            native = list(above[label])
        backends[label] = next(iter([*native, *wanted]), Backend.NUMPY)
    return backends


def cut_into_stages(
    sources: Sources,
    order: Sequence[str],
    *,
    backends: Mapping[str, str],
    alone: frozenset[str],
    together: frozenset[str] = frozenset(),
    merges: frozenset[str] = frozenset(),
) -> tuple[Stage, ...]:
    """Group nodes into stages and put the stages in order.

    Parameters
    ----------
    sources : mapping of str to tuple of str
        By label: the labels whose values it reads, as inputs or for its losses.
    order : sequence of str
        Labels of the nodes that run, sources first.
    backends : mapping of str to str
    alone : frozenset of str
        Labels of the nodes that are a stage of their own.
    together : frozenset of str
        Labels of the nodes that belong in one stage. Where what lies between them does not allow it, they
        end in several.
    merges : frozenset of str
        Labels of the nodes that join the one stage that consumes them.
    """
    cut = _Cut(sources, order, backends, alone)
    levels = cut.latest(together)
    keys = {label: (backends[label], levels[label], label if label in alone else "") for label in order}
    consumers = cut.consumers
    for label in reversed(order):
        consuming = {keys[other] for other in consumers[label]}
        if label in merges and len(consuming) == 1 and keys[label][:2] == next(iter(consuming))[:2]:
            keys[label] = consuming.pop()
    groups: dict[tuple[str, int, str], list[str]] = {}
    for label in order:
        groups.setdefault(keys[label], []).append(label)
    # Within a level, what learns alone comes after the constants that it may read.
    ranked = sorted(
        groups.items(), key=lambda group: (group[0][1], group[0][2] != "", order.index(group[1][0]))
    )
    return tuple(Stage(backend, level, tuple(labels)) for (backend, level, _), labels in ranked)


def merge_labels(nodes: Mapping[str, ComputeNode], order: Iterable[str]) -> frozenset[str]:
    """Return the labels of the merges."""
    return frozenset(label for label in order if isinstance(nodes[label], MergeNode))


@dataclass(frozen=True)
class _Cut:
    """Levels: a value crosses a border where its level is below that of its reader."""

    sources: Sources
    order: Sequence[str]
    backends: Mapping[str, str]
    alone: frozenset[str]

    @property
    def consumers(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {label: [] for label in self.order}
        for label in self.order:
            for up in self.sources[label]:
                found[up].append(label)
        return found

    def border(self, up: str, down: str) -> int:
        return int(self.backends[up] != self.backends[down] or up in self.alone)

    def earliest(self, floor: Mapping[str, int]) -> dict[str, int]:
        levels: dict[str, int] = {}
        for label in self.order:
            found = [levels[up] + self.border(up, label) for up in self.sources[label]]
            levels[label] = max([floor.get(label, 0), *found])
        return levels

    def gathered(self, together: frozenset[str]) -> dict[str, int]:
        """Raise the nodes that belong together to the highest one's level; give up where they drift apart."""
        levels = self.earliest({})
        while together:
            floor = dict.fromkeys(together, max(levels[label] for label in together))
            raised = self.earliest(floor)
            if raised == levels or max(raised.values()) > 2 * len(self.order):
                break
            levels = raised
        return levels

    def latest(self, together: frozenset[str]) -> dict[str, int]:
        """Push every node as late as its consumers allow, so that nodes of one backend meet in one level."""
        earliest, consumers = self.gathered(together), self.consumers
        fixed = self._below(together, earliest)
        last: dict[str, int] = {}
        for label in self.order:
            last[self.backends[label]] = max(last.get(self.backends[label], 0), earliest[label])
        levels: dict[str, int] = {}
        for label in reversed(self.order):
            levels[label] = (
                earliest[label]
                if label in fixed
                else min(
                    (levels[other] - self.border(label, other) for other in consumers[label]),
                    default=last[self.backends[label]],
                )
            )
        return levels

    def _below(self, together: frozenset[str], levels: Mapping[str, int]) -> set[str]:
        """Return the nodes that belong together and all that gradients can reach them through."""
        found = set(together)
        for label in self.order:
            if any(
                up in found and not self.border(up, label) and levels[up] == levels[label]
                for up in self.sources[label]
            ):
                found.add(label)
        return found


def with_reads(
    sources: Sources, order: Sequence[str], reads: Iterable[tuple[str, str]]
) -> dict[str, tuple[str, ...]]:
    """Let nodes wait for others that their losses read, wherever that makes no circle.

    Parameters
    ----------
    sources : mapping of str to tuple of str
    order : sequence of str
    reads : iterable of (str, str)
        Which node's loss reads which other node.
    """
    known = {label: tuple(sources[label]) for label in order}
    for label, other in reads:
        if other not in known[label] and label not in _above(known, other):
            known[label] = (*known[label], other)
    return known


def sorted_by(sources: Sources, order: Sequence[str]) -> tuple[str, ...]:
    """Return the labels with sources first, in the given order otherwise."""
    done: dict[str, None] = {}
    waiting = list(order)
    while waiting:
        ready = next(label for label in waiting if all(up in done for up in sources[label]))
        done[ready] = None
        waiting.remove(ready)
    return tuple(done)


def _above(sources: Sources, label: str) -> set[str]:
    found: set[str] = set()
    waiting = [label]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting.extend(sources[one])
    return found
