"""`Outline`: how a graph runs, as plain data for whoever explains or draws it.

It tells the stages, where values cross a border, which columns are cast, and what stands against training the
graph as a whole. It decides nothing: what it tells is what the planner would do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mml.backends import InputShape, get_backend
from mml.context import ExperimentContext
from mml.data import FeatureSetReference
from mml.errors import MMLError, RegistrationError
from mml.graph.dtypes import InputDtypes
from mml.graph.learning import can_be_fitted, can_be_trained, choose_learning, running_nodes
from mml.graph.loss_placement import check_losses
from mml.graph.loss_reads import LossReads
from mml.graph.nodes import ComputeNode, ModelNode
from mml.graph.optimizers.optimizer import Optimizer
from mml.graph.plan import FEATURES, DataInput, Joined, Lane, Request
from mml.graph.planner import Planner
from mml.graph.routes import Routes
from mml.graph.shapes import Shape
from mml.graph.stages import Stage
from mml.graph.staging import Staging
from mml.graph.stepping import choose_optimizers
from mml.graph.topology import ordered, upstream_labels


@dataclass(frozen=True)
class StageOutline:
    """Nodes that one step executes together.

    Parameters
    ----------
    backend : str
    nodes : tuple of str
        Labels, in order.
    learning : tuple of str
        Labels of those that learn or are fitted; the others are constants.
    """

    backend: str
    nodes: tuple[str, ...]
    learning: tuple[str, ...]


@dataclass(frozen=True)
class BorderOutline:
    """An edge at which gradients stop.

    Parameters
    ----------
    upstream, downstream : str
        Labels of the nodes on either side.
    backends : tuple of str
        Where the two run; where these differ, values are converted once a step.
    dtype : str or None
        What converted floating values are cast to.
    """

    upstream: str
    downstream: str
    backends: tuple[str, str]
    dtype: str | None = None

    @property
    def converts(self) -> bool:
        """Whether values cross from one backend to another."""
        return self.backends[0] != self.backends[1]


@dataclass(frozen=True)
class ColumnOutline:
    """A column on its way into a node or a loss.

    Parameters
    ----------
    reader : str
        Label of the node or the loss.
    featureset : str
    column : str
        Full name.
    stored, arrives : str
        NumPy's names of the dtypes before and after.
    for_loss : bool
        Whether the reader is a loss.
    """

    reader: str
    featureset: str
    column: str
    stored: str
    arrives: str
    for_loss: bool = False

    @property
    def is_cast(self) -> bool:
        """Whether the values are cast on the way."""
        return self.stored != self.arrives


@dataclass(frozen=True)
class Outline:
    """How a graph runs, if every node that can learn does, or in one phase.

    Parameters
    ----------
    label : str
        Of the graph.
    phase : str or None
        Label of the phase.
    mode : {"train", "eval", "fit"}
    shapes : mapping of str to (tuple or None, tuple or None)
        By label: shapes of one sample that goes in and comes out, None where not known or, for a merge, where
        it reads several.
    stages : tuple of StageOutline
        In the order of execution.
    borders : tuple of BorderOutline
    columns : tuple of ColumnOutline
    missing : mapping of str to str
        By head: the FeatureSet that it reads, where that does not exist yet.
    frozen : mapping of str to str
        By label: who froze the node, ``"user"`` or ``"fit"``.
    to_fit : tuple of str
        Labels of the nodes that have to be fitted before others can run.
    own_optimizers : mapping of str to str
        By label: the optimizer of a node that has one.
    optimizer : str or None
        The graph's.
    holding : tuple of (str, tuple of str)
        What one backward pass over all that learns by gradient would have to serve: backends and labels. That
        is possible where it is one entry.
    batchwise : tuple of str
        Labels of the nodes that learn batch by batch, without gradients.
    compiled : tuple of str
        Backends whose optimising compiler is used.
    losses : tuple of (str, str, float)
        Label, node and weight of the phase's losses.
    refusals : tuple of MMLError
        Why it cannot run so.
    """

    label: str
    phase: str | None
    mode: str
    shapes: Mapping[str, tuple[InputShape | None, Shape | None]] = field(default_factory=dict)
    stages: tuple[StageOutline, ...] = ()
    borders: tuple[BorderOutline, ...] = ()
    columns: tuple[ColumnOutline, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)
    frozen: Mapping[str, str] = field(default_factory=dict)
    to_fit: tuple[str, ...] = ()
    own_optimizers: Mapping[str, str] = field(default_factory=dict)
    optimizer: str | None = None
    holding: tuple[tuple[str, tuple[str, ...]], ...] = ()
    batchwise: tuple[str, ...] = ()
    compiled: tuple[str, ...] = ()
    losses: tuple[tuple[str, str, float], ...] = ()
    refusals: tuple[MMLError, ...] = ()

    def completed(self, nodes: Mapping[str, ComputeNode], *, problem: MMLError | None) -> Outline:
        """Return the outline with the shapes of nodes, and with what stands against building them."""
        shapes = {
            label: (node.input_shape if isinstance(node, ModelNode) else None, node.output_shape)
            for label, node in nodes.items()
        }
        more = () if problem is None or problem in self.refusals else (problem,)
        return replace(self, shapes=shapes, refusals=(*more, *self.refusals))


class Outliner:
    """Outlines one graph.

    Parameters
    ----------
    label : str
        Of the graph.
    nodes : mapping of str to ComputeNode
    optimizer : Optimizer or None
    jit_compile : bool
    context : ExperimentContext
        Where FeatureSets are looked up.
    """

    def __init__(
        self,
        label: str,
        nodes: Mapping[str, ComputeNode],
        *,
        optimizer: Optimizer | None,
        jit_compile: bool,
        context: ExperimentContext,
    ) -> None:
        self._label = label
        self._nodes = nodes
        self._optimizer = optimizer
        self._jit_compile = jit_compile
        self._context = context
        self._models = [node for node in nodes.values() if isinstance(node, ModelNode)]

    def in_general(self) -> Outline:
        """Return how the graph runs if every node that can learn does."""
        learning = tuple(node.label for node in self._models if not node.is_frozen and can_be_trained(node))
        staging = self._staging(Request("train", lanes=()), tuple(self._nodes), learning)
        lanes, missing = self._lanes()
        return self._outline(
            staging,
            phase=None,
            columns=tuple(self._inputs(staging.order, lanes)),
            missing=missing,
            refusals=tuple(self._general_refusals(staging)),
        )

    def of(self, request: Request, *, phase: str) -> Outline:
        """Return how the graph answers a phase's request, or why it does not."""
        try:
            check_losses(self._nodes, request.losses)
            learning = choose_learning(self._nodes, request)
            running = running_nodes(self._nodes, request, learning)
            order = tuple(label for label in ordered(self._nodes) if label in running)
            staging = self._staging(request, order, learning)
        except MMLError as error:
            return Outline(self._label, phase, request.mode, refusals=(error,))
        refusals: list[MMLError] = []
        try:
            Planner(self._nodes, self._optimizer, request, jit_compile=self._jit_compile).plan()
        except MMLError as error:
            refusals.append(error)
        return self._outline(
            staging,
            phase=phase,
            columns=(*self._inputs(order, request.lanes), *self._read_by_losses(request, order)),
            losses=tuple((loss.label, loss.on, loss.weight) for loss in request.losses),
            refusals=tuple(refusals),
        )

    def _outline(self, staging: Staging, **more: object) -> Outline:
        together = self._staging(
            Request(staging.mode, lanes=(), losses=staging.losses),
            staging.order,
            staging.learning,
            graph_wise=True,
        )
        running = [node for node in self._models if node.label in staging.order]
        batchwise = [
            label
            for label in staging.learning
            if staging.mode == "train" and not staging.learns_by_gradient(label)
        ]
        return Outline(
            label=self._label,
            mode=staging.mode,
            stages=tuple(_stage(one, staging.learning) for one in staging.stages),
            borders=tuple(self._borders(staging)),
            frozen={node.label: node.frozen_by for node in running if node.frozen_by},
            to_fit=tuple(node.label for node in running if _has_to_be_fitted(node)),
            own_optimizers={node.label: repr(node.optimizer) for node in running if node.optimizer},
            optimizer=None if self._optimizer is None else repr(self._optimizer),
            holding=tuple(together.holding()) if staging.mode == "train" else (),
            batchwise=tuple(batchwise),
            compiled=self._compiled(staging),
            **{"phase": None, **more},  # type: ignore[arg-type]  # the caller's keywords are Outline's own
        )

    def _staging(
        self,
        request: Request,
        order: Sequence[str],
        learning: Sequence[str],
        *,
        graph_wise: bool | None = None,
    ) -> Staging:
        return Staging(
            self._nodes,
            order,
            mode=request.mode,
            learning=learning,
            losses=request.losses,
            graph_wise=self._optimizer is not None if graph_wise is None else graph_wise,
        )

    def _borders(self, staging: Staging) -> Iterator[BorderOutline]:
        dtypes = InputDtypes(self._nodes, staging.order)
        for label in staging.order:
            for up in upstream_labels(self._nodes[label]):
                here, there = staging.stage_of(label), staging.stage_of(up)
                if here is not there:
                    yield BorderOutline(up, label, (there.backend, here.backend), dtypes.of(label))

    def _compiled(self, staging: Staging) -> tuple[str, ...]:
        backends = dict.fromkeys(stage.backend for stage in staging.stages) if self._jit_compile else {}
        return tuple(name for name in backends if get_backend(name).capabilities.compiler)

    def _general_refusals(self, staging: Staging) -> Iterator[MMLError]:
        def stepped() -> None:
            for stage in staging.stages:
                learning = [one for one in stage.labels if one in staging.learning]
                by_gradient = [one for one in learning if staging.learns_by_gradient(one)]
                choose_optimizers(self._nodes, by_gradient, graph=self._optimizer, backend=stage.backend)

        checks = [staging.check_graph_wise, stepped]
        for check in [staging.check_compiler, *checks] if self._jit_compile else checks:
            try:
                check()
            except MMLError as error:
                yield error

    # --- data ------------------------------------------------------------------------------------------

    def _lanes(self) -> tuple[tuple[Lane, ...], dict[str, str]]:
        """Return what the references of the heads mean by now, and which of them mean nothing yet."""
        lanes, missing = [], {}
        for head, node in self._nodes.items():
            for reference in node.upstream:
                if not isinstance(reference, FeatureSetReference):
                    continue
                try:
                    featureset = reference.resolve(self._context)
                    columns = reference.columns(featureset)
                except RegistrationError:
                    missing[head] = reference.label
                    continue
                except MMLError:
                    # A column that does not exist is told by `build`.
                    continue
                source = featureset.snapshot()
                lanes.append(
                    Lane(head, head, source, columns, reference.combine, featureset=featureset.label)
                )
        return tuple(lanes), missing

    def _inputs(self, order: Sequence[str], lanes: Sequence[Lane]) -> Iterator[ColumnOutline]:
        dtypes = InputDtypes(self._nodes, order)
        for lane in lanes:
            if lane.head in order:
                for column in lane.columns[FEATURES]:
                    yield _column(lane.head, lane, column, dtypes.of(lane.head))

    def _read_by_losses(self, request: Request, order: Sequence[str]) -> Iterator[ColumnOutline]:
        try:
            routes = Routes(self._nodes, order, request.lanes)
            reads = LossReads(routes, request.elsewhere)
            found = [
                (loss.label, part)
                for loss in request.losses
                for value in loss.routed
                if value.domain not in ("outputs", "node")
                for part in _parts(reads.read(loss, value))
            ]
        except MMLError:
            # The planner says the same, with more places.
            return
        for label, part in dict.fromkeys(found):
            for column in part.columns:
                lane = routes.lanes[part.lane]
                if part.match is not None:
                    elsewhere = part.match.elsewhere
                    lane = Lane(lane.name, lane.head, elsewhere.source, {}, featureset=elsewhere.label)
                yield replace(_column(label, lane, column, part.dtype), for_loss=True)


def _stage(stage: Stage, learning: Sequence[str]) -> StageOutline:
    return StageOutline(
        stage.backend, stage.labels, tuple(label for label in stage.labels if label in learning)
    )


def _has_to_be_fitted(node: ModelNode) -> bool:
    return node.model is not None and can_be_fitted(node) and not node.model.is_fitted


def _parts(wanted: DataInput | Joined) -> Iterator[DataInput]:
    if isinstance(wanted, DataInput):
        yield wanted
        return
    for part in wanted.parts:
        yield from _parts(part)


def _column(reader: str, lane: Lane, column: str, dtype: str | None) -> ColumnOutline:
    stored = lane.source.spec(column).dtype
    name = "text" if stored is None else stored.name
    is_cast = stored is not None and stored.kind == "f" and dtype is not None
    return ColumnOutline(reader, lane.featureset, column, name, str(dtype) if is_cast else name)
