"""The reference's one model, a multi-layer perceptron, and its wrapper for the graph."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from mml.backends import BaseModel, InputShape, ModelSource, VariableSpec
from mml.errors import ConfigError, ModelError, ShapeError, StateError, listed
from mml_conformance.reference.layers import BatchNorm, Dense, Dropout, Layer, Relu, Run, Tanh, Values

Shape = tuple[int, ...]
_ACTIVATIONS: dict[str, type[Relu] | type[Tanh]] = {"relu": Relu, "tanh": Tanh}
_DTYPES = ("float32", "float64")


class Mlp:
    """Dense layers, each followed by batch norm, activation and dropout, and a last dense layer.

    Parameters
    ----------
    input_shape : int, tuple of int, or mapping of str to tuple of int
        Shape of one sample, or of its parts by key; flattened inside, the parts side by side.
    output_shape : int or tuple of int
        Shape of one sample.
    hidden : sequence of int
        Widths of the hidden layers.
    activation : {"relu", "tanh"}
    dropout : float
        Share that is dropped in training, from 0 to below 1.
    batch_norm : bool
    dtype : {"float32", "float64"}
    seed : int
        Seed of the initial values.
    """

    def __init__(
        self,
        *,
        input_shape: int | Sequence[int] | Mapping[str, Shape],
        output_shape: int | Sequence[int] = (1,),
        hidden: Sequence[int] = (),
        activation: str = "relu",
        dropout: float = 0.0,
        batch_norm: bool = False,
        dtype: str = "float32",
        seed: int = 0,
    ) -> None:
        _require_settings(activation, dropout, dtype, hidden)
        self.input_shape: Shape | dict[str, Shape] = (
            {key: as_shape(one) for key, one in input_shape.items()}
            if isinstance(input_shape, Mapping)
            else as_shape(input_shape)
        )
        self.output_shape = as_shape(output_shape)
        self.dtype = dtype
        layers: list[Layer] = []
        width = sum(math.prod(one) for one in self._parts().values())
        for index, size in enumerate(hidden):
            layers.append(Dense(f"layers.{index}", width, size))
            if batch_norm:
                layers.append(BatchNorm(f"norms.{index}", size))
            layers.append(_ACTIVATIONS[activation](f"activations.{index}"))
            layers.append(Dropout(f"dropouts.{index}", dropout))
            width = size
        layers.append(Dense(f"layers.{len(hidden)}", width, math.prod(self.output_shape)))
        self.layers = tuple(layers)
        self.values: Values = {}
        self.initialise(seed)

    def initialise(self, seed: int) -> None:
        """Draw all values anew."""
        for layer in self.layers:
            for name, value in layer.initial(seed).items():
                self.values[name] = value.astype(self.dtype)

    @property
    def buffers(self) -> frozenset[str]:
        """Names of the values that no gradient moves."""
        return frozenset().union(*(layer.buffers for layer in self.layers))

    def _parts(self) -> dict[str, Shape]:
        return self.input_shape if isinstance(self.input_shape, dict) else {"": self.input_shape}

    def forward(
        self, inputs: np.ndarray | Mapping[str, np.ndarray], run: Run
    ) -> tuple[np.ndarray, list[Any]]:
        """Run on ``(rows, *input_shape)``; return ``(rows, *output_shape)`` and what `backward` needs."""
        given = inputs if isinstance(inputs, Mapping) else {"": inputs}
        flat = [
            given[key].astype(self.dtype, copy=False).reshape(len(given[key]), math.prod(shape))
            for key, shape in self._parts().items()
        ]
        array = flat[0] if len(flat) == 1 else np.concatenate(flat, axis=1)
        caches = []
        for layer in self.layers:
            array, cache = layer.forward(self.values, array, run)
            caches.append(cache)
        return array.reshape(len(array), *self.output_shape), caches

    def backward(self, caches: list[Any], slope: np.ndarray) -> tuple[np.ndarray, Values]:
        """Return the slope at the inputs, ``(rows, *input_shape)``, and at every parameter.

        Inputs by key are data, and their slope stays flat: nothing asks for it.
        """
        rows = len(slope)
        slope = slope.astype(self.dtype, copy=False).reshape(rows, math.prod(self.output_shape))
        gradients: Values = {}
        for layer, cache in zip(reversed(self.layers), reversed(caches), strict=True):
            slope, found = layer.backward(self.values, cache, slope)
            gradients.update(found)
        shape = (-1,) if isinstance(self.input_shape, dict) else self.input_shape
        return slope.reshape(rows, *shape), gradients


class ReferenceModel(BaseModel):
    """An `Mlp`, or the recipe for one, in the graph.

    Parameters
    ----------
    source : ModelSource
    """

    backend: ClassVar[str] = "reference"

    def __init__(self, source: ModelSource) -> None:
        self.source = source
        self.network: Mlp | None = source.target if source.is_instance else None
        self._built = False
        self._original: Values = {}

    def build(self, input_shape: InputShape, output_shape: Shape | None = None, *, seed: int = 0) -> None:
        """Make the network for these shapes, or check the one that came."""
        if self.network is None or (self._built and not self.source.is_instance):
            self.network = self._made(input_shape, output_shape, seed)
        self._check("input", input_shape, self.network.input_shape)
        if output_shape is not None:
            self._check("output", as_shape(output_shape), self.network.output_shape)
        self._original = self._copies() if self.source.is_instance and not self._built else self._original
        self._built = True

    def _made(self, input_shape: InputShape, output_shape: Shape | None, seed: int) -> Mlp:
        taken = inspect.signature(self.source.target).parameters
        inferred: dict[str, Any] = {self.source.input_argument: input_shape, "seed": seed}
        if output_shape is not None:
            inferred[self.source.output_argument] = output_shape
        given = {name: value for name, value in inferred.items() if name in taken} | dict(self.source.kwargs)
        try:
            made = self.source.target(**given)
        except TypeError as cause:
            raise self._problem(f"The model could not be made: {cause}") from cause
        if not isinstance(made, Mlp):
            raise self._problem("The factory made no model of the reference backend.", found=repr(made))
        return made

    def _check(self, side: str, expected: InputShape, found: InputShape) -> None:
        if expected != found:
            raise ShapeError(
                f"The model has another {side} shape than the graph gives it.",
                where={"node": self.source.label},
                expected=str(expected),
                found=str(found),
            )

    @property
    def is_built(self) -> bool:
        """Whether `build` has run."""
        return self._built

    @property
    def input_shape(self) -> InputShape | None:
        """Shape of one input sample."""
        return self.network.input_shape if self._built and self.network else None

    @property
    def output_shape(self) -> Shape | None:
        """Shape of one output sample."""
        return self.network.output_shape if self._built and self.network else None

    @property
    def dtype(self) -> str | None:
        """The parameters' dtype."""
        return self.network.dtype if self.network else str(self.source.kwargs.get("dtype", "float32"))

    @property
    def can_learn(self) -> bool:
        """True: there is always a dense layer."""
        return True

    @property
    def can_fit(self) -> bool:
        """False: gradients only."""
        return False

    @property
    def native(self) -> Mlp:
        """The network."""
        if self.network is None:
            raise self._problem("The model is not built yet.")
        return self.network

    def forward(self, inputs: np.ndarray | Mapping[str, np.ndarray]) -> np.ndarray:
        """Run in inference mode."""
        return self.native.forward(inputs, Run(training=False))[0]

    def variables(self) -> tuple[VariableSpec, ...]:
        """List parameters and buffers in the order of the layers."""
        buffers = self.native.buffers
        return tuple(
            VariableSpec(name, "buffer" if name in buffers else "param", value.shape, value.dtype.name)
            for name, value in self.native.values.items()
        )

    def get_config(self) -> dict[str, Any]:
        """Return the registered name and the keyword arguments."""
        if self.source.name is None or self.source.is_instance:
            raise ConfigError(
                "This model cannot be written into a configuration.",
                where={"node": self.source.label},
                hint="Declare it by name, e.g. Model('reference/mlp', hidden=[32]).",
            )
        names = {"input_argument": "input_shape", "output_argument": "output_shape"}
        renamed = {
            key: getattr(self.source, key)
            for key, usual in names.items()
            if getattr(self.source, key) != usual
        }
        return {
            "model": self.source.name,
            "backend": self.backend,
            "kwargs": dict(self.source.kwargs),
            **renamed,
        }

    def get_state(self) -> dict[str, Any]:
        """Return copies of all values by name."""
        return self._copies()

    def set_state(self, state: dict[str, Any]) -> None:
        """Put values back bit for bit, all or none."""
        values = self.native.values
        if set(state) != set(values):
            raise StateError(
                "This state is not the model's.",
                where={"node": self.source.label},
                expected=listed(values),
                found=f"missing {sorted(set(values) - set(state))}, extra {sorted(set(state) - set(values))}",
            )
        for name, value in state.items():
            found = np.asarray(value)
            if (found.shape, found.dtype) != (values[name].shape, values[name].dtype):
                raise StateError(
                    f"The state of {name!r} does not fit.",
                    where={"node": self.source.label},
                    expected=f"{values[name].dtype} {values[name].shape}",
                    found=f"{found.dtype} {found.shape}",
                )
        for name, value in state.items():
            values[name][...] = value

    def reset(self, *, seed: int) -> None:
        """Return to the values that came with an instance, or draw new ones."""
        if self.source.is_instance:
            self.set_state(self._original)
        else:
            self.native.initialise(seed)

    def _copies(self) -> Values:
        return {name: value.copy() for name, value in self.native.values.items()}

    def _problem(self, what: str, *, found: str | None = None) -> ModelError:
        return ModelError(what, where={"node": self.source.label}, found=found)


def as_shape(shape: int | Sequence[int]) -> Shape:
    """Return a shape as a tuple; a number is a vector of that width."""
    return (int(shape),) if isinstance(shape, int | np.integer) else tuple(int(size) for size in shape)


def _require_settings(activation: str, dropout: float, dtype: str, hidden: Sequence[int]) -> None:
    wrong: list[tuple[str, str, Any]] = []
    if activation not in _ACTIVATIONS:
        wrong.append(("activation", f"one of {tuple(_ACTIVATIONS)}", activation))
    if not 0.0 <= dropout < 1.0:
        wrong.append(("dropout", "a number of at least 0 and below 1", dropout))
    if dtype not in _DTYPES:
        wrong.append(("dtype", f"one of {_DTYPES}", dtype))
    if any(size < 1 for size in hidden):
        wrong.append(("hidden", "widths of at least 1", hidden))
    for argument, expected, found in wrong:
        raise ModelError(f"mlp got a bad {argument}.", expected=f"{argument}: {expected}", found=repr(found))
