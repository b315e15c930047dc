"""Plain-text descriptions of results for terminals and notebooks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mml.experiment.results.execution_record import ExecutionRecord
    from mml.experiment.results.phase_results import PhaseResults

_SHOWN_METRICS = 3


def phase_line(results: PhaseResults) -> str:
    """Describe a phase in one line: kind, label, status, epochs, and its first metrics."""
    first = heading(results, kind=type(results).__name__)
    return ", ".join([first, *_epochs(results), *_last_values(results, _SHOWN_METRICS)])


def phase_summary(results: PhaseResults) -> str:
    """Describe a phase in a few lines, with a table of its metrics."""
    lines = [heading(results, kind=type(results).__name__)]
    if results.failure is not None:
        lines.append(f"  {results.failure}")
    if _epochs(results):
        lines.append("  " + ", ".join(_epochs(results)))
    series = results.metrics()
    rows = [["metric", "first", "last", "lowest", "highest"]]
    for name in series.axes_values()["name"]:
        values = series.select(name=name)
        rows.append([name, *map(_number, (values[0], values[-1], min(values), max(values)))])
    if len(rows) > 1:
        lines += ["", *("  " + line for line in _table(rows))]
    return "\n".join(lines)


def phase_rows(phases: Sequence[PhaseResults]) -> list[str]:
    """Describe phases as aligned lines: label, kind, status, and what matters most."""
    width = max((len(phase.label) for phase in phases), default=0)
    kinds = max((len(type(phase).__name__) for phase in phases), default=0)
    rows = []
    for phase in phases:
        details = _time(phase.duration_s) + _epochs(phase) + _last_values(phase, _SHOWN_METRICS)
        details += [] if phase.failure is None else [str(phase.failure)]
        kind = type(phase).__name__
        row = f"{phase.label:<{width}}  {kind:<{kinds}}  {phase.status:<9}  {', '.join(details)}"
        rows.append(row.rstrip())
    return rows


def heading(record: ExecutionRecord, *, kind: str = "") -> str:
    """Describe label, status and duration in one line."""
    return ", ".join([f"{kind} {record.label!r} {record.status}".lstrip(), *_time(record.duration_s)])


def _epochs(results: PhaseResults) -> list[str]:
    n = len(results.epoch_indices)
    if n == 0 or type(results).__name__ != "TrainResults":
        return []
    return [f"{n} epoch{'s' * (n > 1)}"]


def _last_values(results: PhaseResults, limit: int) -> list[str]:
    names = [name for name in results.metric_store.names() if "/" not in name]
    return [f"{name} {_number(results.metric_store.latest(name))}" for name in names[:limit]]


def _time(seconds: float | None) -> list[str]:
    if seconds is None:
        return []
    if seconds < 60:
        return [f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"]
    minutes, rest = divmod(round(seconds), 60)
    return [f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"]


def _number(value: float) -> str:
    return f"{value:.5g}"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  ".join(
            [row[0].ljust(widths[0])]
            + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        )
        for row in rows
    ]
