"""`Mutable`: changing the nodes of a graph, each change whole or not at all.

What a change is stands in `changes`. Here it is carried out on the nodes and their context, and undone where
it leaves no valid graph.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection
from typing import Any, Self

from mml.context import ExperimentContext, ExperimentNode
from mml.data import FeatureSetReference
from mml.errors import GraphError, MMLError
from mml.graph.building import build_through
from mml.graph.changes import (
    Change,
    addition,
    insertion_after,
    insertion_before,
    insertion_between,
    removal,
    replacement,
)
from mml.graph.execution import ProgramCache
from mml.graph.nodes import ComputeNode
from mml.graph.optimizers.optimizer import Optimizer
from mml.graph.references import ModelIOReference
from mml.graph.registration import move_in
from mml.graph.run_lock import RunLock
from mml.graph.topology import ordered, upstream_labels


class Mutable(ExperimentNode, ABC):
    """A graph whose nodes can be changed.

    Every method returns the graph, valid, or raises and leaves it as it was: wiring, built models, slots of
    optimizers, and what is registered. A graph that was built stays so: the new node is built at once, and a
    node that was built for another width than it would get is refused, unless `rebuild` allows to build it
    again with new initial values. Programs and slots of nodes that a change does not touch are kept.
    """

    context: ExperimentContext
    run_lock: RunLock
    _nodes: dict[str, ComputeNode]
    _programs: ProgramCache
    _seed: int

    @abstractmethod
    def _looked_up_in(self) -> ExperimentContext:
        """Return where FeatureSets are looked up."""

    @abstractmethod
    def optimizers(self) -> dict[str, Optimizer]:
        """Return all optimizers."""

    def add_node(self, node: ComputeNode) -> Self:
        """Add a node that reads from nodes of the graph or from FeatureSets.

        Parameters
        ----------
        node : ComputeNode

        Raises
        ------
        GraphError
            If the graph has its label, or has not what it reads.
        """
        return self._mutate(lambda nodes: addition(nodes, node))

    def remove_node(self, node: str | ComputeNode, *, rebuild: bool = False) -> Self:
        """Remove a node; those that read it read from then on what it read.

        Parameters
        ----------
        node : str or ComputeNode
        rebuild : bool
            Build nodes that get another width again, with new initial values.

        Raises
        ------
        GraphError
            If a reader cannot read what the node read, or would get another width.
        """
        return self._mutate(lambda nodes: removal(nodes, node), rebuild=rebuild)

    def replace_node(self, old: str | ComputeNode, new: ComputeNode, *, rebuild: bool = False) -> Self:
        """Put a node in the place of another one.

        A node with one upstream reads what the old one read, whatever it was made with; one that merges
        several keeps the wiring that it was made with. It may have the label of the old one, if it was made
        where that label was free.

        Parameters
        ----------
        old : str or ComputeNode
        new : ComputeNode
        rebuild : bool
            Build nodes that get another width again, with new initial values.

        Raises
        ------
        GraphError
        """
        return self._mutate(lambda nodes: replacement(nodes, old, new), rebuild=rebuild)

    def insert_node_between(
        self, node: ComputeNode, upstream: Any, downstream: str | ComputeNode, *, rebuild: bool = False
    ) -> Self:
        """Put a node on the way from one place to one of its readers.

        Parameters
        ----------
        node : ComputeNode
            With one upstream it is wired to the place; with several it has to read the place already.
        upstream : str, node, FeatureSet or reference
        downstream : str or ComputeNode
            A node that reads `upstream`.
        rebuild : bool
            Build nodes that get another width again, with new initial values.

        Raises
        ------
        GraphError
        """
        return self._mutate(
            lambda nodes: insertion_between(nodes, node, upstream, downstream), rebuild=rebuild
        )

    def insert_node_before(
        self, node: ComputeNode, downstream: str | ComputeNode, *, rebuild: bool = False
    ) -> Self:
        """Put a node on the way to another one, which reads one upstream.

        Parameters
        ----------
        node, downstream, rebuild
            See `insert_node_between`.

        Raises
        ------
        GraphError
        """
        return self._mutate(lambda nodes: insertion_before(nodes, node, downstream), rebuild=rebuild)

    def insert_node_after(
        self, node: ComputeNode, upstream: str | ComputeNode, *, rebuild: bool = False
    ) -> Self:
        """Put a node on the way from another one to all that read it.

        Parameters
        ----------
        node, upstream, rebuild
            See `insert_node_between`.

        Raises
        ------
        GraphError
        """
        return self._mutate(lambda nodes: insertion_after(nodes, node, upstream), rebuild=rebuild)

    def _mutate(self, changing: Any, *, rebuild: bool = False) -> Self:
        if self.run_lock.is_held or not self.run_lock.acquire(blocking=False):
            raise GraphError(
                "The graph is being run.",
                where={"graph": self.label},
                hint="Change its nodes between two runs, phases or steps.",
            )
        try:
            self._carry_out(changing(self._nodes), rebuild=rebuild)
        except MMLError as error:
            raise error.located({"graph": self.label}) from error.__cause__
        finally:
            self.run_lock.release()
        return self

    def _carry_out(self, change: Change, *, rebuild: bool) -> None:
        contexts = {id(one): one for one in (self.context, ExperimentContext.process_default())}
        put_back = [one.remember() for one in ({**self._nodes, **change.nodes}.values())]
        put_back += [one.remember() for one in contexts.values()]
        try:
            nodes = _wired(change)
            self._move(change)
            rebuilt = self._built(nodes, change, rebuild=rebuild)
        except BaseException:
            for one in put_back:
                one()
            raise
        self._nodes = nodes
        self._wire()
        gone = () if change.removed is None else (change.removed,)
        for node in gone:
            node.downstream = ()
        labels = [*(node.label for node in gone), *rebuilt]
        self._forget_programs({*change.wiring, *labels})
        for optimizer in self.optimizers().values():
            for label in labels:
                optimizer.forget(label)

    def _move(self, change: Change) -> None:
        """Let the context of the graph know the nodes that there will be, and no others."""
        removed, added = change.removed, change.added
        if removed is not None and removed in self.context:
            self.context.remove(removed.uuid)
        if added is not None:
            read = [one for one in added.upstream if isinstance(one, FeatureSetReference)]
            move_in(self.context, nodes=[added], references=read, home=self.context)

    def _built(self, nodes: dict[str, ComputeNode], change: Change, *, rebuild: bool) -> tuple[str, ...]:
        """Build the new node where the graph was built; return the labels of those that were built again."""
        if not any(node.is_built for node in self._nodes.values()):
            return ()
        new = () if change.added is None else (change.added.label,)
        return build_through(nodes, new=new, seed=self._seed, context=self._looked_up_in(), rebuild=rebuild)

    def _wire(self) -> None:
        """Tell every node who reads from it."""
        for label, node in self._nodes.items():
            node.downstream = tuple(
                ModelIOReference(label=other.label, uuid=other.uuid)
                for other in self._nodes.values()
                if label in upstream_labels(other)
            )

    def _forget_programs(self, labels: Collection[str]) -> None:
        """Drop the programs in which a node runs that is gone, reads something else, or was built again."""
        touched = [
            key
            for key, (segment, _) in self._programs.items()
            if any(call.node in labels for call in segment.calls)
        ]
        for key in touched:
            del self._programs[key]


def _wired(change: Change) -> dict[str, ComputeNode]:
    """Wire the nodes of a change and return all of them in topological order."""
    for label, wiring in change.wiring.items():
        change.nodes[label].rewire(wiring.upstream, renamed=wiring.renamed)
    return {label: change.nodes[label] for label in ordered(change.nodes)}
