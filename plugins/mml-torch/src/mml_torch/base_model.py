"""`TorchBaseModel`: any `nn.Module` behind the face that the graph knows.

It builds the module under a seeded generator that nobody else sees, takes its values out and puts them back,
and writes its construction down. Running it in training belongs to the program.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from mml.backends import BaseModel, VariableSpec
from mml.errors import ConfigError, MMLError, ModelError, ShapeError
from mml.protocols import Config, State
from mml_torch import convert, random_state, values
from mml_torch.modes import inference_mode
from mml_torch.probe import Probe, device_of, floating_dtype, probe

Shape = tuple[int, ...]

_ARGUMENTS = {"input_argument": "input_shape", "output_argument": "output_shape"}


class TorchBaseModel(BaseModel):
    """A module, or the class or factory that makes one.

    Parameters
    ----------
    model : nn.Module, type or callable
        A module keeps the values it has when it is built; a class or factory is called by `build`.
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
    >>> model = TorchBaseModel(nn.Linear, kwargs={"out_features": 2}, input_argument="in_features")
    >>> model.build((5,), seed=7)
    >>> model.output_shape
    (2,)
    """

    backend: ClassVar[str] = "torch"

    def __init__(
        self,
        model: nn.Module | Callable[..., nn.Module],
        *,
        name: str | None = None,
        kwargs: Mapping[str, Any] | None = None,
        input_argument: str = "input_shape",
        output_argument: str = "output_shape",
        label: str = "",
    ) -> None:
        self._given = isinstance(model, nn.Module)
        self._module: nn.Module | None = model if isinstance(model, nn.Module) else None
        self._factory = model
        self._name = name
        self._kwargs = dict(kwargs or {})
        self._arguments = {"input_argument": input_argument, "output_argument": output_argument}
        self._label = label
        self._input_shape: Shape | None = None
        self._declared: Shape | None = None
        self._found: Probe | None = None
        self._pristine: State | None = None
        self._lazy_parts: list[nn.Module] = []

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
        if self._given and self._pristine is None:
            self._lazy_parts = [one for one in self.native.modules() if _is_lazy(one)]
        with random_state.swapped():
            random_state.seed_generators(seed)
            declared = None if output_shape is None else tuple(output_shape)
            module = self._construct(input_shape, declared) if self._module is None else self._module
            found = probe(module, input_shape, label=self._label)
            if self._pristine is None:
                self._draw_lazy_parts(seed)
        if declared is not None and found.shape != declared:
            raise ShapeError(
                "The model gives another shape than the declared one.",
                where=self._where(),
                expected=f"{declared} a sample",
                found=f"{found.shape} a sample, for inputs of {input_shape}",
            )
        self._module, self._found = module, found
        self._input_shape, self._declared = input_shape, declared
        if self._given and self._pristine is None:
            self._pristine = values.read_values(module, label=self._label)

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
        dtype = None if self._module is None else floating_dtype(self._module)
        return None if dtype is None else convert.dtype_name(dtype)

    @property
    def can_learn(self) -> bool:
        """Whether any parameter takes gradients; assumed before the module is made."""
        return self._module is None or any(one.requires_grad for one in self._module.parameters())

    @property
    def can_fit(self) -> bool:
        """False: modules learn by gradient."""
        return False

    @property
    def native(self) -> nn.Module:
        """The module itself."""
        if self._module is None:
            raise ModelError(
                "The model is not built yet.", where=self._where(), hint="Build it, or the graph, first."
            )
        return self._module

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
        module, found = self._built()
        inputs = np.asarray(inputs)
        if inputs.ndim == 0 or inputs.shape[1:] != self._input_shape:
            raise ShapeError(
                "The inputs have another shape than the model was built for.",
                where=self._where(),
                expected=f"(rows, {', '.join(map(str, self._input_shape or ()))})",
                found=str(inputs.shape),
            )
        if len(inputs) == 0:
            return convert.to_numpy(torch.empty(0, *found.shape, dtype=found.dtype))
        tensor = convert.to_tensor(inputs, device=device_of(module))
        if tensor.is_floating_point():
            tensor = tensor.to(floating_dtype(module) or tensor.dtype)
        try:
            with random_state.swapped(), torch.no_grad(), inference_mode(module):
                return convert.to_numpy(module(tensor))
        except MMLError:
            raise
        except Exception as cause:
            raise ModelError(f"The model failed: {cause}", where=self._where()) from cause

    def variables(self) -> tuple[VariableSpec, ...]:
        """List parameters, then buffers."""
        return values.variable_specs(self._built()[0])

    def get_config(self) -> Config:
        """Return the registered name or import path, the backend and the arguments."""
        if self._given or self._name is None:
            what = "module that was passed ready made" if self._given else "class or factory"
            raise ConfigError(
                f"The {what} cannot be written into a configuration.",
                where=self._where(),
                found=type(self._module).__name__ if self._given else repr(self._factory),
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
        """Return owned copies of parameters and buffers, by name."""
        return values.read_values(self._built()[0], label=self._label)

    def set_state(self, state: State) -> None:
        """Put values back in place; refuse what does not fit, changing nothing."""
        values.write_values(self._built()[0], state, label=self._label)

    def reset(self, *, seed: int) -> None:
        """Return to the values that a given module came with, or to new ones drawn from the seed."""
        module, _ = self._built()
        if self._pristine is not None:
            self.set_state(self._pristine)
            with random_state.swapped():
                self._draw_lazy_parts(seed)
            return
        assert self._input_shape is not None  # built
        with random_state.swapped():
            random_state.seed_generators(seed)
            fresh = self._construct(self._input_shape, self._declared)
            probe(fresh, self._input_shape, label=self._label)
        values.copy_values(fresh, module, label=self._label)

    def _built(self) -> tuple[nn.Module, Probe]:
        if self._found is None:
            raise ModelError(
                "The model is not built yet.", where=self._where(), hint="Build it, or the graph, first."
            )
        return self.native, self._found

    def _construct(self, input_shape: Shape, output_shape: Shape | None) -> nn.Module:
        try:
            module = self._factory(**self._call_arguments(input_shape, output_shape))
        except MMLError as error:
            raise error.located(self._where() or "") from error.__cause__
        except Exception as cause:
            raise ModelError(
                f"The model could not be made: {cause}",
                where=self._where(),
                found=f"{self._name or self._factory!r} with {sorted(self._kwargs)}",
            ) from cause
        if not isinstance(module, nn.Module):
            raise ModelError(
                "The factory made no module.",
                where=self._where(),
                expected="torch.nn.Module",
                found=f"{type(module).__module__}.{type(module).__qualname__}",
            )
        return module

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

    def _draw_lazy_parts(self, seed: int) -> None:
        """Draw what a given module left to its first input, in the order of its parts."""
        random_state.seed_generators(seed)
        for part in self._lazy_parts:
            draw = getattr(part, "reset_parameters", None)
            if draw is not None:
                draw()

    def _where(self) -> dict[str, Any] | None:
        return {"node": self._label} if self._label else None


def _is_lazy(part: nn.Module) -> bool:
    return isinstance(part, nn.modules.lazy.LazyModuleMixin) and part.has_uninitialized_params()


def _parameters(factory: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return {}


def _takes_any(parameters: Mapping[str, inspect.Parameter]) -> bool:
    return any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters.values())
