"""`TensorflowBaseModel`: any callable `tf.Module` behind the face that the graph knows.

It builds the module under a seed that nobody else sees, takes its values out and puts them back, and writes
its construction down. Running it in training belongs to the program.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from mml.backends import BaseModel, VariableSpec
from mml.errors import ConfigError, MMLError, ModelError, ShapeError
from mml.protocols import Config, State
from mml_tf import convert, keras_objects, random_state, values
from mml_tf.native import Native
from mml_tf.probe import Probe, captured_variables, floating_dtype, probe

Shape = tuple[int, ...]

_ARGUMENTS = {"input_argument": "input_shape", "output_argument": "output_shape"}


class TensorflowBaseModel(BaseModel):
    """A module, or the class or factory that makes one.

    Parameters
    ----------
    model : tf.Module, type or callable
        A module keeps the values it has when it is built; a class or factory is called by `build`. A module
        whose call takes ``training`` (or ``is_training``) is told which mode it runs in.
    name : str, optional
        How the class or factory is written in a configuration.
    kwargs : mapping, optional
        Arguments for the class or factory.
    input_argument, output_argument : str
        Names of the arguments that receive the shapes of one sample, where the class or factory takes them.
        An argument annotated ``int`` receives the width of a shape with one axis.
    label : str
        Label of the node, for messages.

    Examples
    --------
    >>> from mml_tf import MLP
    >>> model = TensorflowBaseModel(MLP, kwargs={"hidden": [5]})
    >>> model.build((3,), (2,), seed=7)
    >>> model.output_shape
    (2,)
    """

    backend: ClassVar[str] = "tensorflow"

    def __init__(
        self,
        model: Any,
        *,
        name: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        input_argument: str = "input_shape",
        output_argument: str = "output_shape",
        label: str = "",
    ) -> None:
        self._given = is_model(model)
        self._native = self._checked_native(model, label) if self._given else None
        self._factory: Callable[..., Any] = model
        self._name = name
        self._kwargs = dict(kwargs or {})
        self._arguments = {"input_argument": input_argument, "output_argument": output_argument}
        self._label = label
        self._input_shape: Shape | None = None
        self._declared: Shape | None = None
        self._found: Probe | None = None
        self._pristine: State | None = None
        self._unbuilt: Any = None

    def build(self, input_shape: Shape, output_shape: Shape | None = None, *, seed: int = 0) -> None:
        """Make the module, if it is not there yet, and find out what it makes of such inputs.

        Parameters
        ----------
        input_shape : tuple of int
        output_shape : tuple of int, optional
        seed : int
            Of the initial values; they depend on nothing else.
        """
        input_shape = tuple(input_shape)
        declared = None if output_shape is None else tuple(output_shape)
        with random_state.swapped(), random_state.seeded(seed):
            unbuilt = self._copy_of_unbuilt()
            native = self._native or self._construct(input_shape, declared)
            before = set(native.values())
            found = probe(native, input_shape, label=self._label)
            made = set(native.values()) - before
            native.captured = [] if native.is_own else captured_variables(native, input_shape)
        if declared is not None and found.shape != declared:
            raise ShapeError(
                "The model gives another shape than the declared one.",
                where=self._where(),
                expected=f"{declared} a sample",
                found=f"{found.shape} a sample, for inputs of {input_shape}",
            )
        self._native, self._found = native, found
        self._input_shape, self._declared = input_shape, declared
        if self._given and self._pristine is None:
            self._unbuilt = unbuilt if made else None
            drawn = made if self._unbuilt is not None else set()
            self._pristine = {
                name: value for name, value in values.read_values(native).items() if name not in drawn
            }
            self._redraw(seed)

    @property
    def is_built(self) -> bool:
        """Whether `build` has run."""
        return self._found is not None

    @property
    def input_shape(self) -> Shape | None:
        """Shape of one input sample."""
        return self._input_shape

    @property
    def output_shape(self) -> Shape | None:
        """Shape of one output sample."""
        return None if self._found is None else self._found.shape

    @property
    def dtype(self) -> str | None:
        """NumPy's name of the first floating parameter's dtype."""
        dtype = None if self._native is None else floating_dtype(self._native)
        return None if dtype is None else str(dtype.name)

    @property
    def can_learn(self) -> bool:
        """Whether any variable takes gradients; assumed before the module is made."""
        found = None if self._native is None or not self.is_built else self._native.values()
        return found is None or any(one.role == "param" for one in found.values())

    @property
    def can_fit(self) -> bool:
        """False: modules learn by gradient."""
        return False

    @property
    def native(self) -> Any:
        """The module itself."""
        return self.call.target

    @property
    def call(self) -> Native:
        """The module as programs call it."""
        if self._native is None:
            raise self._not_built()
        return self._native

    def forward(self, inputs: np.ndarray) -> np.ndarray:
        """Run the module in inference mode.

        Parameters
        ----------
        inputs : ndarray, shape (rows, *input_shape)
            Floating inputs are cast to the module's dtype.

        Returns
        -------
        ndarray, shape (rows, *output_shape)
        """
        native, found = self._built()
        inputs = np.asarray(inputs)
        if inputs.ndim == 0 or inputs.shape[1:] != self._input_shape:
            raise ShapeError(
                "The inputs have another shape than the model was built for.",
                where=self._where(),
                expected=f"(rows, {', '.join(map(str, self._input_shape or ()))})",
                found=str(inputs.shape),
            )
        if len(inputs) == 0:
            return convert.to_numpy(tf.zeros([0, *found.shape], found.dtype))
        tensor = convert.to_tensor(inputs)
        if tensor.dtype.is_floating:
            tensor = tf.cast(tensor, floating_dtype(native) or tensor.dtype)
        try:
            with random_state.swapped():
                return convert.to_numpy(native(tensor, training=False))
        except MMLError:
            raise
        except Exception as cause:
            raise ModelError(f"The model failed: {cause}", where=self._where()) from cause

    def variables(self) -> tuple[VariableSpec, ...]:
        """List all variables, each with its role."""
        return values.variable_specs(self._built()[0])

    def get_config(self) -> Config:
        """Return the registered name or import path, the backend and the arguments."""
        if self._given or self._name is None:
            what = "module that was passed ready made" if self._given else "class or factory"
            raise ConfigError(
                f"The {what} cannot be written into a configuration.",
                where=self._where(),
                found=type(self.native).__name__ if self._given else repr(self._factory),
                hint="Declare it instead: Model(name or importable class, **arguments).",
            )
        try:
            kwargs = json.loads(json.dumps(self._kwargs, allow_nan=False))
        except (TypeError, ValueError) as cause:
            raise ConfigError(
                f"An argument of the model cannot be written into a configuration: {cause}",
                where=self._where(),
                expected="numbers, text, lists and tables",
                found=str({key: type(value).__name__ for key, value in self._kwargs.items()}),
                hint="Give a name instead of an object, and let the class look it up.",
            ) from cause
        named = {key: value for key, value in self._arguments.items() if value != _ARGUMENTS[key]}
        return {"model": self._name, "backend": self.backend, "kwargs": kwargs, **named}

    def get_state(self) -> State:
        """Return owned copies of all values, by name."""
        return values.read_values(self._built()[0])

    def set_state(self, state: State) -> None:
        """Put values back in place; refuse what does not fit, changing nothing."""
        values.write_values(self._built()[0], state, label=self._label)

    def reset(self, *, seed: int) -> None:
        """Return to the values that a given module came with, or to new ones drawn from the seed.

        What a given module made at its first input is drawn anew.
        """
        native, _ = self._built()
        if self._pristine is not None:
            self.set_state({**self.get_state(), **self._pristine})
            self._redraw(seed)
            return
        assert self._input_shape is not None  # built
        with random_state.swapped(), random_state.seeded(seed):
            fresh = self._construct(self._input_shape, self._declared)
            probe(fresh, self._input_shape, label=self._label)
        fresh.captured = native.captured
        values.copy_values(fresh, native, label=self._label)

    def _built(self) -> tuple[Native, Probe]:
        if self._found is None:
            raise self._not_built()
        return self.call, self._found

    def _not_built(self) -> ModelError:
        return ModelError(
            "The model is not built yet.", where=self._where(), hint="Build it, or the graph, first."
        )

    def _redraw(self, seed: int) -> None:
        """Draw what a given module made at its first input anew, as a copy of it does under the seed."""
        if self._unbuilt is None:
            return
        assert self._input_shape is not None  # built
        assert self._pristine is not None  # given
        with random_state.swapped(), random_state.seeded(seed):
            fresh = self._checked_native(copy.deepcopy(self._unbuilt), self._label)
            probe(fresh, self._input_shape, label=self._label)
        drawn = {
            name: value for name, value in values.read_values(fresh).items() if name not in self._pristine
        }
        self.set_state({**self.get_state(), **drawn})

    def _copy_of_unbuilt(self) -> Any:
        """Return a copy of a given module from before its first input, where it can be copied."""
        if not self._given or self._pristine is not None:
            return None
        try:
            return copy.deepcopy(self.native)
        except Exception:  # noqa: BLE001 -- what it holds may be anything; `reset` keeps its first values then
            return None

    def _construct(self, input_shape: Shape, output_shape: Shape | None) -> Native:
        try:
            model = self._factory(**self._call_arguments(input_shape, output_shape))
        except MMLError as error:
            raise error.located(self._where() or "") from error.__cause__
        except Exception as cause:
            raise ModelError(
                f"The model could not be made: {cause}",
                where=self._where(),
                found=f"{self._name or self._factory!r} with {sorted(self._kwargs)}",
            ) from cause
        if not is_model(model):
            raise ModelError(
                "The factory made no module.",
                where=self._where(),
                expected="tf.Module",
                found=f"{type(model).__module__}.{type(model).__qualname__}",
            )
        return self._checked_native(model, self._label)

    def _checked_native(self, model: Any, label: str) -> Native:
        where = {"node": label} if label else None
        if keras_objects.is_layer(model):
            keras_objects.require_engine(model, where=where)
        elif not callable(model):
            raise ModelError(
                "A module in the graph is called with its inputs, and this one cannot be.",
                where=where,
                found=f"{type(model).__qualname__} without __call__",
                hint="Give its class a method __call__(self, inputs).",
            )
        return Native(model)

    def _call_arguments(self, input_shape: Shape, output_shape: Shape | None) -> dict[str, Any]:
        taken = _parameters(self._factory)
        arguments = dict(self._kwargs)
        output_argument = self._arguments["output_argument"]
        if output_argument not in taken and not _takes_any(taken):
            # Declared for the graph; the class finds its own width.
            arguments.pop(output_argument, None)
        for argument, shape in (
            (self._arguments["input_argument"], input_shape),
            (output_argument, output_shape),
        ):
            if argument in taken and argument not in arguments and shape is not None:
                arguments[argument] = self._as_annotated(taken[argument], shape)
        parameter = taken.get(output_argument)
        if (
            parameter is not None
            and parameter.default is parameter.empty
            and output_argument not in arguments
        ):
            raise ModelError(
                f"The model needs {output_argument!r}, and nothing tells it.",
                where=self._where(),
                hint=f"Declare it: Model(..., {output_argument}=...).",
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

    def _where(self) -> dict[str, Any] | None:
        return {"node": self._label} if self._label else None


def is_model(value: Any) -> bool:
    """Whether it is a module that is ready, or one of Keras."""
    return isinstance(value, tf.Module) or keras_objects.is_layer(value)


def _parameters(factory: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return {}


def _takes_any(parameters: Mapping[str, inspect.Parameter]) -> bool:
    return any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
