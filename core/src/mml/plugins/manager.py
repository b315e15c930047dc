"""The plugin manager: which plugins there are, how they fare, and the registries that they fill.

Entry points are scanned once, on first use, and each plugin's top level is imported when one of its names
may be meant: a qualified name loads that plugin alone, a short one loads all. No framework is imported here.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any

from mml.errors import PluginError, RegistrationError, did_you_mean, listed
from mml.plugins import builtin
from mml.plugins.declarations import Claim, Finding
from mml.plugins.examine import Examination, examine
from mml.plugins.install import missing_hint
from mml.plugins.report import PluginState, PluginStatus
from mml.plugins.scan import FoundPlugin, normalised, scan
from mml.registry import CORE, KINDS, USER, Absence, Component, Registry, noun
from mml.version import __version__

BLOCK_VARIABLE = "MML_PLUGINS_BLOCK"
STRICT_VARIABLE = "MML_PLUGINS_STRICT"


class _Record:
    """One plugin and what is known of it; guarded by the manager's lock."""

    def __init__(self, found: FoundPlugin, result: Examination) -> None:
        self.found = found
        self.result = result
        self.loading = False

    @property
    def state(self) -> PluginState:
        return self.result.state

    @property
    def usurps(self) -> bool:
        """Whether it calls itself by a name that no plugin may have."""
        return self.found.name in (CORE, USER) and self.found.entry_point != builtin.__name__

    @property
    def origin(self) -> str:
        return f"{self.found.distribution} {self.found.version}".strip()

    def status(self) -> PluginStatus:
        info = self.result.info
        kinds: dict[str, list[Component]] = {}
        for component in self.result.components:
            kinds.setdefault(component.kind, []).append(component)
        return PluginStatus(
            name=self.found.name,
            distribution=self.found.distribution,
            version=self.found.version,
            state=self.state,
            cause=self.result.cause,
            hint=self.result.hint or self._mend(),
            entry_point=self.found.entry_point,
            api_version=info.api_version if info else None,
            requires=info.requires if info else (),
            components={kind: tuple(components) for kind, components in kinds.items()},
        )

    def _mend(self) -> str | None:
        if self.state is PluginState.BLOCKED:
            return f"Take it out of {BLOCK_VARIABLE}."
        if self.state is PluginState.BROKEN:
            return (
                f"Upgrade or reinstall {self.found.distribution}, or set {BLOCK_VARIABLE}={self.found.name}."
            )
        return None

    def error(self, component: Component) -> PluginError:
        status = self.status()
        missing = self.state is PluginState.MISSING_DEPENDENCY
        error = PluginError(
            f"The {noun(component.kind)} {component.qualified!r} cannot be used: "
            f"the plugin {status.name!r} {'misses a dependency' if missing else f'is {self.state}'}.",
            where={"distribution": status.origin},
            found=status.cause,
            hint=status.hint,
        )
        error.__cause__ = self.result.fault
        return error


