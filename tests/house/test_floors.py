"""The gate between the floors bites: a module that looks upwards is found."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def _lint(source: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["lint-imports", "--config", str(ROOT / "pyproject.toml"), "--no-cache"],
        check=False,
        cwd=source,
        env=os.environ | {"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def copy(tmp_path):
    shutil.copytree(ROOT / "core" / "src" / "mml", tmp_path / "mml")
    return tmp_path


def test_the_house_as_it_stands_keeps_its_floors(copy):
    ran = _lint(copy)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize(
    ("module", "upwards"),
    [
        ("errors.py", "mml.files.atomic"),
        ("files/atomic.py", "mml.data.schema"),
        ("data/schema.py", "mml.processing"),
        ("graph/model.py", "mml.experiment"),
    ],
)
def test_a_module_that_imports_from_above_is_found(copy, module, upwards):
    with (copy / "mml" / module).open("a", encoding="utf-8") as file:
        file.write(f"\n\ndef _upwards():\n    import {upwards}\n")
    ran = _lint(copy)
    assert ran.returncode == 1
    assert "is not allowed to import" in ran.stdout
    assert upwards in ran.stdout
