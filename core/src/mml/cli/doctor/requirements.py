"""Which versions are installed, against which are asked for: read from metadata, importing nothing."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import metadata
from types import ModuleType

from packaging.requirements import InvalidRequirement, Requirement

from mml.cli.doctor.diagnosis import Missing
from mml.plugins import Finding
from mml.plugins.install import extras, pip_install, short_name


def version_of_module(module: str, imported: ModuleType) -> str:
    """Return the version of an imported module, with its distribution's name where that is another."""
    names = _distributions().get(module, [])
    version = str(getattr(imported, "__version__", "") or (_version(names[0]) if names else "") or "unknown")
    other = next((one for one in names if _plain(one) != _plain(module)), None)
    return f"{version} ({other})" if other and len(set(names)) == 1 else version


def unmet_requirements(distribution: str) -> Iterator[Finding]:
    """Yield a problem for each requirement of a distribution that is not installed as it asks for."""
    for requirement in _requirements(distribution):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = _unmet(requirement)
        if found is not None:
            yield Finding(
                requirement.name,
                problem=f"{distribution} needs {_asked(requirement)}; {found}.",
                hint=pip_install(_asked(requirement)),
            )


def installed_requirements(distribution: str) -> Iterator[Finding]:
    """Yield what a distribution always needs, with the version that is there."""
    for requirement in _requirements(distribution):
        version = _version(requirement.name)
        if requirement.marker is None and version is not None and _unmet(requirement) is None:
            yield Finding(requirement.name, version)


def missing_extras() -> Iterator[Missing]:
    """Yield the extras of mml that are not, or not wholly, installed; not those that only bundle others."""
    known = extras()
    for extra, brought in sorted(known.items()):
        if any(other < brought for other in known.values()) or short_name(extra, known) != extra:
            continue
        lacks = tuple(sorted(one for one in brought if _version(one) is None))
        if lacks:
            yield Missing(extra, lacks, pip_install(f"mml[{extra}]"))


def _requirements(distribution: str) -> Iterator[Requirement]:
    try:
        texts = metadata.distribution(distribution).requires or []
    except metadata.PackageNotFoundError:
        return
    for text in texts:
        try:
            yield Requirement(text)
        except InvalidRequirement:
            # Damaged metadata is found by whoever installs; there is nothing here to hold a version against.
            continue


def _unmet(requirement: Requirement) -> str | None:
    version = _version(requirement.name) or _version_in_place_of(requirement.name)
    if version is None:
        return "it is not installed"
    # Pre-releases count: whoever installed one meant to.
    return None if requirement.specifier.contains(version, prereleases=True) else f"{version} is installed"


def _version_in_place_of(distribution: str) -> str | None:
    """Return the version of another distribution that brings this one's module, such as foo-cpu for foo."""
    others = _distributions().get(_plain(distribution), [])
    return _version(others[0]) if others else None


def _asked(requirement: Requirement) -> str:
    return f"{requirement.name}{requirement.specifier}"


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


@cache
def _distributions() -> dict[str, list[str]]:
    return {module: list(names) for module, names in metadata.packages_distributions().items()}


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")
