"""The wheels that the packaging tests look at: those of the tox environment, or freshly built ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def wheels(tmp_path_factory) -> dict[str, Path]:
    """Map the name of every distribution of the workspace to its wheel."""
    folder = Path(os.environ.get("MML_WHEELS") or tmp_path_factory.mktemp("wheels"))
    if not list(folder.glob("*.whl")):
        builder = str(ROOT / ".ci" / "build_wheels.py")
        subprocess.run([sys.executable, builder, str(folder)], check=True, timeout=240)
    return {wheel.name.partition("-")[0].replace("_", "-"): wheel for wheel in folder.glob("*.whl")}
