"""Writing down what a range of steps gave: losses, rows, outputs, and the contexts that callbacks see."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mml.experiment.phases.bound_inputs import BoundInputs
from mml.experiment.phases.execution_context import ExecutionContext
from mml.experiment.phases.phase import ExperimentPhase
from mml.experiment.results import PhaseResults
from mml.graph.execution import StepsResult


def record_steps(
    results: PhaseResults,
    *,
    phase: ExperimentPhase,
    inputs: BoundInputs,
    contexts: Sequence[ExecutionContext],
    steps: StepsResult,
) -> None:
    """Record consecutive steps of one epoch; losses stay on their device until somebody reads them."""
    epoch = contexts[0].epoch
    batches = np.array([context.batch for context in contexts], dtype=np.int64)
    if phase.losses:
        results.record_losses(
            epoch=epoch,
            batches=batches,
            labels=tuple(loss.label for loss in phase.losses),
            nodes=tuple(loss.on for loss in phase.losses),
            values=steps.losses,
            rows=steps.rows,
            weights=np.array([loss.weight for loss in phase.losses]),
        )
    for lane in inputs.lanes:
        for role in lane.roles:
            results.record_batches(
                epoch=epoch,
                batches=batches,
                node=lane.name,
                role=role,
                rows=[context.views[lane.name].rows[role] for context in contexts],
            )
    for context, outputs in zip(contexts, steps.outputs, strict=True):
        for one in outputs:
            context.outputs[one.node] = one.outputs
            results.record_outputs(
                epoch=epoch,
                batch=context.batch,
                node=one.node,
                role=one.role,
                outputs=one.outputs,
                targets=one.targets,
                sample_uuids=one.sample_uuids,
            )


def tell_losses(phase: ExperimentPhase, context: ExecutionContext, steps: StepsResult) -> None:
    """Put the losses of a single step into its context, for callbacks."""
    values = steps.losses()[0]
    context.losses = {loss.label: float(value) for loss, value in zip(phase.losses, values, strict=True)}
