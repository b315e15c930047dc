"""Mutants whose models have wrong layers, states or initial values."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np

from mml_conformance.mutants.mutant import Mutant
from mml_conformance.reference.backend import ReferenceBackend
from mml_conformance.reference.layers import BatchNorm, Dropout, Layer, Run, Values
from mml_conformance.reference.models import Mlp, ReferenceModel, Shape

_builds = itertools.count()


def _layered(kind: type[Layer], other: type[Layer]) -> type[ReferenceBackend]:
    """Return a backend whose models have their layers of one kind replaced."""

    class Layered(ReferenceBackend):
        class model_type(ReferenceModel):  # noqa: N801 -- the name of the attribute that it replaces
            def _made(self, input_shape: Shape, output_shape: Shape | None, seed: int) -> Mlp:
                made = super()._made(input_shape, output_shape, seed)
                made.layers = tuple(_as(one, other) if type(one) is kind else one for one in made.layers)
                return made

    return Layered


def _as(layer: Any, other: Any) -> Layer:
    made: Layer = other(**{one.name: getattr(layer, one.name) for one in fields(layer)})
    return made


class UnscaledDropout(Dropout):
    """Drops without scaling the rest."""

    def forward(self, values: Values, inputs: np.ndarray, run: Run) -> tuple[np.ndarray, Any]:
        """Undo the scale."""
        outputs, factors = super().forward(values, inputs, run)
        if factors is None:
            return outputs, None
        kept = (factors > 0).astype(inputs.dtype)
        return inputs * kept, kept


class GlobalDropout(Dropout):
    """Draws from the process-wide generator."""

    def forward(self, values: Values, inputs: np.ndarray, run: Run) -> tuple[np.ndarray, Any]:
        """Use a seed drawn from NumPy's global generator."""
        return super().forward(values, inputs, replace(run, seed=np.random.randint(2**31)))


class FixedDropout(Dropout):
    """Ignores the seed."""

    def forward(self, values: Values, inputs: np.ndarray, run: Run) -> tuple[np.ndarray, Any]:
        """Drop the same elements for ever."""
        return super().forward(values, inputs, replace(run, seed=0))


class BatchStatistics(BatchNorm):
    """Uses the batch's statistics in evaluation."""

    def forward(self, values: Values, inputs: np.ndarray, run: Run) -> tuple[np.ndarray, Any]:
        """Train on copies of the buffers."""
        return super().forward(
            values if run.training else _copied(values), inputs, replace(run, training=True)
        )


class MovingInEvaluation(BatchNorm):
    """Moves its running statistics in evaluation."""

    def forward(self, values: Values, inputs: np.ndarray, run: Run) -> tuple[np.ndarray, Any]:
        """Move, then run."""
        if not run.training and len(inputs):
            self._move(values, inputs.mean(axis=0), inputs.var(axis=0), len(inputs))
        return super().forward(values, inputs, run)


class StillStatistics(BatchNorm):
    """Never moves its running statistics."""

    def forward(self, values: Values, inputs: np.ndarray, run: Run) -> tuple[np.ndarray, Any]:
        """Run on copies of the buffers."""
        return super().forward(_copied(values), inputs, run)


class BiasedGradient(BatchNorm):
    """Treats the batch's statistics as constants on the way back."""

    def backward(self, values: Values, cache: Any, slope: np.ndarray) -> tuple[np.ndarray, Values]:
        """Leave the statistics out."""
        return super().backward(values, (*cache[:2], False), slope)


def _copied(values: Values) -> Values:
    return {name: value.copy() for name, value in values.items()}


def _modelled(**methods: Callable[..., Any]) -> type[ReferenceBackend]:
    """Return a backend whose models have methods replaced."""
    model = type("Modelled", (ReferenceModel,), dict(methods))
    return type("ModelledBackend", (ReferenceBackend,), {"model_type": model})


def _build_in_order(self: ReferenceModel, *shapes: Any, seed: int = 0) -> None:
    ReferenceModel.build(self, *shapes, seed=seed + next(_builds))


def _live_state(self: ReferenceModel) -> dict[str, Any]:
    return dict(self.native.values)


def _pickled_state(self: ReferenceModel) -> dict[str, Any]:
    return {**self._copies(), "blob": b"pickled"}


def _unpickled_state(self: ReferenceModel, state: dict[str, Any]) -> None:
    ReferenceModel.set_state(self, {name: value for name, value in state.items() if name != "blob"})


def _without_buffers(self: ReferenceModel, state: dict[str, Any]) -> None:
    buffers = {name: self.native.values[name] for name in self.native.buffers}
    ReferenceModel.set_state(self, {**state, **buffers})


def _lenient(self: ReferenceModel, state: dict[str, Any]) -> None:
    for name, value in state.items():
        if name in self.native.values and np.shape(value) == self.native.values[name].shape:
            self.native.values[name][...] = value


def _wide(self: ReferenceModel, inputs: np.ndarray) -> np.ndarray:
    return ReferenceModel.forward(self, inputs).astype(np.float64)


MUTANTS = (
    Mutant("dropout unscaled", _layered(Dropout, UnscaledDropout), ("MODE-dropout",)),
    Mutant(
        "dropout from the global generator", _layered(Dropout, GlobalDropout), ("SEED-globals", "SEED-equal")
    ),
    Mutant("dropout ignores the seed", _layered(Dropout, FixedDropout), ("SEED-differs",)),
    Mutant("batch statistics in evaluation", _layered(BatchNorm, BatchStatistics), ("MODE-batch-norm-eval",)),
    Mutant(
        "evaluation moves buffers", _layered(BatchNorm, MovingInEvaluation), ("MODE-eval-keeps", "FRZ-bits")
    ),
    Mutant("buffers never move", _layered(BatchNorm, StillStatistics), ("MODE-batch-norm-train",)),
    Mutant(
        "batch norm's slope without statistics", _layered(BatchNorm, BiasedGradient), ("GRAD-differences",)
    ),
    Mutant("initialisation depends on build order", _modelled(build=_build_in_order), ("SEED-initial",)),
    Mutant("live references in state", _modelled(get_state=_live_state), ("STATE-snapshot",)),
    Mutant(
        "pickled blob in state",
        _modelled(get_state=_pickled_state, set_state=_unpickled_state),
        ("STATE-plain",),
    ),
    Mutant(
        "buffers not restored", _modelled(set_state=_without_buffers), ("STATE-round-trip", "RESUME-steps")
    ),
    Mutant("bad state taken in part", _modelled(set_state=_lenient), ("STATE-refused",)),
    Mutant("outputs in another dtype", _modelled(forward=_wide), ("SHAPE-rows",)),
)
