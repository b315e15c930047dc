"""Which nodes of a graph one step executes together, for one request: stages, and who learns with whom.

It decides from nodes, backends and optimizers alone. It knows no rows, roles or values, so that a graph can
be explained before there is data for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from mml.backends import Backend, get_backend
from mml.backends.segment import Mode
from mml.errors import GraphError, listed
from mml.graph.losses.applied_loss import AppliedLoss
from mml.graph.nodes import ComputeNode
from mml.graph.stages import Stage, cut_into_stages, merge_labels, node_backends, sorted_by, with_reads
from mml.graph.topology import upstream_labels, with_ancestors


class Staging:
    """The stages of the nodes that run.

    Parameters
    ----------
    nodes : mapping of str to ComputeNode
        All nodes of the graph.
    order : sequence of str
        Labels of those that run, in topological order.
    mode : {"train", "eval", "fit"}
    learning : sequence of str
        Labels of the nodes that learn or are fitted.
    losses : sequence of AppliedLoss
    graph_wise : bool
        Whether one backward pass serves all nodes that learn by gradient: the graph has an optimizer.

    Attributes
    ----------
    backends : dict of str to str
        By label: where the node runs.
    stages : tuple of Stage
        In the order of execution.
    """

    def __init__(
        self,
        nodes: Mapping[str, ComputeNode],
        order: Sequence[str],
        *,
        mode: Mode,
        learning: Sequence[str],
        losses: Sequence[AppliedLoss] = (),
        graph_wise: bool,
    ) -> None:
        self.nodes = nodes
        self.order = tuple(order)
        self.mode = mode
        self.learning = tuple(learning)
        self.losses = tuple(losses)
        self.graph_wise = graph_wise
        self.backends = node_backends(nodes, self.order, scored=[loss.on for loss in losses])
        self._alone = self._learning_alone()
        self.together = frozenset(self.learning) - self._alone
        self.stages = self._cut()
        self._stage_of = {label: stage for stage in self.stages for label in stage.labels}

    def stage_of(self, label: str) -> Stage:
        """Return the stage of a node that runs."""
        return self._stage_of[label]

    def learns_by_gradient(self, label: str) -> bool:
        """Whether the node, if it learns, does so by gradients."""
        return self.mode == "train" and get_backend(self.backends[label]).capabilities.gradients

    def computes_losses(self, label: str) -> bool:
        """Whether the losses on a node are computed where the node runs."""
        backend = self.backends[label]
        return backend == Backend.NUMPY or get_backend(backend).capabilities.gradients

    def holding(self) -> list[tuple[str, tuple[str, ...]]]:
        """Return, by stage, the backend and the nodes that one backward pass would have to serve."""
        found = [
            (stage.backend, tuple(label for label in stage.labels if label in self.together))
            for stage in self.stages
        ]
        return [(backend, labels) for backend, labels in found if labels]

    def check_graph_wise(self) -> None:
        """Refuse a graph optimizer whose nodes no backward pass reaches together.

        Raises
        ------
        GraphError
            Naming the nodes on either side and the mend.
        """
        holding = self.holding()
        if len(holding) > 1:
            places = [f"{list(labels)} on {backend!r}" for backend, labels in holding]
            places += [self.told(*one) for one in self._crossings_between_learners()]
            raise GraphError(
                "The graph's optimizer cannot train all learning nodes in one backward pass: gradients stop "
                "where values cross from one backend to another.",
                found="; ".join(places),
                hint="Give each of these nodes an optimizer of its own and the graph none, freeze one side, "
                "or train them in phases of their own through active_nodes.",
            )

    def told(self, up: str, down: str) -> str:
        """Say that gradients stop at an edge between two stages, and why."""
        if self.backends[up] == self.backends[down]:
            return f"gradients stop between {up!r} and {down!r}, which are separate stages"
        sides = [f"{one!r} ({self.backends[one]})" for one in (up, down)]
        return f"gradients stop between {' and '.join(sides)}"

    def _crossings_between_learners(self) -> Iterator[tuple[str, str]]:
        """Yield the edges from one backend to another with a node that learns together above and below."""
        above = {label: bool(self.together & with_ancestors(self.nodes, [label])) for label in self.order}
        below = set().union(*(with_ancestors(self.nodes, [label]) for label in self.together))
        for down in self.order:
            for up in upstream_labels(self.nodes[down]):
                if self.backends[up] != self.backends[down] and above[up] and down in below:
                    yield up, down

    def check_compiler(self) -> None:
        """Refuse `jit_compile` where nothing that runs has a compiler.

        Raises
        ------
        GraphError
        """
        running = sorted(set(self.backends.values()))
        if not any(get_backend(name).capabilities.compiler for name in running):
            raise GraphError(
                "The graph asks for jit_compile, and none of its backends has a compiler.",
                found=f"nodes on {listed(running)}",
                hint="Leave jit_compile out.",
            )

    def _learning_alone(self) -> frozenset[str]:
        """Return the learning nodes that are stages of their own."""
        if self.mode == "fit":
            return frozenset(self.learning)
        return frozenset(
            label for label in self.learning if not (self.graph_wise and self.learns_by_gradient(label))
        )

    def _cut(self) -> tuple[Stage, ...]:
        upstream = {label: upstream_labels(self.nodes[label]) for label in self.order}
        sources = with_reads(upstream, self.order, self._read_by_losses())
        return cut_into_stages(
            sources,
            sorted_by(sources, self.order),
            backends=self.backends,
            alone=self._alone,
            together=self.together,
            merges=merge_labels(self.nodes, self.order),
        )

    def _read_by_losses(self) -> Iterable[tuple[str, str]]:
        for loss in self.losses:
            if self.computes_losses(loss.on):
                yield from ((loss.on, str(one.name)) for one in loss.routed if one.domain == "node")
