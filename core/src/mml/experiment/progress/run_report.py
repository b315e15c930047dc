"""`RunReport`: what a run came to, as a table for people and as data for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mml.experiment.results import PhaseGroupResults, PhaseResults
from mml.files import state_digest

if TYPE_CHECKING:
    from mml.experiment.experiment import Experiment
    from mml.experiment.results import ExperimentRun

_MOST_METRICS = 5
_DIGITS_OF_DIGEST = 12
_PREFIXES = ("train_", "eval_")


@dataclass(frozen=True)
class PhaseReport:
    """One phase of a run.

    Parameters
    ----------
    path : str
        Labels of its groups and its own, with slashes.
    status : str
    epochs : int or None
        How many epochs were trained; None for a phase without.
    metrics : dict of str to float
        The latest value of each.
    seconds : float or None
    """

    path: str
    status: str
    epochs: int | None
    metrics: dict[str, float]
    seconds: float | None


@dataclass(frozen=True)
class RunReport:
    """The outcome of an experiment's latest run.

    Parameters
    ----------
    label, status : str
    seed : int
    weights : str
        Digest of all values of the graph after the run: equal weights, equal digest.
    phases : tuple of PhaseReport
    seconds : float or None

    Examples
    --------
    >>> print(RunReport.of(experiment))  # doctest: +SKIP
    """

    label: str
    status: str
    seed: int
    weights: str
    phases: tuple[PhaseReport, ...]
    seconds: float | None

    @classmethod
    def of(cls, experiment: Experiment) -> RunReport:
        """Report on the latest run of an experiment."""
        run: ExperimentRun = experiment.last_run
        graph = experiment.graph
        return cls(
            label=run.label,
            status=run.status,
            seed=experiment.seed,
            weights="" if graph is None else state_digest(graph.get_state()),
            phases=tuple(_phase(path, one) for path, one in _by_path(run.results)),
            seconds=run.duration_s,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-compatible values."""
        phases = [
            {
                "phase": one.path,
                "status": one.status,
                "epochs": one.epochs,
                "metrics": dict(one.metrics),
                "seconds": one.seconds,
            }
            for one in self.phases
        ]
        return {
            "experiment": self.label,
            "status": self.status,
            "seed": self.seed,
            "weights": self.weights,
            "seconds": self.seconds,
            "phases": phases,
        }

    def __str__(self) -> str:
        names = _columns(self.phases)
        rows = [["phase", "status", "epochs", *names, "time"]]
        for one in self.phases:
            short = {_short(name): value for name, value in one.metrics.items()}
            cells = [_number(short[name]) if name in short else "" for name in names]
            rows.append([one.path, one.status, str(one.epochs or ""), *cells, _seconds(one.seconds)])
        weights = f", weights {self.weights[:_DIGITS_OF_DIGEST]}" if self.weights else ""
        last = f"{self.label}, seed {self.seed}: {self.status} in {_seconds(self.seconds)}{weights}"
        return "\n".join([*_aligned(rows), "", last])


def _by_path(group: PhaseGroupResults) -> Iterator[tuple[str, PhaseResults]]:
    for label, one in group.items():
        if isinstance(one, PhaseResults):
            yield label, one
        else:
            yield from ((f"{label}/{path}", found) for path, found in _by_path(one))


def _phase(path: str, results: PhaseResults) -> PhaseReport:
    store = results.metric_store
    return PhaseReport(
        path=path,
        status=results.status,
        epochs=len(results.epoch_indices) if type(results).__name__ == "TrainResults" else None,
        metrics={name: store.latest(name) for name in store.names()},
        seconds=results.duration_s,
    )


def _columns(phases: Sequence[PhaseReport]) -> list[str]:
    """Return the metrics that get a column: totals, in the order in which they appear."""
    names = [_short(name) for one in phases for name in one.metrics if "/" not in name]
    return list(dict.fromkeys(names))[:_MOST_METRICS]


def _short(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _number(value: float) -> str:
    return f"{value:.4f}" if value == 0 or abs(value) >= 1e-3 else f"{value:.2g}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    head, *rest = [
        "  ".join(
            cell.ljust(width) if number < 2 else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    return [head, "─" * max(map(len, [head, *rest])), *rest]
