"""Where the losses of a request are computed, and which values they are given.

A loss stands in the segment of the node that it is applied on; where that backend computes no losses, it is
computed on the host after everything else.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from mml.backends import Backend, Segment, SegmentLoss, get_backend
from mml.data import FeatureSetReference
from mml.errors import LossError, MMLError, did_you_mean
from mml.graph.loss_reads import LossReads
from mml.graph.losses.applied_loss import AppliedLoss
from mml.graph.losses.routing import LossInput
from mml.graph.naming import Inputs, ValueNames
from mml.graph.nodes import ComputeNode
from mml.graph.plan import Elsewhere, PlannedSegment
from mml.graph.routes import Pairs, Routes
from mml.graph.staging import Staging


def check_losses(nodes: Mapping[str, ComputeNode], losses: Sequence[AppliedLoss]) -> None:
    """Refuse losses that share a label, or that name a node which the graph does not have.

    Raises
    ------
    LossError
    """
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


class LossPlacement:
    """Puts the losses of one request into segments.

    Parameters
    ----------
    losses : sequence of AppliedLoss
    staging : Staging
    routes : Routes
    names : ValueNames
    elsewhere : mapping of FeatureSetReference to Elsewhere
        What losses read outside the batch.
    """

    def __init__(
        self,
        losses: Sequence[AppliedLoss],
        *,
        staging: Staging,
        routes: Routes,
        names: ValueNames,
        elsewhere: Mapping[FeatureSetReference, Elsewhere],
    ) -> None:
        self.losses = tuple(losses)
        self.staging = staging
        self.routes = routes
        self.reads = LossReads(routes, elsewhere)
        self.names = names
        self._number = {loss.label: number for number, loss in enumerate(self.losses)}

    def of(self, labels: Sequence[str]) -> list[AppliedLoss]:
        """Return the losses that are computed with these nodes, in their order."""
        return [
            loss
            for label in labels
            for loss in self.losses
            if loss.on == label and self.staging.computes_losses(label)
        ]

    def numbers(self, losses: Sequence[AppliedLoss]) -> tuple[int, ...]:
        """Return which losses of the request these are."""
        return tuple(self._number[loss.label] for loss in losses)

    def outputs_read(self) -> set[str]:
        """Return the labels whose outputs losses need from another segment than their own.

        Raises
        ------
        LossError
            If a loss reads what only a later step executes.
        """
        wanted: set[str] = set()
        for loss in self.losses:
            read = {str(one.name) for one in loss.routed if one.domain == "node"}
            if not self.staging.computes_losses(loss.on):
                wanted |= {loss.on, *read}
                continue
            wanted |= {name for name in read if self._comes_from_elsewhere(loss, name)}
        return wanted

    def _comes_from_elsewhere(self, loss: AppliedLoss, name: str) -> bool:
        stages = self.staging.stages
        here, there = self.staging.stage_of(loss.on), self.staging.stage_of(name)
        if stages.index(there) > stages.index(here):
            raise LossError(
                "The loss reads a node that a later step executes.",
                where={"loss": loss.label, "node": loss.on},
                found=f"{name!r}, which depends on {loss.on!r}",
                hint=f"Apply the loss on {name!r} and let it read {loss.on!r}.",
            )
        return there is not here

    def placed(self, loss: AppliedLoss, here: Collection[str], backend: str, inputs: Inputs) -> SegmentLoss:
        """Return a loss as the segment of the nodes `here` computes it; what it reads joins `inputs`.

        Raises
        ------
        LossError
            If an input does not exist, or the backend does not compute the loss.
        """
        try:
            arguments = [self._argument(loss, one, here, inputs) for one in loss.inputs]
            weights = self.reads.weights(loss)
            loss.check_inputs(get_backend(backend).name, roles=self.routes.roles[loss.on])
            function = loss.loss.resolve(get_backend(backend))
            rows = self.rows(loss)
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
            context=loss.loss.takes_context,
            written=tuple(one.text for one in loss.inputs),
        )

    def rows(self, loss: AppliedLoss) -> int:
        """Return the column of `Block.rows` that counts the rows which are live in all that a loss reads."""
        pairs: Pairs = frozenset()
        for value in loss.routed:
            if value.domain in ("node", "outputs"):
                pairs |= self.routes.pairs(*self._output_read(loss, value))
            else:
                pairs |= self.routes.pairs(loss.on, self.reads.role_and_key(loss, value)[0])
        return self.names.count(pairs)

    def on_host(self) -> list[PlannedSegment]:
        """Return the segment, if any, that computes losses on NumPy arrays after everything else."""
        applied = [loss for loss in self.losses if not self.staging.computes_losses(loss.on)]
        if not applied:
            return []
        inputs: Inputs = {}
        losses = tuple(self.placed(loss, (), Backend.NUMPY, inputs) for loss in applied)
        segment = Segment(
            backend=Backend.NUMPY, mode="eval", inputs=tuple(inputs.values()), calls=(), losses=losses
        )
        return [PlannedSegment(segment, self.numbers(applied), ())]

    def _argument(self, loss: AppliedLoss, value: LossInput, here: Collection[str], inputs: Inputs) -> str:
        if value.domain in ("node", "outputs"):
            label, role = self._output_read(loss, value)
            return self.names.output(label, role, here, self.routes.dtype(loss.on), inputs)
        return self.names.gathered(self.reads.read(loss, value), inputs)

    def _output_read(self, loss: AppliedLoss, value: LossInput) -> tuple[str, str]:
        if value.domain == "outputs":
            return loss.on, self.reads.role_and_key(loss, value)[0]
        label = str(value.name)
        roles = self.routes.roles[label]
        if len(roles) > 1:
            raise LossError(
                f"The node {label!r} gives one output a role, and an input that is a node names none.",
                found=f"roles {roles}",
                hint=f"Apply the loss on {label!r} and read 'outputs.<role>'.",
            )
        return label, roles[0]
