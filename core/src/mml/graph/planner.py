"""The planner: from a graph and a phase's request to segments, with every value named.

It decides who learns, cuts the graph into stages, gives each node one call a role, places losses, and refuses
what cannot work, with the node and the mend in the message. It runs nothing; which data reaches which node is
the business of `Routes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from mml.backends import Backend, Call, Segment, SegmentLoss, get_backend
from mml.errors import GraphError, LossError, MMLError, did_you_mean, listed
from mml.graph.explanation import explained
from mml.graph.learning import choose_learning, running_nodes
from mml.graph.losses.applied_loss import AppliedLoss
from mml.graph.losses.routing import LossInput
from mml.graph.naming import Inputs, ValueNames
from mml.graph.nodes import ComputeNode, MergeNode, ModelNode
from mml.graph.optimizers.optimizer import Optimizer
from mml.graph.plan import FEATURES, DataInput, Plan, PlannedSegment, Request
from mml.graph.reach import check_reached
from mml.graph.routes import Pairs, Routes
from mml.graph.stages import Stage, cut_into_stages, merge_labels, node_backends, sorted_by, with_reads
from mml.graph.stepping import choose_optimizers
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
        self.jit_compile = jit_compile
        self.nodes = nodes
        self.optimizer = optimizer
        self.request = request
        _check_losses(nodes, request.losses)
        self.learning = choose_learning(nodes, request)
        running = running_nodes(nodes, request, self.learning)
        self.order = tuple(label for label in ordered(nodes) if label in running)
        self.backends = node_backends(nodes, self.order, scored=[loss.on for loss in request.losses])
        self._check_compiler()
        self.routes = Routes(nodes, self.order, request.lanes)
        self.names = ValueNames(self.routes)
        self._number = {loss.label: number for number, loss in enumerate(request.losses)}

    def plan(self) -> Plan:
        """Return the plan.

        Raises
        ------
        PhaseError, GraphError, LossError, OptimizerError
            If the request cannot be answered; the message names the node or loss.
        """
        stages = self._stages()
        stage_of = {label: stage for stage in stages for label in stage.labels}
        self._check_graph_wise(stages)
        wanted = self._values_between(stages, stage_of)
        planned = [*(self._segment(stage, wanted) for stage in stages), *self._host_losses()]
        check_reached(
            [one.segment for one in planned], self.request.losses, by_gradient=self._learns_by_gradient
        )
        recorded = [label for label in self.request.record if label in self.routes.roles]
        loss_rows = tuple(self._loss_rows(loss) for loss in self.request.losses)
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
            explanation=tuple(explained(self.nodes, self.order, stages, self.learning)),
        )

    def _check_compiler(self) -> None:
        running = sorted(set(self.backends.values()))
        if self.jit_compile and not any(get_backend(name).capabilities.compiler for name in running):
            raise GraphError(
                "The graph asks for jit_compile, and none of its backends has a compiler.",
                found=f"nodes on {listed(running)}",
                hint="Leave jit_compile out.",
            )

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

    # --- stages ----------------------------------------------------------------------------------------

    def _stages(self) -> tuple[Stage, ...]:
        alone = self._alone()
        upstream = {label: upstream_labels(self.nodes[label]) for label in self.order}
        sources = with_reads(upstream, self.order, self._read_by_losses())
        return cut_into_stages(
            sources,
            sorted_by(sources, self.order),
            backends=self.backends,
            alone=alone,
            together=frozenset(self.learning) - alone,
            merges=merge_labels(self.nodes, self.order),
        )

    def _read_by_losses(self) -> list[tuple[str, str]]:
        return [
            (loss.on, str(one.name))
            for loss in self.request.losses
            if self._computes_losses(loss.on)
            for one in loss.routed
            if one.domain == "node"
        ]

    def _alone(self) -> frozenset[str]:
        if self.request.mode == "fit":
            return frozenset(self.learning)
        return frozenset(
            label
            for label in self.learning
            if self.optimizer is None or not get_backend(self.backends[label]).capabilities.gradients
        )

    def _check_graph_wise(self, stages: Sequence[Stage]) -> None:
        together = set(self.learning) - self._alone()
        holding = [stage for stage in stages if set(stage.labels) & together]
        if len(holding) > 1:
            places = "; ".join(
                f"{[label for label in stage.labels if label in together]} on {stage.backend!r}"
                for stage in holding
            )
            raise GraphError(
                "The graph's optimizer cannot train all learning nodes in one backward pass: gradients stop "
                "where values cross from one backend to another.",
                found=places,
                hint="Give each of these nodes an optimizer of its own and the graph none, freeze one side, "
                "or train them in phases of their own through active_nodes.",
            )

    def _values_between(self, stages: Sequence[Stage], stage_of: Mapping[str, Stage]) -> set[str]:
        """Return the labels whose outputs leave their stage: read elsewhere, or recorded."""
        wanted = set(self.request.record)
        for label in self.order:
            wanted.update(
                up for up in upstream_labels(self.nodes[label]) if stage_of[up] is not stage_of[label]
            )
        for loss in self.request.losses:
            read = {str(one.name) for one in loss.routed if one.domain == "node"}
            if not self._computes_losses(loss.on):
                wanted |= {loss.on, *read}
                continue
            for name in read:
                if stages.index(stage_of[name]) > stages.index(stage_of[loss.on]):
                    raise LossError(
                        "The loss reads a node that a later step executes.",
                        where={"loss": loss.label, "node": loss.on},
                        found=f"{name!r}, which depends on {loss.on!r}",
                        hint=f"Apply the loss on {name!r} and let it read {loss.on!r}.",
                    )
                if stage_of[name] is not stage_of[loss.on]:
                    wanted.add(name)
        return wanted

    def _segment(self, stage: Stage, wanted: set[str]) -> PlannedSegment:
        inputs: Inputs = {}
        calls = [
            self._call(label, role, stage, inputs)
            for label in stage.labels
            for role in self.routes.roles[label]
        ]
        applied = [
            loss
            for label in stage.labels
            for loss in self.request.losses
            if loss.on == label and self._computes_losses(label)
        ]
        losses = [self._loss(loss, stage.labels, stage.backend, inputs) for loss in applied]
        learning = [label for label in stage.labels if label in self.learning]
        stepped = choose_optimizers(
            self.nodes,
            [label for label in learning if self._learns_by_gradient(label)],
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
        numbers = tuple(self._number[loss.label] for loss in applied)
        return PlannedSegment(segment, losses=numbers, optimizers=tuple(one for one, _ in stepped))

    def _call(self, label: str, role: str, stage: Stage, inputs: Inputs) -> Call:
        node, dtype = self.nodes[label], self.routes.dtype(label)
        sources = []
        for reference, name in zip(node.upstream, self.routes.lane_names(label), strict=True):
            if name is None:
                sources.append(self.names.output(reference.label, role, stage.labels, dtype, inputs))
            else:
                lane = self.routes.lane(name, label)
                data = DataInput(name, role, lane.columns[FEATURES], dtype, lane.combine)
                sources.append(self.names.gathered(data, inputs))
        learns = label in self.learning
        fitted_to = (
            self.routes.carried(label, role) if learns and not self._learns_by_gradient(label) else None
        )
        return Call(
            key=self.routes.key(label, role),
            node=label,
            model=node.model,
            merge=node if isinstance(node, MergeNode) else None,
            sources=tuple(sources),
            learns=learns,
            rows=self.names.count(self.routes.pairs(label, role)),
            targets=None if fitted_to is None else self.names.gathered(fitted_to, inputs),
        )

    def _device(self, stage: Stage) -> str | None:
        devices = {
            node.device or self.request.device
            for label in stage.labels
            if isinstance(node := self.nodes[label], ModelNode)
        }
        if len(devices) > 1:
            raise GraphError(
                "Nodes that one step executes together stand on different devices.",
                where={"nodes": ", ".join(stage.labels)},
                found=", ".join(sorted(str(one) for one in devices)),
                hint="Give them one device, or optimizers of their own, so that they are stages.",
            )
        device = devices.pop() if devices else self.request.device
        return get_backend(stage.backend).device_name(device)

    # --- losses ----------------------------------------------------------------------------------------

    def _computes_losses(self, label: str) -> bool:
        backend = self.backends[label]
        return backend == Backend.NUMPY or get_backend(backend).capabilities.gradients

    def _loss(self, loss: AppliedLoss, here: Sequence[str], backend: str, inputs: Inputs) -> SegmentLoss:
        try:
            arguments = [self._argument(loss, one, here, inputs) for one in loss.inputs]
            weights = self.routes.weights(loss)
            function = loss.loss.resolve(get_backend(backend))
            rows = self._loss_rows(loss)
        except MMLError as error:
            raise error.located({"loss": loss.label, "node": loss.on}) from error.__cause__
        return SegmentLoss(
            label=loss.label,
            node=loss.on,
            function=function,
            arguments=tuple(arguments),
            weight=loss.weight,
            rows=rows,
            keywords=loss.keywords,
            sample_weight=None if weights is None else self.names.gathered(weights, inputs),
        )

    def _argument(self, loss: AppliedLoss, value: LossInput, here: Sequence[str], inputs: Inputs) -> str:
        if value.domain in ("node", "outputs"):
            label, role = self._output_read(loss, value)
            return self.names.output(label, role, here, self.routes.dtype(loss.on), inputs)
        return self.names.gathered(self.routes.read(loss, value), inputs)

    def _output_read(self, loss: AppliedLoss, value: LossInput) -> tuple[str, str]:
        if value.domain == "outputs":
            return loss.on, self.routes.role_and_key(loss, value)[0]
        label = str(value.name)
        roles = self.routes.roles[label]
        if len(roles) > 1:
            raise LossError(
                f"The node {label!r} gives one output a role, and an input that is a node names none.",
                found=f"roles {roles}",
                hint=f"Apply the loss on {label!r} and read 'outputs.<role>'.",
            )
        return label, roles[0]

    def _loss_rows(self, loss: AppliedLoss) -> int:
        pairs: Pairs = frozenset()
        for value in loss.routed:
            if value.domain in ("node", "outputs"):
                pairs |= self.routes.pairs(*self._output_read(loss, value))
            else:
                pairs |= self.routes.pairs(loss.on, self.routes.role_and_key(loss, value)[0])
        return self.names.count(pairs)

    def _host_losses(self) -> list[PlannedSegment]:
        """Compute losses on nodes whose backend computes none, on NumPy arrays after everything else."""
        applied = [loss for loss in self.request.losses if not self._computes_losses(loss.on)]
        if not applied:
            return []
        inputs: Inputs = {}
        losses = tuple(self._loss(loss, (), Backend.NUMPY, inputs) for loss in applied)
        segment = Segment(
            backend=Backend.NUMPY, mode="eval", inputs=tuple(inputs.values()), calls=(), losses=losses
        )
        return [PlannedSegment(segment, tuple(self._number[loss.label] for loss in applied), ())]

    # --- learning --------------------------------------------------------------------------------------

    def _learns_by_gradient(self, label: str) -> bool:
        return self.request.mode == "train" and get_backend(self.backends[label]).capabilities.gradients

    def _options(self, learning: Sequence[str], backend: str) -> dict[str, object]:
        """Tell learners by batches which classes the whole split holds."""
        if self.request.mode != "train" or get_backend(backend).capabilities.gradients or not learning:
            return {}
        classes: dict[str, np.ndarray] = {}
        for label in learning:
            targets = self.routes.carried(label, self.routes.roles[label][0])
            if isinstance(targets, DataInput) and len(targets.columns) == 1:
                lane = self.routes.lanes[targets.lane]
                rows = np.arange(lane.source.n_rows) if lane.rows is None else lane.rows
                classes[label] = np.unique(lane.source.take(targets.columns[0], rows))
        return {"classes": classes} if classes else {}


def _check_losses(nodes: Mapping[str, ComputeNode], losses: Sequence[AppliedLoss]) -> None:
    labels: set[str] = set()
    for loss in losses:
        if loss.label in labels:
            raise LossError(
                f"Two losses of the phase are called {loss.label!r}.",
                hint="Give one of them a label: AppliedLoss(..., label='...').",
            )
        labels.add(loss.label)
        for name in (loss.on, *(str(one.name) for one in loss.routed if one.domain == "node")):
            if name not in nodes:
                raise LossError(
                    f"The loss reads the node {name!r}, which the graph does not have.",
                    where={"loss": loss.label},
                    hint=did_you_mean(name, nodes),
                )
