"""Which ``pip install`` brings a missing part, read from the extras of the installed distribution ``mml``.

Core names no plugin: what extras there are, and which distribution each brings, stands in the metadata.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][\w.\-]*)")
_EXTRA = re.compile(r"""extra\s*==\s*["']([^"']+)["']""")


def missing_hint(name_or_module: str) -> str | None:
    """Return the command that installs a plugin or module, or None where the metadata does not say.

    Parameters
    ----------
    name_or_module : str
        A plugin (``foo``), a component (``foo/adam``), a distribution (``mml-foo``) or a module
        (``foo.nn``).

    Returns
    -------
    str or None
        ``pip install "mml[foo]"``.
    """
    asked = _normalised(re.split(r"[/.]", name_or_module, maxsplit=1)[0])
    known = extras()
    names = [extra for extra in known if asked in (extra, extra.rstrip("0123456789"))]
    # The smallest extra that brings it: one that brings everything is never the first advice.
    names = names or sorted(
        (extra for extra, brought in known.items() if asked in brought), key=lambda one: len(known[one])
    )
    return pip_install(f"mml[{short_name(names[0], known)}]") if names else None


def short_name(extra: str, known: Mapping[str, frozenset[str]]) -> str:
    """Return the shortest of the extras that bring what this one brings: the others are further names."""
    return min((one for one, brought in known.items() if brought == known[extra]), key=len)


def pip_install(requirement: str) -> str:
    """Return the command that installs a requirement, quoted for every shell."""
    return f'pip install "{requirement}"'


@cache
def extras() -> dict[str, frozenset[str]]:
    """Map each extra of ``mml`` to the distributions that it brings, as its metadata says."""
    from importlib import metadata  # costs some 10 ms, so only on the way to an error message

    try:
        distribution = metadata.distribution("mml")
    except metadata.PackageNotFoundError:
        return {}
    found: dict[str, set[str]] = {
        _normalised(extra): set() for extra in distribution.metadata.get_all("Provides-Extra") or ()
    }
    for requirement in distribution.requires or ():
        brought, extra = _REQUIREMENT.match(requirement), _EXTRA.search(requirement)
        if brought and extra:
            found.setdefault(_normalised(extra[1]), set()).add(_normalised(brought[1]))
    return {extra: frozenset(brought) for extra, brought in found.items()}


def _normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
