"""Splitters and scalers found by name: the one place where the data floor asks the registry for parts.

A component is written down as its config with its registered name under its kind; it is rebuilt by loading
that name and calling the class's ``from_config``. Nothing but a class that fits the protocol is ever called.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, cast

from mml.configuration import registered_name
from mml.data.protocols import ScalerLike, SplitterLike
from mml.errors import ConfigError, MMLError, ScalerError, SplitError, StateError, did_you_mean
from mml.files import flatten_state
from mml.plugins import get_manager, registry
from mml.protocols import Config

_SCALER_METHODS = ("fit", "transform", "inverse_transform", "get_config", "get_state", "set_state")


def scaler_factory(scaler: Any) -> Callable[..., ScalerLike]:
    """Return a function that makes a fresh, unfitted scaler.

    Parameters
    ----------
    scaler : str, class, instance, or an object with ``build()``
        A registered name, a scaler class, a scaler whose settings are copied, a `Scaler` declaration, or a
        class or object of a library that a plugin wraps. For names and classes the function takes settings.

    Raises
    ------
    ScalerError
        If it is none of these, or lacks a method that scalers have.
    ConfigError
        If ``get_config`` of an instance fails.
    """
    if isinstance(scaler, str):
        scaler = registry("scalers").load(scaler)
    if not isinstance(scaler, type) and hasattr(scaler, "build"):
        return cast("Callable[..., ScalerLike]", scaler.build)
    if _missing_methods(scaler):
        wrapping = _wrapping_factory(scaler)
        if wrapping is None:
            _require_methods(scaler)
        return cast("Callable[..., ScalerLike]", wrapping)
    if isinstance(scaler, type):
        return cast("Callable[..., ScalerLike]", scaler)
    if not hasattr(type(scaler), "from_config"):
        raise ScalerError(
            f"The scaler {scaler!r} cannot be copied.",
            expected="a class method from_config(config)",
            hint="Give the class instead of an instance, or add from_config.",
        )
    kind = type(scaler)
    config = _config_of(scaler, f"The scaler {scaler!r} cannot be copied")
    # Each copy gets a config of its own, or one could change what another was made of.
    return lambda: cast("ScalerLike", kind.from_config(copy.deepcopy(config)))


def scaler_config(scaler: ScalerLike) -> Config:
    """Return a copy of a scaler's config, with the name that brings its class back.

    Raises
    ------
    ConfigError
        If no name does, ``get_config`` fails, or the class has no ``from_config`` that would take it.
    """
    return _written_down(scaler, "scaler")


def build_scaler(config: Config) -> ScalerLike:
    """Return an unfitted scaler equal to the one that `scaler_config` described."""
    name = registered_name(config, "scaler")
    cls = _class_named(name, "scalers")
    _require_methods(cls)
    return cast("ScalerLike", _from_config(cls, config, name))


def splitter_config(splitter: SplitterLike) -> Config:
    """Return a copy of a splitter's config, with the name that brings its class back; see `scaler_config`."""
    return _written_down(splitter, "splitter")


def build_splitter(config: Config) -> SplitterLike:
    """Return a splitter equal to the one that `splitter_config` described."""
    name = registered_name(config, "splitter")
    cls = _class_named(name, "splitters")
    if not hasattr(cls, "split"):
        raise SplitError(f"{name!r} is no splitter.", expected="a method split(view)")
    return cast("SplitterLike", _from_config(cls, config, name))


def require_json(config: Config, *, kind: str, where: dict[str, Any]) -> Config:
    """Return a component's config if a file brings it back as it is.

    Parameters
    ----------
    config : dict
        From `scaler_config` or `splitter_config`.
    kind : {"scaler", "splitter"}
    where : dict
        The place for messages.

    Raises
    ------
    ConfigError
        Naming the component and the setting that JSON cannot hold.
    """
    name = registered_name(config, kind)
    what = f"The config of the {kind} {name!r} cannot be written down: it holds more than JSON."
    mend = "Return lists and plain numbers from get_config, e.g. array.tolist(); from_config gets the same."
    try:
        _, arrays = flatten_state(config)
    except StateError as cause:
        found = f"{cause.where}: {cause.found or cause.what}"
        raise ConfigError(what, where=where, found=found, hint=mend) from cause
    if arrays:
        path, array = next(iter(arrays.items()))
        found = f"{path}: an array of {array.dtype}"
        raise ConfigError(what, where=where, found=found, hint=mend)
    return config


