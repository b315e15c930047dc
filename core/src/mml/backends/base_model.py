"""The wrapper that stands between a node of the graph and a framework's own model object.

A backend subclasses `BaseModel` once per kind of model it wraps. The wrapper knows how to build the object
for a shape and how to take its values out and put them back; it does not know the graph.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, TypeAlias

import numpy as np

from mml.protocols import Config, State

Shape = tuple[int, ...]
InputShape: TypeAlias = Shape | Mapping[str, Shape]
"""The shape of one sample, or of each part of it where a model takes a mapping of arrays."""


@dataclass(frozen=True, slots=True)
class VariableSpec:
    """One named array inside a model.

    Parameters
    ----------
    name : str
        Stable within the model and equal in every process, e.g. ``"layers.0.weight"``.
    role : str
        ``"param"`` (learned by gradient), ``"buffer"`` (moved by training or fitting otherwise) or
        ``"random"`` (a generator's position).
    shape : tuple of int
    dtype : str
        NumPy's name of the dtype.
    """

    name: str
    role: str
    shape: Shape
    dtype: str


class BaseModel(ABC):
    """A model of any backend, wrapped for the graph.

    Shapes are those of one sample, without the leading row axis. A model is built once; `output_shape` may
    stay None after `build` where only fitting can tell it, and is known after that.
    """

    backend: ClassVar[str]
    is_frozen: bool = False

    @abstractmethod
    def build(self, input_shape: InputShape, output_shape: Shape | None = None, *, seed: int = 0) -> None:
        """Make the model ready for inputs of ``(rows, *input_shape)``, changing no buffer.

        Parameters
        ----------
        input_shape : tuple of int, or mapping of str to tuple of int
            Shape of one input sample; by key where the model takes a mapping of arrays, which happens only
            where `Capabilities.mappings` says so.
        output_shape : tuple of int, optional
            Shape of one output sample, where somebody declared it.
        seed : int
            Seed for initial values; a model that came with its values keeps them.

        Raises
        ------
        ShapeError
            If the model does not take such inputs, or gives another shape than the declared one.
        """

    @property
    @abstractmethod
    def is_built(self) -> bool:
        """Whether the model is ready to run."""

    @property
    @abstractmethod
    def input_shape(self) -> InputShape | None:
        """Shape of one input sample, or of each part of it; None before `build`."""

    @property
    @abstractmethod
    def output_shape(self) -> Shape | None:
        """Shape of one output sample, None where it is not known yet."""

    @property
    @abstractmethod
    def dtype(self) -> str | None:
        """NumPy's name of the floating dtype that inputs are cast to, or None to leave them as they are."""

    @property
    @abstractmethod
    def can_learn(self) -> bool:
        """Whether a TrainPhase can change it: it has trainable parameters, or learns batch by batch."""

    @property
    @abstractmethod
    def can_fit(self) -> bool:
        """Whether a FitPhase can fit it."""

    @property
    def is_fitted(self) -> bool:
        """Whether it can run: False only for a model that must be fitted first and was not."""
        return True

    @abstractmethod
    def forward(self, inputs: np.ndarray | Mapping[str, np.ndarray]) -> np.ndarray:
        """Run the model in inference mode on ``(rows, *input_shape)``, or on such arrays by key."""

    @abstractmethod
    def variables(self) -> tuple[VariableSpec, ...]:
        """List every array that makes up the model's values, in a stable order."""

    @abstractmethod
    def get_config(self) -> Config:
        """Return what is needed to build an equal, untrained model.

        Keys: ``model`` (registered name or import path), ``backend`` and ``kwargs``, JSON only.

        Raises
        ------
        ConfigError
            If the model cannot be written down; the message names the node and the mend.
        """

    @classmethod
    def from_config(cls, config: Config) -> BaseModel:
        """Wrap an equal, untrained model from a configuration."""
        from mml.backends.access import get_backend
        from mml.backends.contract import ModelSource

        return get_backend(config["backend"]).wrap(ModelSource.from_config(config))

    @abstractmethod
    def get_state(self) -> State:
        """Return owned copies of all values, keyed by variable name: arrays and JSON only."""

    @abstractmethod
    def set_state(self, state: State) -> None:
        """Put values back, bit for bit; refuse missing, extra or misshapen entries, changing nothing."""

    @abstractmethod
    def reset(self, *, seed: int) -> None:
        """Return to initial values: those it came with, or new ones drawn from the seed."""

    def freeze(self) -> None:
        """Keep all values as they are from now on: the model runs in inference mode only."""
        self.is_frozen = True

    def unfreeze(self) -> None:
        """Let the model learn again."""
        self.is_frozen = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.input_shape} -> {self.output_shape})"

    @property
    def native(self) -> Any:
        """The framework's own object, for users who need it."""
        raise AttributeError(f"{type(self).__name__} wraps no native object")
