"""Running groups: members in order, hooks at their borders, results in the same shape."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from mml.experiment.callbacks.dispatcher import ExperimentDispatcher
from mml.experiment.phases.phase import ExperimentPhase
from mml.experiment.phases.phase_group import PhaseGroup
from mml.experiment.results import PhaseGroupResults, PhaseResults
from mml.experiment.running.interrupts import Interrupt
from mml.experiment.running.phase_runner import PhaseRunner


class GroupRunner:
    """Runs a group and what stands in it.

    Parameters
    ----------
    host : Experiment
    interrupt : Interrupt
    dispatcher : ExperimentDispatcher
    """

    def __init__(self, host: Any, *, interrupt: Interrupt, dispatcher: ExperimentDispatcher) -> None:
        self._interrupt = interrupt
        self._dispatcher = dispatcher
        self._phases = PhaseRunner(host, interrupt)

    def run(self, group: PhaseGroup, results: PhaseGroupResults, *, path: tuple[str, ...] = ()) -> None:
        """Run the members of a group; after Ctrl-C no later one starts.

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
                    break
                if isinstance(member, PhaseGroup):
                    self._group(member, results, path)
                else:
                    self.phase(member, results, path)
        except BaseException:
            results.status = "failed"
            raise
        else:
            results.status = "stopped" if self._interrupt.requested else "completed"
        finally:
            results.ended_at = datetime.now(UTC)

    def _group(self, group: PhaseGroup, results: PhaseGroupResults, path: tuple[str, ...]) -> None:
        child = PhaseGroupResults(group.label)
        results.add(child)
        self._dispatcher.fire("on_group_start", group=group, results=child)
        self.run(group, child, path=(*path, group.label))
        self._dispatcher.fire("on_group_end", group=group, results=child)

    def phase(
        self, phase: ExperimentPhase, results: PhaseGroupResults, path: tuple[str, ...] = ()
    ) -> PhaseResults:
        """Run one phase as a member of a group's results and return its own."""
        recording: Any = phase.result_recording
        child = phase.results_class(phase.label, result_recording=recording)
        results.add(child)
        self._dispatcher.fire("on_phase_start", phase=phase, results=child)
        self._phases.run(phase, path=(*path, phase.label), results=child)
        self._dispatcher.fire("on_phase_end", phase=phase, results=child)
        return child