class PluginManager:
    """Discovers plugins, guards the others against each, and owns one registry per kind of component.

    Parameters
    ----------
    path : sequence of str, optional
        Where to look for distributions instead of ``sys.path``.

    Notes
    -----
    All methods may be called from any thread. ``MML_PLUGINS_BLOCK=a,b`` names plugins or distributions that
    are not loaded; ``MML_PLUGINS_STRICT=1`` turns every plugin in trouble into an error for whoever asks for
    any component.
    """

    def __init__(self, *, path: Sequence[str] | None = None) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._records: list[_Record] = []
        self._scanned = False
        self._complete = False
        self._claims: dict[tuple[str, str], list[tuple[Claim, str]]] = {}
        self._registries: dict[str, Registry[Any]] = {kind: Registry(kind, source=self) for kind in KINDS}

    def registry(self, kind: str) -> Registry[Any]:
        """Return the registry of one kind; it is filled when it is first read.

        Raises
        ------
        PluginError
            If there is no such kind.
        """
        found = self._registries.get(kind)
        if found is None:
            raise PluginError(f"There is no kind of component {kind!r}.", hint=did_you_mean(kind, KINDS))
        return found

    @property
    def plugins(self) -> list[PluginStatus]:
        """The state of every plugin after an attempt to load it, core first; never raises."""
        with self._lock:
            self._load_all()
            return self.scan()

    def scan(self) -> list[PluginStatus]:
        """Return the state of every plugin as far as it is known, importing none."""
        with self._lock:
            self._scan()
            return [record.status() for record in self._records]

    def status(self, name: str) -> PluginStatus:
        """Return the state of one plugin after an attempt to load it.

        Raises
        ------
        PluginError
            If no plugin has that name.
        """
        with self._lock:
            self._scan()
            for record in self._named(name):
                self._load(record)
                return record.status()
        raise self._no_plugin(name)

    def health(self, name: str) -> list[Finding]:
        """Return what a plugin finds out about its framework, which it may import to do so.

        Raises
        ------
        PluginError
            If no plugin has that name, or its hook returns something else than findings.
        """
        self.status(name)
        return [finding for record in self._named(name) for finding in record.result.health()]

    def claim_for(self, cls: type, *, kind: str = "models") -> Claim | None:
        """Return the claim on the first class of ``cls.__mro__`` that any plugin claims, or None.

        Parameters
        ----------
        cls : type
        kind : str
            What objects of the class are to be used as.

        Raises
        ------
        PluginError
            If two plugins claim that class with equal priority.
        """
        self.provide(None)
        for base in cls.__mro__:
            claims = self._claims.get((kind, f"{base.__module__}.{base.__qualname__}"))
            if claims:
                return self._strongest(base, claims)
        return None

    def register_module(self, module: Any, *, distribution: str = "", version: str = "") -> PluginStatus:
        """Register a plugin module that no entry point names, through the same checks.

        Parameters
        ----------
        module : module or object
            What implements the hooks.
        distribution, version : str
            What reports name as its origin.

        Returns
        -------
        PluginStatus
            Its state; a bad plugin is reported, not raised.

        Raises
        ------
        RegistrationError
            If a plugin of its name is there already.
        """
        label = getattr(module, "__name__", type(module).__name__)
        result = examine(lambda: module, name=None)
        name = result.info.name if result.info else label
        found = FoundPlugin(name, label, distribution or label, version, lambda: module)
        with self._lock:
            self._scan()
            if name == USER or self._named(name):
                raise RegistrationError(f"There is already a plugin {name!r}.", hint="Unregister it first.")
            record = _Record(found, result)
            self._records.append(record)
            self._publish(record)
            return record.status()

    def unregister(self, name: str) -> None:
        """Forget a plugin, its components and its claims, until the end of the process.

        Raises
        ------
        PluginError
            If no plugin has that name.
        """
        with self._lock:
            self._scan()
            if not self._named(name):
                raise self._no_plugin(name)
            self._records = [record for record in self._records if record.found.name != name]
            for registry in self._registries.values():
                registry.forget(name)
            kept = {path: [one for one in claims if one[1] != name] for path, claims in self._claims.items()}
            self._claims = {path: claims for path, claims in kept.items() if claims}

    def provide(self, plugin: str | None) -> None:
        """Load one plugin, or all, and fill the registries with what they declare.

        Raises
        ------
        PluginError
            Under ``MML_PLUGINS_STRICT`` only: if any plugin is in trouble.
        """
        if self._complete:
            return
        with self._lock:
            self._scan()
            if plugin is None or _strict():
                self._load_all()
                # A hook that asks a registry comes back here before its own plugin is published.
                if not any(record.loading for record in self._records):
                    self._check_strict()
                    self._complete = True
                return
            for record in self._named(plugin):
                self._load(record)

    def require(self, component: Component) -> None:
        """Raise the plugin's trouble, with cause and mend, if it cannot serve a component."""
        for record in self._named(component.plugin):
            if record.state not in (PluginState.LOADED, PluginState.DISCOVERED):
                raise record.error(component)

    def vouches(self, path: str) -> bool:
        """Whether a Python path leads to a class that a plugin claims, within that plugin's framework.

        Nothing outside the frameworks of loaded plugins is imported to find out.
        """
        frameworks = {one for status in self.plugins if status.healthy for one in status.requires}
        if path.partition(".")[0] not in frameworks:
            return False
        try:
            target = Component("models", "", path, path).load()
        except PluginError:
            return False
        return isinstance(target, type) and self.claim_for(target) is not None

    def absence(self, name: str, plugin: str | None) -> Absence:
        """Say why a name may be missing: a plugin in trouble, or one that is not installed."""
        with self._lock:
            self._scan()
            asked = self._named(plugin) if plugin else []
            records = asked or ([] if "/" in name else self._records)
            troubled = [one for one in records if one.state is not PluginState.LOADED and not one.loading]
        if troubled:
            rows = [one.status() for one in troubled]
            return Absence(
                found="; ".join(
                    f"plugin {one.name!r} ({one.origin}) is {one.state}: {one.cause}" for one in rows
                ),
                hint=" ".join(one.hint for one in rows if one.hint) if asked else None,
                cause=troubled[0].result.fault if asked else None,
            )
        if asked:
            return Absence()
        command = missing_hint(plugin or name) or missing_hint(name)
        absent = plugin is not None and plugin != USER
        listing = "`mml plugins` lists what is installed." if absent else None
        return Absence(
            found=f"no plugin {plugin!r} is installed" if absent else None,
            hint=f"{command}." if command else listing,
        )

    def _named(self, name: str) -> list[_Record]:
        """Return the claimants of a name; one that the user blocked counts only where there is no other."""
        named = [one for one in self._records if one.found.name == name and not one.usurps]
        return [record for record in named if record.state is not PluginState.BLOCKED] or named

    def _no_plugin(self, name: str) -> PluginError:
        command = missing_hint(name)
        known = [record.found.name for record in self._records]
        return PluginError(f"There is no plugin {name!r}.", hint=command or did_you_mean(name, known))

    def _scan(self) -> None:
        if self._scanned:
            return
        core = FoundPlugin(CORE, builtin.__name__, "mml", __version__, lambda: builtin)
        records = [_Record(core, Examination(PluginState.DISCOVERED))]
        blocked = {
            normalised(one.strip()) for one in os.environ.get(BLOCK_VARIABLE, "").split(",") if one.strip()
        }
        found = scan(self._path)
        free = [one for one in found if not _is_blocked(one, blocked)]
        for one in found:
            claimants = [other for other in free if other.name == one.name]
            records.append(_Record(one, _first_look(one, blocked, claimants)))
        self._records = records
        self._scanned = True

    def _load_all(self) -> None:
        self._scan()
        for record in self._records:
            self._load(record)

    def _load(self, record: _Record) -> None:
        # A hook that asks a registry comes back here while its own plugin is being loaded.
        if record.state is not PluginState.DISCOVERED or record.loading:
            return
        record.loading = True
        try:
            found = record.found
            record.result = examine(found.load, name=found.name, entry_point=found.entry_point)
        finally:
            record.loading = False
        self._publish(record)

    def _publish(self, record: _Record) -> None:
        name = record.found.name
        for component in record.result.components:
            # What the user registered under a plugin's name before it was loaded is the user's choice.
            self._registries[component.kind].offer(component)
        for component in record.result.duplicates:
            same = [one for one in record.result.duplicates if one.kind == component.kind]
            claimants = tuple(
                f"{one.target} of {record.origin}" for one in same if one.name == component.name
            )
            self._registries[component.kind].disable(component.qualified, claimants=claimants)
        for claim in record.result.claims:
            self._claims.setdefault((claim.kind, claim.class_path), []).append((claim, name))

    def _strongest(self, base: type, claims: list[tuple[Claim, str]]) -> Claim:
        usable = [one for one in claims if any(r.state is PluginState.LOADED for r in self._named(one[1]))]
        ranked = sorted(usable or claims, key=lambda one: -one[0].priority)
        rivals = [one for one in ranked if one[0].priority == ranked[0][0].priority]
        if len({(claim.backend, claim.wrapper) for claim, _ in rivals}) > 1:
            origins = [f"{name} ({record.origin})" for _, name in rivals for record in self._named(name)]
            raise PluginError(
                f"Several plugins claim objects of {base.__module__}.{base.__qualname__}.",
                found=listed(origins),
                hint=f"Name the backend of the model, or set {BLOCK_VARIABLE} to the plugin that shall not.",
            )
        return ranked[0][0]

    def _check_strict(self) -> None:
        if not _strict():
            return
        bad = [record for record in self._records if not record.status().healthy]
        if bad:
            rows = [record.status() for record in bad]
            raise PluginError(
                f"{STRICT_VARIABLE} is set and {len(bad)} of {len(self._records)} plugins cannot be used.",
                found="; ".join(f"{one.name!r} ({one.origin}) is {one.state}: {one.cause}" for one in rows),
                hint=" ".join(one.hint for one in rows if one.hint),
            ) from bad[0].result.fault


