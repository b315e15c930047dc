"""What ``mml plugins`` prints: the state of each plugin, as data.

Nothing here renders; a table and ``--json`` are made of the same records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mml.registry import Component


class PluginState(StrEnum):
    """How far a plugin came."""

    DISCOVERED = "discovered"
    LOADED = "loaded"
    INCOMPATIBLE = "incompatible"
    MISSING_DEPENDENCY = "missing dependency"
    BROKEN = "broken"
    BLOCKED = "blocked"


@dataclass(frozen=True)
class PluginStatus:
    """One plugin as it stands.

    Parameters
    ----------
    name : str
        The plugin's name.
    distribution, version : str
        The distribution that brings it, and its version; empty where unknown.
    state : PluginState
    cause : str, optional
        Why it is not loaded.
    hint : str, optional
        What to do about it, e.g. a ``pip install``.
    entry_point : str
        The module that its entry point names.
    api_version : (int, int), optional
        The range that it declares, None where it did not come that far.
    requires : tuple of str
        The modules that its components need.
    components : mapping of str to tuple of Component
        What it declares, by kind; listed also where a required module is missing.
    """

    name: str
    distribution: str
    version: str
    state: PluginState
    cause: str | None = None
    hint: str | None = None
    entry_point: str = ""
    api_version: tuple[int, int] | None = None
    requires: tuple[str, ...] = ()
    components: Mapping[str, tuple[Component, ...]] = field(default_factory=dict)

    @property
    def healthy(self) -> bool:
        """Whether nothing about the plugin needs mending; one that the user blocked is healthy."""
        return self.state in (PluginState.DISCOVERED, PluginState.LOADED, PluginState.BLOCKED)

    @property
    def origin(self) -> str:
        """Distribution and version in one word each, e.g. ``mml-foo 1.0``."""
        return f"{self.distribution} {self.version}".strip() or self.entry_point or self.name

    def to_dict(self) -> dict[str, Any]:
        """Return the status as JSON-compatible values."""
        return {
            "name": self.name,
            "distribution": self.distribution,
            "version": self.version,
            "state": self.state.value,
            "cause": self.cause,
            "hint": self.hint,
            "entry_point": self.entry_point,
            "api_version": list(self.api_version) if self.api_version else None,
            "requires": list(self.requires),
            "components": {
                kind: [
                    {
                        "name": one.qualified,
                        "target": str(one.target),
                        "help": one.help,
                        "backend": one.backend,
                    }
                    for one in components
                ]
                for kind, components in self.components.items()
            },
        }


@dataclass(frozen=True)
class TargetCheck:
    """One row of ``mml plugins --check``: what came of loading one component, or a whole plugin.

    Parameters
    ----------
    plugin : str
        The plugin's name.
    kind, component, target : str
        What was loaded; empty where the plugin itself could not be.
    problem : str, optional
        What went wrong; None if it loaded.
    seconds : float
        How long it took.
    """

    plugin: str
    kind: str = ""
    component: str = ""
    target: str = ""
    problem: str | None = None
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether it loaded."""
        return self.problem is None

    def to_dict(self) -> dict[str, Any]:
        """Return the row as JSON-compatible values."""
        return {
            "plugin": self.plugin,
            "kind": self.kind,
            "component": self.component,
            "target": self.target,
            "ok": self.ok,
            "problem": self.problem,
            "seconds": self.seconds,
        }
