"""The planner: from a graph and a phase's request to segments, with every value routed by name.

It decides who learns, cuts the graph into stages, gives each node one call a role, routes what losses read,
and refuses what cannot work, with the node and the mend in the message. It runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import numpy as np

from mml.backends import (
    Backend,
    BaseModel,
    Call,
    Segment,
    SegmentInput,
    SegmentLoss,
    SegmentOptimizer,
    get_backend,
)
from mml.backends.segment import Mode
from mml.errors import GraphError, LossError, MMLError, OptimizerError, PhaseError, did_you_mean
from mml.graph.learning import choose_learning, running_nodes
from mml.graph.losses.applied_loss import AppliedLoss
from mml.graph.losses.routing import DEFAULT_ROLE, LossInput
from mml.graph.nodes import ComputeNode, MergeNode, ModelNode
from mml.graph.optimizers.optimizer import Optimizer
from mml.graph.plan import FEATURES, TARGETS, DataInput, Joined, Lane, Plan, PlannedSegment, Request
from mml.graph.references import ModelIOReference
from mml.graph.stages import Stage, cut_into_stages, node_backends
from mml.graph.topology import ordered, upstream_labels

Pairs = frozenset[tuple[str, str]]


class Planner:
    """Makes the plan of one request.

    Parameters
    ----------
    nodes : mapping of str to ComputeNode
        All nodes of the graph.
    optimizer : Optimizer or None
        The graph's.
    request : Request
    """

    def __init__(
        self, nodes: Mapping[str, ComputeNode], optimizer: Optimizer | None, request: Request
    ) -> None:
        self.nodes = nodes
        self.optimizer = optimizer
        self.request = request
        self.lanes = {lane.name: lane for lane in request.lanes}
        self.learning = choose_learning(nodes, request)
        running = running_nodes(nodes, request, self.learning)
        self.order = tuple(label for label in ordered(nodes) if label in running)
        self.backends = node_backends(nodes, self.order)
        self.roles = self._roles()
        self.counts: list[Pairs] = []
        self.data: dict[str, DataInput | Joined] = {}
        self.losses_of = self._place_losses()

    def plan(self) -> Plan:
        """Return the plan.

        Raises
        ------
        PhaseError, GraphError, LossError, OptimizerError
            If the request cannot be answered; the message names the node or loss.
        """
        stages = cut_into_stages(self.nodes, self.order, backends=self.backends, alone=self._alone())
        self._check_graph_wise(stages)
        self._wanted = self._values_between(stages)
        planned = []
        for stage in stages:
            planned.append(self._segment(stage))
        planned.extend(self._host_losses())
        self._check_reached([one.segment for one in planned])
        loss_rows = tuple(self._loss_rows(loss) for loss in self.request.losses)
        return Plan(
            segments=tuple(
                replace(one, segment=replace(one.segment, n_rows=len(self.counts))) for one in planned
            ),
            data=self.data,
            counts=tuple(self.counts),
            outputs={
                label: tuple((role, self._key(label, role)) for role in self.roles[label])
                for label in self.request.record
                if label in self.roles
            },
            targets={
                label: target
                for label in self.request.record
                if label in self.roles and (target := self._targets(label, self.roles[label][0])) is not None
            },
            learning=self.learning,
            loss_rows=loss_rows,
            lanes=self.request.lanes,
            explanation=tuple(self._explained(stages)),
        )

    # --- nodes and roles -------------------------------------------------------------------------------

    def _key(self, label: str, role: str) -> str:
        return label if role == DEFAULT_ROLE else f"{label}:{role}"

    def _lane_names(self, label: str) -> list[str | None]:
        """Return, for each upstream, the lane it reads or None for a node."""
        node = self.nodes[label]
        several = len(node.upstream) > 1
        return [
            None if isinstance(one, ModelIOReference) else (f"{label}[{number}]" if several else label)
            for number, one in enumerate(node.upstream)
        ]

    def _lane(self, name: str, label: str) -> Lane:
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
            known = [self._lane(name, label).roles for name in self._lane_names(label) if name is not None]
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

    def _pairs(self, label: str, role: str) -> Pairs:
        pairs = {(name, role) for name in self._lane_names(label) if name is not None}
        for up in upstream_labels(self.nodes[label]):
            pairs |= self._pairs(up, role)
        return frozenset(pairs)

    def _count(self, pairs: Pairs) -> int:
        if pairs not in self.counts:
            self.counts.append(pairs)
        return self.counts.index(pairs)

    def _model(self, label: str) -> BaseModel | None:
        return self.nodes[label].model

    def _dtype(self, label: str) -> str | None:
        """Return the dtype that a node's inputs and targets are cast to."""
        model = self._model(label)
        if model is not None:
            return model.dtype
        found = {self._dtype(up) for up in upstream_labels(self.nodes[label])} - {None}
        return found.pop() if len(found) == 1 else None

    # --- stages ----------------------------------------------------------------------------------------

    def _alone(self) -> frozenset[str]:
        if self.request.mode == "fit":
            return frozenset(self.learning)
        return frozenset(
            label
            for label in self.learning
            if self.optimizer is None or not get_backend(self.backends[label]).capabilities.gradients
        )

    def _check_graph_wise(self, stages: tuple[Stage, ...]) -> None:
        alone = self._alone()
        together = [label for label in self.learning if label not in alone]
        holding = [stage for stage in stages if set(stage.labels) & set(together)]
        if len(holding) > 1:
            places = "; ".join(f"{[n for n in s.labels if n in together]} on {s.backend!r}" for s in holding)
            raise GraphError(
                "The graph's optimizer cannot train all learning nodes in one backward pass: gradients stop "
                "where values cross from one backend to another.",
                found=places,
                hint="Give each of these nodes an optimizer of its own and the graph none, freeze one side, or "
                "train them in phases of their own through active_nodes.",
            )

    def _values_between(self, stages: tuple[Stage, ...]) -> set[str]:
        """Return the labels whose outputs leave their stage."""
        wanted = set(self.request.record)
        stage_of = {label: stage for stage in stages for label in stage.labels}
        for label in self.order:
            for up in upstream_labels(self.nodes[label]):
                if stage_of[up] is not stage_of[label]:
                    wanted.add(up)
        for on, losses in self.losses_of.items():
            on_host = not self._computes_losses(on)
            for loss in losses:
                read = [one.name for one in loss.routed if one.domain == "node"]
                read += [on] if on_host else []
                wanted.update(
                    str(name) for name in read if on_host or stage_of[str(name)] is not stage_of[on]
                )
        return wanted

    def _segment(self, stage: Stage) -> PlannedSegment:
        inputs: dict[str, SegmentInput] = {}
        calls = [
            self._call(label, role, stage, inputs) for label in stage.labels for role in self.roles[label]
        ]
        applied = [
            loss
            for label in stage.labels
            for loss in self.losses_of.get(label, ())
            if self._computes_losses(label)
        ]
        losses = [self._loss(loss, stage.labels, stage.backend, inputs) for loss in applied]
        learning = [label for label in stage.labels if label in self.learning]
        optimizers = self._optimizers(learning, stage.backend)
        mode: Mode = self.request.mode if learning else "eval"
        segment = Segment(
            backend=stage.backend,
            mode=mode,
            inputs=tuple(inputs.values()),
            calls=tuple(calls),
            losses=tuple(losses),
            optimizers=tuple(
                SegmentOptimizer(
                    rule=optimizer.resolve(get_backend(stage.backend)),
                    slots=optimizer,
                    nodes=tuple(nodes),
                    clip_norm=optimizer.clip_norm,
                    clip_value=optimizer.clip_value,
                )
                for optimizer, nodes in optimizers
            ),
            outputs=tuple(
                self._key(label, role)
                for label in stage.labels
                if label in self._wanted
                for role in self.roles[label]
            ),
            device=self._device(stage),
            n_rows=0,
            deterministic=self.request.deterministic,
            options=self._options(learning, stage.backend),
        )
        order = {id(loss): number for number, loss in enumerate(self.request.losses)}
        return PlannedSegment(
            segment=segment,
            losses=tuple(order[id(loss)] for loss in applied),
            optimizers=tuple(optimizer for optimizer, _ in optimizers),
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
                hint="Give them one device, or give the nodes optimizers of their own so that they are stages.",
            )
        device = devices.pop() if devices else self.request.device
        return get_backend(stage.backend).device_name(device)

    def _call(self, label: str, role: str, stage: Stage, inputs: dict[str, SegmentInput]) -> Call:
        node = self.nodes[label]
        sources = []
        for reference, lane in zip(node.upstream, self._lane_names(label), strict=True):
            if lane is None:
                sources.append(self._output(reference.label, role, stage.labels, self._dtype(label), inputs))
            else:
                columns = self._lane(lane, label).columns[FEATURES]
                sources.append(self._data(lane, role, FEATURES, columns, self._dtype(label), inputs))
        learns = label in self.learning
        targets = None
        if learns and not self._needs_optimizer(label):
            wanted = self._targets(label, role)
            targets = None if wanted is None else self._joined_input(label, role, wanted, inputs)
        return Call(
            key=self._key(label, role),
            node=label,
            model=node.model,
            merge=node if isinstance(node, MergeNode) else None,
            sources=tuple(sources),
            learns=learns,
            rows=self._count(self._pairs(label, role)),
            targets=targets,
        )

    def _output(
        self, label: str, role: str, here: Iterable[str], dtype: str | None, inputs: dict[str, SegmentInput]
    ) -> str:
        """Name the output of a node, as an input of the segment where it comes from another one."""
        key = self._key(label, role)
        if label not in here and key not in inputs:
            inputs[key] = SegmentInput(
                name=key,
                shape=self.nodes[label].output_shape,
                dtype=dtype,
                rows=self._count(self._pairs(label, role)),
                origin=key,
            )
        return key

    def _data(
        self,
        lane: str,
        role: str,
        domain: str,
        columns: tuple[str, ...],
        dtype: str | None,
        inputs: dict[str, SegmentInput],
    ) -> str:
        short = "+".join(column.split(".")[1] for column in columns)
        name = f"{lane}@{role}@{domain}.{short}@{dtype}"
        self.data[name] = DataInput(lane, role, columns, dtype, self.lanes[lane].combine)
        inputs[name] = SegmentInput(
            name=name, shape=None, dtype=dtype, rows=self._count(frozenset({(lane, role)}))
        )
        return name

    def _joined_input(
        self, label: str, role: str, wanted: DataInput | Joined, inputs: dict[str, SegmentInput]
    ) -> str:
        if isinstance(wanted, DataInput):
            return self._data(wanted.lane, wanted.role, TARGETS, wanted.columns, wanted.dtype, inputs)
        name = f"{label}@{role}@targets"
        self.data[name] = wanted
        inputs[name] = SegmentInput(
            name=name, shape=None, dtype=wanted.dtype, rows=self._count(self._pairs(label, role))
        )
        return name

    # --- targets and losses ----------------------------------------------------------------------------

    def _target_lane(self, label: str, domain: str = TARGETS) -> str:
        """Follow the edges up to the one lane whose rows the node's targets or tags are."""
        node, lanes = self.nodes[label], self._lane_names(label)
        if not isinstance(node, MergeNode):
            return lanes[0] if lanes[0] is not None else self._target_lane(node.upstream[0].label, domain)
        strategy = node.targets if domain == TARGETS else node.tags
        names = [one.label for one in node.upstream]
        if strategy in ("first", "last"):
            index = 0 if strategy == "first" else len(names) - 1
        elif strategy in names:
            index = names.index(str(strategy))
        else:
            raise LossError(
                f"The merge joins {domain}, so a single column of them cannot be followed through it.",
                where={"node": label},
                hint="Ask for the whole domain, or name one upstream at the merge.",
            )
        lane = lanes[index]
        return lane if lane is not None else self._target_lane(names[index], domain)

    def _targets(self, label: str, role: str) -> DataInput | Joined | None:
        """Return what a node carries on as its targets, None where there are none."""
        node = self.nodes[label]
        dtype = self._dtype(label)
        if isinstance(node, MergeNode) and (isinstance(node.targets, int) or node.targets == "mean"):
            parts = [self._upstream_targets(node, number, role) for number in range(len(node.upstream))]
            present = tuple(part for part in parts if part is not None)
            return Joined(present, node.targets, dtype) if present else None
        if isinstance(node, MergeNode) and node.targets == "first":
            self._check_same_targets(node)
        lane = self.lanes[self._target_lane(label)]
        columns = lane.columns.get(TARGETS, ())
        return DataInput(lane.name, role, columns, dtype, lane.combine) if columns else None

    def _upstream_targets(self, node: MergeNode, number: int, role: str) -> DataInput | Joined | None:
        name = self._lane_names(node.label)[number]
        if name is None:
            return self._targets(node.upstream[number].label, role)
        lane = self.lanes[name]
        columns = lane.columns.get(TARGETS, ())
        return DataInput(name, role, columns, self._dtype(node.label), lane.combine) if columns else None

    def _check_same_targets(self, node: MergeNode) -> None:
        lanes = {pair[0] for pair in self._pairs(node.label, self.roles[node.label][0])}
        carried = {
            (lane.source.collection.fingerprint, lane.columns.get(TARGETS, ()))
            if len({id(self.lanes[name].source.collection) for name in lanes}) > 1
            else ("", lane.columns.get(TARGETS, ()))
            for lane in (self.lanes[name] for name in sorted(lanes))
        }
        if len(carried) > 1:
            raise GraphError(
                "The upstreams of a merge carry different targets, so 'first' would drop some unasked.",
                where={"node": node.label},
                found="; ".join(str(columns) for _, columns in sorted(carried)),
                hint="Say which: concat_axis_targets='first' fits equal targets only; name one upstream, or give an axis.",
            )

    def _place_losses(self) -> dict[str, list[AppliedLoss]]:
        placed: dict[str, list[AppliedLoss]] = {}
        labels: set[str] = set()
        for loss in self.request.losses:
            if loss.label in labels:
                raise LossError(
                    f"Two losses of the phase are called {loss.label!r}.",
                    hint="Give one of them a label: AppliedLoss(..., label='...').",
                )
            labels.add(loss.label)
            for name in (loss.on, *(str(one.name) for one in loss.routed if one.domain == "node")):
                if name not in self.nodes:
                    raise LossError(
                        f"The loss reads the node {name!r}, which the graph does not have.",
                        where={"loss": loss.label},
                        hint=did_you_mean(name, self.nodes),
                    )
            placed.setdefault(loss.on, []).append(loss)
        return placed

    def _computes_losses(self, label: str) -> bool:
        backend = self.backends[label]
        return backend == Backend.NUMPY or get_backend(backend).capabilities.gradients

    def _loss(
        self, loss: AppliedLoss, here: Iterable[str], backend: str, inputs: dict[str, SegmentInput]
    ) -> SegmentLoss:
        try:
            arguments = [self._argument(loss, one, here, inputs) for one in loss.inputs]
            weight = (
                None if loss.sample_weight is None else self._argument(loss, loss.sample_weight, here, inputs)
            )
            function = loss.loss.resolve(get_backend(backend))
        except MMLError as error:
            raise error.located({"loss": loss.label, "node": loss.on}) from error.__cause__
        return SegmentLoss(
            label=loss.label,
            node=loss.on,
            function=function,
            arguments=tuple(arguments),
            weight=loss.weight,
            rows=self._loss_rows(loss),
            keywords=loss.keywords,
            sample_weight=weight,
        )

    def _argument(
        self, loss: AppliedLoss, value: LossInput, here: Iterable[str], inputs: dict[str, SegmentInput]
    ) -> str:
        on, dtype = loss.on, self._dtype(loss.on)
        if value.domain == "node":
            return self._output(str(value.name), self.roles[str(value.name)][0], here, dtype, inputs)
        role, key = value.role_and_key(self.roles[on], loss=loss.label)
        if value.domain == "outputs":
            return self._output(on, role, here, dtype, inputs)
        if value.domain == TARGETS and key is None:
            targets = self._targets(on, role)
            if targets is None:
                raise LossError(
                    "The data of this node has no targets.",
                    where={"loss": loss.label, "input": value.text},
                    hint="Name them in the reference: featureset.reference(features=..., targets=...).",
                )
            return self._joined_input(on, role, targets, inputs)
        lane = self.lanes[self._target_lane(on, value.domain if value.domain != FEATURES else TARGETS)]
        return self._data(lane.name, role, value.domain, self._columns(lane, value, key), dtype, inputs)

    def _columns(self, lane: Lane, value: LossInput, key: str | None) -> tuple[str, ...]:
        if key is None:
            return lane.columns.get(value.domain, ())
        chosen = [name for name in lane.columns.get(value.domain, ()) if name.split(".")[1] == key]
        return tuple(chosen) or tuple(lane.source.schema.select(f"{value.domain}.{key}.raw"))

    def _loss_rows(self, loss: AppliedLoss) -> int:
        pairs: Pairs = frozenset()
        for value in loss.routed:
            if value.domain == "node":
                label, role = str(value.name), self.roles[str(value.name)][0]
            else:
                label = loss.on
                role, _ = value.role_and_key(self.roles[label], loss=loss.label)
            pairs |= self._pairs(label, role)
        return self._count(pairs)

    def _host_losses(self) -> list[PlannedSegment]:
        """Compute losses on nodes whose backend computes none, on NumPy arrays after everything else."""
        applied = [
            loss
            for loss in self.request.losses
            if loss.on in self.roles and not self._computes_losses(loss.on)
        ]
        if not applied:
            return []
        inputs: dict[str, SegmentInput] = {}
        losses = tuple(self._loss(loss, (), Backend.NUMPY, inputs) for loss in applied)
        segment = Segment(
            backend=Backend.NUMPY, mode="eval", inputs=tuple(inputs.values()), calls=(), losses=losses
        )
        order = {id(loss): number for number, loss in enumerate(self.request.losses)}
        return [PlannedSegment(segment, tuple(order[id(loss)] for loss in applied), ())]

    # --- learning --------------------------------------------------------------------------------------

    def _needs_optimizer(self, label: str) -> bool:
        return self.request.mode == "train" and get_backend(self.backends[label]).capabilities.gradients

    def _optimizers(self, learning: list[str], backend: str) -> list[tuple[Optimizer, list[str]]]:
        grouped: list[tuple[Optimizer, list[str]]] = []
        for label in learning:
            if not self._needs_optimizer(label):
                continue
            node = self.nodes[label]
            optimizer = (node.optimizer if isinstance(node, ModelNode) else None) or self.optimizer
            if optimizer is None:
                raise OptimizerError(
                    "A node that learns has no optimizer.",
                    where={"node": label},
                    hint="Give the graph one, ModelGraph(..., optimizer='adam'), or the node, "
                    "ModelNode(..., optimizer='adam'); or freeze the node.",
                )
            try:
                optimizer.resolve(get_backend(backend))
            except MMLError as error:
                raise error.located({"node": label}) from error.__cause__
            for known, labels in grouped:
                if known is optimizer:
                    labels.append(label)
                    break
            else:
                grouped.append((optimizer, [label]))
        return grouped

    def _options(self, learning: list[str], backend: str) -> dict[str, object]:
        """Tell learners by batches which classes the whole split holds."""
        if self.request.mode != "train" or get_backend(backend).capabilities.gradients or not learning:
            return {}
        classes: dict[str, np.ndarray] = {}
        for label in learning:
            targets = self._targets(label, self.roles[label][0])
            if isinstance(targets, DataInput) and len(targets.columns) == 1:
                lane = self.lanes[targets.lane]
                rows = np.arange(lane.source.n_rows) if lane.rows is None else lane.rows
                classes[label] = np.unique(lane.source.take(targets.columns[0], rows))
        return {"classes": classes} if classes else {}

    def _check_reached(self, segments: list[Segment]) -> None:
        for segment in segments:
            needing = [label for label in segment.learning if self._needs_optimizer(label)]
            reached: set[str] = set()
            for loss in segment.losses:
                reached.update(loss.arguments)
            for call in reversed(segment.calls):
                if call.key in reached:
                    reached.update(call.sources)
            keys = {call.node for call in segment.calls if call.key in reached}
            for label in needing:
                if label not in keys:
                    raise PhaseError(
                        "A node that learns is reached by no loss.",
                        where={"node": label},
                        found=f"losses on {sorted({loss.on for loss in self.request.losses})}"
                        if self.request.losses
                        else "a phase without losses",
                        hint=f"Apply a loss on {label!r} or below it in the same backend, freeze it, or name the "
                        "learning nodes in active_nodes.",
                    )

    def _explained(self, stages: tuple[Stage, ...]) -> Iterable[str]:
        for number, stage in enumerate(stages):
            learning = [label for label in stage.labels if label in self.learning]
            doing = f"learning {', '.join(learning)}" if learning else "constant"
            yield f"Step {number + 1} on {stage.backend}: {', '.join(stage.labels)} ({doing})."
        stage_of = {label: stage for stage in stages for label in stage.labels}
        for label in self.order:
            for up in upstream_labels(self.nodes[label]):
                if self.backends[up] != self.backends[label]:
                    yield (
                        f"Between {up} ({self.backends[up]}) and {label} ({self.backends[label]}) values are "
                        "converted once a step and gradients stop."
                    )
                elif stage_of[up] is not stage_of[label]:
                    yield f"Between {up} and {label} gradients stop: they are separate stages."