_MANAGER = PluginManager()


def get_manager() -> PluginManager:
    """Return the manager of this process; nothing is scanned before it is first read."""
    return _MANAGER


def registry(kind: str) -> Registry[Any]:
    """Return this process's registry of one kind of components.

    Examples
    --------
    >>> "standard" in registry("scalers")
    True
    """
    return _MANAGER.registry(kind)


def _strict() -> bool:
    return os.environ.get(STRICT_VARIABLE, "").strip().lower() in ("1", "true", "yes", "on")


def _is_blocked(found: FoundPlugin, blocked: set[str]) -> bool:
    return bool(blocked & {normalised(found.name), normalised(found.distribution)})


def _first_look(found: FoundPlugin, blocked: set[str], claimants: list[FoundPlugin]) -> Examination:
    """Judge what can be judged before anything is imported."""
    if _is_blocked(found, blocked):
        return Examination(PluginState.BLOCKED, f"{BLOCK_VARIABLE} names it.")
    if found.problem:
        return Examination(PluginState.BROKEN, found.problem)
    if found.name in (CORE, USER):
        return Examination(
            PluginState.BROKEN,
            f"The plugin name {found.name!r} is reserved.",
            f"Uninstall {found.distribution}, or have its authors rename the plugin.",
        )
    if len(claimants) > 1:
        origins = [f"{one.distribution} {one.version}".strip() for one in claimants]
        return Examination(
            PluginState.BROKEN,
            f"The plugin name {found.name!r} is claimed by {listed(origins)}, so that none has it.",
            f"Uninstall all but one, or set {BLOCK_VARIABLE} to the distribution that shall not have it.",
        )
    return Examination(PluginState.DISCOVERED)
