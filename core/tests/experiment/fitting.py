"""A plugin for tests whose models are fitted in one pass, in closed form, or learn batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from mml.backends import (
    BaseModel,
    Block,
    BlockResult,
    Capabilities,
    ComputeBackend,
    NumpyOps,
    Program,
    VariableSpec,
)
from mml.errors import StateError
from mml.plugins import Component, PluginInfo, hookimpl

NAME = "fitting"


@hookimpl
def mml_plugin() -> PluginInfo:
    return PluginInfo(NAME, api_version=(1, 1))


@hookimpl
def mml_components() -> Iterator[Component]:
    yield Component("backends", NAME, NAME, FittingBackend, backend=NAME)
    for target in (Centre, Ridge, Varying, Counts):
        yield Component("models", NAME, target.__name__.lower(), target, backend=NAME)


class FittingBackend(ComputeBackend):
    name: ClassVar[str] = NAME
    capabilities: ClassVar[Capabilities] = Capabilities(fit=True, partial_fit=True)
    ops = NumpyOps()

    def wrap(self, source: Any) -> BaseModel:
        return source.target(source)

    def to_array(self, array: np.ndarray, *, device: str | None = None) -> np.ndarray:
        return np.array(array)

    def to_numpy(self, array: Any) -> np.ndarray:
        return np.array(array)

    def is_native(self, array: Any) -> bool:
        return isinstance(array, np.ndarray)

    def compile(self, segment: Any) -> Program:
        return FittingProgram(segment)


class FittingProgram(Program):
    def __init__(self, segment: Any) -> None:
        self.segment = segment

    def stage(self, block: Block) -> Block:
        values = {}
        for entry in self.segment.inputs:
            value = block.values[entry.name]
            counts = block.rows[:, entry.rows]
            host = value if isinstance(value, list) else [value[i][:n] for i, n in enumerate(counts)]
            values[entry.name] = [None if one is None else np.array(one) for one in host]
        return Block(values=values, rows=block.rows.copy())

    def run(self, staged: Block, start: int, stop: int, controls: Any) -> BlockResult:
        outputs: dict[str, list[Any]] = {key: [] for key in self.segment.outputs}
        for step in range(start, stop):
            values = {name: steps[step] for name, steps in staged.values.items()}
            for call in self.segment.calls:
                inputs = values[call.sources[0]]
                if call.learns:
                    self._learn(call, inputs, None if call.targets is None else values[call.targets])
                values[call.key] = call.model.forward(inputs)
            for key, steps in outputs.items():
                steps.append(values[key])
        return BlockResult(losses=np.full((stop - start, len(self.segment.losses)), np.nan), outputs=outputs)

    def _learn(self, call: Any, inputs: np.ndarray, targets: Any) -> None:
        if self.segment.mode == "fit":
            call.model.fit(inputs, targets)
        else:
            known = self.segment.options.get("classes", {})
            call.model.partial_fit(inputs, targets, classes=known.get(call.node))


class Fitted(BaseModel):
    """What all have in common: one array, `value`, which is NaN-free once fitted."""

    backend: ClassVar[str] = NAME
    can_learn = False
    can_fit = True
    dtype = None

    def __init__(self, source: Any) -> None:
        self.source = source
        self.value: np.ndarray | None = None
        self.n_fits = 0
        self.rows_seen: np.ndarray | None = None
        self._input_shape: Any = None

    def build(self, input_shape: Any, output_shape: Any = None, *, seed: int = 0) -> None:
        self._input_shape = tuple(input_shape)

    @property
    def is_built(self) -> bool:
        return self._input_shape is not None

    @property
    def input_shape(self) -> Any:
        return self._input_shape

    @property
    def is_fitted(self) -> bool:
        return self.value is not None

    def fit(self, inputs: np.ndarray, targets: np.ndarray | None) -> None:
        self.n_fits += 1
        self.rows_seen = inputs.copy()
        self.value = self.solve(inputs, targets)

    def variables(self) -> tuple[VariableSpec, ...]:
        if self.value is None:
            return ()
        return (VariableSpec("value", "buffer", self.value.shape, self.value.dtype.name),)

    def get_config(self) -> dict[str, Any]:
        return {"model": self.source.name, "backend": NAME, "kwargs": {}}

    def get_state(self) -> dict[str, Any]:
        return {} if self.value is None else {"value": self.value.copy()}

    def set_state(self, state: dict[str, Any]) -> None:
        if set(state) - {"value"}:
            raise StateError("This state is not the model's.")
        self.value = None if "value" not in state else np.array(state["value"])

    def reset(self, *, seed: int) -> None:
        self.value = None


class Centre(Fitted):
    """Subtracts the mean of each column."""

    @property
    def output_shape(self) -> Any:
        return self._input_shape

    def solve(self, inputs: np.ndarray, targets: np.ndarray | None) -> np.ndarray:
        return inputs.mean(axis=0)

    def forward(self, inputs: np.ndarray) -> np.ndarray:
        return inputs - self.value


class Ridge(Fitted):
    """Least squares with a penalty of 1, without intercept."""

    @property
    def output_shape(self) -> Any:
        return (1,)

    def solve(self, inputs: np.ndarray, targets: np.ndarray | None) -> np.ndarray:
        return np.linalg.solve(
            inputs.T @ inputs + np.eye(inputs.shape[1], dtype=inputs.dtype), inputs.T @ targets
        )

    def forward(self, inputs: np.ndarray) -> np.ndarray:
        return inputs @ self.value


class Varying(Fitted):
    """Keeps the columns that vary; how many, only the data tell."""

    @property
    def output_shape(self) -> Any:
        return None if self.value is None else (int(self.value.sum()),)

    def solve(self, inputs: np.ndarray, targets: np.ndarray | None) -> np.ndarray:
        return np.ptp(inputs, axis=0) > 0

    def forward(self, inputs: np.ndarray) -> np.ndarray:
        return inputs[:, self.value]


class Counts(Fitted):
    """Counts rows batch by batch, and keeps what it was told of the classes."""

    can_learn = True

    @property
    def output_shape(self) -> Any:
        return (1,)

    def solve(self, inputs: np.ndarray, targets: np.ndarray | None) -> np.ndarray:
        return np.array([float(len(inputs))])

    def partial_fit(self, inputs: np.ndarray, targets: np.ndarray | None, *, classes: Any) -> None:
        before = 0.0 if self.value is None else self.value
        self.value = before + self.solve(inputs, targets)
        self.classes = classes

    def forward(self, inputs: np.ndarray) -> np.ndarray:
        return np.broadcast_to(self.value, (len(inputs), 1))
