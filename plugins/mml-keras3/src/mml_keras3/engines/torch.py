"""PyTorch: steps run one after the other, differentiated by autograd, on the user's own tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import ml_dtypes
import numpy as np
import torch
from torch import Tensor

from mml_keras3.engines.direct import direct_call
from mml_keras3.engines.torch_ops import TorchOps
from mml_keras3.framework import keras

if TYPE_CHECKING:
    from mml_keras3.engines.engine import Runner
    from mml_keras3.plan import StepPlan


class TorchEngine:
    """Keras on PyTorch."""

    name: ClassVar[str] = "torch"
    has_compiler: ClassVar[bool] = False
    has_float64: bool = False
    draws_globally: ClassVar[bool] = True
    ops = TorchOps()

    def __init__(self) -> None:
        self.devices = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)

    # --- arrays ----------------------------------------------------------------------------------------

    def to_array(self, array: np.ndarray, *, device: str | None = None) -> Tensor:
        """Return a tensor over the host array, which belongs to it from now on."""
        if array.dtype == ml_dtypes.bfloat16:
            tensor = torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
        else:
            tensor = torch.from_numpy(array)
        return tensor if device is None else tensor.to(device)

    def to_numpy(self, array: Tensor) -> np.ndarray:
        """Return an owned copy."""
        host = array.detach().cpu().resolve_conj().resolve_neg()
        if host.dtype is torch.bfloat16:
            return host.view(torch.int16).numpy().view(ml_dtypes.bfloat16).copy()
        return host.numpy().copy()

    def is_native(self, array: Any) -> bool:
        """Whether it is a dense tensor."""
        return isinstance(array, Tensor) and array.layout is torch.strided and not array.is_quantized

    def numpy_dtype(self, array: Tensor) -> np.dtype[Any]:
        """Return the dtype, which is NumPy's or an extension of it."""
        return _numpy_dtype(array.dtype)

    def has_dtype(self, dtype: np.dtype[Any]) -> bool:
        """Whether NumPy's dtype is one of PyTorch's."""
        return dtype.char not in "gG"

    def program_dtype(self, dtype: np.dtype[Any]) -> np.dtype[Any]:
        """Return the dtype itself."""
        return dtype

    def narrowed_in(self, run: Callable[[Any], Any], shape: tuple[int, ...]) -> str | None:  # noqa: ARG002
        """Name what Keras narrows on PyTorch."""
        return "matrix products"

    def cast(self, value: Tensor, like: Tensor) -> Tensor:
        """Return a tensor in the dtype of another."""
        return value if value.dtype is like.dtype else value.to(like.dtype)

    # --- variables -------------------------------------------------------------------------------------

    def value_of(self, variable: Any) -> Tensor:
        """Return the variable's own tensor."""
        value: Tensor = variable.value
        return value

    def set_value(self, variable: Any, value: Tensor) -> None:
        """Write into the variable's own tensor."""
        with torch.no_grad():
            variable.value.copy_(value)

    def place(self, variables: Sequence[Any], device: str | None) -> None:
        """Move the variables' tensors."""
        if device is not None:
            for one in variables:
                one.value.data = one.value.data.to(device)

    def device_name(self, device: str) -> str | None:
        """Return e.g. ``"cuda:0"`` for ``"cuda"``, None where there is no such device."""
        if device == "cpu":
            return device
        kind, _, number = device.partition(":")
        count = torch.cuda.device_count() if kind == "cuda" else 0
        if not (number or "0").isdigit() or int(number or 0) >= count:
            return None
        return f"cuda:{int(number or 0)}"

    # --- running ---------------------------------------------------------------------------------------

    def forward(self, model: Any, variables: Sequence[Any]) -> Callable[[Tensor], Tensor]:  # noqa: ARG002
        """Return the model itself; what it would assign is dropped."""

        def run(inputs: Tensor) -> Tensor:
            with torch.no_grad(), keras.StatelessScope():
                output: Tensor = model(inputs, training=False)
                return output

        return run

    def run_model(self, model: Any) -> Callable[[Any, bool], Any]:
        """Return what runs a model, past Keras' own bookkeeping where it changes nothing."""
        return direct_call(model)

    def runner(self, plan: StepPlan) -> Runner:
        """Return what steps through the plan."""
        from mml_keras3.engines.eager import EagerRunner

        return EagerRunner(plan)

    # --- process-wide state ----------------------------------------------------------------------------

    @contextmanager
    def generators_kept(self) -> Iterator[None]:
        """Restore PyTorch's generators, which dropout without a seed draws from."""
        cpu = torch.default_generator.get_state()
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
        try:
            yield
        finally:
            torch.default_generator.set_state(cpu)
            for index, state in enumerate(cuda):
                torch.cuda.set_rng_state(state, index)

    def seed_generators(self, seed: int) -> None:
        """Seed PyTorch's generators."""
        torch.default_generator.manual_seed(seed)
        if torch.cuda.is_initialized():
            for generator in torch.cuda.default_generators:
                generator.manual_seed(seed)

    @contextmanager
    def determinism(self, *, asked: bool) -> Iterator[None]:
        """Refuse kernels that are not deterministic, meanwhile."""
        if not asked:
            yield
            return
        enabled = torch.are_deterministic_algorithms_enabled()
        warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
        benchmark = torch.backends.cudnn.benchmark
        torch.use_deterministic_algorithms(True)
        torch.backends.cudnn.benchmark = False
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(enabled, warn_only=warn_only)
            torch.backends.cudnn.benchmark = benchmark


@lru_cache(maxsize=64)
def _numpy_dtype(dtype: torch.dtype) -> np.dtype[Any]:
    if dtype is torch.bfloat16:
        return np.dtype(ml_dtypes.bfloat16)
    return torch.empty(0, dtype=dtype).numpy().dtype


def make_engine() -> TorchEngine:
    """Return the engine."""
    return TorchEngine()
