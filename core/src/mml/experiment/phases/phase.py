"""`ExperimentPhase`: what all phases declare, and the generator of steps that whoever runs them consumes.

A phase says what happens with which data. It runs nothing, fires nothing and records nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Self

from mml.backends.segment import Mode
from mml.configuration import checked_config, several
from mml.context import ExperimentContext
from mml.data import FeatureSetReference
from mml.errors import ConfigError, PhaseError, did_you_mean
from mml.experiment.callbacks.callback import Callback
from mml.experiment.phases.bound_inputs import BoundInputs
from mml.experiment.phases.execution_context import ExecutionContext
from mml.experiment.phases.input_binding import EVERY_HEAD, InputBinding
from mml.experiment.phases.requests import bound_request
from mml.experiment.results import PhaseResults
from mml.graph import AppliedLoss, GraphNode, ModelGraph, ModelIOReference
from mml.graph.plan import Request
from mml.protocols import Config

_RECORDINGS = ("none", "last", "all")
_NONFINITE = ("error", "warn", "ignore")
_SETTINGS = ("losses", "active_nodes", "callbacks", "result_recording", "on_nonfinite", "device")


class ExperimentPhase(ABC):
    """Base of the phases.

    Parameters
    ----------
    label : str
        Unique in its group.
    input_sources : sequence of InputBinding
        Which data reaches which head node.
    losses : sequence of AppliedLoss
    active_nodes : sequence of str or node, optional
        The nodes that may learn, be fitted or be evaluated; all that can where left out.
    callbacks : sequence of Callback
    result_recording : {"none", "last", "all"}
        Which tensors are kept: none, those of the last epoch, or all.
    on_nonfinite : {"error", "warn", "ignore"}
        What happens at a loss that is not finite.
    device : str, optional
        Where nodes without a device of their own run.
    """

    kind: ClassVar[str]
    own_settings: ClassVar[tuple[str, ...]] = ()
    mode: ClassVar[Mode]
    results_class: ClassVar[type[PhaseResults]]

    def __init__(
        self,
        label: str,
        *,
        input_sources: Sequence[InputBinding],
        losses: Sequence[AppliedLoss] = (),
        active_nodes: Sequence[Any] | None = None,
        callbacks: Sequence[Callback] = (),
        result_recording: str = "none",
        on_nonfinite: str = "error",
        device: str | None = None,
        **unknown: Any,
    ) -> None:
        self.label = _checked_label(label)
        for name in unknown:
            # Subclasses and their shortcuts pass keywords on; here a misspelled one ends up.
            raise PhaseError(
                f"{type(self).__name__} has no setting {name!r}.",
                where={"phase": label},
                hint=did_you_mean(name, ("input_sources", *_SETTINGS, *self.own_settings)),
            )
        self.input_sources = tuple(_of_kind(input_sources, InputBinding, "input_sources", label))
        self.losses = tuple(_of_kind(losses, AppliedLoss, "losses", label))
        self.active_nodes = None if active_nodes is None else _labels(active_nodes, label)
        self.callbacks = tuple(_of_kind(callbacks, Callback, "callbacks", label))
        self.result_recording = _one_of("result_recording", result_recording, _RECORDINGS, label)
        self.on_nonfinite = _one_of("on_nonfinite", on_nonfinite, _NONFINITE, label)
        self.device = device
        self._stop_requested = False
        if not self.input_sources:
            raise PhaseError(
                "A phase needs data.", where={"phase": label}, expected="at least one InputBinding"
            )

    @property
    @abstractmethod
    def default_batch_size(self) -> int | None:
        """Chunk size for bindings without a sampler; None for all rows at once."""

    @property
    def references(self) -> tuple[FeatureSetReference, ...]:
        """The FeatureSets that bindings and losses name beside those that the graph reads."""
        bound = [one.upstream for one in self.input_sources if one.upstream is not None]
        read = [one.reference for loss in self.losses for one in loss.routed if one.reference is not None]
        return (*bound, *read)

    @property
    def stop_requested(self) -> bool:
        """Whether somebody asked the running phase to stop."""
        return self._stop_requested

    def request_stop(self) -> None:
        """Ask the running phase to stop at the end of the epoch; an evaluation or a fit is one epoch."""
        self._stop_requested = True

    @abstractmethod
    def n_steps(self, inputs: BoundInputs) -> int:
        """Return how many steps the whole phase has, if nobody stops it."""

    @abstractmethod
    def iter_execution(self, inputs: BoundInputs) -> Iterator[ExecutionContext]:
        """Yield one context a step, in order; a stop request ends it at the end of an epoch."""

    def _contexts(
        self, inputs: BoundInputs, epoch: int, steps: Iterable[tuple[Any, ...]], n_steps: int
    ) -> Iterator[ExecutionContext]:
        lanes = {lane.name: lane for lane in inputs.lanes}
        for batch, views in enumerate(steps):
            yield ExecutionContext(
                self.label,
                epoch=epoch,
                batch=batch,
                views={
                    name: views[number].stream(inputs.stream_of[name])
                    for name, number in inputs.sampler_of.items()
                },
                lanes=lanes,
                is_last=batch == n_steps - 1,
            )

    def request_for(self, graph: ModelGraph, *, context: ExperimentContext | None = None) -> Request:
        """Return what the phase asks of a graph, for whoever explains or draws it; nothing is run.

        Parameters
        ----------
        graph : ModelGraph
        context : ExperimentContext, optional
            Where FeatureSets are looked up; the active one where left out.
        """
        found = ExperimentContext.active() if context is None else context
        return bound_request(self, graph, context=found)[1]

    def start(self) -> None:
        """Forget an earlier stop request; called by whoever runs the phase."""
        self._stop_requested = False

    def get_config(self) -> Config:
        """Return everything that the phase declares."""
        return {
            "phase": self.kind,
            "label": self.label,
            "input_sources": [one.get_config() for one in self.input_sources],
            "losses": [one.get_config() for one in self.losses],
            "active_nodes": None if self.active_nodes is None else list(self.active_nodes),
            "callbacks": [one.get_config() for one in self.callbacks],
            "result_recording": self.result_recording,
            "on_nonfinite": self.on_nonfinite,
            "device": self.device,
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal phase; what is left out is as the constructor has it.

        Raises
        ------
        ConfigError
            If a key is unknown or missing.
        """
        what = f"the phase {config.get('label')!r}" if isinstance(config, dict) else "a phase"
        settings = checked_config(
            config,
            what,
            required=("phase", "label", "input_sources"),
            optional=(*_SETTINGS, *cls.own_settings),
        )
        if settings.pop("phase") != cls.kind:
            raise ConfigError(f"This is the configuration of another kind of phase than {cls.kind!r}.")
        made = {
            "input_sources": [
                InputBinding.from_config(one) for one in several(settings, "input_sources", what)
            ],
            "losses": [AppliedLoss.from_config(one) for one in several(settings, "losses", what)],
            "callbacks": [Callback.from_config(one) for one in several(settings, "callbacks", what)],
        }
        return cls(settings.pop("label"), **{**settings, **made})

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if type(self) is not type(other) or not isinstance(other, ExperimentPhase):
            return NotImplemented
        try:
            return self.get_config() == other.get_config()
        except ConfigError:
            return False

    __hash__ = None  # type: ignore[assignment]  # compared by value, never a key

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.label!r})"


