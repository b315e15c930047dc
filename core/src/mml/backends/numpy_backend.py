"""The NumPy backend: forward only, the home of merges between backends and of plain functions.

It learns nothing. It is the reference that other backends' merges and losses are checked against.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from mml.backends.base_model import BaseModel, InputShape, Shape, VariableSpec
from mml.backends.capabilities import Capabilities
from mml.backends.contract import ModelSource, StepGradients
from mml.backends.host_backend import HostBackend
from mml.backends.losses import loss_on_rows
from mml.backends.segment import Call, Segment
from mml.errors import ConfigError, ModelError, ShapeError, StateError
from mml.protocols import Config, State

_PROBE_ROWS = 2


class NumpyBackend(HostBackend):
    """Runs plain functions over arrays, merges and losses on NumPy arrays."""

    name: ClassVar[str] = "numpy"
    capabilities: ClassVar[Capabilities] = Capabilities(deterministic=True, dlpack=True, mappings=True)

    def wrap(self, source: ModelSource) -> BaseModel:
        """Wrap a function from one array, or from a dict of arrays, to one array."""
        if not callable(source.target) or isinstance(source.target, type):
            raise ModelError(
                "The NumPy backend runs functions over arrays.",
                where={"node": source.label},
                found=repr(source.target),
                hint="Give a function such as numpy.log1p, or install the plugin of the model's framework.",
            )
        return FunctionModel(source.target, name=source.name, kwargs=dict(source.kwargs), label=source.label)

    def forward(
        self,
        segment: Segment,
        values: Mapping[str, Any],
        rows: np.ndarray,
        *,
        seed: int,  # noqa: ARG002 -- nothing is drawn
    ) -> StepGradients:
        """Run the calls and losses of one step."""
        known = dict(values)
        for call in segment.calls:
            if rows[call.rows]:
                known[call.key] = self._call(call, [known[name][: rows[call.rows]] for name in call.sources])
        losses: list[Any] = []
        for loss in segment.losses:
            count = rows[loss.rows]
            losses.append(loss_on_rows(loss, known, count) if count else None)
        return StepGradients(
            losses=losses, gradients={}, outputs={key: known.get(key) for key in segment.outputs}
        )

    def _call(self, call: Call, arrays: list[np.ndarray]) -> np.ndarray:
        if call.merge is not None:
            return np.asarray(call.merge.merge(self.ops, arrays))
        assert call.model is not None  # a call has a model or a merge: Segment's own invariant
        return call.model.forward(dict(zip(call.keys, arrays, strict=True)) if call.keys else arrays[0])


class FunctionModel(BaseModel):
    """A stateless function from ``(rows, ...)`` to ``(rows, ...)``."""

    backend: ClassVar[str] = "numpy"

    def __init__(self, function: Any, *, name: str | None, kwargs: Config, label: str = "") -> None:
        self.function = function
        self.name = name
        self.kwargs = kwargs
        self.label = label
        self._input_shape: InputShape | None = None
        self._output_shape: Shape | None = None

    def build(self, input_shape: InputShape, output_shape: Shape | None = None, *, seed: int = 0) -> None:  # noqa: ARG002
        """Probe the function with zeros to learn the output's shape."""
        with np.errstate(all="ignore"):  # that a function has no value at zero says nothing about the data
            result = self.forward(_zeros(input_shape))
        if output_shape is not None and tuple(output_shape) != result.shape[1:]:
            raise ShapeError(
                "The function gives another shape than the declared one.",
                where={"node": self.label},
                expected=str(tuple(output_shape)),
                found=str(result.shape[1:]),
            )
        self._input_shape = dict(input_shape) if isinstance(input_shape, Mapping) else tuple(input_shape)
        self._output_shape = result.shape[1:]

    @property
    def is_built(self) -> bool:
        """Whether `build` has run."""
        return self._input_shape is not None

    @property
    def input_shape(self) -> InputShape | None:
        """Shape of one input sample."""
        return self._input_shape

    @property
    def output_shape(self) -> Shape | None:
        """Shape of one output sample."""
        return self._output_shape

    @property
    def dtype(self) -> str | None:
        """None: arrays go in as they are."""
        return None

    @property
    def can_learn(self) -> bool:
        """False: a function has no parameters."""
        return False

    @property
    def can_fit(self) -> bool:
        """False: a function has nothing to fit."""
        return False

    def forward(self, inputs: np.ndarray | Mapping[str, np.ndarray]) -> np.ndarray:
        """Apply the function.

        Raises
        ------
        ModelError
            If it raises.
        ShapeError
            If it does not keep the rows.
        """
        try:
            result = np.asarray(self.function(inputs, **self.kwargs))
        except Exception as cause:
            raise ModelError(
                f"The function raised {type(cause).__name__}: {cause}",
                where={"node": self.label},
                found=f"an input of shape {_shapes(inputs)}",
            ) from cause
        rows = len(next(iter(inputs.values())) if isinstance(inputs, Mapping) else inputs)
        if result.shape[:1] != (rows,):
            raise ShapeError(
                "A function in the graph must keep the rows.",
                where={"node": self.label},
                expected=f"({rows}, ...)",
                found=str(result.shape),
            )
        return result

    def variables(self) -> tuple[VariableSpec, ...]:
        """No variables."""
        return ()

    def get_config(self) -> Config:
        """Return the function's import path and keyword arguments."""
        if self.name is None:
            raise ConfigError(
                "This function cannot be written into a configuration.",
                where={"node": self.label},
                found=repr(self.function),
                hint="Define it at the top level of a module, or register it by name.",
            )
        return {"model": self.name, "backend": "numpy", "kwargs": dict(self.kwargs)}

    def get_state(self) -> State:
        """Return an empty state."""
        return {}

    def set_state(self, state: State) -> None:
        """Accept an empty state only."""
        if state:
            raise StateError("A function has no state.", where={"node": self.label}, found=str(sorted(state)))

    def reset(self, *, seed: int) -> None:
        """Do nothing: there are no values."""


def _zeros(shape: InputShape) -> np.ndarray | dict[str, np.ndarray]:
    if isinstance(shape, Mapping):
        return {key: np.zeros((_PROBE_ROWS, *one), dtype=np.float32) for key, one in shape.items()}
    return np.zeros((_PROBE_ROWS, *shape), dtype=np.float32)


def _shapes(inputs: np.ndarray | Mapping[str, np.ndarray]) -> object:
    return {key: one.shape for key, one in inputs.items()} if isinstance(inputs, Mapping) else inputs.shape
