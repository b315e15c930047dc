"""Core's wheel alone in a fresh virtual environment: what it declares is all that it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def python(wheels, tmp_path_factory) -> Path:
    """Return the interpreter of an environment that holds core and what it requires."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder, with_pip=False)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"),
            *("-c", str(ROOT / "constraints.txt"), str(wheels["mml"])),
        ],
        check=True,
        timeout=280,
    )
    return python


def _run(python: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Nothing of the environment that runs the tests may leak into the fresh one.
    keep = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV", "MML"))
    }
    return subprocess.run(
        [str(python), *arguments],
        check=False, cwd=python.parent, env=keep, capture_output=True, text=True, timeout=120,
    )  # fmt: skip


def test_importing_core_alone_works_and_gives_the_names_of_the_specification(python):
    ran = _run(python, "-c", "import mml; print(mml.__version__, mml.FeatureSet, mml.Experiment)")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.startswith("0.1.0")


def test_the_command_line_lists_core_as_the_only_plugin(python):
    ran = _run(python, "-m", "mml", "plugins", "--json")
    assert ran.returncode == 0, ran.stderr
    assert [plugin["name"] for plugin in json.loads(ran.stdout)] == ["mml"]


def test_the_script_of_core_is_on_the_path_of_its_environment(python):
    ran = subprocess.run(
        [str(python.parent / "mml"), "plugins"], check=False, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    assert "mml" in ran.stdout


def test_asking_for_a_plugin_that_is_not_there_names_what_would_bring_it(python):
    code = """
import mml
data = mml.FeatureSet.from_dict("data", {"x": [1.0, 2.0]}, feature_keys="x")
mml.ModelGraph([mml.ModelNode("n", mml.Model("torch/mlp"), data.reference(features="x"))]).build()
"""
    ran = _run(python, "-c", code)
    assert ran.returncode == 1
    assert 'pip install "mml[torch]"' in ran.stderr
