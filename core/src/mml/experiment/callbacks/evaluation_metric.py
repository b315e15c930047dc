"""Numbers out of an evaluation's results: a loss of it, or a metric over a node's outputs.

The same objects serve an EvalPhase on its own and the `Evaluation` callback; only the name's prefix differs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from mml.errors import MMLError, PhaseError, ResultError
from mml.experiment.metrics import Metric
from mml.experiment.results import EvalResults, MetricResult
from mml.graph import AppliedLoss
from mml.plugins import registry
from mml.protocols import Config

if TYPE_CHECKING:
    from mml.experiment.phases.eval_phase import EvalPhase

_LOSSES_ON_LOGITS = ("bce_logits", "cross_entropy")


class EvaluationMetric(ABC):
    """One named number out of the results of an evaluation."""

    @abstractmethod
    def logged_name(self, prefix: str) -> str:
        """Return the name under which the number is logged."""

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
        ``mean`` weighs by unmasked rows and does not depend on the batch size.
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

    def evaluate(
        self,
        results: EvalResults,
        *,
        phase: EvalPhase,
        tails: tuple[str, ...],  # noqa: ARG002 -- losses know their nodes
        prefix: str,  # noqa: ARG002 -- the name is given in full
    ) -> MetricResult:
        """Return the loss."""
        known = {one.label for one in phase.losses}
        if self.loss is not None and self.loss not in known:
            raise ResultError(
                f"The evaluation computes no loss {self.loss!r}.",
                where={"phase": phase.label},
                expected=f"one of {sorted(known)}",
                hint="Add it to the EvalPhase's losses.",
            )
        if self.reducer == "sum":
            series = results.losses() if self.loss is None else results.losses().where(label=self.loss)
            return MetricResult(self.name, float(sum(float(value) for value in series.values)))
        return MetricResult(self.name, results.aggregated_losses()[self.loss or "total"])

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
        The node; the one that the losses are on, else the graph's last one, where left out.
    name : str, optional
        Name in full; ``<prefix><metric>`` where left out.
    """

    def __init__(self, metric: Metric | str, *, node: Any = None, name: str | None = None) -> None:
        self.metric: Metric = registry("metrics").load(metric)() if isinstance(metric, str) else metric
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
        candidates = tuple(dict.fromkeys(loss.on for loss in phase.losses)) or tails
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
        if names:
            return self.metric.with_logits(bool(names & set(_LOSSES_ON_LOGITS)))
        return self.metric.fresh()

    def get_config(self) -> Config:
        """Return metric, node and name."""
        settings = self.metric.get_config()
        return {"metric": settings.pop("name"), "settings": settings, "node": self.node, "name": self.name}


def as_evaluation_metric(value: Any) -> EvaluationMetric:
    """Accept an evaluation metric, a metric, or the name of either."""
    if isinstance(value, EvaluationMetric):
        return value
    if isinstance(value, Metric):
        return OutputMetric(value)
    if isinstance(value, str):
        target = registry("metrics").load(value)
        return target() if issubclass(target, EvaluationMetric) else OutputMetric(target())
    raise PhaseError(
        "A metric is a Metric, an EvaluationMetric or a registered name.",
        found=f"{type(value).__name__}: {value!r}",
    )


def evaluation_metric_from_config(config: Config) -> EvaluationMetric:
    """Build an equal evaluation metric."""
    target = registry("metrics").load(config["metric"])
    if issubclass(target, EvaluationMetric):
        made: EvaluationMetric = target(**{key: value for key, value in config.items() if key != "metric"})
        return made
    return OutputMetric(
        target.from_config(dict(config.get("settings", {}))), node=config.get("node"), name=config.get("name")
    )
