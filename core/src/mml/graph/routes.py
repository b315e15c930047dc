"""Which data reaches which node: lanes, roles and row masks along the edges, targets and tags through merges.

It answers for one request where a node's rows come from. It knows nothing of losses, segments, backends or
learning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from mml.data import ColumnSource
from mml.errors import GraphError, PhaseError
from mml.graph.dtypes import InputDtypes
from mml.graph.losses.routing import DEFAULT_ROLE
from mml.graph.nodes import ComputeNode, MergeNode
from mml.graph.plan import BY_KEY, TARGETS, DataInput, Joined, Lane
from mml.graph.references import ModelIOReference
from mml.graph.topology import upstream_labels

Pairs: TypeAlias = frozenset[tuple[str, str]]
Carried: TypeAlias = DataInput | Joined | None


class Routes:
    """The ways of data through the nodes of one request.

    Parameters
    ----------
    nodes : mapping of str to ComputeNode
        All nodes of the graph.
    order : sequence of str
        Labels of those that run, in topological order.
    lanes : sequence of Lane

    Raises
    ------
    PhaseError
        If a running node reads data that no lane brings.
    GraphError
        If the upstreams of a node carry different roles.
    """

    def __init__(self, nodes: Mapping[str, ComputeNode], order: Sequence[str], lanes: Sequence[Lane]) -> None:
        self.nodes = nodes
        self.order = tuple(order)
        self.lanes = {lane.name: lane for lane in lanes}
        self._dtypes = InputDtypes(nodes, self.order)
        self.roles = self._roles()

    @staticmethod
    def key(label: str, role: str) -> str:
        """Return the name of a node's output for one role."""
        return label if role == DEFAULT_ROLE else f"{label}:{role}"

    def lane_names(self, label: str) -> list[str | None]:
        """Return, for each upstream, the lane it reads or None for a node."""
        node = self.nodes[label]
        several = len(node.upstream) > 1
        return [
            None if isinstance(one, ModelIOReference) else (f"{label}[{number}]" if several else label)
            for number, one in enumerate(node.upstream)
        ]

    def lane(self, name: str, label: str) -> Lane:
        """Return the lane of this name, which a node reads."""
        if name not in self.lanes:
            raise PhaseError(
                "A node that reads data has no input binding.",
                where={"node": label},
                expected=f"an InputBinding for {name!r}",
                found=f"bindings for {sorted(self.lanes)}",
                hint="Add the binding, or leave the node out through active_nodes.",
            )
        return self.lanes[name]

    def _roles(self) -> dict[str, tuple[str, ...]]:
        roles: dict[str, tuple[str, ...]] = {}
        for label in self.order:
            known = [self.lane(name, label).roles for name in self.lane_names(label) if name is not None]
            known += [roles[up] for up in upstream_labels(self.nodes[label])]
            if len(set(known)) != 1:
                raise GraphError(
                    "The upstreams of a merge carry different roles.",
                    where={"node": label},
                    found=" and ".join(str(one) for one in dict.fromkeys(known)),
                    hint="Bind samplers with the same roles to them.",
                )
            roles[label] = known[0]
        return roles

    def pairs(self, label: str, role: str) -> Pairs:
        """Return the lanes, with the role, whose rows must all be live for a row of the node to be."""
        pairs = {(name, role) for name in self.lane_names(label) if name is not None}
        for up in upstream_labels(self.nodes[label]):
            pairs |= self.pairs(up, role)
        return frozenset(pairs)

    def dtype(self, label: str) -> str | None:
        """Return the dtype that a node's floating inputs and targets are cast to, None to leave them."""
        return self._dtypes.of(label)

    # --- targets and tags ------------------------------------------------------------------------------

    def carried(self, label: str, role: str, domain: str = TARGETS) -> Carried:
        """Return what a node carries on as its targets or tags, None where there are none."""
        return self._carried(label, role, domain, self.dtype(label))

    def _carried(self, label: str, role: str, domain: str, dtype: str | None) -> Carried:
        node = self.nodes[label]
        parts = [
            self._carried(one.label, role, domain, dtype)
            if name is None
            else whole_domain(self.lane(name, label), role, domain, dtype)
            for one, name in zip(node.upstream, self.lane_names(label), strict=True)
        ]
        if not isinstance(node, MergeNode):
            return parts[0]
        how = node.targets if domain == TARGETS else node.tags
        if how == "mean" or isinstance(how, int):
            present = tuple(part for part in parts if part is not None)
            return Joined(present, how, dtype) if present else None
        if how == "first" and domain == TARGETS:
            self._check_same(node, parts)
        return parts[_chosen(node, how)]

    def _check_same(self, node: MergeNode, parts: Sequence[Carried]) -> None:
        """Refuse `first` where it would drop targets that the first upstream does not have."""
        if any(not self._equal(parts[0], other) for other in parts[1:]):
            bringing = next(one.label for one, part in zip(node.upstream, parts, strict=True) if part)
            raise GraphError(
                "The upstreams of a merge carry different targets, so 'first' would drop some unasked.",
                where={"node": node.label},
                found="; ".join(
                    f"{one.label!r}: {self._described(part)}"
                    for one, part in zip(node.upstream, parts, strict=True)
                ),
                hint=f"Name the upstream whose targets count, as in {node.targets_argument}="
                f"{bringing!r}, or give an axis to join them.",
            )

    def _equal(self, one: Carried, other: Carried) -> bool:
        if isinstance(one, Joined) and isinstance(other, Joined):
            return (
                one.how == other.how
                and len(one.parts) == len(other.parts)
                and all(self._equal(a, b) for a, b in zip(one.parts, other.parts, strict=True))
            )
        if not isinstance(one, DataInput) or not isinstance(other, DataInput):
            return one is other
        first, second = self.lanes[one.lane].source, self.lanes[other.lane].source
        return one.columns == other.columns and same_data(first, second)

    def _described(self, part: Carried) -> str:
        if part is None:
            return "none"
        if isinstance(part, Joined):
            return " + ".join(self._described(one) for one in part.parts)
        return f"{', '.join(part.columns)} of lane {part.lane!r}"

    def identity(self, label: str, domain: str = TARGETS) -> str:
        """Return the lane whose samples a node's rows stand for: where a merge does not say, its first."""
        node, names = self.nodes[label], self.lane_names(label)
        number = 0
        if isinstance(node, MergeNode):
            how = node.targets if domain == TARGETS else node.tags
            number = 0 if how == "mean" or isinstance(how, int) else _chosen(node, how)
        name = names[number]
        return self.identity(node.upstream[number].label, domain) if name is None else name


def _chosen(node: MergeNode, how: object) -> int:
    if how in ("first", "last"):
        return 0 if how == "first" else len(node.upstream) - 1
    return [one.label for one in node.upstream].index(str(how))


def whole_domain(lane: Lane, role: str, domain: str, dtype: str | None) -> DataInput | None:
    """Return all columns of a domain that a lane's reference selects, None where it selects none."""
    columns = lane.columns.get(domain, ())
    # A dict is a form for models, and no loss or estimator takes its targets so.
    combine = None if lane.combine == BY_KEY else lane.combine
    return DataInput(lane.name, role, columns, dtype, combine) if columns else None


def same_data(one: ColumnSource, other: ColumnSource) -> bool:
    """Whether two snapshots hold the same samples."""
    same = one.collection is other.collection
    # The fingerprint of a large collection takes a pass over it, so identity is asked first.
    return same or one.collection.fingerprint == other.collection.fingerprint
