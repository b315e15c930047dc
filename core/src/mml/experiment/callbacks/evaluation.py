"""`Evaluation`: run an EvalPhase while training, without a trace in the training."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Self

from mml.configuration import checked_config, several
from mml.errors import PhaseError, SplitError, did_you_mean
from mml.experiment.callbacks.callback import Callback
from mml.experiment.callbacks.evaluation_metric import (
    EvaluationMetric,
    as_evaluation_metrics,
    evaluation_metric_from_config,
)
from mml.experiment.results import CallbackResult, EvalResults, MetricResult

_PREFIX = "val_"
_DEFAULT_NAME = "val_loss"


class Evaluation(Callback):
    """Evaluate at the end of epochs and log what comes out.

    Parameters
    ----------
    phase : EvalPhase
        What to run, as a preview: it changes nothing.
    every_n_epochs : int
        Run after every n-th epoch.
    run_on_start : bool
        Run before the first epoch too.
    metrics : sequence of EvaluationMetric, Metric or str
        What to log; the phase's weighted total as ``val_loss``, and its own metrics, where left out.
    """

    def __init__(
        self,
        phase: Any,
        *,
        every_n_epochs: int = 1,
        run_on_start: bool = False,
        metrics: Sequence[EvaluationMetric | Any] = (),
    ) -> None:
        from mml.experiment.phases.eval_phase import EvalPhase

        if not isinstance(phase, EvalPhase):
            raise PhaseError("Evaluation runs an EvalPhase.", found=type(phase).__name__)
        if isinstance(every_n_epochs, bool) or not isinstance(every_n_epochs, int) or every_n_epochs < 1:
            raise PhaseError("`every_n_epochs` is a number of at least 1.", found=repr(every_n_epochs))
        self.phase = phase
        self.every_n_epochs = every_n_epochs
        self.run_on_start = run_on_start
        self.metrics = as_evaluation_metrics(metrics)

    def check(self, phase: Any, available: tuple[str, ...], *, certain: bool) -> None:  # noqa: ARG002 -- asks for nothing logged
        """Refuse metrics that cannot come out of the evaluation."""
        for one in (*self.metrics, *self.phase.metrics):
            one.check(self.phase)

    def on_phase_start(self, *, experiment: Any, phase: Any, results: Any) -> Any:  # noqa: ARG002 -- the hook's form
        """Refuse a split that no data has; evaluate before the first epoch, if asked to."""
        known = dict.fromkeys(split for one in experiment.featuresets for split in one.splits)
        for binding in self.phase.input_sources:
            if binding.split is not None and binding.split not in known:
                raise SplitError(
                    f"No data has a split {binding.split!r}.",
                    where={"phase": self.phase.label},
                    hint=did_you_mean(str(binding.split), known),
                )
        return self._run(experiment) if self.run_on_start else None

    def on_epoch_end(self, *, experiment: Any, phase: Any, results: Any, epoch: int) -> Any:  # noqa: ARG002 -- the hook's form
        """Evaluate after every n-th epoch."""
        return self._run(experiment) if (epoch + 1) % self.every_n_epochs == 0 else None

    def _run(self, experiment: Any) -> list[CallbackResult]:
        # With all metrics in the phase's own place, their nodes are recorded too.
        observed = copy.copy(self.phase)
        observed.metrics = (*self.metrics, *self.phase.metrics)
        results = experiment.preview_phase(observed)
        logged: list[CallbackResult] = list(self._metrics(results, observed, experiment.graph.tail_nodes))
        results.drop_tensors()
        return [*logged, CallbackResult(value=results)]

    def _metrics(self, results: EvalResults, phase: Any, tails: tuple[str, ...]) -> list[MetricResult]:
        found = [one.evaluate(results, phase=phase, tails=tails, prefix=_PREFIX) for one in phase.metrics]
        if not self.metrics and phase.losses:
            found.insert(0, MetricResult(_DEFAULT_NAME, results.aggregated_losses()["total"]))
        return found

    def metrics_logged(self, phase: Any) -> tuple[str, ...]:  # noqa: ARG002 -- the same in every phase
        """Return the names of its metrics."""
        names = [one.logged_name(_PREFIX) for one in (*self.metrics, *self.phase.metrics)]
        if not self.metrics and self.phase.losses:
            names.insert(0, _DEFAULT_NAME)
        return tuple(names)

    def get_settings(self) -> dict[str, Any]:
        """Return phase, interval and metrics."""
        return {
            "phase": self.phase.get_config(),
            "every_n_epochs": self.every_n_epochs,
            "run_on_start": self.run_on_start,
            "metrics": [one.get_config() for one in self.metrics],
        }

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """Build an equal callback."""
        from mml.experiment.phases.phase_group import phase_from_config

        given = checked_config(
            settings,
            "an Evaluation",
            required=("phase",),
            optional=("every_n_epochs", "run_on_start", "metrics"),
        )
        metrics = several(given, "metrics", "an Evaluation")
        given["metrics"] = [evaluation_metric_from_config(one) for one in metrics]
        return cls(phase_from_config(given.pop("phase")), **given)
