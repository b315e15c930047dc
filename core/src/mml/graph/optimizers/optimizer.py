"""`Optimizer`: an update rule by name or class, and the state that it keeps for each variable.

State is keyed ``<node label>/<parameter name>`` and belongs to the optimizer, never to a program, so it
survives freezing, phases and runs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mml.backends import ComputeBackend, get_backend
from mml.configuration import checked_config
from mml.errors import ConfigError, MMLError, OptimizerError, StateError, did_you_mean
from mml.graph.optimizers.schedules import Schedule, as_schedule
from mml.graph.settings import json_settings
from mml.plugins import registry
from mml.protocols import Config, State

PRECISIONS = ("float32", "bf16")
_CONFIGURED = ("backend", "schedule", "clip_norm", "clip_value", "accumulate", "precision", "lr", "kwargs")


class Optimizer:
    """Declare an optimizer.

    Parameters
    ----------
    optimizer : str or type
        A registered name (``"adam"``) or a framework's optimizer class.
    backend : str, optional
        The backend it is meant for; found from the nodes it steps where left out.
    schedule : Schedule, str or mapping, optional
        Learning-rate schedule: ``"cosine"``, or ``{"schedule": "step", "step_size": 100}``.
    clip_norm, clip_value : float, optional
        Largest global norm, and largest absolute element, of the gradients.
    accumulate : int
        Steps whose gradients are combined into one update, as if they were one batch.
    precision : {"float32", "bf16"}
        In what the steps compute: the models' own dtypes, or matrix products in bfloat16 with parameters,
        gradients and slots in their own dtypes. The backend has to declare it.
    lr : float, optional
        Learning rate; the rule's own default where left out.
    **kwargs
        Settings of the rule.

    Examples
    --------
    >>> Optimizer("adam", lr=1e-3)
    Optimizer('adam', lr=0.001)
    """

    def __init__(
        self,
        optimizer: Any,
        *,
        backend: str | None = None,
        schedule: Schedule | str | Config | None = None,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        accumulate: int = 1,
        precision: str = "float32",
        lr: float | None = None,
        **kwargs: Any,
    ) -> None:
        if isinstance(optimizer, str):
            registry("optimizers").resolve(optimizer, backend=backend)
        elif not isinstance(optimizer, type):
            raise OptimizerError(
                "An optimizer is a registered name or a class.",
                found=f"{type(optimizer).__name__}: {optimizer!r}",
                hint="MML hands it the parameters, so pass the class and its settings, not an instance.",
            )
        self.optimizer = optimizer
        self.backend = backend
        self.schedule = as_schedule(schedule)
        self.clip_norm = _positive("clip_norm", clip_norm)
        self.clip_value = _positive("clip_value", clip_value)
        if isinstance(accumulate, bool) or not isinstance(accumulate, int) or accumulate < 1:
            raise OptimizerError("`accumulate` is a number of steps, at least 1.", found=repr(accumulate))
        self.accumulate = accumulate
        if precision not in PRECISIONS:
            raise OptimizerError(
                f"There is no precision {precision!r}.",
                expected=f"one of {PRECISIONS}",
                hint=did_you_mean(str(precision), PRECISIONS),
            )
        self.precision = precision
        self.lr = _positive("lr", lr)
        self.kwargs = kwargs
        self._slots: dict[str, dict[str, Any]] = {}
        self._rules: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """Short name."""
        if isinstance(self.optimizer, str):
            return self.optimizer.rpartition("/")[2].rpartition(".")[2]
        return str(self.optimizer.__name__)

    def resolve(self, backend: ComputeBackend) -> Any:
        """Return the update rule for this backend, the same object each time.

        Raises
        ------
        OptimizerError
            If the optimizer is for another backend, or does not take the settings.
        """
        if self.backend is not None and self.backend != backend.name:
            raise OptimizerError(
                f"The optimizer {self.name!r} is for the backend {self.backend!r}.",
                found=f"nodes that run on {backend.name!r}",
                hint="Leave `backend` out, or give these nodes an optimizer of their own.",
            )
        if backend.name not in self._rules:
            self._rules[backend.name] = self._make_rule(backend)
        return self._rules[backend.name]

    def _make_rule(self, backend: ComputeBackend) -> Any:
        if not isinstance(self.optimizer, str):
            return backend.wrap_optimizer(self.optimizer, dict(self.kwargs))
        component = registry("optimizers").resolve(self.optimizer, backend=backend.name)
        if component.backend not in (None, backend.name):
            raise OptimizerError(
                f"The optimizer {component.qualified!r} is for the backend {component.backend!r}.",
                found=f"nodes that run on {backend.name!r}",
                hint=f"Use the short name {component.name!r}.",
            )
        target = component.load()
        if not component.plugin and not hasattr(target, "slot_names"):
            # A framework's own class, found again by the path that a configuration holds.
            return backend.wrap_optimizer(target, dict(self.kwargs))
        known = set(inspect.signature(target).parameters)
        for setting in self.kwargs:
            if setting not in known:
                raise OptimizerError(
                    f"The optimizer {self.name!r} has no setting {setting!r}.",
                    hint=did_you_mean(setting, known | {"lr"}),
                )
        try:
            return target(**self.kwargs)
        except MMLError:
            raise
        except (TypeError, ValueError) as cause:
            raise OptimizerError(f"The optimizer {self.name!r} refused its settings: {cause}") from cause

    def rates(self, rule: Any, *, start: int, count: int, total: int) -> np.ndarray:
        """Return the learning rates of a range of updates, float64 of shape ``(count,)``.

        Parameters
        ----------
        rule : object
            What `resolve` returned; it brings the default rate.
        start, count, total : int
            The range, counted from the start of the phase, and the number of updates in the phase.
        """
        base = self.lr if self.lr is not None else float(rule.default_rate)
        return base * self.schedule.factors(start, count, total=total)

    def slots_of(self, variable: str, make: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
        """Return the slots of one variable, made at the first call; programs change them in place."""
        slots = self._slots.get(variable)
        if slots is None:
            slots = self._slots[variable] = dict(make())
        return slots

    def forget(self, node: str | None = None) -> None:
        """Drop the state of one node's variables, or all: the next update is the first one.

        Parameters
        ----------
        node : str, optional
            The node's label.
        """
        for variable in list(self._slots):
            if node is None or variable.startswith(f"{node}/"):
                del self._slots[variable]

    def get_state(self) -> State:
        """Return owned copies of all slots as NumPy arrays, by variable."""
        backends = [get_backend(name) for name in self._rules]
        return {
            variable: {slot: _to_numpy(value, backends) for slot, value in slots.items()}
            for variable, slots in self._slots.items()
        }

    def check_state(self, state: State) -> None:
        """Refuse what `set_state` would refuse, changing nothing.

        Raises
        ------
        StateError
            If it is no table of slots by variable, or a slot has another shape than the one held.
        """
        for variable, slots in _table(state, of=self.name).items():
            where = {"optimizer": self.name, "variable": variable}
            held = self._slots.get(variable, {})
            for slot, value in _table(slots, of=self.name, variable=variable).items():
                shape = getattr(held.get(slot, value), "shape", ())
                if tuple(shape) != getattr(value, "shape", ()):
                    raise StateError(
                        f"The slot {slot!r} has another shape.",
                        where=where,
                        expected=str(tuple(shape)),
                        found=str(getattr(value, "shape", ())),
                    )

    def set_state(self, state: State) -> None:
        """Put slots back; programs turn them into native arrays when they next run.

        Raises
        ------
        StateError
            If they do not fit; nothing is changed then.
        """
        self.check_state(state)
        # In place where a variable is known, because programs hold on to these dicts.
        for variable in list(self._slots):
            if variable not in state:
                del self._slots[variable]
        for variable, slots in state.items():
            held = self._slots.setdefault(variable, {})
            held.clear()
            held.update({slot: np.array(v) if isinstance(v, np.ndarray) else v for slot, v in slots.items()})

    def get_config(self) -> Config:
        """Return name, settings, schedule and clipping."""
        name = (
            self.optimizer
            if isinstance(self.optimizer, str)
            else registry("optimizers").name_of(self.optimizer)
        )
        return {
            "optimizer": name,
            "backend": self.backend,
            "schedule": self.schedule.get_config(),
            "clip_norm": self.clip_norm,
            "clip_value": self.clip_value,
            "accumulate": self.accumulate,
            "precision": self.precision,
            "lr": self.lr,
            "kwargs": json_settings(self.kwargs, of=f"the optimizer {self.name!r}"),
        }

    @classmethod
    def from_config(cls, config: Config) -> Optimizer:
        """Build an equal optimizer without state."""
        settings = checked_config(config, "an optimizer", required=("optimizer",), optional=_CONFIGURED)
        optimizer, kwargs = settings.pop("optimizer"), settings.pop("kwargs", {})
        return cls(optimizer, **settings, **kwargs)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Optimizer):
            return NotImplemented
        try:
            return self.get_config() == other.get_config()
        except ConfigError:
            return False

    __hash__ = None  # type: ignore[assignment]  # holds state

    def __repr__(self) -> str:
        settings = {"lr": self.lr, **self.kwargs}
        return (
            f"Optimizer({self.name!r}{''.join(f', {k}={v!r}' for k, v in settings.items() if v is not None)})"
        )


def as_optimizer(optimizer: Any) -> Optimizer | None:
    """Accept an optimizer, a registered name, a framework's class, or None.

    Raises
    ------
    OptimizerError
        If it is nothing of these.
    """
    return optimizer if optimizer is None or isinstance(optimizer, Optimizer) else Optimizer(optimizer)


def _positive(name: str, value: float | None) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        raise OptimizerError(f"`{name}` is a positive number.", found=repr(value))
    return float(value)


def _table(state: Any, *, of: str, variable: str | None = None) -> dict[str, Any]:
    if not isinstance(state, dict):
        raise StateError(
            "The optimizer's state is not a table of slots.",
            where={"optimizer": of, "variable": variable},
            found=type(state).__name__,
        )
    return state


def _to_numpy(value: Any, backends: list[ComputeBackend]) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    for backend in backends:
        if backend.is_native(value):
            return backend.to_numpy(value)
    raise StateError(f"An optimizer slot of type {type(value).__name__} cannot be written down.")
