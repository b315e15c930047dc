"""Results of a FitPhase: one fit on all rows."""

from __future__ import annotations

from typing import ClassVar, final

from mml.experiment.results.phase_results import PhaseResults


@final
class FitResults(PhaseResults):
    """Results of a single-pass fit."""

    loss_metric: ClassVar[str] = "fit_loss"
