"""Build one wheel of every distribution of the workspace, and the constraints that install exactly those.

The constraints say ``name @ file:///...`` for each distribution, so that ``pip install -c FILE "mml[torch]"``
takes them from here and never something of the same name from an index. Needs hatchling and nothing else.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = "workspace.txt"


def distributions() -> dict[str, Path]:
    """Map the name of each distribution of the workspace to its folder."""
    folders = [ROOT / "core", ROOT / "conformance", *sorted((ROOT / "plugins").glob("mml-*"))]
    files = [folder / "pyproject.toml" for folder in folders]
    return {
        tomllib.loads(file.read_text(encoding="utf-8"))["project"]["name"]: file.parent
        for file in files
        if file.is_file()
    }


def build(target: Path) -> dict[str, Path]:
    """Build every wheel into an emptied folder and write the constraints beside them.

    Parameters
    ----------
    target : Path
        Its content is replaced.

    Returns
    -------
    dict of str to Path
        Name of a distribution → its wheel.
    """
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(target)]
    for folder in distributions().values():
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    wheels = {name: next(target.glob(f"{name.replace('-', '_')}-[0-9]*.whl")) for name in distributions()}
    lines = [f"{name} @ {wheel.resolve().as_uri()}\n" for name, wheel in wheels.items()]
    (target / CONSTRAINTS).write_text("".join(lines), encoding="utf-8")
    return wheels


if __name__ == "__main__":
    build(Path(sys.argv[1]))
