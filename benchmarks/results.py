"""Show a report as a table, and keep the last one of every benchmark in RESULTS.md."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.machine import machine, versions
from benchmarks.measure import Budget, Report

RESULTS = Path(__file__).with_name("RESULTS.md")
TITLE = """# Results

Written by `python -m benchmarks`; the last run of each. Ratios are medians over alternating rounds of one
process, and hold on machines other than this one far better than the times do.
"""


def rows(report: Report) -> list[tuple[str, str, str, str]]:
    """Return name, median time, spread and ratio of each contender, fastest first."""
    names = sorted(report.times, key=report.typical)
    return [
        (
            name,
            f"{report.typical(name) * report.scale:.1f}",
            f"{min(report.times[name]) * report.scale:.1f} to {max(report.times[name]) * report.scale:.1f}",
            f"{report.ratio(name, report.reference):.2f}",
        )
        for name in names
    ]


def verdict(report: Report, budget: Budget) -> str:
    """Say what a budget allows, what was measured, and whether that keeps it."""
    ratio = report.ratio(budget.name, budget.reference)
    kept = "kept" if ratio <= budget.ratio else "missed"
    return f"{budget.name} ≤ {budget.ratio:.2f} × {budget.reference}: {ratio:.2f}, {kept}"


def show(report: Report, console: Console) -> None:
    """Print the table, the budgets and the notes."""
    table = Table(title=report.title)
    for heading in headings(report):
        table.add_column(heading, justify="left" if heading == "contender" else "right")
    for row in rows(report):
        table.add_row(*row)
    console.print(table)
    for line in [*(verdict(report, budget) for budget in report.budgets), *report.notes]:
        console.print(f"  {line}", markup=False)


def headings(report: Report) -> tuple[str, str, str, str]:
    """Return the headings of the table's columns."""
    return ("contender", report.unit, "min to max", f"× {report.reference}")


def section(name: str, report: Report) -> str:
    """Return a benchmark's part of RESULTS.md, between marks by which the next run finds it."""
    lines = [f"| {' | '.join(row)} |" for row in (headings(report), ("---",) + ("---:",) * 3, *rows(report))]
    today = datetime.now(tz=UTC).date().isoformat()
    rounds = len(report.times[report.reference])
    notes = [f"- {line}" for line in [*(verdict(report, one) for one in report.budgets), *report.notes]]
    facts = f"{today}, {machine()}, {rounds} rounds; {versions(report.packages)}."
    body = "\n".join([f"## {name}: {report.title}", "", *lines, "", facts, "", *notes])
    return f"{_mark(name, 'begin')}\n{body.rstrip()}\n{_mark(name, 'end')}\n"


def keep(name: str, report: Report, *, path: Path = RESULTS) -> None:
    """Put a benchmark's section into the file, in place of the one from its last run."""
    text = path.read_text(encoding="utf-8") if path.exists() else TITLE
    new = section(name, report)
    old = re.compile(
        re.escape(_mark(name, "begin")) + r".*?" + re.escape(_mark(name, "end")) + r"\n", re.DOTALL
    )
    text = old.sub(lambda _: new, text) if old.search(text) else f"{text.rstrip()}\n\n{new}"
    path.write_text(text, encoding="utf-8")


def _mark(name: str, which: str) -> str:
    return f"<!-- {which} {name} -->"
