"""`Callback` and `ExperimentCallback`: the hooks of a phase and of an experiment.

A subclass overrides the hooks that it wants; only those are called. A hook may return a `CallbackResult`, a
`MetricResult`, a `FreezeChange`, or a list of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from mml.configuration import made_with, registered_name, settings_beside
from mml.errors import ConfigError
from mml.plugins import registry
from mml.protocols import Config, State

if TYPE_CHECKING:
    from mml.experiment.phases.phase import ExperimentPhase


@dataclass(frozen=True)
class FreezeChange:
    """Returned from a hook: freeze and unfreeze nodes once the hook is done.

    Parameters
    ----------
    freeze, unfreeze : tuple of str
        Labels of nodes; a label on its own is taken for one node.
    """

    freeze: tuple[str, ...] = ()
    unfreeze: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("freeze", "unfreeze"):
            labels = getattr(self, name)
            object.__setattr__(self, name, (labels,) if isinstance(labels, str) else tuple(labels))


class _BySettings:
    """Structure for callbacks: the registered name, and the constructor's keyword arguments."""

    @property
    def name(self) -> str:
        """Name in records and messages."""
        return type(self).__name__

    def get_config(self) -> Config:
        """Return the registered name and the settings.

        Raises
        ------
        ConfigError
            If a subclass with settings does not say how to write them down.
        """
        if self.get_settings() is None:
            raise ConfigError(
                f"The callback {self.name} cannot be written into a configuration.",
                hint="Override get_settings() to return the keyword arguments of its constructor.",
            )
        return {"callback": registry("callbacks").name_of(type(self)), **(self.get_settings() or {})}

    def get_settings(self) -> dict[str, Any] | None:
        """Return the constructor's keyword arguments as JSON; None where there is no saying."""
        return {} if type(self).__init__ is object.__init__ else None

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """Build an equal callback from what `get_settings` returned."""
        return made_with(cls, settings)

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal callback, of the class that the configuration names."""
        name = registered_name(config, "callback")
        target = registry("callbacks").load(name)
        if not (isinstance(target, type) and issubclass(target, cls)):
            raise ConfigError(
                f"What is registered as callback {name!r} is none for this place.",
                expected=f"a subclass of {cls.__name__}",
                found=repr(target),
            )
        return target.from_settings(settings_beside(config, "callback"))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other) or not isinstance(other, _BySettings):
            return NotImplemented
        mine, theirs = self.get_settings(), other.get_settings()
        return mine is not None and mine == theirs

    __hash__ = None  # type: ignore[assignment]  # compared by settings, never a key

    def __repr__(self) -> str:
        # As attributes, not get_settings(): those are JSON, in which a phase is pages long.
        settings = self.get_settings() or {}
        shown = (f"{name}={getattr(self, name, value)!r}" for name, value in settings.items())
        return f"{self.name}({', '.join(shown)})"


class Callback(_BySettings):
    """Base of the callbacks of a phase.

    Every hook takes keywords: ``experiment``, ``phase``, ``results``, and what its name says.
    """

    def on_phase_start(self, *, experiment: Any, phase: Any, results: Any) -> Any:
        """Run once, before anything of the phase."""

    def on_phase_end(self, *, experiment: Any, phase: Any, results: Any) -> Any:
        """Run once, after everything, also where the phase was stopped."""

    def on_epoch_start(self, *, experiment: Any, phase: Any, results: Any, epoch: int) -> Any:
        """Run before each epoch of a TrainPhase."""

    def on_epoch_end(self, *, experiment: Any, phase: Any, results: Any, epoch: int) -> Any:
        """Run after each epoch of a TrainPhase; the epoch's losses are logged by then."""

    def on_batch_start(self, *, experiment: Any, phase: Any, results: Any, context: Any) -> Any:
        """Run before each batch of a TrainPhase or EvalPhase."""

    def on_batch_end(self, *, experiment: Any, phase: Any, results: Any, context: Any) -> Any:
        """Run after each batch of a TrainPhase or EvalPhase; the context holds its losses."""

    def on_exception(self, *, experiment: Any, phase: Any, results: Any, exception: BaseException) -> Any:
        """Run when the phase fails, before the error is raised again."""

    def metrics_logged(self, phase: ExperimentPhase) -> tuple[str, ...] | None:  # noqa: ARG002 -- for subclasses
        """Return the names of the metrics that this callback logs in a phase; None where it cannot know."""
        return None

    def check(self, phase: ExperimentPhase, available: tuple[str, ...], *, certain: bool) -> None:
        """Raise before the first epoch if the callback cannot do its work in this phase.

        Parameters
        ----------
        phase : ExperimentPhase
        available : tuple of str
            Metrics that the phase and the callbacks before this one are known to log.
        certain : bool
            False where a callback before this one did not say what it logs.
        """

    def get_state(self) -> State:
        """Return what the callback remembers; nothing by default."""
        return {}

    def set_state(self, state: State) -> None:
        """Put back what it remembers."""


class ExperimentCallback(_BySettings):
    """Base of the callbacks of an experiment: boundaries of the run, of its groups and of its phases."""

    def on_experiment_start(self, *, experiment: Any, run: Any) -> Any:
        """Run before anything of a run."""

    def on_experiment_end(self, *, experiment: Any, run: Any) -> Any:
        """Run after everything of a run."""

    def on_group_start(self, *, experiment: Any, group: Any, results: Any) -> Any:
        """Run before a group below the plan."""

    def on_group_end(self, *, experiment: Any, group: Any, results: Any) -> Any:
        """Run after a group below the plan."""

    def on_phase_start(self, *, experiment: Any, phase: Any, results: Any) -> Any:
        """Run before each phase, outside the phase's own callbacks."""

    def on_phase_end(self, *, experiment: Any, phase: Any, results: Any) -> Any:
        """Run after each phase, outside the phase's own callbacks."""

    def on_exception(self, *, experiment: Any, run: Any, exception: BaseException) -> Any:
        """Run when the run fails, before the error is raised again."""
