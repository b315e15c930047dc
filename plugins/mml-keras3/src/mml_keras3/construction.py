"""How a Keras model is made: a class or factory, its arguments, and the shapes that are passed to it."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mml.errors import ConfigError, MMLError, ModelError, ShapeError
from mml.protocols import Config
from mml_keras3.framework import keras
from mml_keras3.probe import reason_of

Shape = tuple[int, ...]

ARGUMENTS = {"input_argument": "input_shape", "output_argument": "output_shape"}
"""The usual names of the arguments that receive shapes."""


@dataclass(frozen=True)
class Construction:
    """A class or factory with what it is called with; see `KerasBaseModel`."""

    factory: Any
    name: str | None
    kwargs: Mapping[str, Any]
    input_argument: str
    output_argument: str
    label: str

    def make(self, input_shape: Shape, output_shape: Shape | None) -> Any:
        """Call the class or factory.

        Raises
        ------
        ModelError
            If it fails, makes no Keras model, or needs a shape that nothing tells.
        """
        try:
            model = self.factory(**self._call_arguments(input_shape, output_shape))
        except MMLError as error:
            raise error.located(self._where() or "") from error.__cause__
        except Exception as cause:
            raise ModelError(
                f"The model could not be made: {reason_of(cause)}",
                where=self._where(),
                found=f"{self.name or self.factory!r} with {sorted(self.kwargs)}",
            ) from cause
        if not isinstance(model, keras.Layer):
            raise ModelError(
                "The factory made no Keras model.",
                where=self._where(),
                expected="keras.Model or keras.Layer",
                found=f"{type(model).__module__}.{type(model).__qualname__}",
            )
        return model

    def get_config(self, *, given: bool) -> Config:
        """Return the registered name or import path and the arguments."""
        if given or self.name is None:
            what = "model that was passed ready made" if given else "class or factory"
            raise ConfigError(
                f"The {what} cannot be written into a configuration.",
                where=self._where(),
                found=type(self.factory).__name__ if given else repr(self.factory),
                hint="Declare it instead: Model(name or importable class, **arguments).",
            )
        try:
            kwargs = json.loads(json.dumps(dict(self.kwargs), allow_nan=False))
        except (TypeError, ValueError) as cause:
            raise ConfigError(
                f"An argument of the model cannot be written into a configuration: {cause}",
                where=self._where(),
                expected="numbers, text, lists and tables",
                found=str({key: type(value).__name__ for key, value in self.kwargs.items()}),
                hint="Give a name instead of an object, and let the class look it up.",
            ) from cause
        arguments = {key: getattr(self, key) for key in ARGUMENTS}
        named = {key: value for key, value in arguments.items() if value != ARGUMENTS[key]}
        return {"model": self.name, "kwargs": kwargs, **named}

    def _call_arguments(self, input_shape: Shape, output_shape: Shape | None) -> dict[str, Any]:
        taken = _parameters(self.factory)
        arguments = dict(self.kwargs)
        if self.output_argument not in taken and not self._takes_any(taken):
            # Declared for the graph; the class finds its own width.
            arguments.pop(self.output_argument, None)
        for argument, shape in ((self.input_argument, input_shape), (self.output_argument, output_shape)):
            if argument in taken and argument not in arguments and shape is not None:
                arguments[argument] = self._as_annotated(taken[argument], shape)
        parameter = taken.get(self.output_argument)
        is_needed = parameter is not None and parameter.default is parameter.empty
        if is_needed and self.output_argument not in arguments:
            raise ModelError(
                f"The model needs {self.output_argument!r}, and nothing tells it.",
                where=self._where(),
                hint=f"Declare it: Model(..., {self.output_argument}=...).",
            )
        return arguments

    def _as_annotated(self, parameter: inspect.Parameter, shape: Shape) -> Shape | int:
        if parameter.annotation not in (int, "int"):
            return shape
        if len(shape) != 1:
            raise ShapeError(
                f"The model's argument {parameter.name!r} is one width.",
                where=self._where(),
                expected="samples with one axis",
                found=f"samples of shape {shape}",
                hint="Flatten the input first.",
            )
        return shape[0]

    def _takes_any(self, taken: Mapping[str, inspect.Parameter]) -> bool:
        # The keyword arguments of a Keras class go on to its base, which refuses what it does not know.
        is_layer = isinstance(self.factory, type) and issubclass(self.factory, keras.Layer)
        return not is_layer and any(one.kind is inspect.Parameter.VAR_KEYWORD for one in taken.values())

    def _where(self) -> dict[str, Any] | None:
        return {"node": self.label} if self.label else None


def _parameters(factory: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return {}
