"""What fills a registry: the little that it asks of whoever knows the plugins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from mml.registry.component import Component


@dataclass(frozen=True)
class Absence:
    """Why a name may be missing: what was found instead, what to do, and the exception behind it."""

    found: str | None = None
    hint: str | None = None
    cause: BaseException | None = None


class ComponentSource(Protocol):
    """What fills a registry and knows the health of those that do."""

    def provide(self, plugin: str | None) -> None:
        """Add the components of one plugin, or of all, to their registries."""
        ...

    def require(self, component: Component) -> None:
        """Raise PluginError if the plugin of `component` cannot serve it."""
        ...

    def absence(self, name: str, plugin: str | None) -> Absence:
        """Say why `name` may be missing; `plugin` is where it was looked for, None for everywhere."""
        ...

    def vouches(self, path: str) -> bool:
        """Whether a Python path leads to a class that a plugin claims, within that plugin's framework."""
        ...