def check_splitter_names(config: Any) -> None:
    """Refuse the Python paths in a splitter's config that nobody vouches for, while a file is read.

    Nothing is imported; a registered name may belong to a plugin that is not installed.

    Raises
    ------
    ConfigError
        Naming the first path: of the splitter, or of a function among its settings.
    """
    if isinstance(config, list):
        for one in config:
            check_splitter_names(one)
    if isinstance(config, dict):
        for key, value in config.items():
            if key in ("splitter", "function") and isinstance(value, str):
                if "." in value and "/" not in value:
                    registry("splitters").resolve(value)
            else:
                check_splitter_names(value)


def _written_down(component: Any, kind: str) -> Config:
    name = registry(f"{kind}s").name_of(type(component))
    if not callable(getattr(type(component), "from_config", None)):
        raise ConfigError(
            f"{name!r} cannot be written down: its class has no from_config.",
            hint="Add a class method from_config(config) that takes what get_config returns.",
        )
    return {**_config_of(component, f"{name!r} cannot be written down"), kind: name}


def _config_of(component: Any, complaint: str) -> Config:
    """Return a deep copy, so that nobody who holds a part of the config changes what was recorded."""
    if not callable(getattr(component, "get_config", None)):
        raise ConfigError(f"{complaint}: it has no get_config.")
    try:
        config: Any = copy.deepcopy(component.get_config())
    except ConfigError:
        raise
    except Exception as cause:
        raise ConfigError(f"{complaint}: its get_config failed: {cause}") from cause
    if not isinstance(config, Mapping):
        raise ConfigError(f"{complaint}: its get_config returned no mapping.", found=repr(config)[:80])
    return dict(config)


def _class_named(name: str, kind: str) -> type[Any]:
    found = registry(kind).load(name)
    if not isinstance(found, type) or not hasattr(found, "from_config"):
        raise ConfigError(f"{name!r} is no class that from_config can build.", found=repr(found))
    return found


def _from_config(cls: type[Any], config: Config, name: str) -> Any:
    try:
        # What is built must not share a list with the record that it is built from.
        return cls.from_config(copy.deepcopy(dict(config)))
    except MMLError:
        raise
    except Exception as cause:
        raise ConfigError(f"{name!r} does not take these settings: {cause}") from cause


def _wrapping_factory(target: Any) -> Callable[..., ScalerLike] | None:
    """Return what makes scalers of a class or object that a plugin claims to wrap, or None."""
    claim = get_manager().claim_for(target if isinstance(target, type) else type(target), kind="scalers")
    if claim is None or claim.wrapper is None:
        return None
    wrapper = registry("scalers").load(claim.wrapper)
    return cast("Callable[..., ScalerLike]", wrapper.factory_for(target))


def _missing_methods(scaler: Any) -> list[str]:
    return [name for name in _SCALER_METHODS if not callable(getattr(scaler, name, None))]


def _require_methods(scaler: Any) -> None:
    missing = _missing_methods(scaler)
    if missing:
        shown = repr(scaler.__name__) if isinstance(scaler, type) else repr(scaler)[:80]
        raise ScalerError(
            f"{shown} is no scaler: it has no {' and no '.join(missing)}.",
            expected="a registered name, mml.Scaler(...), or a class or instance with "
            f"{', '.join(_SCALER_METHODS)} and, to be saved, from_config",
            # Another library's scaler is often registered under the name of its class.
            hint=did_you_mean(
                getattr(scaler, "__name__", type(scaler).__name__), (one.name for one in registry("scalers"))
            ),
        )
