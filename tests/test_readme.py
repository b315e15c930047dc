"""What the README says is so: its code runs, its commands and files exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


@pytest.mark.parametrize("code", BLOCKS, ids=range(len(BLOCKS)))
def test_its_code_runs(code, tmp_path):
    ran = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "MML_PROGRESS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    accuracy = float(re.search(r"eval_accuracy\s+([0-9.]+)", ran.stdout).group(1))
    assert accuracy > 0.9


def test_its_script_has_ten_statements():
    statements = [line for line in BLOCKS[0].splitlines() if line.strip() and not line.startswith("import")]
    assert len(statements) == 10


def test_its_two_commands_name_environments_that_exist():
    tox = (ROOT / "tox.ini").read_text()
    assert "python -m pip install tox && tox run -e demo" in README
    assert "python -m pip install tox && tox run\n" in README
    assert "[testenv:demo]" in tox


def test_its_links_lead_somewhere():
    links = [one for one in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in one]
    assert links
    assert [one for one in links if not (ROOT / one).exists()] == []
