"""`RunningPhase`: a phase with all that one execution of it needs, and how that is put together."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mml.experiment.callbacks.dispatcher import PhaseDispatcher
from mml.experiment.phases.bound_inputs import BoundInputs
from mml.experiment.phases.phase import ExperimentPhase
from mml.experiment.phases.requests import bound_request
from mml.experiment.phases.train_phase import TrainPhase
from mml.experiment.results import PhaseResults
from mml.experiment.running.controls import StepControls
from mml.experiment.running.pacing import Pacing
from mml.graph import ModelGraph
from mml.graph.execution import Execution
from mml.graph.plan import Request

if TYPE_CHECKING:
    from mml.experiment.experiment import Experiment


@dataclass
class RunningPhase:
    """One execution of one phase.

    Parameters
    ----------
    phase : ExperimentPhase
    results : PhaseResults
    graph : ModelGraph
    host : Experiment
    path : tuple of str
        Labels of the groups that the phase stands in, and its own.
    inputs : BoundInputs
    request : Request
        What the phase asked of the graph at its start.
    execution : Execution
    controls : StepControls
    dispatcher : PhaseDispatcher
    pacing : Pacing
    """

    phase: ExperimentPhase
    results: PhaseResults
    graph: ModelGraph
    host: Experiment
    path: tuple[str, ...]
    inputs: BoundInputs
    request: Request
    execution: Execution
    controls: StepControls
    dispatcher: PhaseDispatcher
    pacing: Pacing

    def plan_again(self) -> None:
        """Plan for nodes that were frozen or unfrozen meanwhile; steps and streams go on where they are."""
        active = self.request.active
        if active is not None:
            active = tuple(label for label in active if not self.graph[label].is_frozen)
        request = replace(self.request, active=active)
        self.execution = self.graph.prepare(request, context=self.host.context)
        self.controls = _controls(
            self.phase,
            inputs=self.inputs,
            graph=self.graph,
            execution=self.execution,
            seed=self.host.phase_seed(self.path),
        )
        self.pacing.multiple_of = _window(self.execution)

    def window_ends(self, batch: int) -> bool:
        """Whether no gradients wait to be applied after this batch of an epoch."""
        return (batch + 1) % self.pacing.multiple_of == 0


def prepare_phase(
    phase: ExperimentPhase,
    *,
    host: Experiment,
    graph: ModelGraph,
    path: tuple[str, ...],
    results: PhaseResults,
    dispatcher: PhaseDispatcher,
) -> RunningPhase:
    """Resolve a phase's bindings and plan its execution; nothing is run."""
    graph.build(seed=host.initial_seed, context=host.context)
    inputs, request = bound_request(
        phase, graph, context=host.context, seed=host.run_seed, deterministic=host.deterministic
    )
    execution = graph.prepare(request, context=host.context)
    return RunningPhase(
        phase=phase,
        results=results,
        graph=graph,
        host=host,
        path=path,
        inputs=inputs,
        request=request,
        execution=execution,
        controls=_controls(
            phase, inputs=inputs, graph=graph, execution=execution, seed=host.phase_seed(path)
        ),
        dispatcher=dispatcher,
        pacing=Pacing(multiple_of=_window(execution), row_bytes=execution.feed.row_bytes()),
    )


def _window(execution: Execution) -> int:
    """Return how many steps hold whole accumulation windows of every optimizer."""
    windows = [one.accumulate for planned in execution.plan.segments for one in planned.optimizers]
    return math.lcm(*windows)


def _controls(
    phase: ExperimentPhase, *, inputs: BoundInputs, graph: ModelGraph, execution: Execution, seed: int
) -> StepControls:
    steps = phase.epoch_steps(inputs) if isinstance(phase, TrainPhase) else [phase.n_steps(inputs)]
    owners = {label: one for label, one in graph.optimizers().items() if one is not graph.optimizer}
    if graph.optimizer is not None:
        owners[graph.label] = graph.optimizer
    return StepControls(execution.plan, owners=owners, seed=seed, epoch_steps=steps)
