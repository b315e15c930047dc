"""In which dtype floating values enter a node: that of its model, or of the models around a merge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mml.graph.nodes import ComputeNode
from mml.graph.topology import upstream_labels


class InputDtypes:
    """The dtypes that inputs and targets of nodes are cast to.

    Parameters
    ----------
    nodes : mapping of str to ComputeNode
        All nodes of the graph.
    order : sequence of str
        Labels of those that run, in topological order.
    """

    def __init__(self, nodes: Mapping[str, ComputeNode], order: Sequence[str]) -> None:
        self._nodes = nodes
        self._consumers: dict[str, list[str]] = {label: [] for label in order}
        for label in order:
            for up in upstream_labels(nodes[label]):
                self._consumers[up].append(label)

    def of(self, label: str) -> str | None:
        """Return the dtype that floating inputs and targets are cast to, None to leave them.

        A merge takes the dtype of what it merges, else that of what consumes it.
        """
        model = self._nodes[label].model
        if model is not None:
            return model.dtype
        return _only(self._above(label)) or _only(self._below(label))

    def _above(self, label: str) -> set[str | None]:
        found: set[str | None] = set()
        for up in upstream_labels(self._nodes[label]):
            model = self._nodes[up].model
            found |= self._above(up) if model is None else {model.dtype}
        return found

    def _below(self, label: str) -> set[str | None]:
        found: set[str | None] = set()
        for other in self._consumers[label]:
            model = self._nodes[other].model
            found |= self._below(other) if model is None else {model.dtype}
        return found


def _only(found: set[str | None]) -> str | None:
    known = found - {None}
    return known.pop() if len(known) == 1 else None
