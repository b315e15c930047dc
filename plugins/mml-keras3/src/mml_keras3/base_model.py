"""`KerasBaseModel`: any Keras model or layer behind the face that the graph knows.

It builds the model under seeded generators that nobody else sees, takes its values out and puts them back,
and writes its construction down. Running it in training belongs to the program.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from mml.backends import BaseModel, VariableSpec
from mml.errors import MMLError, ModelError, ShapeError
from mml.protocols import Config, State
from mml_keras3 import convert, initial_values, random_state, values
from mml_keras3.construction import Construction
from mml_keras3.engines import engine
from mml_keras3.framework import keras
from mml_keras3.probe import Probe, probe, reason_of
from mml_keras3.structure import NamedVariable, named_variables
from mml_keras3.widths import require_widths, widths_are_checked

Shape = tuple[int, ...]


class KerasBaseModel(BaseModel):
    """A Keras model or layer, or the class or factory that makes one.

    Parameters
    ----------
    model : keras.Layer, type or callable
        A model keeps the values it has when it is built; a class or factory is called by `build`.
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
    >>> model = KerasBaseModel(keras.layers.Dense, kwargs={"units": 2})
    >>> model.build((5,), seed=7)
    >>> model.output_shape
    (2,)
    """

    backend: ClassVar[str] = "keras3"

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
        self._given = isinstance(model, keras.Layer)
        self._model: Any = model if self._given else None
        self._construction = Construction(
            model,
            name=name,
            kwargs=dict(kwargs or {}),
            input_argument=input_argument,
            output_argument=output_argument,
            label=label,
        )
        self._label = label
        self._input_shape: Shape | None = None
        self._declared: Shape | None = None
        self._found: Probe | None = None
        self._pristine: State | None = None
        self._drawn: list[NamedVariable] = []
        self._forward: Callable[[Any], Any] | None = None

    def build(self, input_shape: Shape, output_shape: Shape | None = None, *, seed: int = 0) -> None:
        """Make the model, if it is not there yet, and find out what it makes of such inputs.

        Parameters
        ----------
        input_shape : tuple of int
        output_shape : tuple of int, optional
        seed : int
            Of the initial values; they depend on nothing else.
        """
        input_shape = tuple(input_shape)
        declared = None if output_shape is None else tuple(output_shape)
        with random_state.seeded(seed), widths_are_checked():
            model = self._construction.make(input_shape, declared) if self._model is None else self._model
            known = {id(one.variable) for one in named_variables(model)}
            found = probe(model, input_shape, label=self._label)
            self._check_declared(found, input_shape, declared)
            require_widths(model, input_shape, label=self._label)
            if self._pristine is None:
                initial_values.seed_unseeded_generators(model, seed)
                self._drawn = [one for one in named_variables(model) if id(one.variable) not in known]
                if self._given:
                    initial_values.draw(self._drawn, seed)
        self._model, self._found, self._forward = model, found, None
        self._input_shape, self._declared = input_shape, declared
        if self._given and self._pristine is None:
            self._pristine = values.read_values(model)

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
        """NumPy's name of the dtype that Keras casts floating inputs to before it computes."""
        return None if self._model is None else _numpy_name(self._model.input_dtype)

    @property
    def can_learn(self) -> bool:
        """Whether any parameter is trainable; assumed before the model is made."""
        if self._found is None:
            return True
        return any(one.role == "param" and one.variable.trainable for one in named_variables(self._model))

    @property
    def can_fit(self) -> bool:
        """False: models learn by gradient."""
        return False

    @property
    def native(self) -> Any:
        """The Keras model or layer itself."""
        if self._model is None:
            raise ModelError(
                "The model is not built yet.", where=self._where(), hint="Build it, or the graph, first."
            )
        return self._model

    def forward(self, inputs: np.ndarray) -> np.ndarray:
        """Run the model in inference mode.

        Parameters
        ----------
        inputs : ndarray, shape (rows, *input_shape)
            Floating inputs are cast to the model's dtype.

        Returns
        -------
        ndarray, shape (rows, *output_shape)
        """
        model, found = self._built()
        inputs = np.asarray(inputs)
        if inputs.ndim == 0 or inputs.shape[1:] != self._input_shape:
            raise ShapeError(
                "The inputs have another shape than the model was built for.",
                where=self._where(),
                expected=f"(rows, {', '.join(map(str, self._input_shape or ()))})",
                found=str(inputs.shape),
            )
        if len(inputs) == 0:
            return np.empty((0, *found.shape), dtype=_numpy_name(found.dtype))
        if inputs.dtype.kind == "f" and self.dtype is not None:
            inputs = inputs.astype(self.dtype)
        array = convert.to_array(convert.for_program(inputs, name="inputs"))
        try:
            with random_state.held():
                if self._forward is None:
                    self._forward = engine().forward(model, [one.variable for one in named_variables(model)])
                return convert.to_numpy(self._forward(array))
        except MMLError:
            raise
        except Exception as cause:
            raise ModelError(f"The model failed: {reason_of(cause)}", where=self._where()) from cause

    def variables(self) -> tuple[VariableSpec, ...]:
        """List all variables, layer by layer; seed generators have the role ``random``."""
        return values.variable_specs(self._built()[0])

    def get_config(self) -> Config:
        """Return the registered name or import path, the backend and the arguments."""
        return {"backend": self.backend, **self._construction.get_config(given=self._given)}

    def get_state(self) -> State:
        """Return owned copies of all values, by name."""
        return values.read_values(self._built()[0])

    def set_state(self, state: State) -> None:
        """Put values back in place; refuse what does not fit, changing nothing."""
        values.write_values(self._built()[0], state, label=self._label)

    def reset(self, *, seed: int) -> None:
        """Return to the values that a given model came with, or to new ones drawn from the seed."""
        model, _ = self._built()
        with random_state.seeded(seed):
            if self._pristine is not None:
                self.set_state(self._pristine)
                initial_values.draw(self._drawn, seed)
                if self._drawn:
                    initial_values.seed_unseeded_generators(model, seed)
                return
            assert self._input_shape is not None  # built
            fresh = self._construction.make(self._input_shape, self._declared)
            probe(fresh, self._input_shape, label=self._label)
            initial_values.seed_unseeded_generators(fresh, seed)
        values.copy_values(fresh, model, label=self._label)

    def _built(self) -> tuple[Any, Probe]:
        if self._found is None:
            raise ModelError(
                "The model is not built yet.", where=self._where(), hint="Build it, or the graph, first."
            )
        return self._model, self._found

    def _check_declared(self, found: Probe, input_shape: Shape, declared: Shape | None) -> None:
        if declared is not None and found.shape != declared:
            raise ShapeError(
                "The model gives another shape than the declared one.",
                where=self._where(),
                expected=f"{declared} a sample",
                found=f"{found.shape} a sample, for inputs of {input_shape}",
            )

    def _where(self) -> dict[str, Any] | None:
        return {"node": self._label} if self._label else None


def _numpy_name(dtype: str) -> str | None:
    """Return the floating dtype that inputs are cast to on the host, float32 where NumPy lacks Keras' own."""
    if dtype in ("float16", "float32", "float64"):
        return dtype
    return "float32" if dtype == "bfloat16" else None
