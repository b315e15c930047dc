"""Running one phase: blocks of steps through the graph, hooks in their order, results recorded.

A phase is transactional. Whatever is raised, the graph is as it was when the phase started, and the results
say what happened.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from mml.errors import MMLError, PhaseError
from mml.experiment.callbacks.dispatcher import PhaseDispatcher
from mml.experiment.phases.bound_inputs import BoundInputs, bind_inputs
from mml.experiment.phases.execution_context import ExecutionContext
from mml.experiment.phases.fit_phase import FitPhase
from mml.experiment.phases.phase import ExperimentPhase
from mml.experiment.phases.train_phase import TrainPhase
from mml.experiment.results import PhaseResults
from mml.experiment.running.controls import StepControls
from mml.experiment.running.interrupts import Interrupt
from mml.experiment.running.nonfinite import check_finite
from mml.experiment.running.pacing import Pacing
from mml.graph import ModelGraph, ModelNode
from mml.graph.execution import Execution, LoadedBlock, StepsResult
from mml.graph.plan import Request
from mml.graph.topology import heads, with_ancestors


@dataclass
class RunningPhase:
    """A phase with everything that its execution needs."""

    phase: ExperimentPhase
    results: PhaseResults
    inputs: BoundInputs
    execution: Execution
    controls: StepControls
    dispatcher: PhaseDispatcher
    pacing: Pacing


class PhaseRunner:
    """Runs phases for an experiment.

    Parameters
    ----------
    host : Experiment
        Gives graph, context, seed and progress display.
    interrupt : Interrupt
        Tells whether to end early.
    """

    def __init__(self, host: Any, interrupt: Interrupt) -> None:
        self._host = host
        self._interrupt = interrupt

    def run(self, phase: ExperimentPhase, *, path: tuple[str, ...], results: PhaseResults) -> None:
        """Run a phase and fill its results.

        Parameters
        ----------
        phase : ExperimentPhase
        path : tuple of str
            Labels of the groups that it stands in, and its own.
        results : PhaseResults

        Raises
        ------
        MMLError
            Whatever goes wrong, with the phase named; the graph is then as it was.
        """
        results.started_at = datetime.now(UTC)
        results.status = "running"
        phase.start()
        graph = self._graph(phase)
        before = None if phase.mode == "eval" else graph.get_state()
        dispatcher = PhaseDispatcher(phase.callbacks, host=self._host, phase=phase, results=results)
        try:
            self._run(phase, path, results, graph, dispatcher)
        except BaseException as error:
            results.status = "failed"
            results.exception = error
            if before is not None:
                graph.set_state(before)
            self._tell(dispatcher, error)
            if isinstance(error, MMLError):
                raise error.located({"phase": phase.label}) from error.__cause__
            raise
        finally:
            results.ended_at = datetime.now(UTC)
            self._host.progress.phase_ended(results)

    def _graph(self, phase: ExperimentPhase) -> ModelGraph:
        if self._host.graph is None:
            raise PhaseError(
                "The experiment has no graph.",
                where={"phase": phase.label},
                hint="Pass one: Experiment(label, graph).",
            )
        graph: ModelGraph = self._host.graph
        return graph

    def _tell(self, dispatcher: PhaseDispatcher, error: BaseException) -> None:
        try:
            dispatcher.fire("on_exception", exception=error)
        except MMLError as second:
            error.add_note(f"While this was handled, {second}")

    def _run(
        self,
        phase: ExperimentPhase,
        path: tuple[str, ...],
        results: PhaseResults,
        graph: ModelGraph,
        dispatcher: PhaseDispatcher,
    ) -> None:
        running = self._prepare(phase, path, results, graph, dispatcher)
        self._check_callbacks(running)
        total = phase.n_steps(running.inputs)
        self._host.progress.phase_started(path, phase=phase, n_steps=total)
        dispatcher.fire("on_phase_start", epoch=-1)
        if not phase.stop_requested:
            self._steps(running)
        if isinstance(phase, FitPhase):
            self._after_fit(running, graph)
        self._evaluate(running, graph)
        stopped = phase.stop_requested or self._interrupt.requested
        results.status = "stopped" if stopped else "completed"
        dispatcher.fire("on_phase_end", epoch=_last_epoch(results))

    # --- preparing -------------------------------------------------------------------------------------

    def _prepare(
        self,
        phase: ExperimentPhase,
        path: tuple[str, ...],
        results: PhaseResults,
        graph: ModelGraph,
        dispatcher: PhaseDispatcher,
    ) -> RunningPhase:
        graph.build(seed=self._host.initial_seed, context=self._host.context)
        inputs = bind_inputs(
            phase.input_sources,
            graph,
            phase=phase.label,
            context=self._host.context,
            seed=self._host.seed,
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
            deterministic=self._host.deterministic,
        )
        execution = graph.prepare(request, context=self._host.context)
        epoch_steps = phase.epoch_steps(inputs) if isinstance(phase, TrainPhase) else [phase.n_steps(inputs)]
        controls = StepControls(execution.plan, seed=self._host.phase_seed(path), epoch_steps=epoch_steps)
        pacing = Pacing(multiple_of=execution.plan.accumulate)
        return RunningPhase(phase, results, inputs, execution, controls, dispatcher, pacing)

    def _check_callbacks(self, running: RunningPhase) -> None:
        phase = running.phase
        available: tuple[str, ...] | None = _own_metrics(phase, running)
        for callback in phase.callbacks:
            callback.check(phase, available)
            logged = callback.metrics_logged(phase)
            available = None if available is None or logged is None else (*available, *logged)

    # --- stepping --------------------------------------------------------------------------------------

    def _steps(self, running: RunningPhase) -> None:
        trains = isinstance(running.phase, TrainPhase)
        pending: list[ExecutionContext] = []
        for context in running.phase.iter_execution(running.inputs):
            if trains and context.batch == 0:
                running.dispatcher.fire_epoch("on_epoch_start", context.epoch)
            pending.append(context)
            rows = max(view.n_rows for view in context.views.values())
            if context.is_last or len(pending) >= running.pacing.size(rows):
                self._block(running, pending)
                pending = []
                if self._interrupt.requested:
                    running.phase.request_stop()
                    return
            if context.is_last:
                self._close_epoch(running, context.epoch)

    def _block(self, running: RunningPhase, contexts: list[ExecutionContext]) -> None:
        first, execution = contexts[0], running.execution
        running.pacing.begin()
        fed = execution.feed.block([context.views for context in contexts])
        controls = running.controls.for_block(fed, epoch=first.epoch, first_batch=first.batch)
        block = LoadedBlock(fed, controls)
        if running.dispatcher.listens("on_batch_start", "on_batch_end"):
            for number, context in enumerate(contexts):
                running.dispatcher.fire_batch("on_batch_start", context)
                self._record(running, [context], execution.run(block, number, number + 1), fill=True)
                running.dispatcher.fire_batch("on_batch_end", context)
        else:
            self._record(running, contexts, execution.run(block, 0, len(contexts)), fill=False)
        running.pacing.end(len(contexts))
        self._host.progress.advanced(len(contexts), epoch=first.epoch)

    def _record(
        self, running: RunningPhase, contexts: list[ExecutionContext], result: StepsResult, *, fill: bool
    ) -> None:
        phase, results = running.phase, running.results
        epoch = contexts[0].epoch
        batches = np.array([context.batch for context in contexts], dtype=np.int64)
        if phase.losses:
            if phase.on_nonfinite != "ignore":
                check_finite(phase, result, contexts)
            results.record_losses(
                epoch=epoch,
                batches=batches,
                labels=tuple(loss.label for loss in phase.losses),
                nodes=tuple(loss.on for loss in phase.losses),
                values=result.losses,
                rows=result.rows,
                weights=np.array([loss.weight for loss in phase.losses]),
            )
        for lane in running.inputs.lanes:
            for role in lane.roles:
                results.record_batches(
                    epoch=epoch,
                    batches=batches,
                    node=lane.name,
                    role=role,
                    rows=[context.views[lane.name].rows[role] for context in contexts],
                )
        for context, outputs in zip(contexts, result.outputs, strict=True):
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
        if fill:
            values = result.losses()
            for number, context in enumerate(contexts):
                context.losses = {
                    loss.label: float(value) for loss, value in zip(phase.losses, values[number], strict=True)
                }

    def _close_epoch(self, running: RunningPhase, epoch: int) -> None:
        phase, results = running.phase, running.results
        if phase.losses:
            results.close_epoch(epoch)
        if isinstance(phase, TrainPhase):
            self._log_rates(running, epoch)
            running.dispatcher.fire_epoch("on_epoch_end", epoch)
        self._host.progress.epoch_ended(epoch, results)

    def _log_rates(self, running: RunningPhase, epoch: int) -> None:
        steps = running.controls.epoch_length(epoch)
        for name, rate in running.controls.rates(epoch=epoch, batch=steps - 1).items():
            running.results.metric_store.log(f"lr/{name}", rate, epoch=epoch)

    # --- finishing -------------------------------------------------------------------------------------

    def _after_fit(self, running: RunningPhase, graph: ModelGraph) -> None:
        phase = running.phase
        if isinstance(phase, FitPhase) and phase.freeze_after_fit:
            for label in running.execution.plan.learning:
                node = graph[label]
                if isinstance(node, ModelNode):
                    node.freeze_after_fit()
        graph.build(context=self._host.context)

    def _evaluate(self, running: RunningPhase, graph: ModelGraph) -> None:
        metrics = getattr(running.phase, "metrics", ())
        if self._host.in_callback:
            # The callback that runs this evaluation computes the metrics under its own names.
            return
        for metric in metrics:
            found = metric.evaluate(
                running.results, phase=running.phase, tails=graph.tail_nodes, prefix="eval_"
            )
            running.results.metric_store.log(found.name, found.value, epoch=0)


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


def _own_metrics(phase: ExperimentPhase, running: RunningPhase) -> tuple[str, ...]:
    if not isinstance(phase, TrainPhase):
        return ()
    rates = [f"lr/{name}" for name in running.controls.rates(epoch=0, batch=0)]
    losses = [f"train_loss/{loss.label}" for loss in phase.losses]
    return ("train_loss", *losses, *rates) if phase.losses else tuple(rates)


def _last_epoch(results: PhaseResults) -> int:
    return max(results.epoch_indices, default=0)
