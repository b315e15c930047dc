"""`KerasBackend`: what Keras brings to the contract, and where each part of it is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from mml.backends import BaseModel, Capabilities, ComputeBackend, ModelSource, Program, Segment
from mml.errors import BackendError, ModelError
from mml_keras3 import convert, random_state
from mml_keras3.base_model import KerasBaseModel
from mml_keras3.engines import engine
from mml_keras3.framework import keras, require_engine_asked_for
from mml_keras3.losses import wrap_loss
from mml_keras3.optimizers import FrameworkOptimizer
from mml_keras3.program import KerasProgram


class KerasBackend(ComputeBackend):
    """Keras models that learn by gradient, on the engine that Keras has in this process."""

    name: ClassVar[str] = "keras3"
    capabilities: ClassVar[Capabilities] = Capabilities(
        gradients=True,
        deterministic=True,
        devices=engine().devices,
        dlpack=True,
        compiler=engine().has_compiler,
    )
    ops = engine().ops

    def __init__(self) -> None:
        require_engine_asked_for()

    def wrap(self, source: ModelSource) -> BaseModel:
        """Wrap a Keras model or layer, or a class or factory that makes one."""
        target, is_layer = source.target, isinstance(source.target, keras.Layer)
        is_foreign_class = isinstance(target, type) and not issubclass(target, keras.Layer)
        if not is_layer and (source.is_instance or is_foreign_class or not callable(target)):
            raise ModelError(
                "Keras runs models and layers.",
                where={"node": source.label or None},
                expected="a keras.Model or keras.Layer, its class, or a factory that returns one",
                found=f"{type(target).__module__}.{type(target).__qualname__}: {target!r}",
            )
        if is_layer and source.kwargs:
            raise ModelError(
                "A model that is ready takes no arguments.",
                where={"node": source.label or None},
                found=f"{type(target).__name__} with {sorted(source.kwargs)}",
                hint="Pass its class with the arguments instead.",
            )
        return KerasBaseModel(
            target,
            name=source.name,
            kwargs=source.kwargs,
            input_argument=source.input_argument,
            output_argument=source.output_argument,
            label=source.label,
        )

    def to_array(self, array: np.ndarray, *, device: str | None = None) -> Any:
        """Return an array of the engine that owns its memory."""
        return convert.to_array(array, device=self.device_name(device))

    def to_numpy(self, array: Any) -> np.ndarray:
        """Return a NumPy array that owns its memory."""
        return convert.to_numpy(array)

    def is_native(self, array: Any) -> bool:
        """Whether it is an array of the engine."""
        return engine().is_native(array)

    def compile(self, segment: Segment) -> Program:
        """Return a program over the segment's models."""
        return KerasProgram(self, segment)

    def wrap_loss(self, loss: Any) -> Callable[..., Any]:
        """Wrap a loss of Keras, whose meaning stays, or a callable over the engine's arrays."""
        return wrap_loss(loss, self.ops)

    def wrap_optimizer(self, optimizer: Any, kwargs: Mapping[str, Any]) -> FrameworkOptimizer:
        """Wrap an optimizer class of Keras, whose meaning stays."""
        return FrameworkOptimizer(optimizer, kwargs)

    @contextmanager
    def scope(self, *, deterministic: bool = False) -> Iterator[None]:
        """Hold the process-wide generators and the determinism setting, and restore them."""
        with random_state.held(deterministic=deterministic):
            yield

    def device_name(self, device: str | None) -> str | None:
        """Check a device and return it in full, e.g. ``"cuda:0"`` for ``"cuda"``."""
        if device is None:
            return None
        found = engine().device_name(device)
        if found is None:
            raise BackendError(
                f"Keras on {engine().name!r} has no device {device!r} here.",
                expected=f"one of {self.capabilities.devices}",
                hint="Leave the device out to use the default.",
            )
        return found
