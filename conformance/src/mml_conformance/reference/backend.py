"""The reference backend: the simplest that fills the contract, and the oracle of the suite.

It runs on NumPy arrays, derives its gradients by hand, and leaves masks, weights, accumulation, clipping and
update rules to core's default program. It is slow and small on purpose.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np

from mml.backends import (
    BaseModel,
    Capabilities,
    HostBackend,
    ModelSource,
    Program,
    Segment,
    StepGradients,
)
from mml.backends.default_program import DefaultProgram
from mml.errors import BackendError, ModelError
from mml_conformance.reference.losses import ReferenceLoss
from mml_conformance.reference.models import Mlp, ReferenceModel
from mml_conformance.reference.step import Step


class ReferenceBackend(HostBackend):
    """NumPy arrays, gradients by hand, everything else from core."""

    name: ClassVar[str] = "reference"
    capabilities: ClassVar[Capabilities] = Capabilities(gradients=True, deterministic=True, mappings=True)
    # What a mutant of the suite replaces to break one thing.
    step_type: ClassVar[type[Step]] = Step
    model_type: ClassVar[type[ReferenceModel]] = ReferenceModel
    program_type: ClassVar[type[DefaultProgram]] = DefaultProgram

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def wrap(self, source: ModelSource) -> BaseModel:
        """Wrap an `Mlp`, or a class or factory of one."""
        if not (isinstance(source.target, Mlp) if source.is_instance else callable(source.target)):
            raise ModelError(
                "The reference backend runs its own mlp only.",
                where={"node": source.label},
                found=repr(source.target),
            )
        return self.model_type(source)

    def compile(self, segment: Segment) -> Program:
        """Check that every loss of a training segment has a slope, and step through the default program."""
        self.device_name(segment.device)
        if segment.mode == "train":
            for loss in segment.losses:
                _require_slopes(loss)
        return self.program_type(self, segment)

    def gradients(
        self, segment: Segment, values: Mapping[str, Any], rows: np.ndarray, *, seed: int, scales: list[float]
    ) -> StepGradients:
        """Run one training step up to the gradients."""
        step = self.step_type(segment, values, rows, seed=seed)
        step.forward(training=True)
        losses = step.losses()
        return step.result(losses, step.backward(scales))

    def forward(
        self, segment: Segment, values: Mapping[str, Any], rows: np.ndarray, *, seed: int
    ) -> StepGradients:
        """Run one step in inference mode."""
        step = self.step_type(segment, values, rows, seed=seed)
        step.forward(training=False)
        return step.result(step.losses(), {})

    def variable(self, model: BaseModel, name: str) -> np.ndarray:
        """Return a parameter's array, live."""
        values: dict[str, np.ndarray] = model.native.values
        return values[name]

    def assign(self, model: BaseModel, name: str, value: Any) -> None:
        """Write into the parameter's array, so that a user's reference to it stays valid."""
        model.native.values[name][...] = value

    @contextmanager
    def scope(self, *, deterministic: bool = False) -> Iterator[None]:  # noqa: ARG002 -- it always is
        """Hold the lock; there is no process-wide state to keep."""
        with self._lock:
            yield


def _require_slopes(loss: Any) -> None:
    if not isinstance(loss.function, ReferenceLoss):
        raise BackendError(
            "The reference backend trains on losses only whose slope it knows.",
            where={"loss": loss.label, "node": loss.node},
            expected="mse, mae, huber, bce_logits or cross_entropy",
            found=repr(loss.function),
        )
