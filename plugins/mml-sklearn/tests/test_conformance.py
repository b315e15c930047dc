"""The plugin conforms in what it declares, and declares no gradients."""

from __future__ import annotations

from mml_conformance import run_checks


def test_every_check_that_applies_passes():
    report = run_checks("sklearn")
    assert report.failed == ()
    assert report.is_conformant, str(report)
    assert report.counts["passed"] == report.counts["applicable"] >= 7
