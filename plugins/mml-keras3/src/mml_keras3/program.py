"""`KerasProgram`: a segment of Keras models, run by the engine of this process.

It owns what is the same on every engine: what a segment must be, the lock, and that a program made for who
learned then is made again when the user froze a layer since.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mml.backends import Block, BlockResult, Controls, Program, Segment
from mml.errors import BackendError
from mml_keras3 import class_numbers
from mml_keras3.engines import engine
from mml_keras3.plan import StepPlan

if TYPE_CHECKING:
    from mml_keras3.backend import KerasBackend


class KerasProgram(Program):
    """A segment, ready to run.

    Parameters
    ----------
    backend : KerasBackend
    segment : Segment
        Its models are built; they are moved to the segment's device.
    """

    def __init__(self, backend: KerasBackend, segment: Segment) -> None:
        if segment.mode == "fit":
            raise BackendError(
                f"The backend {backend.name!r} fits nothing: its models learn by gradient.",
                where={"nodes": ", ".join(segment.learning) or None},
                hint="Train these nodes in a TrainPhase.",
            )
        self.backend = backend
        self.segment = segment = replace(segment, device=backend.device_name(segment.device))
        self._class_targets = class_numbers.targets_of(segment)
        self._make()
        engine().place(self.plan.all_variables(), segment.device)

    def stage(self, block: Block) -> Any:
        """Copy a block's live rows to the device."""
        class_numbers.check(self._class_targets, block)
        return self.runner.stage(block)

    def run(self, staged: Any, start: int, stop: int, controls: Controls) -> BlockResult:
        """Execute a range of steps."""
        with self.backend.scope(deterministic=self.segment.deterministic):
            if self.plan.flags() != self._flags:
                self._make()
            if start >= stop:
                empty = np.empty((0, len(self.segment.losses)), dtype=self.plan.dtype)
                return BlockResult(losses=empty, outputs={key: [] for key in self.segment.outputs})
            return self.runner.run(staged, start, stop, controls)

    def _make(self) -> None:
        self.plan = StepPlan(self.segment, engine().run_model)
        self.runner = engine().runner(self.plan)
        self._flags = self.plan.flags()
