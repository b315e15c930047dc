"""The guards around every test bite: each kind of trace fails the test that left it."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEADER = """
import os, threading, time
import numpy as np
from mml.context import ExperimentContext, ExperimentNode
from mml.plugins import registry

class Node(ExperimentNode):
    def __init__(self, label):
        super().__init__(label)
        self._register()

def test_body(monkeypatch):
"""


def _run(folder: Path, body: str) -> subprocess.CompletedProcess[str]:
    (folder / "conftest.py").write_text((ROOT / "conftest.py").read_text(encoding="utf-8"), encoding="utf-8")
    (folder / "test_it.py").write_text(HEADER + textwrap.indent(body, "    ") + "\n", encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)],
        check=False,
        cwd=folder,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize(
    ("body", "trace"),
    [
        ("os.environ['A_TRACE'] = '1'", "environment variables: new 'A_TRACE'"),
        (
            "threading.Thread(target=time.sleep, args=(4,), daemon=True, name='late').start()",
            "threads: new 'late'",
        ),
        ("np.random.rand()", "NumPy's global random state: changed"),
        ("registry('losses').register('mine')(Node)", "registered components: new 'losses: user/mine'"),
        (
            "with ExperimentContext.process_default().activate(): Node('left')",
            "nodes in the default context: new 'left'",
        ),
    ],
)
def test_a_trace_fails_the_test_that_left_it(tmp_path, body, trace):
    ran = _run(tmp_path, body)
    assert ran.returncode == 1
    assert "This test leaves traces in its process" in ran.stdout
    assert trace in ran.stdout


def test_what_is_taken_back_in_time_is_no_trace(tmp_path):
    body = """
    monkeypatch.setenv('A_TRACE', '1')
    threading.Thread(target=time.sleep, args=(0.1,)).start()
    registry('losses').register('mine')(Node)
    registry('losses').remove('mine')
    Node('in the context of the test')
    """
    ran = _run(tmp_path, textwrap.dedent(body))
    assert ran.returncode == 0, ran.stdout
