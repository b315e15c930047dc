"""`TensorflowBackend`: what TensorFlow brings to the contract, and where each part of it is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from mml.backends import BaseModel, Capabilities, ComputeBackend, ModelSource, Program, Segment
from mml.errors import BackendError, ModelError
from mml_tf import convert, keras_objects, random_state
from mml_tf.base_model import TensorflowBaseModel, is_model
from mml_tf.losses import wrap_loss
from mml_tf.ops import TensorflowOps
from mml_tf.optimizers import refuse_framework_optimizer
from mml_tf.precision import PRECISIONS
from mml_tf.program import TensorflowProgram
from mml_tf.slots import Slice

_N_GPUS = len(tf.config.list_physical_devices("GPU"))


class TensorflowBackend(ComputeBackend):
    """Modules that learn by gradient, a block of steps in one call."""

    name: ClassVar[str] = "tensorflow"
    capabilities: ClassVar[Capabilities] = Capabilities(
        gradients=True,
        deterministic=True,
        devices=("cpu", "gpu") if _N_GPUS else ("cpu",),
        precisions=PRECISIONS,
        compiler=True,
    )
    ops = TensorflowOps()

    def wrap(self, source: ModelSource) -> BaseModel:
        """Wrap a module, or a class or factory that makes one."""
        target, is_ready = source.target, is_model(source.target)
        where = {"node": source.label or None}
        if keras_objects.is_layer(target) or keras_objects.is_layer_class(target):
            keras_objects.require_engine(target, where=where)
        is_foreign = isinstance(target, type) and not (
            issubclass(target, tf.Module) or keras_objects.is_layer_class(target)
        )
        if not is_ready and (source.is_instance or is_foreign or not callable(target)):
            raise ModelError(
                "TensorFlow runs modules.",
                where=where,
                expected="a tf.Module, its class, or a factory that returns one",
                found=f"{type(target).__module__}.{type(target).__qualname__}: {target!r}",
            )
        if is_ready and source.kwargs:
            raise ModelError(
                "A module that is ready takes no arguments.",
                where=where,
                found=f"{type(target).__name__} with {sorted(source.kwargs)}",
                hint="Pass its class with the arguments instead.",
            )
        return TensorflowBaseModel(
            target,
            name=source.name,
            kwargs=source.kwargs,
            input_argument=source.input_argument,
            output_argument=source.output_argument,
            label=source.label,
        )

    def to_array(self, array: np.ndarray, *, device: str | None = None) -> tf.Tensor:
        """Return a tensor that owns its memory."""
        with tf.device(self.device_name(device)):
            return convert.to_tensor(array)

    def to_numpy(self, array: Any) -> np.ndarray:
        """Return a NumPy array that owns its memory."""
        return convert.to_numpy(array.read() if isinstance(array, Slice) else array)

    def is_native(self, array: Any) -> bool:
        """Whether it is a tensor or variable with values, or an optimizer's slot."""
        return isinstance(array, Slice) or convert.is_dense(array)

    def compile(self, segment: Segment) -> Program:
        """Return a program over the segment's modules, traced when it first runs."""
        return TensorflowProgram(self, segment)

    def wrap_loss(self, loss: Any) -> Callable[..., Any]:
        """Wrap a loss of Keras, whose meaning stays, or a callable over tensors."""
        wrapped: Callable[..., Any] = wrap_loss(loss, self.ops)
        return wrapped

    def wrap_optimizer(self, optimizer: Any, kwargs: Mapping[str, Any]) -> Any:  # noqa: ARG002 -- refused as it is
        """Refuse: there is no optimizer of the framework but those of Keras."""
        raise refuse_framework_optimizer(optimizer)

    @contextmanager
    def scope(self, *, deterministic: bool = False) -> Iterator[None]:
        """Hold the process-wide generators and the determinism setting, and restore them."""
        with random_state.swapped(deterministic=deterministic):
            yield

    def device_name(self, device: str | None) -> str | None:
        """Check a device and return it in full, e.g. ``"gpu:0"`` for ``"gpu"``."""
        if device is None or device == "cpu":
            return device
        kind, _, number = device.partition(":")
        index = int(number) if number.isdigit() else 0
        if kind != "gpu" or index >= _N_GPUS or (number and not number.isdigit()):
            raise BackendError(
                f"TensorFlow has no device {device!r} here.",
                expected=f"one of {self.capabilities.devices}"
                + (f", gpu:0 to gpu:{_N_GPUS - 1}" if _N_GPUS else ""),
                hint="Leave the device out to use the default.",
            )
        return f"gpu:{index}"
