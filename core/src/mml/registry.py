"""Components and the registries that find them by name.

A :class:`Component` is one line of a plugin's catalogue: a kind, a name and where the code lives, imported
only when somebody asks for it. A :class:`Registry` holds the components of one kind and turns a name into
one of them. It knows nothing of entry points: what fills it is a :class:`ComponentSource`.
"""

from __future__ import annotations

import importlib
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, Protocol, TypeVar

from mml.errors import (
    ConfigError,
    PluginError,
    RegistrationError,
    UnknownComponentError,
    did_you_mean,
    listed,
)

T = TypeVar("T")
C = TypeVar("C")

CORE = "mml"
USER = "user"

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "backends": "backend",
        "models": "model",
        "losses": "loss",
        "optimizers": "optimizer",
        "converters": "converter",
        "scalers": "scaler",
        "splitters": "splitter",
        "samplers": "sampler",
        "merge_nodes": "merge node",
        "callbacks": "callback",
        "metrics": "metric",
        "datasets": "dataset",
        "trackers": "tracker",
        "executors": "executor",
    }
)
"""The kinds of components, and the word that messages use for one of each."""

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


class Registry(Generic[T]):
    """The components of one kind, found by qualified name, short name or Python path.

    A name with a slash is exact (``plugin/name``); one with a dot and no slash is a Python import; a short
    name means, in this order: the one of the node's backend, the only one, core's own.

    Parameters
    ----------
    kind : str
        The kind, as in :data:`KINDS`.
    source : ComponentSource, optional
        What fills the registry when it is first read. Registering never asks it, so that a decorator in a
        user's module costs no discovery.

    Examples
    --------
    >>> losses = Registry("losses")
    >>> @losses.register("absolute", help="The absolute error.")
    ... def absolute(outputs, targets):
    ...     return abs(outputs - targets)
    >>> losses.load("absolute") is absolute, losses.name_of(absolute)
    (True, 'user/absolute')
    """

    def __init__(self, kind: str, *, source: ComponentSource | None = None) -> None:
        self._kind = kind
        self._source = source
        self._lock = threading.RLock()
        self._components: dict[str, Component] = {}
        self._disabled: dict[str, tuple[str, ...]] = {}

    @property
    def kind(self) -> str:
        """The kind of the components, in the plural."""
        return self._kind

    def register(
        self,
        name: str,
        *,
        help: str = "",  # noqa: A002 - the word that the catalogue prints
        plugin: str = USER,
        backend: str | None = None,
        overwrite: bool = False,
    ) -> Callable[[C], C]:
        """Return a decorator that registers a user's class or function and hands it back unchanged.

        Parameters
        ----------
        name : str
            The short name; ``user/<name>`` in full.
        help : str
            One line of help; by default the first line of the docstring.
        plugin : str
            Another namespace than ``user``.
        backend : str, optional
            The backend that it works on, so that nodes of that backend find it by its short name.
        overwrite : bool
            Whether it may take the place of another object. Running the same definition again (a notebook
            cell, a module reload) always may.

        Raises
        ------
        RegistrationError
            If another object has the name.
        """

        def decorate(target: C) -> C:
            text = help or _first_line(target)
            component = Component(self._kind, plugin, name, target, text, backend)
            if plugin != USER:
                self._provide(plugin)
            with self._lock:
                known = self._components.get(component.qualified)
                again = known is not None and _same_definition(known.target, target)
                self.add(component, overwrite=overwrite or again)
            return target

        return decorate

    def add(self, component: Component, *, overwrite: bool = False) -> None:
        """Add a declared component.

        Raises
        ------
        RegistrationError
            If it is of another kind, or its qualified name is taken and `overwrite` is false.
        """
        if component.kind != self._kind:
            raise RegistrationError(
                f"The {noun(component.kind)} {component.qualified!r} cannot stand among the {self._kind}.",
                expected=f"kind {self._kind!r}",
                found=f"kind {component.kind!r}",
            )
        with self._lock:
            known = self._components.get(component.qualified)
            if known is not None and known != component and not overwrite:
                raise RegistrationError(
                    f"The {noun(self._kind)} {component.qualified!r} is already registered.",
                    found=_place(known),
                    hint="Choose another name, or pass overwrite=True.",
                )
            # The user's own choice is what settles a clash between plugins.
            self._disabled.pop(component.qualified, None)
            self._components[component.qualified] = component

    def remove(self, name: str) -> None:
        """Remove the component of a qualified name, or of a short name that the user registered.

        Raises
        ------
        UnknownComponentError
            If there is none.
        """
        qualified = name if "/" in name else f"{USER}/{name}"
        with self._lock:
            gone = self._components.pop(qualified, None) or self._disabled.pop(qualified, None)
        if gone is None:
            raise self._unknown(name, backend=None)

    def offer(self, component: Component) -> None:
        """Add a plugin's component, unless the user has given its name to something else already."""
        with self._lock:
            self._components.setdefault(component.qualified, component)

    def forget(self, plugin: str) -> None:
        """Remove all components of one plugin."""
        with self._lock:
            self._components = {name: one for name, one in self._components.items() if one.plugin != plugin}
            self._disabled = {
                name: one for name, one in self._disabled.items() if name.partition("/")[0] != plugin
            }

    def disable(self, qualified: str, *, claimants: tuple[str, ...]) -> None:
        """Take a name away from all that claim it; asking for it raises an error that lists them.

        Parameters
        ----------
        qualified : str
            The name in full.
        claimants : tuple of str
            Who claims it: targets with their distributions.
        """
        with self._lock:
            self._components.pop(qualified, None)
            self._disabled[qualified] = claimants

    def resolve(self, name: str, *, backend: str | None = None, allow_import: bool = True) -> Component:
        """Find the component that a name means, without importing its code.

        Parameters
        ----------
        name : str
            ``plugin/name``, a short name, or a dotted Python path.
        backend : str, optional
            The backend of the node that asks; its component wins a short name.
        allow_import : bool
            Whether dotted paths are accepted; readers of untrusted files pass False.

        Returns
        -------
        Component

        Raises
        ------
        UnknownComponentError
            If there is none, if several claim a short name, or if a clash disabled it.
        PluginError
            If its plugin cannot serve it, for example because the framework is not installed.
        """
        component = self._find(name, backend=backend, allow_import=allow_import)
        if self._source is not None and component.plugin:
            self._source.require(component)
        return component

    def load(self, name: str, *, backend: str | None = None, allow_import: bool = True) -> T:
        """Find a component by name, import it and return the object; arguments as in :meth:`resolve`."""
        loaded: T = self.resolve(name, backend=backend, allow_import=allow_import).load()
        return loaded

    def name_of(self, obj: object) -> str:
        """Return the name that brings back a class or function: qualified if registered, else dotted.

        Raises
        ------
        ConfigError
            If no name does: lambdas, local definitions, instances, and unregistered objects of a script.
        """
        for component in sorted(self, key=lambda one: (one.plugin == USER, one.qualified)):
            if _is_target(component, obj):
                return component.qualified
        return _import_name(obj, kind=self._kind)

    def names(self) -> tuple[str, ...]:
        """Return all qualified names, sorted."""
        return tuple(component.qualified for component in self)

    def __iter__(self) -> Iterator[Component]:
        """Iterate over all components, sorted by qualified name, those that cannot be loaded included."""
        self._provide(None)
        with self._lock:
            return iter(sorted(self._components.values(), key=lambda one: one.qualified))

    def __len__(self) -> int:
        self._provide(None)
        return len(self._components)

    def __contains__(self, name: object) -> bool:
        """Whether a qualified or short name is registered; a short one may still be ambiguous."""
        if not isinstance(name, str):
            return False
        if "/" in name:
            self._provide(name.partition("/")[0])
            return name in self._components
        return any(component.name == name for component in self)

    def __repr__(self) -> str:
        return f"Registry({self._kind!r}, {len(self._components)} known)"

    def _provide(self, plugin: str | None) -> None:
        if self._source is not None:
            self._source.provide(plugin)

    def _find(self, name: str, *, backend: str | None, allow_import: bool) -> Component:
        if not isinstance(name, str) or not name:
            raise UnknownComponentError(
                f"A {noun(self._kind)} is asked for by name.", expected="a string", found=repr(name)
            )
        if "/" in name:
            return self._exact(name)
        if "." in name and allow_import:
            return Component(self._kind, "", name, name) if _is_path(name) else self._refuse(name, None)
        return self._short(name, backend)

    def _exact(self, qualified: str) -> Component:
        self._provide(qualified.partition("/")[0])
        return self._components.get(qualified) or self._refuse(qualified, None)

    def _short(self, name: str, backend: str | None) -> Component:
        if backend is not None:
            own = f"{backend}/{name}"
            self._provide(backend)
            if own in self._components or own in self._disabled:
                return self._exact(own)
        claimants = [component for component in self if component.name == name]
        fitting = [one for one in claimants if backend is not None and one.backend == backend]
        disabled = [one for one in self._disabled if one.partition("/")[2] == name]
        core = self._components.get(f"{CORE}/{name}")
        if len(fitting) == 1:
            return fitting[0]
        if not fitting and len(claimants) == 1 and not disabled:
            return claimants[0]
        if not fitting and core is not None:
            return core
        if len(disabled) == 1 and not claimants:
            return self._refuse(disabled[0], None)
        if claimants or disabled:
            raise self._ambiguous(name, [one.qualified for one in (fitting or claimants)] + disabled)
        return self._refuse(name, backend)

    def _refuse(self, name: str, backend: str | None) -> Component:
        claimants = self._disabled.get(name)
        if claimants:
            raise UnknownComponentError(
                f"The {noun(self._kind)} {name!r} is disabled, because several claim the name.",
                found=listed(claimants),
                hint="Ask their authors for one name each, or choose one yourself: "
                f"`registry({self._kind!r}).add(Component(...), overwrite=True)`.",
            )
        raise self._unknown(name, backend=backend)

    def _ambiguous(self, name: str, claimants: list[str]) -> UnknownComponentError:
        return UnknownComponentError(
            f"Several plugins have a {noun(self._kind)} {name!r}.",
            found=listed(claimants),
            hint=f"Write one in full, e.g. {claimants[0]!r}.",
        )

    def _unknown(self, name: str, *, backend: str | None) -> UnknownComponentError:
        plugin = name.partition("/")[0] if "/" in name else None
        missing = self._source.absence(name, plugin or backend) if self._source else Absence()
        known = set(self._components) if plugin else {one.name for one in self._components.values()}
        near = did_you_mean(name, known)
        # A list of all that exists helps nobody whose plugin is not there; a near miss still may.
        hints = [missing.hint, near if missing.hint is None or near.startswith("Did") else None]
        if plugin == USER:
            hints.append("Import the module that registers it first.")
        error = UnknownComponentError(
            f"There is no {noun(self._kind)} {name!r}.",
            where={"backend": backend} if backend else None,
            found=missing.found,
            hint=" ".join(one for one in hints if one),
        )
        error.__cause__ = missing.cause
        return error


