"""Running one phase: blocks of steps through the graph, hooks in their order, results recorded.

A phase is transactional. Whatever is raised, the graph is as it was when the phase started, and the results
say what happened.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from mml.errors import MMLError, PhaseError
from mml.experiment.callbacks.dispatcher import ExperimentDispatcher, PhaseDispatcher, tell_of_failure
from mml.experiment.phases.execution_context import ExecutionContext
from mml.experiment.phases.fit_phase import FitPhase
from mml.experiment.phases.phase import ExperimentPhase
from mml.experiment.phases.train_phase import TrainPhase
from mml.experiment.results import PhaseResults
from mml.experiment.running.block_source import BlockSource
from mml.experiment.running.fit_lineage import follow_lineage
from mml.experiment.running.interrupts import Interrupt
from mml.experiment.running.nonfinite import check_finite
from mml.experiment.running.pairing import check_pairing
from mml.experiment.running.recording import record_steps, tell_losses
from mml.experiment.running.running_phase import RunningPhase, prepare_phase
from mml.experiment.running.snapshot import Snapshot
from mml.experiment.running.target_values import check_target_values
from mml.graph import ModelGraph, ModelNode
from mml.graph.execution import LoadedBlock, StepsResult

if TYPE_CHECKING:
    from mml.experiment.experiment import Experiment


class PhaseRunner:
    """Runs phases for an experiment.

    Parameters
    ----------
    host : Experiment
        Gives graph, context, seed and progress display.
    interrupt : Interrupt
        Tells whether to end early.
    around : ExperimentDispatcher
        Fires the experiment's hooks before and after each phase.
    """

    def __init__(self, host: Experiment, interrupt: Interrupt, around: ExperimentDispatcher) -> None:
        self._host = host
        self._interrupt = interrupt
        self._around = around

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
        graph = self._host.graph
        before = None if graph is None else Snapshot(graph, values=phase.mode != "eval")
        seen = self._host.lineage.entries()
        dispatcher = PhaseDispatcher(phase.callbacks, host=self._host, phase=phase, results=results)
        try:
            self._around.fire("on_phase_start", phase=phase, results=results)
            self._run(phase, path, results, dispatcher)
            self._around.fire("on_phase_end", phase=phase, results=results)
        except BaseException as raised:
            error = _located(raised, phase)
            results.status = "failed"
            results.exception = error
            try:
                tell_of_failure(dispatcher, error)
            finally:
                self._host.lineage.put_back(seen)
                if before is not None:
                    before.restore()
            if error is raised:
                raise
            raise error from raised
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

    def _run(
        self,
        phase: ExperimentPhase,
        path: tuple[str, ...],
        results: PhaseResults,
        dispatcher: PhaseDispatcher,
    ) -> None:
        graph = self._graph(phase)
        running = prepare_phase(
            phase, host=self._host, graph=graph, path=path, results=results, dispatcher=dispatcher
        )
        self._check_callbacks(running)
        follow_lineage(running)
        check_pairing(running)
        check_target_values(running)
        total = phase.n_steps(running.inputs)
        self._host.progress.phase_started(path, phase=phase, n_steps=total)
        dispatcher.fire("on_phase_start", epoch=-1)
        _follow_freezing(running)
        done = 0 if phase.stop_requested or self._interrupt.requested else self._steps(running)
        stopped = phase.stop_requested
        if self._interrupt.requested and done < total:
            self._interrupt.cut_short = stopped = True
        if done:
            self._after_fit(running, graph)
        if done == total:
            self._evaluate(running, graph)
        results.status = "stopped" if stopped else "completed"
        dispatcher.fire("on_phase_end", epoch=_last_epoch(results))

    def _check_callbacks(self, running: RunningPhase) -> None:
        phase = running.phase
        available, certain = _own_metrics(phase, running), True
        for callback in phase.callbacks:
            callback.check(phase, available, certain=certain)
            logged = callback.metrics_logged(phase)
            certain = certain and logged is not None
            available = (*available, *(logged or ()))

    # --- stepping --------------------------------------------------------------------------------------

    def _steps(self, running: RunningPhase) -> int:
        """Execute the phase's steps and return how many; Ctrl-C and stop requests end it early."""
        trains = isinstance(running.phase, TrainPhase)
        done = 0
        with BlockSource(running) as blocks:
            while (first := blocks.peek()) is not None:
                if trains and first.batch == 0:
                    running.dispatcher.fire_epoch("on_epoch_start", first.epoch)
                    _follow_freezing(running)
                contexts = blocks.cut()
                executed = self._block(running, contexts, blocks)
                done += executed
                ended = contexts[-1].is_last and executed == len(contexts)
                if ended:
                    self._close_epoch(running, first.epoch)
                if self._interrupt.requested:
                    if not ended:
                        self._close_losses(running, first.epoch)
                    break
        return done

    def _block(self, running: RunningPhase, contexts: list[ExecutionContext], blocks: BlockSource) -> int:
        """Execute consecutive steps and return how many: all of them, but for Ctrl-C between two batches."""
        running.pacing.begin()
        block = blocks.load(contexts)
        blocks.look_ahead(contexts, block)
        fits = isinstance(running.phase, FitPhase)
        if running.dispatcher.listens("on_batch_start", "on_batch_end") and not fits:
            executed = self._batch_by_batch(running, contexts, block, blocks)
        else:
            steps = running.execution.run(block, 0, len(contexts))
            self._record(running, contexts, steps)
            executed = len(contexts)
        blocks.ran(block)
        running.pacing.end(executed)
        self._host.progress.advanced(executed, epoch=contexts[0].epoch)
        return executed

    def _batch_by_batch(
        self,
        running: RunningPhase,
        contexts: list[ExecutionContext],
        block: LoadedBlock,
        blocks: BlockSource,
    ) -> int:
        for number, context in enumerate(contexts):
            running.dispatcher.fire_batch("on_batch_start", context)
            if _follow_freezing(running):
                block = blocks.load(contexts)
            steps = running.execution.run(block, number, number + 1)
            tell_losses(running.phase, context, steps)
            self._record(running, [context], steps)
            running.dispatcher.fire_batch("on_batch_end", context)
            if _follow_freezing(running):
                block = blocks.load(contexts)
            if self._interrupt.requested and running.window_ends(context.batch):
                return number + 1
        return len(contexts)

    def _record(self, running: RunningPhase, contexts: list[ExecutionContext], steps: StepsResult) -> None:
        phase = running.phase
        if phase.losses and phase.on_nonfinite != "ignore":
            check_finite(phase, steps, contexts)
        record_steps(running.results, phase=phase, inputs=running.inputs, contexts=contexts, steps=steps)

    def _close_epoch(self, running: RunningPhase, epoch: int) -> None:
        self._close_losses(running, epoch)
        if isinstance(running.phase, TrainPhase):
            self._log_rates(running, epoch)
            running.dispatcher.fire_epoch("on_epoch_end", epoch)
            _follow_freezing(running)
        self._host.progress.epoch_ended(epoch, running.results)

    def _close_losses(self, running: RunningPhase, epoch: int) -> None:
        if running.phase.losses:
            running.results.close_epoch(epoch)

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


def _located(error: BaseException, phase: ExperimentPhase) -> BaseException:
    """Name the phase; give an error that is none of MML's, out of a model or a loss, the form of one."""
    if isinstance(error, MMLError):
        return error.located({"phase": phase.label})
    if not isinstance(error, Exception):
        return error
    return PhaseError(f"{type(error).__name__}: {error}", where={"phase": phase.label})


def _follow_freezing(running: RunningPhase) -> bool:
    """Plan again where a callback changed the freezing; tell whether that was so."""
    if not running.dispatcher.froze:
        return False
    running.dispatcher.froze = False
    running.plan_again()
    follow_lineage(running)
    return True


def _own_metrics(phase: ExperimentPhase, running: RunningPhase) -> tuple[str, ...]:
    if not isinstance(phase, TrainPhase):
        return ()
    rates = [f"lr/{name}" for name in running.controls.rates(epoch=0, batch=0)]
    losses = [f"train_loss/{loss.label}" for loss in phase.losses]
    return ("train_loss", *losses, *rates) if phase.losses else tuple(rates)


def _last_epoch(results: PhaseResults) -> int:
    return max(results.epoch_indices, default=0)
