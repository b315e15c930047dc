"""Loading one plugin inside its guard: import, identity, version, hooks, declarations, dependencies.

The result is data; nothing is registered here and nothing that a plugin does wrong gets out, an attempt to
exit the interpreter included.
"""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pluggy

from mml.errors import PluginError, did_you_mean
from mml.plugins.declarations import SERVED_VERSIONS, Claim, Finding, PluginInfo
from mml.plugins.install import missing_hint, pip_install
from mml.plugins.markers import PROJECT
from mml.plugins.report import PluginState
from mml.plugins.specs import ComponentSpecs, IdentitySpecs
from mml.registry import KINDS, Component, describe


@dataclass(frozen=True)
class Examination:
    """What came of loading one plugin."""

    state: PluginState
    cause: str | None = None
    hint: str | None = None
    fault: BaseException | None = None
    info: PluginInfo | None = None
    components: tuple[Component, ...] = ()
    duplicates: tuple[Component, ...] = ()
    claims: tuple[Claim, ...] = ()
    health: Callable[[], list[Finding]] = field(default=list, compare=False)


def examine(load: Callable[[], Any], *, name: str | None, entry_point: str = "") -> Examination:
    """Load a plugin and hold it to the interface.

    Parameters
    ----------
    load : callable
        Returns the module, or another object, that implements the hooks.
    name : str, optional
        The name that the plugin must declare; None accepts any.
    entry_point : str
        Where the plugin comes from, to tell a missing plugin module from a module that it misses.

    Returns
    -------
    Examination
        Never an exception, ``KeyboardInterrupt`` excepted.
    """
    try:
        return _examine(load(), name=name)
    except KeyboardInterrupt:
        raise
    except ModuleNotFoundError as fault:
        own = entry_point.partition(":")[0].partition(".")[0]
        missing = (fault.name or "").partition(".")[0]
        if not missing or missing == own:
            return Examination(PluginState.BROKEN, describe(fault), fault=fault)
        hint = missing_hint(missing) or pip_install(missing)
        return Examination(PluginState.MISSING_DEPENDENCY, describe(fault), hint, fault)
    except PluginError as fault:
        return Examination(PluginState.BROKEN, _one_line(fault), fault=fault)
    except BaseException as fault:  # noqa: BLE001 - SystemExit too: one plugin must never stop the others
        return Examination(PluginState.BROKEN, describe(fault), fault=fault)


def _examine(module: Any, *, name: str | None) -> Examination:
    hooks = pluggy.PluginManager(PROJECT)
    hooks.add_hookspecs(IdentitySpecs)
    _checked(lambda: hooks.register(module, name=name), IdentitySpecs)
    info = _identity(hooks, module, name=name)
    if not any(info.serves(version) for version in SERVED_VERSIONS):
        return _incompatible(info)
    _checked(lambda: hooks.add_hookspecs(ComponentSpecs), ComponentSpecs)
    _checked(hooks.check_pending, IdentitySpecs, ComponentSpecs)
    declared = _declared(hooks, "mml_components", Component)
    claims = _declared(hooks, "mml_claims", Claim)
    _check_components(declared, info)
    counted = Counter((one.kind, one.name) for one in declared)
    missing = [one for one in info.requires if not _importable(one)]
    return Examination(
        state=PluginState.MISSING_DEPENDENCY if missing else PluginState.LOADED,
        cause=f"{', '.join(missing)} not installed" if missing else None,
        hint=_mend(info, missing[0]) if missing else None,
        info=info,
        components=tuple(one for one in declared if counted[one.kind, one.name] == 1),
        duplicates=tuple(one for one in declared if counted[one.kind, one.name] > 1),
        claims=tuple(claims),
        # The one hook that may import a framework: called when somebody asks, and never here.
        health=lambda: _declared(hooks, "mml_health", Finding),
    )


def _identity(hooks: pluggy.PluginManager, module: Any, *, name: str | None) -> PluginInfo:
    if not hooks.hook.mml_plugin.get_hookimpls():
        unmarked = hasattr(module, "mml_plugin")
        raise PluginError(
            "The plugin has no hook `mml_plugin`.",
            hint="Mark the function with `@mml.plugins.hookimpl`." if unmarked else None,
        )
    info = hooks.hook.mml_plugin()
    if not isinstance(info, PluginInfo):
        raise PluginError("`mml_plugin` returned no PluginInfo.", expected="a PluginInfo", found=repr(info))
    if name is not None and info.name != name:
        raise PluginError(
            "The plugin and its entry point have different names.",
            expected=f"name={name!r}, as the entry point says",
            found=repr(info.name),
        )
    return info


def _incompatible(info: PluginInfo) -> Examination:
    low, high = info.api_version
    served = " and ".join(str(one) for one in SERVED_VERSIONS)
    newer = low > max(SERVED_VERSIONS)
    return Examination(
        PluginState.INCOMPATIBLE,
        f"It works with plugin API {low} to {high}; this mml serves {served}.",
        "Upgrade mml: `pip install --upgrade mml`." if newer else "Upgrade the plugin.",
        info=info,
    )


def _checked(step: Callable[[], object], *specs: type) -> None:
    """Run a step of the hook manager, and show the specifications where it refuses."""
    try:
        step()
    except pluggy.PluginValidationError as cause:
        signatures = {
            hook: f"{hook}({', '.join(list(inspect.signature(function).parameters)[1:])})"
            for spec in specs
            for hook, function in vars(spec).items()
            if hook.startswith("mml_")
        }
        text = " ".join(str(cause).split())
        unknown = text.partition("unknown hook '")[2].partition("'")[0]
        raise PluginError(
            "Its hooks do not fit the specifications.",
            expected=", ".join(signatures.values()),
            found=text,
            hint=did_you_mean(unknown, signatures) if unknown else None,
        ) from cause


def _declared(hooks: pluggy.PluginManager, hook: str, kind: type) -> list[Any]:
    caller = getattr(hooks.hook, hook)
    if not caller.get_hookimpls():
        return []
    result = caller()
    values = list(result) if isinstance(result, Iterable) else [result]
    for value in values:
        if not isinstance(value, kind):
            raise PluginError(
                f"`{hook}` returned something else than {kind.__name__}s.",
                expected=f"an iterable of {kind.__name__}",
                found=repr(value),
            )
    return values


def _check_components(declared: list[Component], info: PluginInfo) -> None:
    for component in declared:
        if component.kind not in KINDS:
            raise PluginError(
                f"The component {component.qualified!r} is of an unknown kind {component.kind!r}.",
                hint=did_you_mean(component.kind, KINDS),
            )
        if component.plugin != info.name:
            # Names outside its own would let a plugin change what another one's names mean.
            raise PluginError(
                f"The component {component.qualified!r} carries another plugin's name.",
                expected=f"plugin={info.name!r}",
                found=f"plugin={component.plugin!r}",
            )


def _importable(module: str) -> bool:
    """Whether a top-level module exists, without importing it."""
    try:
        return module in sys.modules or importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _mend(info: PluginInfo, missing: str) -> str:
    if info.install:
        return pip_install(info.install)
    return missing_hint(info.name) or missing_hint(missing) or pip_install(missing)


def _one_line(fault: PluginError) -> str:
    parts = [fault.what]
    parts += [f"expected: {fault.expected}"] if fault.expected else []
    parts += [f"found: {fault.found}"] if fault.found else []
    parts += [fault.hint] if fault.hint else []
    return "; ".join(" ".join(part.split()).rstrip(".") for part in parts)
