"""What the doctor found, as data: a table and ``--json`` are made of the same records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mml.plugins import Finding


@dataclass(frozen=True)
class PluginHealth:
    """How one plugin fares in a process of its own.

    Parameters
    ----------
    name, distribution, version, state : str
    frameworks : tuple of Finding
        The modules that it requires, with the versions that were imported.
    backends : mapping of str to mapping
        What each of its backends declares that it can do.
    findings : tuple of Finding
        Devices, what the plugin itself found, and what is wrong with it or its components.
    n_components : int
        How many of its components could be loaded.
    """

    name: str
    distribution: str
    version: str
    state: str
    frameworks: tuple[Finding, ...] = ()
    backends: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()
    n_components: int = 0

    @property
    def problems(self) -> list[Finding]:
        """What is broken."""
        return [one for one in (*self.frameworks, *self.findings) if not one.ok]

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-compatible values."""
        return {
            "name": self.name,
            "distribution": self.distribution,
            "version": self.version,
            "state": self.state,
            "healthy": not self.problems,
            "frameworks": [finding_dict(one) for one in self.frameworks],
            "backends": {name: dict(can) for name, can in self.backends.items()},
            "findings": [finding_dict(one) for one in self.findings],
            "n_components": self.n_components,
        }


@dataclass(frozen=True)
class Missing:
    """An optional part of mml that is not installed.

    Parameters
    ----------
    extra : str
        Its name.
    lacks : tuple of str
        The distributions that it would bring.
    install : str
        The command that brings them.
    """

    extra: str
    lacks: tuple[str, ...]
    install: str

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-compatible values."""
        return {"extra": self.extra, "lacks": list(self.lacks), "install": self.install}


@dataclass(frozen=True)
class Diagnosis:
    """All that the doctor found.

    Parameters
    ----------
    environment : tuple of Finding
        Python, the machine, mml, what it needs, settings, the folder for runs.
    plugins : tuple of PluginHealth
    missing : tuple of Missing
        What could be installed and is not, which is no illness.
    """

    environment: tuple[Finding, ...]
    plugins: tuple[PluginHealth, ...]
    missing: tuple[Missing, ...]

    @property
    def problems(self) -> list[tuple[str, Finding]]:
        """What is broken, each with the plugin concerned, ``""`` for the environment."""
        return list(self._problems())

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON-compatible values."""
        return {
            "healthy": not self.problems,
            "environment": [finding_dict(one) for one in self.environment],
            "plugins": [one.to_dict() for one in self.plugins],
            "missing": [one.to_dict() for one in self.missing],
            "problems": [{"plugin": plugin or None, **finding_dict(one)} for plugin, one in self.problems],
        }

    def _problems(self) -> Iterator[tuple[str, Finding]]:
        yield from (("", one) for one in self.environment if not one.ok)
        for plugin in self.plugins:
            yield from ((plugin.name, one) for one in plugin.problems)


def finding_dict(finding: Finding) -> dict[str, Any]:
    """Return a finding as JSON-compatible values."""
    return {
        "name": finding.name,
        "value": finding.value,
        "problem": finding.problem,
        "hint": finding.hint,
    }
