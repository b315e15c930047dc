"""The plugin conforms on the engine of this process, with every gradient capability declared full."""

from __future__ import annotations

import os
import subprocess
import sys

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


def test_jax_conforms_in_float64_where_it_is_switched_to_64_bits():
    if engine().name != "jax":
        assert engine().has_float64 == (engine().name == "tensorflow")
        return
    script = (
        "from mml_conformance import run_checks; print(run_checks('keras3', only=['GRAD', 'LOSS', 'MODE']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "JAX_ENABLE_X64": "1"},
    )
    assert "conforms:" in done.stdout, done.stdout + done.stderr
    assert " 0 unsupported" in done.stdout
