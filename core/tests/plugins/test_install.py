"""Install hints come from the metadata of the installed distribution ``mml`` and from nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import mml

METADATA = """Metadata-Version: 2.1
Name: mml
Version: 9.9
Provides-Extra: alpha
Provides-Extra: beta3
Provides-Extra: betaframe
Provides-Extra: all
Provides-Extra: plots
Requires-Dist: numpy>=1.26
Requires-Dist: mml-alpha; extra == "alpha"
Requires-Dist: mml-beta3>=1; python_version >= "3.11" and extra == 'beta3'
Requires-Dist: mml-beta3; extra == "betaframe"
Requires-Dist: mml-alpha; extra == "all"
Requires-Dist: mml-beta3; extra == "all"
Requires-Dist: Plot_Library>=3; extra == "plots"
"""


def hints(folder, *names):
    """Ask for hints in a process that sees the distribution in `folder` as the first ``mml``."""
    code = "import sys; from mml.plugins import missing_hint; [print(missing_hint(n)) for n in sys.argv[1:]]"
    source = str(Path(mml.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(folder), source])}
    done = subprocess.run(
        [sys.executable, "-c", code, *names], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.split("\n")[: len(names)]


def test_every_spelling_of_a_plugin_leads_to_its_extra(tmp_path):
    info = tmp_path / "mml-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA, encoding="utf-8")

    asked = {
        "alpha": 'pip install "mml[alpha]"',
        "alpha.nn.modules": 'pip install "mml[alpha]"',
        "alpha/adam": 'pip install "mml[alpha]"',
        "mml-alpha": 'pip install "mml[alpha]"',
        "mml_alpha.plugin": 'pip install "mml[alpha]"',
        "Alpha": 'pip install "mml[alpha]"',
        "beta3": 'pip install "mml[beta3]"',
        "beta": 'pip install "mml[beta3]"',
        "betaframe/adam": 'pip install "mml[beta3]"',
        "plot_library": 'pip install "mml[plots]"',
        "numpy": "None",
        "gamma": "None",
        "3": "None",
        "": "None",
    }
    assert dict(zip(asked, hints(tmp_path, *asked), strict=True)) == asked
