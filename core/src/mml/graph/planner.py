"""The planner: from a graph and a phase's request to segments, with every value named.

It decides who learns, gives each node one call a role, and puts the parts of the plan together. It runs
nothing. Which nodes stand together is the business of `Staging`, which data reaches which node that of
`Routes`, and where losses go that of `LossPlacement`; mistakes are refused there, with the node and the mend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mml.backends import Call, Segment, get_backend
from mml.errors import GraphError, MMLError
from mml.graph.learning import check_ready, choose_learning, running_nodes
from mml.graph.loss_placement import LossPlacement, check_losses
from mml.graph.naming import Inputs, ValueNames
from mml.graph.nodes import ComputeNode, MergeNode, ModelNode
from mml.graph.optimizers.optimizer import Optimizer
from mml.graph.plan import BY_KEY, FEATURES, DataInput, Plan, PlannedSegment, Request
from mml.graph.reach import check_reached
from mml.graph.routes import Pairs, Routes
from mml.graph.shapes import column_keys
from mml.graph.stages import Stage
from mml.graph.staging import Staging
from mml.graph.stepping import check_idle, check_steppable, choose_optimizers
from mml.graph.topology import ordered, upstream_labels


class Planner:
    """Makes the plan of one request.

    Parameters
    ----------
    nodes : mapping of str to ComputeNode
        All nodes of the graph.
    optimizer : Optimizer or None
        The graph's.
    request : Request
    jit_compile : bool
        Let the backends that can hand their segments to an optimising compiler.
    """

    def __init__(
        self,
        nodes: Mapping[str, ComputeNode],
        optimizer: Optimizer | None,
        request: Request,
        *,
        jit_compile: bool = False,
    ) -> None:
        self.nodes = nodes
        self.optimizer = optimizer
        self.request = request
        self.jit_compile = jit_compile
        check_losses(nodes, request.losses)
        self.learning = choose_learning(nodes, request)
        running = running_nodes(nodes, request, self.learning)
        check_ready(nodes, request, learning=self.learning, running=running)
        self.order = tuple(label for label in ordered(nodes) if label in running)
        self.staging = Staging(
            nodes,
            self.order,
            mode=request.mode,
            learning=self.learning,
            losses=request.losses,
            graph_wise=optimizer is not None,
        )
        if jit_compile:
            self.staging.check_compiler()
        self.routes = Routes(nodes, self.order, request.lanes)
        self.names = ValueNames(self.routes)
        self.losses = LossPlacement(
            request.losses,
            staging=self.staging,
            routes=self.routes,
            names=self.names,
            elsewhere=request.elsewhere,
        )

    def plan(self) -> Plan:
        """Return the plan.

        Raises
        ------
        PhaseError, GraphError, LossError, OptimizerError
            If the request cannot be answered; the message names the node or loss.
        """
        self.staging.check_graph_wise()
        if self.request.mode == "train":
            check_steppable(self.nodes, self.learning, by_gradient=self.staging.learns_by_gradient)
            check_idle(self.nodes, self._idle())
        wanted = self._values_between()
        planned = [*(self._segment(stage, wanted) for stage in self.staging.stages), *self.losses.on_host()]
        check_reached([one.segment for one in planned], self.request.losses, self.staging)
        recorded = [label for label in self.request.record if label in self.routes.roles]
        loss_rows = tuple(self.losses.rows(loss) for loss in self.request.losses)
        aligned = self._aligned()
        return Plan(
            segments=tuple(self._counted(one) for one in planned),
            data=self.names.data,
            counts=tuple(self.names.counts),
            outputs={label: tuple(self._keys(label)) for label in recorded},
            targets={
                key: target
                for label in recorded
                for role, key in self._keys(label)
                if (target := self.routes.carried(label, role)) is not None
            },
            identities={
                key: (self.routes.identity(label), role)
                for label in recorded
                for role, key in self._keys(label)
            },
            learning=self.learning,
            loss_rows=loss_rows,
            lanes=self.request.lanes,
            aligned=aligned,
        )

    def _idle(self) -> list[str]:
        """Return the nodes that run as constants though nobody froze them or left them out."""
        if self.request.active is not None:
            return []
        constant = [label for label in self.order if label not in self.learning]
        return [label for label in constant if not self.nodes[label].is_frozen]

    def _keys(self, label: str) -> list[tuple[str, str]]:
        return [(role, self.routes.key(label, role)) for role in self.routes.roles[label]]

    def _counted(self, planned: PlannedSegment) -> PlannedSegment:
        return replace(planned, segment=replace(planned.segment, n_rows=len(self.names.counts)))

    def _aligned(self) -> tuple[tuple[str, Pairs], ...]:
        merged = [label for label in self.order if isinstance(self.nodes[label], MergeNode)]
        sets = [
            (label, self.routes.pairs(label, role)) for label in merged for role in self.routes.roles[label]
        ]
        for _, pairs in sets:
            self.names.count(pairs)
        return tuple((label, pairs) for label, pairs in sets if len(pairs) > 1)

    def _values_between(self) -> set[str]:
        """Return the labels whose outputs leave their stage: read elsewhere, or recorded."""
        stage_of = self.staging.stage_of
        wanted = {*self.request.record, *self.losses.outputs_read()}
        for label in self.order:
            wanted.update(
                up for up in upstream_labels(self.nodes[label]) if stage_of(up) is not stage_of(label)
            )
        return wanted

    def _segment(self, stage: Stage, wanted: set[str]) -> PlannedSegment:
        inputs: Inputs = {}
        calls = [
            self._call(label, role, stage, inputs)
            for label in stage.labels
            for role in self.routes.roles[label]
        ]
        applied = self.losses.of(stage.labels)
        losses = [self.losses.placed(loss, stage.labels, stage.backend, inputs) for loss in applied]
        learning = [label for label in stage.labels if label in self.learning]
        stepped = choose_optimizers(
            self.nodes,
            [label for label in learning if self.staging.learns_by_gradient(label)],
            graph=self.optimizer,
            backend=stage.backend,
        )
        segment = Segment(
            backend=stage.backend,
            mode=self.request.mode if learning else "eval",
            inputs=tuple(inputs.values()),
            calls=tuple(calls),
            losses=tuple(losses),
            optimizers=tuple(handed for _, handed in stepped),
            outputs=tuple(key for label in stage.labels if label in wanted for _, key in self._keys(label)),
            device=self._device(stage),
            n_rows=0,
            deterministic=self.request.deterministic,
            precision=stepped[0][0].precision if stepped else "float32",
            jit_compile=self.jit_compile and get_backend(stage.backend).capabilities.compiler,
            options=self._options(learning, stage.backend),
        )
        return PlannedSegment(
            segment,
            losses=self.losses.numbers(applied),
            optimizers=tuple(one for one, _ in stepped),
        )

    def _call(self, label: str, role: str, stage: Stage, inputs: Inputs) -> Call:
        node, dtype = self.nodes[label], self.routes.dtype(label)
        sources: list[str] = []
        keys: tuple[str, ...] = ()
        for reference, name in zip(node.upstream, self.routes.lane_names(label), strict=True):
            if name is None:
                sources.append(self.names.output(reference.label, role, stage.labels, dtype, inputs))
                continue
            lane = self.routes.lane(name, label)
            columns = lane.columns[FEATURES]
            if lane.combine == BY_KEY:
                keys = column_keys(columns)
                parts = [DataInput(name, role, (column,), dtype) for column in columns]
            else:
                parts = [DataInput(name, role, columns, dtype, lane.combine)]
            sources += [self.names.gathered(one, inputs) for one in parts]
        learns = label in self.learning
        fits = learns and not self.staging.learns_by_gradient(label)
        fitted_to = self.routes.carried(label, role) if fits else None
        return Call(
            key=self.routes.key(label, role),
            node=label,
            model=node.model,
            merge=node if isinstance(node, MergeNode) else None,
            sources=tuple(sources),
            learns=learns,
            rows=self.names.count(self.routes.pairs(label, role)),
            targets=None if fitted_to is None else self.names.gathered(fitted_to, inputs),
            keys=keys,
        )

    def _device(self, stage: Stage) -> str | None:
        """Return where a stage runs: where its nodes are put, and those that are put nowhere go with them."""
        backend = get_backend(stage.backend)
        devices: dict[str | None, str] = {}
        for label in stage.labels:
            if isinstance(node := self.nodes[label], ModelNode):
                try:
                    devices[backend.device_name(node.device or self.request.device)] = label
                except MMLError as error:
                    raise error.located({"node": label}) from error.__cause__
        named = {device: label for device, label in devices.items() if device is not None}
        if len(named) > 1:
            raise GraphError(
                "Nodes that one step executes together stand on different devices.",
                where={"nodes": ", ".join(stage.labels)},
                found=", ".join(f"{label!r} on {device!r}" for device, label in named.items()),
                hint="Give them one device, or optimizers of their own, so that they are stages.",
            )
        return next(iter(named), None) if devices else backend.device_name(self.request.device)

    def _options(self, learning: Sequence[str], backend: str) -> dict[str, object]:
        """Tell learners by batches which classes the whole split holds."""
        if self.request.mode != "train" or get_backend(backend).capabilities.gradients or not learning:
            return {}
        classes: dict[str, np.ndarray | list[np.ndarray]] = {}
        for label in learning:
            targets = self.routes.carried(label, self.routes.roles[label][0])
            if isinstance(targets, DataInput):
                lane = self.routes.lanes[targets.lane]
                rows = np.arange(lane.source.n_rows) if lane.rows is None else lane.rows
                classes[label] = _classes([lane.source.take(one, rows) for one in targets.columns])
        return {"classes": classes} if classes else {}


def _classes(columns: Sequence[np.ndarray]) -> np.ndarray | list[np.ndarray]:
    """Return the distinct values of a lone target, else those of each target in a list."""
    targets = [values for one in columns for values in one.reshape(len(one), -1).T]
    classes = [np.unique(values) for values in targets]
    return classes[0] if len(classes) == 1 else classes
