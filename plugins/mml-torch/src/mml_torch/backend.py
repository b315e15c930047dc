"""`TorchBackend`: what PyTorch brings to the contract, and where each part of it is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from mml.backends import BaseModel, Capabilities, ComputeBackend, ModelSource, Program, Segment
from mml.errors import BackendError, ModelError
from mml_torch import convert, random_state
from mml_torch.base_model import TorchBaseModel
from mml_torch.framework_optimizer import FrameworkOptimizer
from mml_torch.losses import wrap_loss
from mml_torch.ops import TorchOps
from mml_torch.program import TorchProgram

# The CPU computes in bfloat16 everywhere, some of them slowly; of accelerators only those that have it.
_PRECISIONS = (
    ("float32", "bf16") if not torch.cuda.is_available() or torch.cuda.is_bf16_supported() else ("float32",)
)
_DEVICES = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)


class TorchBackend(ComputeBackend):
    """Modules that learn by gradient, on the CPU or on CUDA, step by step."""

    name: ClassVar[str] = "torch"
    capabilities: ClassVar[Capabilities] = Capabilities(
        gradients=True,
        deterministic=True,
        devices=_DEVICES,
        dlpack=True,
        precisions=_PRECISIONS,
        compiler=True,
    )
    ops = TorchOps()

    def wrap(self, source: ModelSource) -> BaseModel:
        """Wrap a module, or a class or factory that makes one."""
        target, is_module = source.target, isinstance(source.target, nn.Module)
        is_foreign_class = isinstance(target, type) and not issubclass(target, nn.Module)
        if not is_module and (source.is_instance or is_foreign_class or not callable(target)):
            raise ModelError(
                "PyTorch runs modules.",
                where={"node": source.label or None},
                expected="a torch.nn.Module, its class, or a factory that returns one",
                found=f"{type(target).__module__}.{type(target).__qualname__}: {target!r}",
            )
        if is_module and source.kwargs:
            raise ModelError(
                "A module that is ready takes no arguments.",
                where={"node": source.label or None},
                found=f"{type(target).__name__} with {sorted(source.kwargs)}",
                hint="Pass its class with the arguments instead.",
            )
        return TorchBaseModel(
            target,
            name=source.name,
            kwargs=source.kwargs,
            input_argument=source.input_argument,
            output_argument=source.output_argument,
            label=source.label,
        )

    def to_array(self, array: np.ndarray, *, device: str | None = None) -> Tensor:
        """Return a tensor that owns its memory."""
        return convert.to_tensor(array, device=self.device_name(device))

    def share(self, array: np.ndarray) -> Tensor:
        """Return a tensor over the same memory where the layout allows it."""
        return convert.shared_tensor(array)

    def to_numpy(self, array: Any) -> np.ndarray:
        """Return a NumPy array that owns its memory."""
        return convert.to_numpy(array)

    def is_native(self, array: Any) -> bool:
        """Whether it is a tensor."""
        return isinstance(array, Tensor)

    def compile(self, segment: Segment) -> Program:
        """Return an eager program over the segment's modules."""
        return TorchProgram(self, segment)

    def wrap_loss(self, loss: Any) -> Callable[..., Any]:
        """Wrap a loss module, whose meaning stays, or a callable over tensors."""
        wrapped: Callable[..., Any] = wrap_loss(loss, self.ops)
        return wrapped

    def wrap_optimizer(self, optimizer: Any, kwargs: Mapping[str, Any]) -> FrameworkOptimizer:
        """Wrap an optimizer class of the framework or in its form, whose meaning stays."""
        return FrameworkOptimizer(optimizer, kwargs)

    @contextmanager
    def scope(self, *, deterministic: bool = False) -> Iterator[None]:
        """Hold the process-wide generators and the determinism setting, and restore them."""
        with random_state.swapped(deterministic=deterministic):
            yield

    def device_name(self, device: str | None) -> str | None:
        """Check a device and return it in full, e.g. ``"cuda:0"`` for ``"cuda"``."""
        if device is None or device == "cpu":
            return device
        try:
            asked = torch.device(device)
        except RuntimeError as cause:
            raise self._no_device(device) from cause
        if asked.type not in self.capabilities.devices or asked.type == "cpu":
            raise self._no_device(device)
        index = torch.cuda.current_device() if asked.index is None else asked.index
        if index >= torch.cuda.device_count():
            raise self._no_device(device)
        return f"cuda:{index}"

    def _no_device(self, device: str) -> BackendError:
        return BackendError(
            f"PyTorch has no device {device!r} here.",
            expected=f"one of {self.capabilities.devices}"
            + (f", cuda:0 to cuda:{torch.cuda.device_count() - 1}" if "cuda" in _DEVICES else ""),
            hint="Leave the device out to use the default.",
        )
