"""Mutants whose programs cut, count, clip, freeze or accumulate wrongly."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mml.backends import Block, BlockResult, Controls, Program, Segment, SegmentOptimizer, StepGradients
from mml.backends.default_program import DefaultProgram
from mml_conformance.mutants.mutant import Mutant
from mml_conformance.reference.backend import ReferenceBackend


def _running(program: type[DefaultProgram]) -> type[ReferenceBackend]:
    return type("Running", (ReferenceBackend,), {"program_type": program})


class MeanOverBatchSize(DefaultProgram):
    """Divides by the batch size, masked rows included."""

    def stage(self, block: Block) -> Block:
        """Remember the size."""
        arrays = [value for value in block.values.values() if isinstance(value, np.ndarray)]
        self.capacity = arrays[0].shape[1]
        return super().stage(block)

    def _scales(self, rows: np.ndarray, step: int, controls: Controls) -> list[float]:
        scales = super()._scales(rows, step, controls)
        counts = [rows[loss.rows] for loss in self.segment.losses]
        return [scale * count / self.capacity for scale, count in zip(scales, counts, strict=True)]


class MaskedByMultiplication(DefaultProgram):
    """Lets masked rows in, multiplied by zero."""

    def stage(self, block: Block) -> Block:
        """Multiply, and leave the count as it is: a NaN stays NaN and reaches the live rows' mean."""
        values = dict(block.values)
        for entry in self.segment.inputs:
            array = np.array(block.values[entry.name])
            if array.dtype.kind != "f":
                continue
            for step, count in enumerate(block.rows[:, entry.rows]):
                if count:
                    leaked = (array[step, count:] * 0).sum(axis=0)
                    array[step, 0] = array[step, 0] + leaked.astype(array.dtype)
            values[entry.name] = array
        return super().stage(Block(values, block.rows))


class EveryRowLives(DefaultProgram):
    """Takes every row for live in steps that have one."""

    def stage(self, block: Block) -> Block:
        """Fill the counts up."""
        arrays = [value for value in block.values.values() if isinstance(value, np.ndarray)]
        full = np.where(block.rows > 0, arrays[0].shape[1], 0)
        return super().stage(Block(block.values, full))


class SeedsByPosition(DefaultProgram):
    """Takes the seeds from the start of the range."""

    def run(self, staged: Block, start: int, stop: int, controls: Controls) -> BlockResult:
        """Shift the seeds."""
        return super().run(staged, start, stop, replace(controls, seeds=np.roll(controls.seeds, start)))


class OwnRandomPosition(DefaultProgram):
    """Mixes a counter of its own into the seeds, which no state holds."""

    position = 0

    def _step(self, staged: Block, step: int, controls: Controls) -> StepGradients:
        self.position += 1
        seeds = controls.seeds * 1000 + self.position
        return super()._step(staged, step, replace(controls, seeds=seeds))


class ClipsEachParameter(DefaultProgram):
    """Clips the norm of each parameter on its own."""

    def _clipped(self, gradients: dict[str, Any], optimizer: SegmentOptimizer) -> dict[str, Any]:
        return {
            name: super(ClipsEachParameter, self)._clipped({name: gradient}, optimizer)[name]
            for name, gradient in gradients.items()
        }


class AccumulatesMeans(DefaultProgram):
    """Adds the means of the steps, whatever their rows."""

    def _scales(self, rows: np.ndarray, step: int, controls: Controls) -> list[float]:
        return super()._scales(rows, step, replace(controls, accumulated=None))


class EveryLossLives(DefaultProgram):
    """Lets nodes learn also where none of their losses has a live row."""

    def _reached(self, segment: Segment, live: tuple[bool, ...]) -> Segment:
        return super()._reached(segment, (True,) * len(live))


class UpdatesWithoutRows(ReferenceBackend):
    """Gives gradients of zero where no row is live."""

    def gradients(
        self, segment: Segment, values: Mapping[str, Any], rows: np.ndarray, *, seed: int, scales: list[float]
    ) -> StepGradients:
        """Fill up with zeros."""
        result = super().gradients(segment, values, rows, seed=seed, scales=scales)
        for call in segment.calls:
            if call.model is not None:
                for spec in call.model.variables():
                    if spec.role == "param":
                        result.gradients.setdefault(
                            f"{call.node}/{spec.name}", np.zeros(spec.shape, spec.dtype)
                        )
        return result


class FreezingZeroesGradients(ReferenceBackend):
    """Freezes by gradients of zero, and steps the frozen node all the same."""

    def compile(self, segment: Segment) -> Program:
        """Hand every node to the optimizer."""
        nodes = tuple(dict.fromkeys(call.node for call in segment.calls if call.model is not None))
        optimizers = tuple(replace(one, nodes=nodes) for one in segment.optimizers)
        return super().compile(replace(segment, optimizers=optimizers))

    def gradients(
        self, segment: Segment, values: Mapping[str, Any], rows: np.ndarray, *, seed: int, scales: list[float]
    ) -> StepGradients:
        """Add zeros for the frozen nodes."""
        result = super().gradients(segment, values, rows, seed=seed, scales=scales)
        for call in segment.calls:
            if call.model is not None and not call.learns:
                for spec in call.model.variables():
                    if spec.role == "param":
                        result.gradients[f"{call.node}/{spec.name}"] = np.zeros(spec.shape, spec.dtype)
        return result


class FreezingDropsSlots(ReferenceBackend):
    """Forgets the slots of nodes that do not learn."""

    def compile(self, segment: Segment) -> Program:
        """Zero them."""
        for optimizer in segment.optimizers:
            for call in segment.calls:
                if call.model is None or call.learns:
                    continue
                for spec in call.model.variables():
                    slots = optimizer.slots.slots_of(f"{call.node}/{spec.name}", lambda: {"step": 0})
                    slots["step"] = 0
        return super().compile(segment)


MUTANTS = (
    Mutant("masked mean over the batch size", _running(MeanOverBatchSize), ("MASK-deleted", "MASK-nan")),
    Mutant("mask by multiplication", _running(MaskedByMultiplication), ("MASK-nan", "MASK-inf")),
    Mutant("every row lives", _running(EveryRowLives), ("MASK-deleted",)),
    Mutant("seeds by position in the range", _running(SeedsByPosition), ("BLOCK-cuts",)),
    Mutant("random position lost", _running(OwnRandomPosition), ("RESUME-steps",)),
    Mutant("clips each parameter alone", _running(ClipsEachParameter), ("OPT-clip-norm",)),
    Mutant("accumulates means", _running(AccumulatesMeans), ("OPT-accumulate",)),
    Mutant("every loss lives", _running(EveryLossLives), ("MASK-unscored",)),
    Mutant("updates without rows", UpdatesWithoutRows, ("MASK-all",)),
    Mutant("freezing only zeroes gradients", FreezingZeroesGradients, ("FRZ-bits",)),
    Mutant("freezing drops slots", FreezingDropsSlots, ("FRZ-slots",)),
)
