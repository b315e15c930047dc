"""The layers of the reference model: forward and backward, derived by hand.

A layer is pure structure. Its values live in the model's dict under ``<layer>.<value>``; what backward needs
goes through a cache that forward returns. Only a batch norm in training writes values: its statistics.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np

from mml.random import generator

Values = dict[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class Run:
    """How one pass runs: whether it trains, and the seed of its random numbers."""

    training: bool
    seed: int = 0
    stream: str = ""


class Layer(ABC):
    """One step of a sequence, on arrays of shape ``(rows, width)``."""

    name: str

    def initial(self, seed: int) -> Values:  # noqa: ARG002 -- most layers draw nothing
        """Return initial values in float64, each from its own stream of the seed."""
        return {}

    @property
    def buffers(self) -> frozenset[str]:
        """Names of the values that no gradient moves."""
        return frozenset()

    @abstractmethod
    def forward(self, values: Values, inputs: np.ndarray, run: Run) -> tuple[np.ndarray, Any]:
        """Return the outputs and what `backward` needs."""

    @abstractmethod
    def backward(self, values: Values, cache: Any, slope: np.ndarray) -> tuple[np.ndarray, Values]:
        """Return the slope at the inputs and at the layer's parameters."""


@dataclass(frozen=True, slots=True)
class Dense(Layer):
    """``x @ weight + bias``."""

    name: str
    width_in: int
    width_out: int

    def initial(self, seed: int) -> Values:
        """Draw both uniformly within 1/sqrt(width_in)."""
        bound = 1.0 / math.sqrt(max(self.width_in, 1))
        shapes = {
            f"{self.name}.weight": (self.width_in, self.width_out),
            f"{self.name}.bias": (self.width_out,),
        }
        return {name: generator(seed, name).uniform(-bound, bound, shape) for name, shape in shapes.items()}

    def forward(self, values: Values, inputs: np.ndarray, run: Run) -> tuple[np.ndarray, Any]:  # noqa: ARG002
        """Multiply and add."""
        return inputs @ values[f"{self.name}.weight"] + values[f"{self.name}.bias"], inputs

    def backward(self, values: Values, cache: Any, slope: np.ndarray) -> tuple[np.ndarray, Values]:
        """Send the slope through the transposed weight."""
        gradients = {f"{self.name}.weight": cache.T @ slope, f"{self.name}.bias": slope.sum(axis=0)}
        return slope @ values[f"{self.name}.weight"].T, gradients


@dataclass(frozen=True, slots=True)
class BatchNorm(Layer):
    """Normalise each feature by the batch in training, by running statistics otherwise.

    The running variance takes the unbiased estimate, the normalisation the biased one.
    """

    name: str
    width: int
    momentum: float = 0.1
    eps: float = 1e-5

    def initial(self, seed: int) -> Values:  # noqa: ARG002 -- nothing is drawn
        """Return the identity."""
        one, zero = np.ones(self.width), np.zeros(self.width)
        names = ("weight", "bias", "running_mean", "running_var")
        return {
            f"{self.name}.{name}": value.copy()
            for name, value in zip(names, (one, zero, zero, one), strict=True)
        }

    @property
    def buffers(self) -> frozenset[str]:
        """The running statistics."""
        return frozenset({f"{self.name}.running_mean", f"{self.name}.running_var"})

    def forward(self, values: Values, inputs: np.ndarray, run: Run) -> tuple[np.ndarray, Any]:
        """Normalise, scale and shift."""
        mean, variance = values[f"{self.name}.running_mean"], values[f"{self.name}.running_var"]
        if run.training:
            mean, variance = inputs.mean(axis=0), inputs.var(axis=0)
            self._move(values, mean, variance, len(inputs))
        scale = 1.0 / np.sqrt(variance + self.eps)
        normal = (inputs - mean) * scale
        outputs = normal * values[f"{self.name}.weight"] + values[f"{self.name}.bias"]
        return outputs, (normal, scale, run.training)

    def _move(self, values: Values, mean: np.ndarray, variance: np.ndarray, rows: int) -> None:
        unbiased = variance * (rows / max(rows - 1, 1))
        for name, new in (("running_mean", mean), ("running_var", unbiased)):
            kept = values[f"{self.name}.{name}"]
            kept[...] = (1.0 - self.momentum) * kept + self.momentum * new

    def backward(self, values: Values, cache: Any, slope: np.ndarray) -> tuple[np.ndarray, Values]:
        """Send the slope through the normalisation, and through the batch's statistics if used."""
        normal, scale, training = cache
        gradients = {
            f"{self.name}.weight": (slope * normal).sum(axis=0),
            f"{self.name}.bias": slope.sum(axis=0),
        }
        inner = slope * values[f"{self.name}.weight"]
        if training:
            inner = inner - inner.mean(axis=0) - normal * (inner * normal).mean(axis=0)
        return inner * scale, gradients


@dataclass(frozen=True, slots=True)
class Dropout(Layer):
    """Zero elements at random in training and scale the rest, so that the expectation stays."""

    name: str
    rate: float

    def forward(self, values: Values, inputs: np.ndarray, run: Run) -> tuple[np.ndarray, Any]:  # noqa: ARG002
        """Drop in training, pass otherwise."""
        if not run.training or self.rate == 0.0:
            return inputs, None
        kept = generator(run.seed, run.stream, self.name).random(inputs.shape) >= self.rate
        factors = (kept / (1.0 - self.rate)).astype(inputs.dtype)
        return inputs * factors, factors

    def backward(self, values: Values, cache: Any, slope: np.ndarray) -> tuple[np.ndarray, Values]:  # noqa: ARG002
        """Drop the same elements of the slope."""
        return (slope if cache is None else slope * cache), {}


@dataclass(frozen=True, slots=True)
class Relu(Layer):
    """``max(x, 0)``, with slope 0 at 0."""

    name: str

    def forward(self, values: Values, inputs: np.ndarray, run: Run) -> tuple[np.ndarray, Any]:  # noqa: ARG002
        """Cut off below 0."""
        return np.maximum(inputs, 0.0), inputs > 0.0

    def backward(self, values: Values, cache: Any, slope: np.ndarray) -> tuple[np.ndarray, Values]:  # noqa: ARG002
        """Pass the slope where the input was positive."""
        return slope * cache, {}


@dataclass(frozen=True, slots=True)
class Tanh(Layer):
    """Hyperbolic tangent."""

    name: str

    def forward(self, values: Values, inputs: np.ndarray, run: Run) -> tuple[np.ndarray, Any]:  # noqa: ARG002
        """Apply it."""
        outputs = np.tanh(inputs)
        return outputs, outputs

    def backward(self, values: Values, cache: Any, slope: np.ndarray) -> tuple[np.ndarray, Values]:  # noqa: ARG002
        """Multiply by one minus the square."""
        return slope * (1.0 - cache * cache), {}
