"""Looking for losses that are not finite, once a block, and naming the first bad batch."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mml.errors import MMLWarning, NonFiniteError
from mml.experiment.phases.execution_context import ExecutionContext
from mml.graph import AppliedLoss
from mml.graph.execution import StepsResult

if TYPE_CHECKING:
    from mml.experiment.phases.phase import ExperimentPhase


def check_finite(phase: ExperimentPhase, result: StepsResult, contexts: Sequence[ExecutionContext]) -> None:
    """Raise or warn, as the phase says, at the first loss that is not finite.

    Raises
    ------
    NonFiniteError
        With loss, node, epoch and batch.
    """
    values = result.losses()
    bad = ~np.isfinite(values) & (result.rows > 0)
    if not bad.any():
        return
    step, number = (int(one) for one in np.argwhere(bad)[0])
    loss, context = phase.losses[number], contexts[step]
    place = {
        "phase": phase.label,
        "loss": loss.label,
        "node": loss.on,
        "epoch": context.epoch,
        "batch": context.batch,
    }
    if phase.on_nonfinite == "warn":
        where = ", ".join(f"{key} {value!r}" for key, value in place.items())
        warnings.warn(f"A loss is not finite: {where}.", MMLWarning, stacklevel=2)
        return
    raise NonFiniteError(
        f"The loss {loss.label!r} is {values[step, number]}.",
        where=place,
        expected="a finite number",
        hint=_hint(loss),
    )


def _hint(loss: AppliedLoss) -> str:
    common = (
        "Look for NaN in the data (featureset.summary()), lower the learning rate, or clip gradients "
        "(Optimizer(..., clip_norm=1.0)); on_nonfinite='ignore' goes on regardless."
    )
    if loss.loss.name != "bce":
        return common
    return f"'bce' takes probabilities from 0 to 1; for a model that gives logits use 'bce_logits'. {common}"
