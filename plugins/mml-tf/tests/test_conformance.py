"""The plugin conforms, with every capability declared full and no failure expected."""

from __future__ import annotations

from mml_conformance import run_checks
from mml_tf.conformance import DECLARATION


def test_every_check_applies_and_passes():
    report = run_checks("tensorflow")
    assert report.failed == ()
    assert set(DECLARATION.capabilities.values()) == {"full"}
    assert DECLARATION.expected_failures == ()
    assert report.is_conformant, str(report)
    assert report.counts["passed"] == report.counts["applicable"] >= 95
