"""Numbers out of an evaluation's results: a loss of it, or a metric over a node's outputs.

The same objects serve an EvalPhase on its own and the `Evaluation` callback; only the name's prefix differs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np

from mml.configuration import checked_config, made_with, registered_name, settings_beside
from mml.errors import ConfigError, MMLError, PhaseError, ResultError
from mml.experiment.metrics import Metric
from mml.experiment.results import EvalResults, MetricResult
from mml.graph import AppliedLoss
from mml.plugins import registry
from mml.protocols import Config

if TYPE_CHECKING:
    from mml.experiment.phases.eval_phase import EvalPhase

_ON_LOGITS = frozenset({"bce_logits", "cross_entropy"})
_ON_PROBABILITIES = frozenset({"bce"})


class EvaluationMetric(ABC):
    """One named number out of the results of an evaluation."""

    @abstractmethod
    def logged_name(self, prefix: str) -> str:
        """Return the name under which the number is logged."""

    def check(self, phase: EvalPhase) -> None:  # noqa: B027 -- most numbers come out of any evaluation
        """Raise before anything runs if the number cannot come out of the phase."""

    @abstractmethod
    def evaluate(
        self, results: EvalResults, *, phase: EvalPhase, tails: tuple[str, ...], prefix: str
    ) -> MetricResult:
        """Compute the number.

        Parameters
        ----------
        results : EvalResults
            With the outputs recorded.
        phase : EvalPhase
            What was run; its losses tell whether outputs are logits.
        tails : tuple of str
            Labels of the graph's last nodes.
        prefix : str
            In front of the metric's own name.
        """

    @abstractmethod
    def get_config(self) -> Config:
        """Return the registered name and settings."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EvaluationMetric) and self.get_config() == other.get_config()

    __hash__ = None  # type: ignore[assignment]  # compared by settings, never a key


class EvalLossMetric(EvaluationMetric):
    """A loss of the evaluation, or the weighted total of all.

    Parameters
    ----------
    loss : AppliedLoss, str or None
        The loss, or its label; the total where None.
    name : str
        Name under which it is logged.
    reducer : {"mean", "sum"}
        Over the unmasked rows of the whole evaluation; neither depends on the batch size.
    """

    def __init__(
        self, *, loss: AppliedLoss | str | None = None, name: str = "val_loss", reducer: str = "mean"
    ) -> None:
        if reducer not in ("mean", "sum"):
            raise PhaseError("Unknown reducer.", expected="'mean' or 'sum'", found=repr(reducer))
        self.loss = loss.label if isinstance(loss, AppliedLoss) else loss
        self.name = name
        self.reducer = reducer

    def logged_name(self, prefix: str) -> str:  # noqa: ARG002 -- the name is given in full
        """Return the name that the user gave."""
        return self.name

    def check(self, phase: EvalPhase) -> None:
        """Refuse a loss that the phase does not compute."""
        known = {one.label for one in phase.losses}
        if self.loss is not None and self.loss not in known:
            raise ResultError(
                f"The evaluation computes no loss {self.loss!r}.",
                where={"phase": phase.label},
                expected=f"one of {sorted(known)}",
                hint="Add it to the EvalPhase's losses.",
            )

    def evaluate(
        self,
        results: EvalResults,
        *,
        phase: EvalPhase,
        tails: tuple[str, ...],  # noqa: ARG002 -- losses know their nodes
        prefix: str,  # noqa: ARG002 -- the name is given in full
    ) -> MetricResult:
        """Return the loss."""
        self.check(phase)
        if self.reducer == "mean":
            return MetricResult(self.name, results.aggregated_losses()[self.loss or "total"])
        chosen = {one.label: one.weight for one in phase.losses} if self.loss is None else {self.loss: 1.0}
        return MetricResult(
            self.name, sum(weight * _sum_over_rows(results, label) for label, weight in chosen.items())
        )

    def get_config(self) -> Config:
        """Return loss label, name and reducer."""
        return {"metric": "mml/eval_loss", "loss": self.loss, "name": self.name, "reducer": self.reducer}


