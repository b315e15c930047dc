"""The registry: the components of one kind, and what a name among them means.

It knows nothing of entry points; what fills it is a :class:`~mml.registry.source.ComponentSource`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from mml.errors import RegistrationError, UnknownComponentError, did_you_mean, listed
from mml.registry.component import Component
from mml.registry.kinds import CORE, USER, noun
from mml.registry.source import Absence, ComponentSource
from mml.registry.trust import check_path
from mml.registry.written_names import written_name

T = TypeVar("T")
C = TypeVar("C")


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
        """Take a name away from all plugins that claim it; asking for it raises an error that lists them.

        What the user registered under that name stays: that choice is what settles a clash.

        Parameters
        ----------
        qualified : str
            The name in full.
        claimants : tuple of str
            Who claims it: targets with their distributions.
        """
        with self._lock:
            if qualified not in self._components:
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
        return written_name(obj, self, kind=self._kind)

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
        if "." not in name:
            return self._short(name, backend)
        if not allow_import:
            raise UnknownComponentError(
                f"The {noun(self._kind)} {name!r} is a Python path, which is not imported here.",
                hint="Register it in a module of your own, and write 'user/<name>'.",
            )
        if not _is_path(name):
            return self._refuse(name, None)
        check_path(name, what=noun(self._kind), vouched=self._vouched)
        return Component(self._kind, "", name, name)

    def _vouched(self, path: str) -> bool:
        return self._source is not None and self._source.vouches(path)

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
        nothing = f"No installed plugin brings {self._kind}; `mml plugins` lists what is installed."
        near = did_you_mean(name, known) if known else nothing
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
    # Lambdas and local definitions share a name without being one definition run again.
    return names[0] == names[1] and None not in names[0] and "<" not in str(names[0][1])


def _place(component: Component) -> str:
    if isinstance(component.target, str):
        return component.target
    target = component.target
    return f"{getattr(target, '__module__', '?')}.{getattr(target, '__qualname__', repr(target))}"
