"""`Loss`: a loss function by name, class, callable or factory, resolved for the backend that computes it."""

from __future__ import annotations

import inspect
from typing import Any

from mml.backends import CanonicalLoss, ComputeBackend
from mml.backends.segment import LossFunction
from mml.configuration import checked_config
from mml.errors import ConfigError, LossError, MMLError, did_you_mean
from mml.graph.settings import json_settings
from mml.plugins import registry
from mml.protocols import Config

_CORE = "mml"
_SETTINGS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Loss:
    """Declare a loss.

    Parameters
    ----------
    loss : str, type or callable
        A registered name (``"mse"``), a dotted import path, a framework's loss class, or a callable
        ``(outputs, targets) -> value or one value a row`` over the backend's own arrays.
    backend : str, optional
        The backend it is meant for; found from the node it is applied on where left out.
    **kwargs
        Settings for a named loss or a class; extra keyword arguments for a callable.

    Examples
    --------
    >>> Loss("huber", delta=0.5)
    Loss('huber', delta=0.5)
    """

    def __init__(self, loss: Any, *, backend: str | None = None, **kwargs: Any) -> None:
        if not isinstance(loss, str) and not callable(loss):
            raise LossError(
                "A loss is a name, a class or a callable.", found=f"{type(loss).__name__}: {loss!r}"
            )
        if isinstance(loss, str):
            registry("losses").resolve(loss, backend=backend)
        self.loss = loss
        self.backend = backend
        self.kwargs = kwargs
        self._resolved: dict[str, LossFunction] = {}

    @property
    def name(self) -> str:
        """Short name, for labels."""
        if isinstance(self.loss, str):
            return self.loss.rpartition("/")[2].rpartition(".")[2]
        name = getattr(self.loss, "__name__", type(self.loss).__name__)
        return "lambda" if name == "<lambda>" else str(name)

    @property
    def is_registered(self) -> bool:
        """Whether a plugin brings it, under a name; its formula is then known."""
        return isinstance(self.loss, str) and bool(
            registry("losses").resolve(self.loss, backend=self.backend).plugin
        )

    @property
    def takes_context(self) -> bool:
        """Whether it is a callable with a parameter ``context``, which receives each step's context."""
        target = self.loss
        if isinstance(target, str):
            component = registry("losses").resolve(target, backend=self.backend)
            # What plugins register are formulas and classes, which take no context.
            if component.plugin:
                return False
            target = component.load()
        called = target.__call__ if isinstance(target, type) else target
        try:
            return "context" in inspect.signature(called).parameters
        except (TypeError, ValueError):
            return False

    def resolve(self, backend: ComputeBackend) -> LossFunction:
        """Return the function that programs of this backend call, the same object each time.

        Raises
        ------
        LossError
            If the loss is for another backend, or does not take the settings.
        """
        if backend.name not in self._resolved:
            self._resolved[backend.name] = self._made(backend)
        return self._resolved[backend.name]

    def _made(self, backend: ComputeBackend) -> LossFunction:
        if self.backend is not None and self.backend != backend.name:
            raise LossError(
                f"The loss {self.name!r} is for the backend {self.backend!r}.",
                found=f"a node that runs on {backend.name!r}",
                hint="Leave `backend` out, or give a loss by name.",
            )
        if not isinstance(self.loss, str):
            return self._wrapped(self.loss, backend)
        component = registry("losses").resolve(self.loss, backend=backend.name)
        target = component.load()
        if component.plugin == _CORE:
            self._check_settings(target, of=(inspect.Parameter.KEYWORD_ONLY,))
            return CanonicalLoss(target, backend.ops, dict(self.kwargs))
        if component.backend is not None:
            if component.backend != backend.name:
                raise LossError(
                    f"The loss {component.qualified!r} is for the backend {component.backend!r}.",
                    found=f"a node that runs on {backend.name!r}",
                    hint=f"Use the short name {component.name!r}, which fits any backend that has it.",
                )
            self._check_settings(target, of=_SETTINGS)
            made: LossFunction = target(**self.kwargs)
            return made
        return self._wrapped(target, backend)

    def parameters(self, backend: str) -> tuple[inspect.Parameter, ...] | None:
        """Return what a canonical loss reads, in order; None for other functions, which nobody here knows."""
        if not isinstance(self.loss, str):
            return None
        component = registry("losses").resolve(self.loss, backend=backend)
        if component.plugin != _CORE:
            return None
        # The first one is the backend's array operations; keyword-only ones are settings.
        found = list(inspect.signature(component.load()).parameters.values())[1:]
        return tuple(one for one in found if one.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD)

    def _wrapped(self, target: Any, backend: ComputeBackend) -> LossFunction:
        try:
            if isinstance(target, type):
                target = target(**self.kwargs)
            elif self.kwargs:
                function, settings = target, self.kwargs
                target = lambda *values, **named: function(*values, **named, **settings)  # noqa: E731
            wrapped: LossFunction = backend.wrap_loss(target)
            return wrapped
        except MMLError:
            raise
        except Exception as cause:
            raise LossError(f"The loss {self.name!r} could not be made: {cause}") from cause

    def _check_settings(self, target: Any, *, of: tuple[Any, ...]) -> None:
        """Refuse settings that the loss does not take; parameters of these kinds are settings."""
        parameters = inspect.signature(target).parameters.values()
        known = {one.name for one in parameters if one.kind in of}
        if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
            return
        for setting in self.kwargs:
            if setting not in known:
                raise LossError(
                    f"The loss {self.name!r} has no setting {setting!r}.", hint=did_you_mean(setting, known)
                )

    def get_config(self) -> Config:
        """Return name, backend and settings.

        Raises
        ------
        ConfigError
            If the loss is a lambda or a local function, which no other process could find.
        """
        name = self.loss if isinstance(self.loss, str) else registry("losses").name_of(self.loss)
        kwargs = json_settings(self.kwargs, of=f"the loss {self.name!r}")
        return {"loss": name, "backend": self.backend, "kwargs": kwargs}

    @classmethod
    def from_config(cls, config: Config) -> Loss:
        """Build an equal loss."""
        found = checked_config(config, "a loss", required=("loss",), optional=("backend", "kwargs"))
        return cls(found["loss"], backend=found.get("backend"), **found.get("kwargs", {}))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Loss):
            return NotImplemented
        mine, others = (self.loss, self.backend, self.kwargs), (other.loss, other.backend, other.kwargs)
        if self is other or mine == others:
            return True
        try:
            return self.get_config() == other.get_config()
        except ConfigError:
            return False

    __hash__ = None  # type: ignore[assignment]  # settings are mutable

    def __repr__(self) -> str:
        settings = "".join(f", {key}={value!r}" for key, value in self.kwargs.items())
        return f"Loss({self.name!r}{settings})"
