"""The plugin conforms on the engine of this process, with every gradient capability declared full."""

from __future__ import annotations

from mml_conformance import run_checks
from mml_keras3.conformance import DECLARATION
from mml_keras3.engines import engine


def test_every_check_applies_and_passes():
    report = run_checks("keras3")
    assert report.failed == ()
    levels = dict(DECLARATION.capabilities)
    assert levels.pop("float64") == ("full" if engine().has_float64 else "unsupported")
    assert set(levels.values()) == {"full"}
    assert DECLARATION.expected_failures == ()
    assert report.is_conformant, str(report)
    assert report.counts["passed"] == report.counts["applicable"] >= 95
