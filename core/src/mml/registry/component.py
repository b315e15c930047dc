"""Components: one line of a plugin's catalogue each, imported only when somebody asks for it."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass, field
from typing import Any

from mml.errors import PluginError, RegistrationError, UnknownComponentError, did_you_mean
from mml.registry.kinds import noun

_NAME = re.compile(r"[A-Za-z_][\w.\-]*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


@dataclass(frozen=True)
class Component:
    """One named part of a plugin, declared without importing it.

    Parameters
    ----------
    kind : str
        The registry that it belongs to, a key of :data:`KINDS`.
    plugin : str
        The plugin that brings it; ``"user"`` for what a user registers.
    name : str
        Its short name, unique within the plugin and kind.
    target : str or object
        ``"module:attribute"``, imported by :meth:`load`, or the object itself.
    help : str
        One line that says what it is.
    backend : str, optional
        The backend that it works on, where that is not the plugin's name.

    Examples
    --------
    >>> part = Component("scalers", "mml", "standard", "collections:OrderedDict")
    >>> part.qualified, part.load().__name__
    ('mml/standard', 'OrderedDict')
    """

    kind: str
    plugin: str
    name: str
    target: str | object = field(hash=False)
    help: str = ""
    backend: str | None = None

    def __post_init__(self) -> None:
        if not _is_name(self.name) or not (_is_name(self.plugin) or self.plugin == ""):
            raise RegistrationError(
                f"{self.plugin!r}/{self.name!r} is not a component name.",
                expected="letters, digits, '_', '-' and '.', beginning with a letter or '_'",
            )
        if isinstance(self.target, str) and self.plugin and not _TARGET.fullmatch(self.target):
            raise RegistrationError(
                f"The target of the {noun(self.kind)} {self.qualified!r} is not a place to import from.",
                expected="'module:attribute'",
                found=repr(self.target),
            )

    @property
    def qualified(self) -> str:
        """``plugin/name``; for a Python import, the dotted path as it was asked for."""
        return f"{self.plugin}/{self.name}" if self.plugin else self.name

    def load(self) -> Any:
        """Import the target and return it.

        Raises
        ------
        PluginError
            If the import fails in any way, an attempt to exit the interpreter included; the cause is
            chained and the plugin and target are named.
        UnknownComponentError
            If a dotted path leads nowhere.
        """
        if not isinstance(self.target, str):
            return self.target
        if not self.plugin:
            return _import_path(self)
        module, _, attribute = self.target.partition(":")
        try:
            found = importlib.import_module(module)
            for part in attribute.split("."):
                found = getattr(found, part)
        except KeyboardInterrupt:
            raise
        except BaseException as cause:
            raise _load_error(self, cause) from cause
        return found


def describe(fault: BaseException) -> str:
    """Render an exception in one line, as reports and messages show it."""
    text = " ".join(str(fault).split())
    return f"{type(fault).__name__}: {text}" if text else type(fault).__name__


def _is_name(name: object) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _load_error(component: Component, cause: BaseException) -> PluginError:
    from mml.plugins.install import missing_hint

    missing = cause.name if isinstance(cause, ModuleNotFoundError) else None
    return PluginError(
        f"The {noun(component.kind)} {component.qualified!r} cannot be loaded.",
        where={"plugin": component.plugin, "target": component.target},
        found=describe(cause),
        hint=(missing_hint(missing) if missing else None)
        or "`mml plugins --check` tries every component of every plugin.",
    )


def _import_path(component: Component) -> Any:
    """Import a dotted path, attributes of attributes included."""
    from mml.plugins.install import missing_hint

    parts = component.name.split(".")
    found: Any = None
    try:
        found = importlib.import_module(parts[0])
        for position, part in enumerate(parts[1:], start=2):
            if hasattr(found, part):
                found = getattr(found, part)
            else:
                # What import returns, not the attribute: a package may delete the name of its submodule.
                found = importlib.import_module(".".join(parts[:position]))
    except KeyboardInterrupt:
        raise
    except ModuleNotFoundError as cause:
        raise UnknownComponentError(
            f"There is nothing to import at {component.name!r}.",
            where=f"{noun(component.kind)} given as a Python path",
            found=describe(cause),
            hint=missing_hint(parts[0])
            or (did_you_mean(_last(cause.name), dir(found)) if found is not None else "Is it installed?"),
        ) from cause
    except BaseException as cause:
        raise PluginError(
            f"Importing {component.name!r} failed.",
            where=f"{noun(component.kind)} given as a Python path",
            found=describe(cause),
        ) from cause
    return found


def _last(path: str | None) -> str:
    return (path or "").rpartition(".")[2]
