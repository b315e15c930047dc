"""The benchmarks' own order, arithmetic and file; what they measure is measured, never tested."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def from_the_root(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def _report(**times):
    from benchmarks.measure import Budget, Report

    return Report(
        title="t",
        unit="µs",
        scale=1e6,
        times=times,
        reference="slow",
        budgets=[Budget("fast", "slow", 0.5)],
        notes=["a note"],
        packages=("numpy", "not-there"),
    )


def test_contenders_warm_up_once_and_then_take_each_place_in_turn():
    from benchmarks.measure import Contender, measure

    calls: list[str] = []

    def contender(name):
        def run():
            calls.append(name)
            return float(len(calls))

        return Contender(name, run)

    times = measure([contender("a"), contender("b"), contender("c")], rounds=3)
    assert "".join(calls) == "abc" + "abc" + "bca" + "cab"
    assert times == {"a": [4.0, 9.0, 11.0], "b": [5.0, 7.0, 12.0], "c": [6.0, 8.0, 10.0]}


def test_a_ratio_is_the_median_of_the_rounds_own_ratios():
    report = _report(fast=[1e-6, 2e-6, 9e-6], slow=[2e-6, 8e-6, 9e-6])
    # The ratio of the medians would be 0.25.
    assert report.ratio("fast", "slow") == pytest.approx(0.5)
    assert report.typical("fast") == pytest.approx(2e-6)


@pytest.mark.parametrize(("fast", "word"), [(0.9e-6, "kept"), (1.1e-6, "missed")])
def test_a_budget_is_kept_or_missed(fast, word):
    from benchmarks.results import verdict

    report = _report(fast=[fast], slow=[2e-6])
    assert verdict(report, report.budgets[0]).endswith(word)


def test_the_results_file_keeps_one_section_for_each_benchmark(tmp_path):
    from benchmarks.results import keep

    path = tmp_path / "RESULTS.md"
    keep("one", _report(fast=[1e-6], slow=[2e-6]), path=path)
    keep("two", _report(fast=[1e-6], slow=[2e-6]), path=path)
    keep("one", _report(fast=[3e-6], slow=[2e-6]), path=path)
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^## (\w+)", text, flags=re.MULTILINE) == ["one", "two"]
    assert "| fast | 3.0 | 3.0 to 3.0 | 1.50 |" in text
    assert "| fast | 1.0 | 1.0 to 1.0 | 0.50 |" in text
    assert "not-there not installed" in text
    assert "- a note" in text


def test_an_unknown_benchmark_is_refused_and_the_known_ones_are_listed():
    command = [sys.executable, "-m", "benchmarks"]
    refused = subprocess.run(
        [*command, "train_setp"], check=False, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    listed = subprocess.run(
        [*command, "--list"], check=True, cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert refused.returncode == 2
    assert "train_setp" in refused.stderr
    modules = (ROOT / "benchmarks").glob("*.py")
    there = {one.stem for one in modules if "\ndef run(settings" in one.read_text(encoding="utf-8")}
    assert {line.split()[0] for line in listed.stdout.splitlines()} == there >= {"train_step", "ingest"}
