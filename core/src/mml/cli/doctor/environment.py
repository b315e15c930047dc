"""What the doctor asks of this process: Python, the machine, mml, its settings, the folder for runs."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mml.cli.doctor.requirements import installed_requirements, unmet_requirements
from mml.plugins import Finding
from mml.version import __version__

# Read by the libraries that multiply matrices for NumPy and for most frameworks.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_OWN = ("MML_PLUGINS_BLOCK", "MML_PLUGINS_STRICT", "MML_PROGRESS")
_LITTLE_SPACE = 1e9


def examine_environment(folder: Path) -> Iterator[Finding]:
    """Yield what there is to say of this process and of the folder where runs are written."""
    yield Finding("python", f"{platform.python_version()} ({sys.executable})")
    yield Finding("platform", platform.platform())
    yield _cores()
    yield Finding("mml", f"{__version__} ({Path(__file__).resolve().parents[2]})")
    yield from installed_requirements("mml")
    yield from unmet_requirements("mml")
    for variable in _THREADS:
        yield _number_of_threads(variable)
    for variable in _OWN:
        if variable in os.environ:
            yield Finding(variable, os.environ[variable])
    yield _place("run folder", folder)


def _cores() -> Finding:
    total = os.cpu_count() or 1
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else total
    return Finding("cores", str(total) if usable == total else f"{usable} of {total} usable")


def _number_of_threads(variable: str) -> Finding:
    value = os.environ.get(variable)
    if value is None:
        return Finding(variable, "not set: every core")
    if not all(one.strip().isdigit() and int(one) > 0 for one in value.split(",")):
        return Finding(
            variable, value, "It is no number of threads.", f"Set it to a number from 1, or unset {variable}."
        )
    return Finding(variable, value)


def _place(name: str, folder: Path) -> Finding:
    try:
        # Tried, not asked: what permissions say is not what a file system does.
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"mml")
            file.flush()
        free = shutil.disk_usage(folder).free
    except OSError as fault:
        problem = f"It cannot be written to: {fault.strerror or fault}."
        return Finding(name, str(folder), problem, "Name another with `mml doctor --folder PATH`.")
    if free < _LITTLE_SPACE:
        return Finding(
            name,
            str(folder),
            f"It has {free / 1e6:.0f} MB of free space left.",
            "Make room, or name another folder with `--folder PATH`.",
        )
    return Finding(name, f"{folder} (writable, {free / 1e9:.0f} GB free)")
