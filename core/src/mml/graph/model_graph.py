"""`ModelGraph`: the nodes of an architecture, checked, built and run together.

The graph owns the nodes and the programs made of them. It knows what a phase asks of it (a `Request`), not
what a phase is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from mml.context import ExperimentContext
from mml.data import FeatureSetReference
from mml.errors import ConfigError, GraphError, MMLError, did_you_mean
from mml.graph.building import build_nodes, initial_seed
from mml.graph.described import Asking, Described
from mml.graph.execution import Execution, ProgramCache
from mml.graph.forwarding import forward_arrays
from mml.graph.mutable import Mutable
from mml.graph.nodes import ComputeNode, GraphNode, ModelNode
from mml.graph.nodes.registry import node_from_config
from mml.graph.optimizers.optimizer import Optimizer, as_optimizer
from mml.graph.plan import Plan, Request
from mml.graph.planner import Planner
from mml.graph.registration import is_known, move_in
from mml.graph.run_lock import RunLock
from mml.graph.states import GraphStates
from mml.graph.steppable import Steppable
from mml.graph.topology import heads, labels_of, ordered, tails
from mml.protocols import Config, State

if TYPE_CHECKING:
    from mml.visualize import GraphPicture

DEFAULT_LABEL = "model-graph"


class ModelGraph(Mutable, Steppable, Described):
    """A directed acyclic graph of models and merges.

    Parameters
    ----------
    nodes : iterable of ComputeNode
        Every node, in any order.
    optimizer : Optimizer or str, optional
        Trains all learning nodes in one backward pass; without it each learning node is trained by an
        optimizer of its own, stage by stage.
    jit_compile : bool
        Hand what runs to the optimising compilers of the backends that have one. The first step takes
        longer and the others less; results may differ in the last bits from those without.
    label : str

    Raises
    ------
    GraphError
        If the graph has a cycle, a reference to a node that it does not have, or two nodes of one label.

    Examples
    --------
    >>> graph = ModelGraph([encoder, head], optimizer=Optimizer("adam", lr=1e-3))  # doctest: +SKIP
    """

    def __init__(
        self,
        nodes: Iterable[ComputeNode],
        *,
        optimizer: Optimizer | str | None = None,
        jit_compile: bool = False,
        label: str = DEFAULT_LABEL,
        uuid: str | None = None,
    ) -> None:
        super().__init__(label, uuid=uuid)
        self._nodes = _by_label(nodes, label)
        try:
            self.optimizer = as_optimizer(optimizer)
            order = ordered(self._nodes)
        except MMLError as error:
            raise error.located({"graph": label}) from error.__cause__
        self._nodes = {name: self._nodes[name] for name in order}
        if not isinstance(jit_compile, bool):
            raise GraphError(
                "`jit_compile` is True or False.", where={"graph": label}, found=repr(jit_compile)
            )
        self.jit_compile = jit_compile
        self._programs: ProgramCache = {}
        self.run_lock = RunLock()
        self.context = ExperimentContext.active()
        self._seed = 0
        self._n_steps = 0
        self._wire()
        # The default label is nobody's claim: a second graph without a label of its own clashes with no one.
        if label != DEFAULT_LABEL or DEFAULT_LABEL not in ExperimentContext.active():
            self._register()

    def enter(self, context: ExperimentContext) -> None:
        """Move into a context, with the nodes and the FeatureSets that they read.

        What a mutation adds or removes is registered or removed there from then on. Labels that the process
        default context holds become free again. Entering again takes in what was made meanwhile.
        """
        nodes = (self, *self._nodes.values())
        move_in(context, nodes=nodes, references=self.references, home=self.context)
        self.context = context

    @property
    def nodes(self) -> Mapping[str, ComputeNode]:
        """The nodes by label, in topological order."""
        return dict(self._nodes)

    def __getitem__(self, label: str) -> ComputeNode:
        if label not in self._nodes:
            raise GraphError(
                f"The graph has no node {label!r}.",
                where={"graph": self.label},
                hint=did_you_mean(label, self._nodes),
            )
        return self._nodes[label]

    def __contains__(self, label: object) -> bool:
        return label in self._nodes

    @property
    def head_nodes(self) -> tuple[str, ...]:
        """Labels of the nodes that read from a FeatureSet."""
        return heads(self._nodes)

    @property
    def tail_nodes(self) -> tuple[str, ...]:
        """Labels of the nodes that no other node reads from."""
        return tails(self._nodes)

    @property
    def references(self) -> tuple[FeatureSetReference, ...]:
        """The FeatureSets that the graph reads from, each reference once."""
        found = [
            one
            for node in self._nodes.values()
            for one in node.upstream
            if isinstance(one, FeatureSetReference)
        ]
        return tuple(dict.fromkeys(found))

    def _looked_up_in(self) -> ExperimentContext:
        """Return where FeatureSets are looked up: the active context if it knows them, else the own one."""
        active = ExperimentContext.active()
        return active if all(is_known(one, active) for one in self.references) else self.context

    @property
    def is_built(self) -> bool:
        """Whether every node is ready to run."""
        return all(node.is_built for node in self._nodes.values())

    def build(self, *, seed: int | None = None, context: ExperimentContext | None = None) -> ModelGraph:
        """Infer shapes from the references and build every node whose input is known.

        No data is read. A node below one whose width only fitting can tell is built after that.

        Parameters
        ----------
        seed : int, optional
            Each declared model draws its initial values from the stream of its label under this seed.
        context : ExperimentContext, optional
            Where FeatureSets are looked up; the active one where left out, if it knows them, else the one
            that the graph is at home in.

        Raises
        ------
        ShapeError
            If shapes do not fit; both nodes are named.
        """
        if seed is not None:
            self._seed = seed
        try:
            found = self._looked_up_in() if context is None else context
            build_nodes(self._nodes, seed=self._seed, context=found)
        except MMLError as error:
            raise error.located({"graph": self.label}) from error.__cause__
        return self

    def plan(self, request: Request) -> Plan:
        """Return how the graph would answer a phase's request."""
        try:
            planner = Planner(self._nodes, self.optimizer, request, jit_compile=self.jit_compile)
            return planner.plan()
        except MMLError as error:
            raise error.located({"graph": self.label}) from error.__cause__

    def prepare(self, request: Request, *, context: ExperimentContext | None = None) -> Execution:
        """Make a phase's request executable; programs are compiled at first use and kept."""
        return Execution(self.plan(request), self._programs, lambda: self._rebuild(context))

    def _rebuild(self, context: ExperimentContext | None) -> None:
        self.build(context=context)

    def forward(
        self,
        inputs: Mapping[str, np.ndarray | Mapping[str, np.ndarray]] | np.ndarray,
        *,
        active_nodes: str | GraphNode | Iterable[str | GraphNode] | None = None,
    ) -> dict[str, np.ndarray]:
        """Run the graph in inference mode on arrays.

        Parameters
        ----------
        inputs : mapping of str to ndarray or to mapping of str to ndarray, or ndarray
            By head node, an array ``(rows, *input_shape)``, or such arrays by column for a model that takes
            them so; a lone array for a graph with one head.
        active_nodes : str, node, or iterable of them, optional
            The nodes whose outputs are wanted; what they depend on runs too. All where left out.

        Returns
        -------
        dict of str to ndarray
            Outputs by node label, for the active nodes.
        """
        if isinstance(inputs, np.ndarray):
            if len(self.head_nodes) != 1:
                raise GraphError(
                    "A graph with several heads needs its inputs by head.",
                    where={"graph": self.label},
                    expected=f"a mapping with {list(self.head_nodes)}",
                )
            inputs = {self.head_nodes[0]: inputs}
        try:
            active = None if active_nodes is None else labels_of(active_nodes)
            return forward_arrays(self._nodes, inputs, active)
        except MMLError as error:
            raise error.located({"graph": self.label}) from error.__cause__

    def freeze(self, labels: str | GraphNode | Iterable[str | GraphNode] | None = None) -> None:
        """Freeze model nodes, given by label or themselves; all where none are given."""
        for node in self._model_nodes(labels):
            node.freeze()

    def unfreeze(self, labels: str | GraphNode | Iterable[str | GraphNode] | None = None) -> None:
        """Unfreeze model nodes, given by label or themselves; all where none are given."""
        for node in self._model_nodes(labels):
            node.unfreeze()

    def _model_nodes(self, labels: str | GraphNode | Iterable[str | GraphNode] | None) -> list[ModelNode]:
        chosen = [self[one] for one in (self._nodes if labels is None else labels_of(labels))]
        return [node for node in chosen if isinstance(node, ModelNode)]

    def optimizers(self) -> dict[str, Optimizer]:
        """Return all optimizers: the graph's under ``"graph"``, a node's under its label."""
        found = {} if self.optimizer is None else {"graph": self.optimizer}
        for node in self._model_nodes(None):
            if node.optimizer is not None:
                found[node.label] = node.optimizer
        return found

    def reset(self, *, seed: int | None = None) -> None:
        """Return every model to its initial values and every optimizer to its first step."""
        self._n_steps = 0
        if seed is not None:
            self._seed = seed
        for node in self._model_nodes(None):
            node.reset(seed=initial_seed(self._seed, node.label))
        for optimizer in self.optimizers().values():
            optimizer.forget()

    def set_frozen(self, frozen: Mapping[str, str | None]) -> None:
        """Put back who froze each node, as `ModelNode.frozen_by` told it; nodes left out stay as they are."""
        for node in self._model_nodes(None):
            if node.label in frozen:
                node.restore_frozen(frozen[node.label])

    def visualize(self, phase: Asking | None = None) -> GraphPicture:
        """Return a picture: ``str()`` is Mermaid text, a notebook shows an SVG, and either can be saved.

        Parameters
        ----------
        phase : ExperimentPhase, optional
            Show the graph in this phase, with its losses and samplers.
        """
        # From outside the floors, which reads what this graph tells of itself.
        from mml.visualize import GraphPicture, drawing_of

        return GraphPicture(drawing_of(self, phase))

    def get_config(self) -> Config:
        """Return nodes, optimizer and label."""
        return {
            "label": self.label,
            "uuid": self.uuid,
            "nodes": [node.get_config() for node in self._nodes.values()],
            "optimizer": None if self.optimizer is None else self.optimizer.get_config(),
            "jit_compile": self.jit_compile,
        }

    @classmethod
    def from_config(cls, config: Config) -> ModelGraph:
        """Build an equal graph with untrained values."""
        optimizer = config.get("optimizer")
        return cls(
            [node_from_config(one) for one in config["nodes"]],
            optimizer=None if optimizer is None else Optimizer.from_config(optimizer),
            jit_compile=config.get("jit_compile", False),
            label=config["label"],
            uuid=config.get("uuid"),
        )

    def get_state(self) -> State:
        """Return the values of all models and optimizers, bit for bit."""
        return self._states().get()

    def set_state(self, state: State) -> None:
        """Put values back; refuse a state of other nodes, changing nothing.

        A node whose width only fitting can tell is built as soon as the state of what is upstream is back.

        Raises
        ------
        StateError
            If the state belongs to other nodes or optimizers, or an entry does not fit.
        """
        try:
            self._states().put(state)
        except MMLError as error:
            raise error.located({"graph": self.label}) from error.__cause__

    def get_trainable_state(self) -> State:
        """Return the values of all that a TrainPhase can change: models that can learn, and optimizers."""
        return self._states().get_trainable()

    def set_trainable_state(self, state: State) -> None:
        """Put back what `get_trainable_state` returned; who is frozen by now stays so."""
        try:
            self._states().put_trainable(state)
        except MMLError as error:
            raise error.located({"graph": self.label}) from error.__cause__

    def _states(self) -> GraphStates:
        return GraphStates(
            {node.label: node for node in self._model_nodes(None)},
            self.optimizers(),
            build=self.build,
            unbuild=lambda node: node.unbuild(seed=initial_seed(self._seed, node.label)),
        )

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, ModelGraph):
            return NotImplemented
        try:
            return self.get_config() == other.get_config()
        except ConfigError:
            return False

    def __hash__(self) -> int:
        return hash(self.uuid)

    def __repr__(self) -> str:
        return f"ModelGraph({self.label!r}, {' -> '.join(self._nodes)})"


def _by_label(nodes: Iterable[ComputeNode], graph: str) -> dict[str, ComputeNode]:
    listed = list(nodes) if isinstance(nodes, Iterable) else []
    if not listed:
        raise GraphError("A graph needs nodes.", where={"graph": graph}, found=repr(nodes))
    found: dict[str, ComputeNode] = {}
    for node in listed:
        if not isinstance(node, ComputeNode):
            raise GraphError(
                "A graph consists of compute nodes.",
                where={"graph": graph},
                expected="ModelNode, ConcatNode or another ComputeNode",
                found=f"{type(node).__name__}: {node!r}",
                hint="Wrap a model: ModelNode('label', model, upstream).",
            )
        if found.setdefault(node.label, node) is not node:
            raise GraphError(f"Two nodes of the graph are called {node.label!r}.", where={"graph": graph})
    return found
