"""The hooks that a plugin module implements: the whole interface between core and a plugin's top level.

Implementations declare by name and import no framework. The identity stands apart from the rest, so that a
plugin written for another version of the interface is recognised before its other hooks are held to ours.
"""

from __future__ import annotations

from collections.abc import Iterable

from mml.plugins.declarations import Claim, Finding, PluginInfo
from mml.plugins.markers import hookspec
from mml.registry import Component


class IdentitySpecs:
    """What every version of the interface asks first."""

    @hookspec(firstresult=True)
    def mml_plugin(self) -> PluginInfo:  # type: ignore[empty-body]
        """Return the plugin's name, API versions and required modules. Every plugin implements it."""


class ComponentSpecs:
    """What the current version of the interface asks of a plugin that it serves."""

    @hookspec(firstresult=True)
    def mml_components(self) -> Iterable[Component]:  # type: ignore[empty-body]
        """Return the components, declared lazily: targets as ``"module:attribute"``."""

    @hookspec(firstresult=True)
    def mml_claims(self) -> Iterable[Claim]:  # type: ignore[empty-body]
        """Return the classes whose objects this plugin wraps as models, or as components of another kind."""

    @hookspec(firstresult=True)
    def mml_health(self) -> Iterable[Finding]:  # type: ignore[empty-body]
        """Return what `mml doctor` shall show of the framework: threads, devices, settings, what is wrong.

        Runs in a process of its own, so that it may import the framework.
        """
