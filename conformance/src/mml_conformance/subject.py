"""What a check sees: the backend under test and what its plugin declared about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mml.backends import BaseModel, ComputeBackend
from mml.errors import BackendError
from mml.graph.optimizers.optimizer import Optimizer
from mml_conformance.bench import make_model
from mml_conformance.declaration import Declaration


@dataclass(frozen=True)
class Subject:
    """A backend under test.

    Parameters
    ----------
    backend : ComputeBackend
    declaration : Declaration
    """

    backend: ComputeBackend
    declaration: Declaration

    def mlp(self, label: str = "model", **settings: Any) -> BaseModel:
        """Build the backend's `mlp` in float32; see `bench.make_model`."""
        return make_model(self.backend, label=label, **settings)

    def mlp64(self, label: str = "model", **settings: Any) -> BaseModel:
        """Build the backend's `mlp` in float64, the way the declaration says."""
        model = make_model(self.backend, label=label, **{**settings, **self.declaration.float64_settings})
        if self.declaration.widen is not None:
            self.declaration.widen(model)
        if model.dtype != "float64":
            raise BackendError("The declaration names no way to a float64 model.", found=f"{model.dtype}")
        return model

    def optimizer(self, name: str, **settings: Any) -> Optimizer:
        """Declare an optimizer with slots of its own."""
        return Optimizer(name, **settings)