def noun(kind: str) -> str:
    """Return the word for one component of a kind."""
    return KINDS.get(kind, f"component of kind {kind!r}")


def describe(fault: BaseException) -> str:
    """Render an exception in one line, as reports and messages show it."""
    text = " ".join(str(fault).split())
    return f"{type(fault).__name__}: {text}" if text else type(fault).__name__


def _is_name(name: object) -> bool:
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def _is_path(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _first_line(target: object) -> str:
    # A class's own docstring only: an inherited one would describe something else.
    lines = (
        vars(target).get("__doc__") if isinstance(target, type) else getattr(target, "__doc__", None)
    ) or ""
    return next((line.strip() for line in str(lines).splitlines() if line.strip()), "")


def _same_definition(known: object, new: object) -> bool:
    names = [(getattr(one, "__module__", None), getattr(one, "__qualname__", None)) for one in (known, new)]
    return names[0] == names[1] and None not in names[0] and "<lambda>" not in str(names[0][1])


def _place(component: Component) -> str:
    if isinstance(component.target, str):
        return component.target
    target = component.target
    return f"{getattr(target, '__module__', '?')}.{getattr(target, '__qualname__', repr(target))}"


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
            if not hasattr(found, part):
                importlib.import_module(".".join(parts[:position]))
            found = getattr(found, part)
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
