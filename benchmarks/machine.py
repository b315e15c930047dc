"""Say in general words what a number was measured on: no host names, no paths."""

from __future__ import annotations

import os
import platform
from importlib import metadata


def machine() -> str:
    """Describe the machine: cores, architecture, operating system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{cores}-core {platform.machine()}, {platform.system()}"


def versions(packages: tuple[str, ...]) -> str:
    """Describe the interpreter and the distributions that are installed, without local version labels."""
    found = [f"Python {platform.python_version()}"]
    for name in packages:
        try:
            found.append(f"{name} {metadata.version(name).partition('+')[0]}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)
