"""`RunningPhase`: a phase with all that one execution of it needs, and how that is put together."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mml.experiment.callbacks.dispatcher import PhaseDispatcher
from mml.experiment.phases.bound_inputs import BoundInputs, bind_inputs
from mml.experiment.phases.phase import ExperimentPhase
from mml.experiment.phases.train_phase import TrainPhase
from mml.experiment.results import PhaseResults
from mml.experiment.running.controls import StepControls
from mml.experiment.running.pacing import Pacing
from mml.graph import ModelGraph
from mml.graph.elsewhere import columns_elsewhere
from mml.graph.execution import Execution
from mml.graph.plan import Request
from mml.graph.topology import heads, with_ancestors

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
    inputs = bind_inputs(
        phase.input_sources,
        graph,
        phase=phase.label,
        context=host.context,
        seed=host.seed,
        default_batch_size=phase.default_batch_size,
        heads=_needed_heads(phase, graph),
    )
    request = Request(
        mode=phase.mode,
        lanes=inputs.lanes,
        active=phase.active_nodes,
        losses=phase.losses,
        record=_recorded(phase, graph),
        device=phase.device,
        deterministic=host.deterministic,
        elsewhere=columns_elsewhere(phase.losses, context=host.context),
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


def _needed_heads(phase: ExperimentPhase, graph: ModelGraph) -> tuple[str, ...]:
    """Return the heads that a phase needs data for: all, or those above its active nodes and losses."""
    if phase.active_nodes is None:
        return graph.head_nodes
    wanted = [label for label in (*phase.active_nodes, *(loss.on for loss in phase.losses)) if label in graph]
    running = with_ancestors(graph.nodes, wanted)
    return tuple(label for label in heads(graph.nodes) if label in running)


def _recorded(phase: ExperimentPhase, graph: ModelGraph) -> tuple[str, ...]:
    """Return the nodes whose outputs are kept: those with losses, the tails, and those of metrics."""
    if phase.result_recording == "none" or phase.mode == "fit":
        return ()
    wanted = [loss.on for loss in phase.losses if loss.on in graph]
    named = [metric.node for metric in getattr(phase, "metrics", ()) if getattr(metric, "node", None)]
    tails = graph.tail_nodes if phase.active_nodes is None else phase.active_nodes
    return tuple(dict.fromkeys([*wanted, *named, *tails]))
