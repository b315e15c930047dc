"""From an object back to the name that brings it back, which is what configurations store."""

from __future__ import annotations

import sys
from collections.abc import Iterable

from mml.errors import ConfigError, PluginError
from mml.registry.component import Component
from mml.registry.kinds import USER, noun


def written_name(obj: object, components: Iterable[Component], *, kind: str) -> str:
    """Return the name of a class or function: qualified if it is registered, else its dotted import path.

    Parameters
    ----------
    obj : object
        The class or function.
    components : iterable of Component
        What is registered; where several lead to the object, a plugin's name goes before a user's.
    kind : str
        The kind of component, for the message.

    Raises
    ------
    ConfigError
        If no name brings the object back: lambdas, local definitions, instances, and what a script
        defines without registering it.
    """
    for component in sorted(components, key=lambda one: (one.plugin == USER, one.qualified)):
        if _is_target(component, obj):
            return component.qualified
    return _import_name(obj, kind=kind)


def _is_target(component: Component, obj: object) -> bool:
    """Whether a component leads to `obj`, importing nothing but the object's own package."""
    if not isinstance(component.target, str):
        return component.target is obj
    module, _, attribute = component.target.partition(":")
    own = str(getattr(obj, "__module__", "")).partition(".")[0] == module.partition(".")[0]
    same_name = attribute.rpartition(".")[2] == getattr(obj, "__name__", None)
    if module not in sys.modules and not (own and same_name):
        return False
    try:
        return component.load() is obj
    except PluginError:
        # What cannot be loaded is certainly not the object at hand; asking for it by name says why.
        return False


def _import_name(obj: object, *, kind: str) -> str:
    module, qualname = getattr(obj, "__module__", None), getattr(obj, "__qualname__", None)
    mend = f"Register it: `@mml.plugins.registry({kind!r}).register('a_name')`."
    if module is None or qualname is None:
        raise ConfigError(
            f"A {type(obj).__name__} object cannot be written down as a {noun(kind)}: it has no name.",
            hint=f"Give its class with its arguments instead. {mend}",
        )
    name = f"{module}.{qualname}"
    if "<" in qualname or module == "__main__":
        raise ConfigError(
            f"{name!r} cannot be written down as a {noun(kind)}: another process could not import it.",
            hint=f"Move it to a module of its own. {mend}",
        )
    found: object = sys.modules.get(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if found is not obj:
        raise ConfigError(
            f"{name!r} cannot be written down as a {noun(kind)}: importing that name gives another object.",
            hint=mend,
        )
    return name
