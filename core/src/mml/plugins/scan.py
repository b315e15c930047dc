"""Finding plugins: the entry points of group ``mml.plugins``, one by one, importing none of them.

A damaged distribution spoils only its own row. Nothing is cached on disk.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mml.registry import describe

if TYPE_CHECKING:
    from importlib.metadata import Distribution

GROUP = "mml.plugins"


@dataclass(frozen=True)
class FoundPlugin:
    """One entry point, or a distribution whose entry points cannot be read.

    Parameters
    ----------
    name : str
        The entry point's name: the plugin's name.
    entry_point : str
        What it names, ``module`` or ``module:attribute``.
    distribution, version : str
        Where it comes from.
    load : callable
        Imports what it names.
    problem : str, optional
        Why it cannot even be tried.
    """

    name: str
    entry_point: str
    distribution: str
    version: str
    load: Callable[[], Any]
    problem: str | None = None


def scan(path: Sequence[str] | None = None) -> list[FoundPlugin]:
    """List the plugins of all installed distributions, sorted by name.

    Parameters
    ----------
    path : sequence of str, optional
        Where to look instead of ``sys.path``.

    Returns
    -------
    list of FoundPlugin
        A distribution that stands twice on the path counts once: the first, which is the one imported.
    """
    from importlib.metadata import distributions  # costs some 10 ms: not paid by `import mml`

    found: dict[str, list[FoundPlugin]] = {}
    for distribution in distributions() if path is None else distributions(path=list(path)):
        plugins = _plugins_of(distribution)
        if plugins:
            found.setdefault(normalised(plugins[0].distribution), plugins)
    every = [plugin for plugins in found.values() for plugin in plugins]
    return sorted(every, key=lambda one: (one.name, one.distribution))


def normalised(distribution: str) -> str:
    """Return the name of a distribution as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _plugins_of(distribution: Distribution) -> list[FoundPlugin]:
    try:
        # Reading the text first spares parsing the metadata of every distribution that is no plugin.
        if GROUP not in (distribution.read_text("entry_points.txt") or ""):
            return []
        points = list(distribution.entry_points.select(group=GROUP))
    except Exception as fault:  # noqa: BLE001 - whatever is wrong with one distribution is its row's cause
        name, version = _identity(distribution)
        problem = f"Its entry points cannot be read: {describe(fault)}"
        return [FoundPlugin(name, "", name, version, lambda: None, problem)]
    if not points:
        return []
    name, version = _identity(distribution)
    return [FoundPlugin(one.name, one.value, name, version, one.load) for one in points]


def _identity(distribution: Distribution) -> tuple[str, str]:
    """Return name and version; where the metadata is damaged, what its folder is called."""
    try:
        # Not by index: a missing field is None in some versions of Python, and will raise in others.
        names, versions = (distribution.metadata.get_all(key) for key in ("Name", "Version"))
    except Exception:  # noqa: BLE001 - without metadata, the folder's name is what a person can look for
        names, versions = None, None
    folder = str(getattr(getattr(distribution, "_path", None), "name", "unknown distribution"))
    return str((names or [folder])[0]), str((versions or [""])[0])
