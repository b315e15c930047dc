"""Running groups: members in order, hooks at their borders, results in the same shape."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from mml.experiment.callbacks.dispatcher import ExperimentDispatcher
from mml.experiment.phases.phase import ExperimentPhase
from mml.experiment.phases.phase_group import PhaseGroup
from mml.experiment.results import PhaseGroupResults
from mml.experiment.running.interrupts import Interrupt
from mml.experiment.running.phase_runner import PhaseRunner

if TYPE_CHECKING:
    from mml.experiment.experiment import Experiment


class GroupRunner:
    """Runs a group and what stands in it.

    Parameters
    ----------
    host : Experiment
    interrupt : Interrupt
    dispatcher : ExperimentDispatcher
    """

    def __init__(self, host: Experiment, *, interrupt: Interrupt, dispatcher: ExperimentDispatcher) -> None:
        self._interrupt = interrupt
        self._dispatcher = dispatcher
        self._phases = PhaseRunner(host, interrupt, dispatcher)

    def run(self, group: PhaseGroup, results: PhaseGroupResults, *, path: tuple[str, ...] = ()) -> None:
        """Run the members of a group or plan; after Ctrl-C no later one starts.

        Parameters
        ----------
        group : PhaseGroup
        results : PhaseGroupResults
            Filled with one child a member as it starts.
        path : tuple of str
            Labels of the groups around it, the plan left out.
        """
        results.started_at = datetime.now(UTC)
        results.status = "running"
        try:
            for member in group:
                if self._interrupt.requested:
                    self._interrupt.cut_short = True
                    break
                if isinstance(member, PhaseGroup):
                    child = PhaseGroupResults(member.label)
                    results.add(child)
                    self.group(member, child, path=(*path, member.label))
                else:
                    self._phase(member, results, path)
        except BaseException:
            results.status = "failed"
            raise
        else:
            results.status = "stopped" if self._interrupt.cut_short else "completed"
        finally:
            results.ended_at = datetime.now(UTC)

    def group(self, group: PhaseGroup, results: PhaseGroupResults, *, path: tuple[str, ...] = ()) -> None:
        """Run a group between its hooks, which a plan does not have."""
        try:
            self._dispatcher.fire("on_group_start", group=group, results=results)
            self.run(group, results, path=path)
            self._dispatcher.fire("on_group_end", group=group, results=results)
        except BaseException:
            results.status = "failed"
            raise

    def _phase(self, phase: ExperimentPhase, results: PhaseGroupResults, path: tuple[str, ...]) -> None:
        recording: Any = phase.result_recording
        child = phase.results_class(phase.label, result_recording=recording)
        results.add(child)
        self._phases.run(phase, path=(*path, phase.label), results=child)
