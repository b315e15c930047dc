"""What the doctor is told of Keras: which engine, who chose it, and that nothing can be trained on some."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SCRIPT = """
from mml.plugins import get_manager
for one in get_manager().health("keras3"):
    print(f"{one.name}: {one.value}")
"""


def told(**environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**kept, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_engine_is_told_with_its_version_and_what_chose_it() -> None:
    import keras

    engine = keras.config.backend()
    version = __import__(engine).__version__
    lines = told(KERAS_BACKEND=engine).stdout.splitlines()
    assert lines[:2] == [f"KERAS_BACKEND: {engine}", f"engine: {engine} {version}"]
    assert engine not in lines[2]
    assert lines[3] == f"floatx: {keras.config.floatx()}"


@pytest.mark.parametrize("engine", ["numpy", "no_such_engine"])
def test_an_engine_that_trains_nothing_is_what_the_doctor_is_told(engine: str) -> None:
    ran = told(KERAS_BACKEND=engine)
    assert ran.returncode != 0
    assert engine in ran.stderr
