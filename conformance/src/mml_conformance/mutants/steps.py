"""Mutants whose single step is wrong: losses, slopes, modes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mml.backends import Program, Segment, SegmentLoss, StepGradients
from mml_conformance.mutants.mutant import Mutant
from mml_conformance.reference.backend import ReferenceBackend
from mml_conformance.reference.losses import BinaryCrossEntropyOfLogits, ElementwiseLoss, Slopes
from mml_conformance.reference.step import Step


def _stepping(step: type[Step]) -> type[ReferenceBackend]:
    return type("Stepping", (ReferenceBackend,), {"step_type": step})


class DropoutInEvaluation(Step):
    """Runs everything as in training, on copies of the buffers."""

    def forward(self, *, training: bool) -> None:
        """Train always."""
        models = {call.node: call.model for call in self.segment.calls if call.model is not None}
        kept = {label: model.get_state() for label, model in models.items()}
        if not training:
            calls = tuple(replace(call, learns=True) for call in self.segment.calls)
            self.segment = replace(self.segment, calls=calls)
        super().forward(training=True)
        if not training:
            for label, model in models.items():
                model.set_state(kept[label])


class FrozenInTraining(Step):
    """Runs frozen nodes in training mode."""

    def forward(self, *, training: bool) -> None:
        """Let every call learn on the way forward."""
        segment = self.segment
        if training:
            calls = tuple(replace(call, learns=True) for call in segment.calls)
            self.segment = replace(segment, calls=calls)
        super().forward(training=training)
        self.segment = segment


class MeanOverWeights(Step):
    """Divides by the sum of the row weights."""

    def _row_weights(self, loss: SegmentLoss) -> np.ndarray:
        weights = super()._row_weights(loss)
        return weights * (len(weights) / weights.sum())


class WeightsInTheValueOnly(Step):
    """Forgets the row weights on the way back."""

    def _loss_slopes(self, scales: list[float]) -> dict[str, np.ndarray]:
        losses = tuple(replace(loss, sample_weight=None) for loss in self.segment.losses)
        self.segment = replace(self.segment, losses=losses)
        return super()._loss_slopes(scales)


class LastHeadOverwrites(Step):
    """Lets the last user of a value overwrite its slope."""

    def _add(self, slopes: dict[str, np.ndarray], name: str, slope: np.ndarray) -> None:
        slopes.pop(name, None)
        super()._add(slopes, name, slope)


class SlopeOfTheSum(Step):
    """Sums over rows on the way back, where the value is a mean."""

    def backward(self, scales: list[float]) -> dict[str, np.ndarray]:
        """Scale by the number of rows."""
        rows = [self.rows[loss.rows] for loss in self.segment.losses]
        return super().backward([scale * count for scale, count in zip(scales, rows, strict=True)])


class ZeroWeightIsOne(Step):
    """Takes a weight of 0 for no weight given."""

    def backward(self, scales: list[float]) -> dict[str, np.ndarray]:
        """Replace 0."""
        return super().backward([scale or 1.0 for scale in scales])


class GradientsPileUp(ReferenceBackend):
    """Keeps gradients on the model and adds to them, for programs that do not update."""

    def gradients(
        self, segment: Segment, values: Mapping[str, Any], rows: np.ndarray, *, seed: int, scales: list[float]
    ) -> StepGradients:
        """Add a little of the last gradients."""
        result = super().gradients(segment, values, rows, seed=seed, scales=scales)
        for call in segment.calls:
            if call.model is None or not call.learns:
                continue
            kept = vars(call.model).setdefault("kept_gradients", {})
            for name in [one for one in result.gradients if one.startswith(f"{call.node}/")]:
                fresh = result.gradients[name]
                result.gradients[name] = fresh + kept.get(name, 0.0 * fresh)
                kept[name] = 0.001 * fresh
        return result


class EvaluationMovesTheSeed(ReferenceBackend):
    """Shifts the seeds of training by the number of evaluations."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = 0

    def forward(
        self, segment: Segment, values: Mapping[str, Any], rows: np.ndarray, *, seed: int
    ) -> StepGradients:
        """Count."""
        self.shift += 1
        return super().forward(segment, values, rows, seed=seed)

    def gradients(
        self, segment: Segment, values: Mapping[str, Any], rows: np.ndarray, *, seed: int, scales: list[float]
    ) -> StepGradients:
        """Use the count."""
        return super().gradients(segment, values, rows, seed=seed + self.shift, scales=scales)


class ClippedBce(BinaryCrossEntropyOfLogits):
    """Clips the probability, so that a saturated logit has no slope."""

    def element_slopes(self, outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Cut the slope where the probability is clipped."""
        slope, other = super().element_slopes(outputs, targets)
        return np.where(np.abs(outputs) > 16, 0.0, slope).astype(outputs.dtype), other


class Broadcasting(ElementwiseLoss):
    """Lets targets broadcast."""

    def __init__(self, inner: ElementwiseLoss) -> None:
        self.inner = inner

    def values(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Skip the comparison of shapes."""
        return self.inner.element(outputs, targets).reshape(len(outputs), -1).mean(axis=1)

    def slopes(self, outputs: np.ndarray, targets: np.ndarray, *, factors: np.ndarray) -> Slopes:
        """Reshape the targets instead."""
        return self.inner.slopes(outputs, targets.reshape(outputs.shape), factors=factors)

    def element(self, outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """As the true loss."""
        return self.inner.element(outputs, targets)

    def element_slopes(self, outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As the true loss."""
        return self.inner.element_slopes(outputs, targets)


def _scoring(change: Any) -> type[ReferenceBackend]:
    class Scoring(ReferenceBackend):
        def compile(self, segment: Segment) -> Program:
            losses = tuple(replace(loss, function=change(loss.function)) for loss in segment.losses)
            return super().compile(replace(segment, losses=losses))

    return Scoring


def _clipped(function: Any) -> Any:
    return ClippedBce() if isinstance(function, BinaryCrossEntropyOfLogits) else function


def _broadcasting(function: Any) -> Any:
    return Broadcasting(function) if isinstance(function, ElementwiseLoss) else function


_NAMES = ("mse", "mae", "huber", "bce_logits", "cross_entropy")

MUTANTS = (
    Mutant("dropout in evaluation", _stepping(DropoutInEvaluation), ("MODE-eval-is-not-random",)),
    Mutant("frozen nodes run in training mode", _stepping(FrozenInTraining), ("FRZ-bits", "FRZ-inference")),
    Mutant(
        "mean over the sum of weights",
        _stepping(MeanOverWeights),
        tuple(f"LOSS-{name}-weighted" for name in _NAMES),
    ),
    Mutant("weights in the value, not the slope", _stepping(WeightsInTheValueOnly), ("LOSS-mse-weighted",)),
    Mutant("last head overwrites", _stepping(LastHeadOverwrites), ("GRAD-differences", "MULTI-additive")),
    Mutant("slope of the sum", _stepping(SlopeOfTheSum), tuple(f"LOSS-{name}" for name in _NAMES)),
    Mutant("weight 0 is 1", _stepping(ZeroWeightIsOne), ("MULTI-zero-weight",)),
    Mutant("gradients pile up", GradientsPileUp, ("MULTI-nothing-accumulates",)),
    Mutant("evaluation moves the seed", EvaluationMovesTheSeed, ("MODE-validation-between",)),
    Mutant("BCE clips the probability", _scoring(_clipped), ("LOSS-saturated",)),
    Mutant("targets broadcast", _scoring(_broadcasting), ("LOSS-broadcast",)),
)
