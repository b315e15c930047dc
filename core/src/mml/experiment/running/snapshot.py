"""`Snapshot`: what a phase or a preview may change in a graph, to put it back."""

from __future__ import annotations

from mml.graph import ModelGraph, ModelNode


class Snapshot:
    """A graph as it is now.

    Parameters
    ----------
    graph : ModelGraph
    values : bool
        Keep all values, too; where nothing can learn, only the freezing can change.
    """

    def __init__(self, graph: ModelGraph, *, values: bool) -> None:
        self._graph = graph
        self._state = graph.get_state() if values else None
        self._frozen = {
            label: node.frozen_by for label, node in graph.nodes.items() if isinstance(node, ModelNode)
        }

    def restore(self) -> None:
        """Put everything back, bit for bit."""
        if self._state is not None:
            self._graph.set_state(self._state)
        self._graph.set_frozen(self._frozen)
