"""Calling hooks: only those that a class overrides, in order, guarded, with their results recorded.

The dispatcher keeps a callback from freezing or unfreezing a node directly, and from firing callbacks from
within callbacks.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from mml.errors import FreezeWarning, MMLError, PhaseError
from mml.experiment.callbacks.callback import Callback, ExperimentCallback, FreezeChange
from mml.experiment.results import CallbackResult, PhaseResults
from mml.graph import ModelGraph, ModelNode

if TYPE_CHECKING:
    from mml.experiment.phases.execution_context import ExecutionContext

_PHASE_HOOKS = (
    "on_phase_start",
    "on_phase_end",
    "on_epoch_start",
    "on_epoch_end",
    "on_batch_start",
    "on_batch_end",
    "on_exception",
)
_WITHIN_EPOCHS = ("on_epoch_start", "on_epoch_end", "on_batch_start", "on_batch_end")
_EXPERIMENT_HOOKS = (
    "on_experiment_start",
    "on_experiment_end",
    "on_group_start",
    "on_group_end",
    "on_phase_start",
    "on_phase_end",
    "on_exception",
)


class CallbackHost(Protocol):
    """What the dispatcher needs of an experiment."""

    in_callback: bool
    graph: ModelGraph | None


class PhaseDispatcher:
    """Fires the hooks of one execution of one phase.

    Parameters
    ----------
    callbacks : sequence of Callback
    host : CallbackHost
    phase : ExperimentPhase
    results : PhaseResults
    """

    def __init__(
        self, callbacks: Sequence[Callback], *, host: CallbackHost, phase: Any, results: PhaseResults
    ):
        self._host = host
        self._phase = phase
        self._results = results
        self._hooks = {name: _overriding(callbacks, name, Callback) for name in _PHASE_HOOKS}
        self.froze = False

    def listens(self, *hooks: str) -> bool:
        """Whether any callback overrides one of these hooks."""
        return any(self._hooks[hook] for hook in hooks)

    def fire(self, hook: str, *, epoch: int = 0, **arguments: Any) -> None:
        """Call one hook of every callback that overrides it, and record what they return.

        Parameters
        ----------
        hook : str
        epoch : int
            Where results are recorded.
        **arguments
            What the hook is told besides experiment, phase and results.

        Raises
        ------
        PhaseError
            If a callback raises; the message names callback and hook, the original is chained.
        """
        self._fire(hook, arguments, epoch=epoch, batch=None)

    def _fire(self, hook: str, arguments: dict[str, Any], *, epoch: int, batch: int | None) -> None:
        if self._host.in_callback:
            return
        for callback in self._hooks[hook]:
            try:
                for result in _listed(self._guarded(callback, hook, arguments)):
                    self._take(result, callback, epoch=epoch, batch=batch)
            except MMLError as error:
                place = {"epoch": epoch, "batch": batch} if hook in _WITHIN_EPOCHS else {}
                raise error.located(
                    {"phase": self._phase.label, **place, "callback": callback.name, "hook": hook}
                ) from error.__cause__

    def fire_epoch(self, hook: str, epoch: int) -> None:
        """Call a hook that is told the epoch."""
        self._fire(hook, {"epoch": epoch}, epoch=epoch, batch=None)

    def fire_batch(self, hook: str, context: ExecutionContext) -> None:
        """Call a hook that is told the context of a batch."""
        self._fire(hook, {"context": context}, epoch=context.epoch, batch=context.batch)

    def _guarded(self, callback: Callback, hook: str, arguments: dict[str, Any]) -> Any:
        frozen = self._frozen()
        self._host.in_callback = True
        try:
            return getattr(callback, hook)(
                experiment=self._host, phase=self._phase, results=self._results, **arguments
            )
        except MMLError:
            raise
        except Exception as cause:
            raise _raised(callback, cause) from cause
        finally:
            self._host.in_callback = False
            self._restore_frozen(frozen, callback, hook)

    def _take(self, result: Any, callback: Callback, *, epoch: int, batch: int | None) -> None:
        if isinstance(result, FreezeChange):
            _apply(result, self._host.graph)
            self.froze = True
        else:
            _record(result, callback, self._results, epoch=epoch, batch=batch)

    def _frozen(self) -> dict[ModelNode, str | None]:
        graph = self._host.graph
        nodes = () if graph is None else graph.nodes.values()
        return {node: node.frozen_by for node in nodes if isinstance(node, ModelNode)}

    def _restore_frozen(self, before: dict[ModelNode, str | None], callback: Callback, hook: str) -> None:
        for node, frozen_by in before.items():
            if node.frozen_by != frozen_by:
                node.restore_frozen(frozen_by)
                warnings.warn(
                    f"The callback {callback.name} changed the freezing of {node.label!r} in {hook}; it was "
                    "changed back. Return FreezeChange(freeze=..., unfreeze=...) from the hook instead.",
                    FreezeWarning,
                    stacklevel=2,
                )


class ExperimentDispatcher:
    """Fires the hooks of an experiment's callbacks.

    Parameters
    ----------
    callbacks : sequence of ExperimentCallback
    host : CallbackHost
    """

    def __init__(self, callbacks: Sequence[ExperimentCallback], *, host: CallbackHost) -> None:
        self._host = host
        self._hooks = {name: _overriding(callbacks, name, ExperimentCallback) for name in _EXPERIMENT_HOOKS}

    def fire(self, hook: str, **arguments: Any) -> None:
        """Call one hook of every callback that overrides it, and record what they return about a phase.

        Raises
        ------
        MMLError
            If a callback raises; the message names callback and hook, the original is chained.
        """
        if self._host.in_callback:
            return
        for callback in self._hooks[hook]:
            try:
                for result in _listed(self._guarded(callback, hook, arguments)):
                    self._take(result, callback, arguments.get("results"))
            except MMLError as error:
                raise error.located({"callback": callback.name, "hook": hook}) from error.__cause__

    def _guarded(self, callback: ExperimentCallback, hook: str, arguments: dict[str, Any]) -> Any:
        self._host.in_callback = True
        try:
            return getattr(callback, hook)(experiment=self._host, **arguments)
        except MMLError:
            raise
        except Exception as cause:
            raise _raised(callback, cause) from cause
        finally:
            self._host.in_callback = False

    def _take(self, result: Any, callback: ExperimentCallback, results: Any) -> None:
        if isinstance(result, FreezeChange):
            _apply(result, self._host.graph)
        elif isinstance(results, PhaseResults):
            _record(result, callback, results, epoch=max(results.epoch_indices, default=0))
        else:
            raise PhaseError(
                "Only the hooks around a phase can return something to be recorded.",
                found=type(result).__name__,
                hint="Return it from on_phase_end.",
            )


def tell_of_failure(
    dispatcher: PhaseDispatcher | ExperimentDispatcher, error: BaseException, **more: Any
) -> None:
    """Fire ``on_exception``; what that raises is noted on the error, never raised in its place."""
    try:
        dispatcher.fire("on_exception", exception=error, **more)
    except MMLError as second:
        error.add_note(f"While this was handled, {second}")


def _raised(callback: Callback | ExperimentCallback, cause: Exception) -> PhaseError:
    return PhaseError(f"The callback {callback.name} raised {type(cause).__name__}: {cause}")


def _record(
    result: Any,
    callback: Callback | ExperimentCallback,
    results: PhaseResults,
    *,
    epoch: int,
    batch: int | None = None,
) -> None:
    if not isinstance(result, CallbackResult):
        raise PhaseError(
            "A hook returned something that MML cannot record.",
            expected="a CallbackResult, MetricResult or FreezeChange, a list of them, or None",
            found=type(result).__name__,
        )
    if not result.callback:
        result = replace(result, callback=callback.name)
    results.record_callback(result, epoch=epoch, batch=batch)


def _apply(change: FreezeChange, graph: ModelGraph | None) -> None:
    if graph is not None:
        graph.freeze(change.freeze)
        graph.unfreeze(change.unfreeze)


def _overriding(callbacks: Sequence[Any], hook: str, base: type) -> list[Any]:
    return [one for one in callbacks if getattr(type(one), hook) is not getattr(base, hook)]


def _listed(returned: Any) -> Iterable[Any]:
    if returned is None:
        return ()
    return returned if isinstance(returned, list | tuple) else (returned,)
