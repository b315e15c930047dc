"""`Experiment`: one graph, one plan of phases, one seed, and a history of what was run.

It executes phases in order, fires callbacks and records what happens. It does not know what a phase does.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from os import PathLike
from pathlib import Path

from mml.context import ExperimentContext, RegistrationPolicy
from mml.data import FeatureSet
from mml.errors import ConfigError, ExperimentError, MMLError
from mml.experiment.callbacks.callback import ExperimentCallback
from mml.experiment.callbacks.dispatcher import ExperimentDispatcher, tell_of_failure
from mml.experiment.lineage import LineageLedger
from mml.experiment.phases.phase import ExperimentPhase
from mml.experiment.phases.phase_group import PhaseGroup
from mml.experiment.progress import ProgressDisplay
from mml.experiment.rebuilding import experiment_from_config
from mml.experiment.results import ExperimentRun, PhaseGroupResults, PhaseResults
from mml.experiment.running.group_runner import GroupRunner
from mml.experiment.running.interrupts import Interrupt, interruptible
from mml.experiment.running.snapshot import Snapshot
from mml.experiment.saving import load_experiment, save_experiment
from mml.graph import ModelGraph
from mml.graph.registration import move_in
from mml.protocols import Config, State
from mml.random import derive_seed


class Experiment:
    """A graph and the plan of phases that train, fit and evaluate it.

    Parameters
    ----------
    label : str
    graph : ModelGraph, optional
    seed : int
        Everything random in the experiment derives from it.
    deterministic : bool
        Ask every backend for deterministic kernels; it fails where one cannot.
    registration_policy : RegistrationPolicy or str, optional
        For nodes that register in the experiment's context; by default strict in scripts, lenient in
        notebooks.
    callbacks : sequence of ExperimentCallback
    progress : ProgressDisplay, optional
        Who shows how a run goes; chosen from the surroundings where left out.

    Attributes
    ----------
    lineage : LineageLedger
        Which rows each node was fitted or trained on.

    Examples
    --------
    >>> experiment = Experiment("empty")
    >>> experiment.history
    ()
    """

    def __init__(
        self,
        label: str,
        graph: ModelGraph | None = None,
        *,
        seed: int = 0,
        deterministic: bool = False,
        registration_policy: RegistrationPolicy | str | None = None,
        callbacks: Sequence[ExperimentCallback] = (),
        progress: ProgressDisplay | None = None,
    ) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ExperimentError("An experiment's seed is an integer of at least 0.", found=repr(seed))
        if not isinstance(label, str) or not label.strip():
            raise ExperimentError("An experiment needs a label.", found=repr(label))
        if graph is not None and not isinstance(graph, ModelGraph):
            raise ExperimentError(
                "An experiment runs a ModelGraph.",
                found=repr(graph),
                hint="Make one: ModelGraph([node, ...]).",
            )
        for callback in callbacks:
            if not isinstance(callback, ExperimentCallback):
                raise ExperimentError(
                    "An experiment's callbacks are ExperimentCallbacks.",
                    found=type(callback).__name__,
                    hint="Give a phase's callback to the phase.",
                )
        self.label = label
        self.graph = graph
        self.seed = seed
        self.deterministic = deterministic
        self.callbacks = tuple(callbacks)
        self.context = ExperimentContext(policy=registration_policy)
        self.execution_plan = PhaseGroup("plan")
        self.progress = ProgressDisplay.automatic() if progress is None else progress
        self.in_callback = False
        self.lineage = LineageLedger()
        self._history: list[ExperimentRun] = []
        self._run_index = 0
        self._running = threading.RLock()
        self._around = ExperimentContext.active()
        self._initial: State | None = None
        if graph is not None:
            graph.enter(self.context)

    # --- what phases ask for ---------------------------------------------------------------------------

    @property
    def initial_seed(self) -> int:
        """The seed that initial values derive from."""
        return derive_seed(self.seed, "graph")

    @property
    def run_seed(self) -> int:
        """The seed of the current or next run, which samplers without one of their own derive theirs from."""
        return derive_seed(self.seed, "run", self._run_index)

    def phase_seed(self, path: tuple[str, ...]) -> int:
        """Return the seed of a phase's steps in the current run."""
        return derive_seed(self.seed, "run", self._run_index, "phase", *path)

    @property
    def featuresets(self) -> tuple[FeatureSet, ...]:
        """The FeatureSets of the experiment's context."""
        return tuple(node for node in self.context.nodes() if isinstance(node, FeatureSet))

    # --- running ---------------------------------------------------------------------------------------

    @property
    def history(self) -> tuple[ExperimentRun, ...]:
        """All runs, the oldest first; failed ones too."""
        return tuple(self._history)

    @property
    def last_run(self) -> ExperimentRun:
        """The latest run.

        Raises
        ------
        ExperimentError
            If nothing was run yet.
        """
        if not self._history:
            raise ExperimentError("Nothing was run yet.", where={"experiment": self.label})
        return self._history[-1]

    def run(self) -> PhaseGroupResults:
        """Run the execution plan and record it.

        A second run continues from the current values, with random streams of its own.

        Raises
        ------
        MMLError
            Whatever a phase raises; the run is then in the history with its exception.
        """
        if not len(self.execution_plan):
            raise ExperimentError(
                "The execution plan is empty.",
                where={"experiment": self.label},
                hint="Add phases: experiment.execution_plan.add_phase(...).",
            )
        return self._recorded(self.execution_plan)

    def run_group(self, group: PhaseGroup) -> PhaseGroupResults:
        """Run a group outside the plan, between its hooks, and record it."""
        return self._recorded(_checked(group), as_plan=False)

    def run_phase(self, phase: ExperimentPhase) -> PhaseResults:
        """Run a phase outside the plan and record it."""
        results = self._recorded(_alone_in_a_plan(phase))
        return results.phases()[0]

    def _recorded(self, group: PhaseGroup, *, as_plan: bool = True) -> PhaseGroupResults:
        with self._alone(group), interruptible() as interrupt, self.context.activate():
            results = PhaseGroupResults(group.label)
            run = ExperimentRun(self.label, results, started_at=datetime.now(UTC))
            dispatcher = ExperimentDispatcher(self.callbacks, host=self)
            self.progress.run_started(self.label, n_phases=len(group.flatten()))
            try:
                self._remember_initial()
                dispatcher.fire("on_experiment_start", run=run)
                runner = GroupRunner(self, interrupt=interrupt, dispatcher=dispatcher)
                (runner.run if as_plan else runner.group)(group, results)
                run.status = results.status
                dispatcher.fire("on_experiment_end", run=run)
            except BaseException as error:
                run.status, run.exception = "failed", error
                if isinstance(error, MMLError):
                    error.located({"experiment": self.label})
                tell_of_failure(dispatcher, error, run=run)
                raise
            finally:
                run.ended_at = datetime.now(UTC)
                self._history.append(run)
                self._run_index += 1
                self.progress.run_ended(run.status)
        return results

    # --- previews --------------------------------------------------------------------------------------

    def preview_phase(self, phase: ExperimentPhase) -> PhaseResults:
        """Run a phase and put everything back, also when it raises; nothing is recorded."""
        return self._previewed(_alone_in_a_plan(phase)).phases()[0]

    def preview_group(self, group: PhaseGroup) -> PhaseGroupResults:
        """Run a group and put everything back, also when it raises; nothing is recorded."""
        return self._previewed(_checked(group))

    def preview_run(self) -> PhaseGroupResults:
        """Run the execution plan and put everything back, also when it raises; nothing is recorded."""
        return self._previewed(self.execution_plan)

    def _previewed(self, group: PhaseGroup) -> PhaseGroupResults:
        results = PhaseGroupResults(group.label)
        with self._alone(group), self.context.activate(), self._put_back(group):
            dispatcher = ExperimentDispatcher((), host=self)
            try:
                GroupRunner(self, interrupt=Interrupt(), dispatcher=dispatcher).run(group, results)
            except MMLError as error:
                raise error.located({"experiment": self.label}) from error.__cause__
        return results

    @contextmanager
    def _put_back(self, group: PhaseGroup) -> Iterator[None]:
        """Put graph, guard and progress display back; values are copied only where something can learn."""
        progress, self.progress = self.progress, ProgressDisplay()
        callback, before, seen = self.in_callback, None, self.lineage.entries()
        try:
            if self.graph is not None:
                learns = any(phase.mode != "eval" for phase in group.flatten())
                if learns:
                    self.graph.build(seed=self.initial_seed, context=self.context)
                before = Snapshot(self.graph, values=learns)
            yield
        finally:
            self.in_callback, self.progress = callback, progress
            self.lineage.put_back(seen)
            if before is not None:
                before.restore()

    @contextmanager
    def _alone(self, group: PhaseGroup) -> Iterator[None]:
        """Let one thread at a time run the experiment's graph, with all data that its phases name."""
        lock = self._running if self.graph is None else self.graph.run_lock
        if not lock.acquire(blocking=False):
            raise ExperimentError(
                "The graph is being run by another thread.",
                where={"experiment": self.label},
                hint="Build a graph for each thread.",
            )
        try:
            if self.graph is not None:
                # Data that was made meanwhile, and what changed in the graph.
                self.graph.enter(self.context)
            self._take_in(group)
            yield
        finally:
            lock.release()

    def _take_in(self, group: PhaseGroup) -> None:
        """Register the FeatureSets that bindings and losses read beside those of the graph."""
        if ExperimentContext.active() is not self.context:
            self._around = ExperimentContext.active()
        references = [one for phase in group.flatten() for one in phase.references]
        move_in(self.context, nodes=(), references=references, home=self._around)

    # --- beginning again -------------------------------------------------------------------------------

    def _remember_initial(self) -> None:
        if self._initial is None and self.graph is not None:
            self.graph.build(seed=self.initial_seed, context=self.context)
            self._initial = self.graph.get_state()

    def reset(self) -> None:
        """Return to the state at construction: initial values, no optimizer state, no history."""
        if self.graph is not None and self._initial is not None:
            self.graph.reset(seed=self.initial_seed)
            self.graph.set_frozen({label: one["frozen"] for label, one in self._initial["nodes"].items()})
        self.lineage.clear()
        self._history.clear()
        self._run_index = 0

    # --- structure and values --------------------------------------------------------------------------

    def get_config(self) -> Config:
        """Return label, seed, graph, plan and callbacks; FeatureSets are named by the graph's references.

        Raises
        ------
        ConfigError
            If something cannot be written down, such as a lambda; its label is named.
        """
        return {
            "label": self.label,
            "seed": self.seed,
            "deterministic": self.deterministic,
            "graph": None if self.graph is None else self.graph.get_config(),
            "execution_plan": self.execution_plan.get_config(),
            "callbacks": [one.get_config() for one in self.callbacks],
        }

    @classmethod
    def from_config(cls, config: Config, *, featuresets: Sequence[FeatureSet] = ()) -> Experiment:
        """Build an equal experiment with untrained values.

        Parameters
        ----------
        config : dict
            As `get_config` returned it.
        featuresets : sequence of FeatureSet
            The data; looked up in the active context where left out.

        Raises
        ------
        ConfigError
            If a key is unknown or missing.
        """
        return experiment_from_config(cls, config, featuresets=featuresets)

    def get_state(self) -> State:
        """Return the graph's values, what its nodes saw, the index of the next run and the history."""
        if self.graph is not None:
            self.graph.build(seed=self.initial_seed, context=self.context)
        return {
            "graph": None if self.graph is None else self.graph.get_state(),
            "run_index": self._run_index,
            "lineage": self.lineage.get_state(),
            "history": [run.get_state() for run in self._history],
        }

    def set_state(self, state: State) -> None:
        """Put back what `get_state` returned."""
        if self.graph is not None:
            with self.context.activate():
                self._remember_initial()
                self.graph.set_state(state["graph"])
                self.graph.build()
        self._run_index = int(state["run_index"])
        self.lineage.set_state(state["lineage"])
        self._history = [ExperimentRun.from_state(one) for one in state["history"]]

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the experiment with its data, values and history as an ``.mml`` archive.

        The file appears whole or not at all; an earlier one stays until the new one is complete.
        """
        self._take_in(self.execution_plan)
        return save_experiment(self, path)

    @classmethod
    def load(cls, path: str | PathLike[str], *, trusted: Sequence[str] = ()) -> Experiment:
        """Read an experiment back; nothing is fitted again and no code of the file is run.

        Parameters
        ----------
        path : str or path
        trusted : sequence of str
            Modules or Python paths of your own classes and functions that the file may name. Registered
            components and the frameworks' own models need no mention.

        Raises
        ------
        ArchiveError
            If the file is damaged, or of another kind.
        ConfigError
            If it names code that nobody vouches for; nothing of it was imported or called.
        """
        return load_experiment(cls, path, trusted=trusted)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Experiment):
            return NotImplemented
        try:
            return self.get_config() == other.get_config()
        except ConfigError:
            return False

    __hash__ = None  # type: ignore[assignment]  # compared by structure

    def __repr__(self) -> str:
        phases = ", ".join(phase.label for phase in self.execution_plan.flatten())
        return f"Experiment({self.label!r}, phases: {phases or 'none'}, {len(self._history)} runs)"


def _checked(group: PhaseGroup) -> PhaseGroup:
    if not isinstance(group, PhaseGroup):
        raise ExperimentError("This runs a PhaseGroup.", found=f"{type(group).__name__}: {group!r}")
    return group


def _alone_in_a_plan(phase: ExperimentPhase) -> PhaseGroup:
    if not isinstance(phase, ExperimentPhase):
        raise ExperimentError("This runs a phase.", found=f"{type(phase).__name__}: {phase!r}")
    return PhaseGroup(phase.label, [phase])