def every_head(split: str | None, sampler: Any = None) -> InputBinding:
    """Return the binding of every head node to one split: what the `from_split` shortcuts use."""
    return InputBinding(node=EVERY_HEAD, split=split, sampler=sampler)


def _checked_label(label: str) -> str:
    if not isinstance(label, str) or not label or "/" in label:
        raise PhaseError("A phase needs a label without '/'.", found=repr(label))
    return label


def _labels(nodes: Any, phase: str) -> tuple[str, ...]:
    listed_nodes = [nodes] if isinstance(nodes, str | GraphNode | ModelIOReference) else nodes
    labels = []
    for one in _iterated(listed_nodes, "active_nodes", phase):
        if not isinstance(one, str | GraphNode | ModelIOReference):
            raise PhaseError(
                "`active_nodes` takes nodes or their labels.", where={"phase": phase}, found=repr(one)
            )
        labels.append(one if isinstance(one, str) else one.label)
    return tuple(labels)


def _one_of(name: str, value: str, allowed: Sequence[str], phase: str) -> str:
    if value not in allowed:
        raise PhaseError(
            f"Unknown {name} {value!r}.", where={"phase": phase}, hint=did_you_mean(str(value), allowed)
        )
    return value


def _of_kind(values: Iterable[Any], kind: type, name: str, phase: str) -> list[Any]:
    if isinstance(values, kind):
        values = [values]
    found = _iterated(values, name, phase)
    for one in found:
        if not isinstance(one, kind):
            raise PhaseError(
                f"`{name}` takes {kind.__name__} objects.",
                where={"phase": phase},
                found=f"{type(one).__name__}: {one!r}",
            )
    return found


def _iterated(values: Any, name: str, phase: str) -> list[Any]:
    if not isinstance(values, Iterable):
        raise PhaseError(f"`{name}` takes a sequence.", where={"phase": phase}, found=repr(values))
    return list(values)
