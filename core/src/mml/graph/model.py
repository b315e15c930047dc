"""`Model`: a model declared now and built later, when its input's shape is known.

It holds a name, a class or a factory with its arguments, and finds out which backend runs it. The backend
does the wrapping and the building.
"""

from __future__ import annotations

import inspect
from typing import Any

from mml.backends import BaseModel, ModelSource, get_backend
from mml.configuration import checked_config
from mml.errors import ConfigError, ModelError, did_you_mean
from mml.graph.settings import json_settings
from mml.plugins import get_manager, missing_hint, registry
from mml.protocols import Config

_ARGUMENTS = ("input_argument", "output_argument")


class Model:
    """Declare a model by registered name, import path, class or factory.

    Parameters
    ----------
    model : str, type or callable
        A registered name (``"mlp"``, in full ``"<plugin>/mlp"``), a dotted import path, a class, or a
        factory that returns a model.
    backend : str, optional
        Which backend runs it, where the name or class does not tell.
    input_argument, output_argument : str
        Names of the arguments through which a class receives the inferred shapes of one sample, if it has
        such arguments.
    **kwargs
        Passed to the class or factory.

    Raises
    ------
    ModelError
        If an instance is given: pass it to the ModelNode itself.
    """

    def __init__(
        self,
        model: Any,
        *,
        backend: str | None = None,
        input_argument: str = "input_shape",
        output_argument: str = "output_shape",
        **kwargs: Any,
    ) -> None:
        if not isinstance(model, str) and not callable(model):
            raise ModelError(
                "Model declares a model to be built later.",
                expected="a registered name, an import path, a class or a factory",
                found=f"an instance of {type(model).__name__}",
                hint="Pass a ready model to ModelNode directly.",
            )
        self.model = model
        self.declared_backend = backend
        self.input_argument = input_argument
        self.output_argument = output_argument
        self.kwargs = kwargs

    @property
    def backend(self) -> str:
        """Name of the backend that runs the model; loads no framework for a registered name."""
        if self.declared_backend is not None:
            return self.declared_backend
        if isinstance(self.model, str):
            component = registry("models").resolve(self.model)
            if component.backend is not None:
                return str(component.backend)
            return _claimed_backend(component.load())
        return _claimed_backend(self.model)

    @property
    def output_shape(self) -> tuple[int, ...] | None:
        """The shape of one output sample, where the declaration gives it."""
        shape = self.kwargs.get(self.output_argument)
        if shape is None:
            return None
        return (int(shape),) if isinstance(shape, int) else tuple(shape)

    def wrap(self, *, label: str) -> BaseModel:
        """Load the class and have its backend wrap it, unbuilt.

        Parameters
        ----------
        label : str
            Label of the node, for messages.
        """
        backend = self.backend
        target, name = self.model, self._name_or_none()
        if isinstance(target, str):
            component = registry("models").resolve(target, backend=backend)
            target = component.load()
        self._check_arguments(target, label)
        kwargs = dict(self.kwargs)
        if not _takes(target, self.output_argument):
            # What the class has no use for is still what its output is held to.
            kwargs.pop(self.output_argument, None)
        source = ModelSource(
            target=target,
            is_instance=not callable(target),
            name=name,
            kwargs=kwargs,
            input_argument=self.input_argument,
            output_argument=self.output_argument,
            label=label,
        )
        return get_backend(backend).wrap(source)

    def get_config(self) -> Config:
        """Return name, backend and arguments.

        Raises
        ------
        ConfigError
            If the class or factory has no name that another process could import.
        """
        name = self._name_or_none()
        if name is None:
            name = registry("models").name_of(self.model)
        kwargs = json_settings(self.kwargs, of=f"the model {name!r}")
        config: Config = {"model": name, "backend": self.backend, "kwargs": kwargs}
        for argument, default in zip(_ARGUMENTS, ("input_shape", "output_shape"), strict=True):
            if getattr(self, argument) != default:
                config[argument] = getattr(self, argument)
        return config

    @classmethod
    def from_config(cls, config: Config) -> Model:
        """Build an equal declaration."""
        settings = checked_config(
            config, "a model", required=("model",), optional=("backend", "kwargs", *_ARGUMENTS)
        )
        model, kwargs = settings.pop("model"), settings.pop("kwargs", {})
        return cls(model, **settings, **kwargs)

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Model):
            return NotImplemented
        try:
            return self.get_config() == other.get_config()
        except ConfigError:
            return False

    __hash__ = None  # type: ignore[assignment]  # a declaration holds mutable arguments

    def __repr__(self) -> str:
        name = self.model if isinstance(self.model, str) else getattr(self.model, "__name__", self.model)
        arguments = "".join(f", {key}={value!r}" for key, value in self.kwargs.items())
        return f"Model({name!r}{arguments})"

    def _name_or_none(self) -> str | None:
        if isinstance(self.model, str):
            return str(_full_name(self.model, self.declared_backend))
        try:
            return str(registry("models").name_of(self.model))
        except ConfigError:
            return None

    def _check_arguments(self, target: Any, label: str) -> None:
        try:
            parameters = inspect.signature(target).parameters.values()
        except (TypeError, ValueError):
            return
        if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
            return
        known = {one.name for one in parameters} | {"output", self.output_argument}
        for argument in self.kwargs:
            if argument not in known:
                raise ModelError(
                    f"The model {self.model!r} takes no argument {argument!r}.",
                    where={"node": label},
                    hint=did_you_mean(argument, known - {"output", "self"}),
                )


def _takes(target: Any, argument: str) -> bool:
    """Whether a class or factory has an argument of this name, as far as it tells."""
    try:
        parameters = inspect.signature(target).parameters
    except (TypeError, ValueError):
        return False
    anything = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
    return anything or argument in parameters


def _full_name(name: str, backend: str | None) -> str:
    component = registry("models").resolve(name, backend=backend)
    return name if "." in name and "/" not in name else str(component.qualified)


def _claimed_backend(target: Any) -> str:
    cls = target if isinstance(target, type) else type(target)
    claim = get_manager().claim_for(cls)
    if claim is not None:
        return str(claim.backend)
    if inspect.isroutine(target) or inspect.isfunction(target):
        raise ModelError(
            f"A factory does not tell which backend its model needs: {target!r}.",
            hint="Name it: Model(factory, backend=...).",
        )
    raise ModelError(
        f"No installed plugin runs models of class {cls.__module__}.{cls.__qualname__}.",
        expected="a class that a plugin claims, or a subclass of one",
        hint=missing_hint(cls.__module__.partition(".")[0]) or "See `mml plugins` for what is installed.",
    )


def wrap_model(model: Any, *, label: str) -> BaseModel | Model:
    """Accept what a ModelNode may be given: a wrapped model, a declaration, a name, a class or an instance.

    An instance is wrapped at once and keeps its weights; everything else is declared and wrapped later.
    """
    if isinstance(model, BaseModel | Model):
        return model
    if isinstance(model, str | type) or inspect.isfunction(model):
        return Model(model)
    backend = _claimed_backend(model)
    source = ModelSource(target=model, is_instance=True, name=None, kwargs={}, label=label)
    return get_backend(backend).wrap(source)