class OutputMetric(EvaluationMetric):
    """A metric over the recorded outputs and targets of one node.

    Parameters
    ----------
    metric : Metric, str
        The metric or its registered name.
    node : str, optional
        The node; where left out, the one that the losses are on, else the last one that is active.
    name : str, optional
        Name in full; ``<prefix><metric>`` where left out.
    """

    def __init__(self, metric: Metric | str, *, node: Any = None, name: str | None = None) -> None:
        made = registry("metrics").load(metric)() if isinstance(metric, str) else metric
        if not isinstance(made, Metric):
            raise PhaseError(
                "OutputMetric compares outputs with targets through a Metric.",
                expected="a Metric or the name of one",
                found=f"{type(made).__name__}: {made!r}",
            )
        self.metric: Metric = made
        self.node = getattr(node, "label", node)
        self.name = name

    def logged_name(self, prefix: str) -> str:
        """Return the given name, else prefix and metric."""
        return self.name or f"{prefix}{self.metric.name}"

    def evaluate(
        self, results: EvalResults, *, phase: EvalPhase, tails: tuple[str, ...], prefix: str
    ) -> MetricResult:
        """Feed the metric batch by batch."""
        node = self._node(phase, tails)
        metric = self._told_about_logits(phase, node)
        outputs = results.tensors(node)
        targets = results.tensors(node, content="targets")
        try:
            for one, expected in zip(outputs.values, targets.values, strict=True):
                metric.update(one, expected)
            return MetricResult(self.logged_name(prefix), metric.compute())
        except MMLError as error:
            raise error.located(
                {"phase": phase.label, "metric": metric.name, "node": node}
            ) from error.__cause__

    def _node(self, phase: EvalPhase, tails: tuple[str, ...]) -> str:
        if self.node is not None:
            return str(self.node)
        candidates = tuple(dict.fromkeys(loss.on for loss in phase.losses)) or _last_active(phase, tails)
        if len(candidates) != 1:
            raise PhaseError(
                f"The metric {self.metric.name!r} fits several nodes.",
                where={"phase": phase.label},
                expected=f"one of {list(candidates)}",
                hint=f"Say which: OutputMetric({self.metric.name!r}, node=...).",
            )
        return candidates[0]

    def _told_about_logits(self, phase: EvalPhase, node: str) -> Metric:
        if not self.metric.needs_logits:
            return self.metric.fresh()
        names = {loss.loss.name for loss in phase.losses if loss.on == node}
        logits, probabilities = bool(names & _ON_LOGITS), bool(names & _ON_PROBABILITIES)
        # A loss that says neither, or losses that disagree, leave it to the metric to ask.
        return self.metric.with_logits(logits) if logits != probabilities else self.metric.fresh()

    def get_config(self) -> Config:
        """Return metric, node and name."""
        settings = self.metric.get_config()
        return {"metric": settings.pop("metric"), "settings": settings, "node": self.node, "name": self.name}


def _last_active(phase: EvalPhase, tails: tuple[str, ...]) -> tuple[str, ...]:
    active = phase.active_nodes
    if active is None:
        return tails
    return tuple(one for one in tails if one in active) or tuple(active)


def _sum_over_rows(results: EvalResults, label: str) -> float:
    series = results.losses().where(label=label)
    rows = np.ones(len(series)) if series.rows is None else series.rows
    live = rows > 0
    return float(np.dot(np.asarray(series.values, dtype=np.float64)[live], rows[live]))


def as_evaluation_metric(value: Any) -> EvaluationMetric:
    """Accept an evaluation metric, a metric, the name of either, or that name with settings."""
    if isinstance(value, EvaluationMetric):
        return value
    if isinstance(value, Metric):
        return OutputMetric(value)
    name, settings = _name_and_settings(value)
    made = made_with(registry("metrics").load(name), settings)
    return made if isinstance(made, EvaluationMetric) else OutputMetric(made)


def _name_and_settings(value: Any) -> tuple[str, Config]:
    """Read a name, or as in a document ``{name: {setting: value}}``."""
    if isinstance(value, str):
        return value, {}
    if isinstance(value, dict) and len(value) == 1:
        ((name, settings),) = value.items()
        if isinstance(name, str) and isinstance(settings, dict):
            return name, settings
    raise PhaseError(
        "A metric is a registered name, a Metric or an EvaluationMetric.",
        found=f"{type(value).__name__}: {value!r}",
        hint="Settings stand beside the name, as in {'f1': {'average': 'macro'}}.",
    )


def as_evaluation_metrics(values: Any) -> tuple[EvaluationMetric, ...]:
    """Accept what `as_evaluation_metric` does, one or several."""
    return tuple(
        as_evaluation_metric(one) for one in (values if isinstance(values, list | tuple) else [values])
    )


def evaluation_metric_from_config(config: Config) -> EvaluationMetric:
    """Build an equal evaluation metric.

    Raises
    ------
    ConfigError
        If a key is unknown or missing, or the name is that of something else.
    """
    name = registered_name(config, "metric")
    target = registry("metrics").load(name)
    if not isinstance(target, type) or not issubclass(target, EvaluationMetric | Metric):
        raise ConfigError(f"What is registered as metric {name!r} is none.", found=repr(target))
    if issubclass(target, EvaluationMetric):
        return made_with(target, settings_beside(config, "metric"))
    settings = checked_config(
        config, f"the metric {name!r}", required=("metric",), optional=("settings", "node", "name")
    )
    return OutputMetric(
        target.from_config(dict(settings.get("settings") or {})),
        node=settings.get("node"),
        name=settings.get("name"),
    )
