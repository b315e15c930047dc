"""What importing MML does to a process: it loads no framework and changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap

import pytest

FORBIDDEN = ("torch", "tensorflow", "keras", "jax", "sklearn", "scipy", "pandas", "polars", "matplotlib")


def _in_a_fresh_process(code: str) -> dict:
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, timeout=120
    )
    return json.loads(ran.stdout)


@pytest.mark.parametrize(
    "statement", ["import mml", "import mml; from mml.plugins import get_manager; get_manager().plugins"]
)
def test_neither_importing_mml_nor_listing_its_plugins_loads_a_framework(statement):
    code = f"{statement}; import json, sys; print(json.dumps({{'modules': sorted(sys.modules)}}))"
    modules = _in_a_fresh_process(code)["modules"]
    assert "mml" in modules
    assert [name for name in modules if name.partition(".")[0] in FORBIDDEN] == []
    # Each of these takes longer to import than all of MML.
    assert [
        name for name in modules if name in ("pyarrow.compute", "pyarrow.parquet", "pyarrow.dataset")
    ] == []


def test_importing_mml_changes_no_environment_variable_random_state_or_thread():
    seen = _in_a_fresh_process(
        """
        import json, os, threading, warnings
        import numpy as np, pyarrow

        def look():
            return [dict(os.environ), str(np.random.get_state()), str(np.geterr()),
                    threading.active_count(), str(warnings.filters)]

        before = look()
        import mml
        print(json.dumps({"before": before, "after": look()}))
        """
    )
    assert seen["after"] == seen["before"]
