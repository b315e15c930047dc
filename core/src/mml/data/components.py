"""Splitters and scalers found by name: the one place where the data floor asks the registry for parts.

A component is written down as its config with its registered name under its kind; it is rebuilt by loading
that name and calling the class's ``from_config``. Nothing but a class that fits the protocol is ever called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from mml.configuration import registered_name
from mml.data.protocols import ScalerLike, SplitterLike
from mml.errors import ConfigError, MMLError, ScalerError, SplitError, did_you_mean
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
    kind, config = type(scaler), scaler.get_config()
    return lambda: cast("ScalerLike", kind.from_config(config))


def scaler_config(scaler: ScalerLike) -> Config:
    """Return a scaler's config with the name that brings its class back.

    Raises
    ------
    ConfigError
        If no name does, or the class has no ``from_config`` that would take it.
    """
    name = registry("scalers").name_of(type(scaler))
    if not hasattr(type(scaler), "from_config"):
        raise ConfigError(
            f"{name!r} cannot be written down: its class has no from_config.",
            hint="Add a class method from_config(config) that takes what get_config returns.",
        )
    return {**scaler.get_config(), "scaler": name}


def build_scaler(config: Config) -> ScalerLike:
    """Return an unfitted scaler equal to the one that `scaler_config` described."""
    name = registered_name(config, "scaler")
    cls = _class_named(name, "scalers")
    _require_methods(cls)
    return cast("ScalerLike", _from_config(cls, config, name))


def splitter_config(splitter: SplitterLike) -> Config:
    """Return a splitter's config with the name that brings its class back."""
    return {**splitter.get_config(), "splitter": registry("splitters").name_of(type(splitter))}


def build_splitter(config: Config) -> SplitterLike:
    """Return a splitter equal to the one that `splitter_config` described."""
    name = registered_name(config, "splitter")
    cls = _class_named(name, "splitters")
    if not hasattr(cls, "split"):
        raise SplitError(f"{name!r} is no splitter.", expected="a method split(view)")
    return cast("SplitterLike", _from_config(cls, config, name))


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


def _class_named(name: str, kind: str) -> type[Any]:
    found = registry(kind).load(name)
    if not isinstance(found, type) or not hasattr(found, "from_config"):
        raise ConfigError(f"{name!r} is no class that from_config can build.", found=repr(found))
    return found


def _from_config(cls: type[Any], config: Config, name: str) -> Any:
    try:
        return cls.from_config(dict(config))
    except MMLError:
        raise
    except (TypeError, ValueError, KeyError) as cause:
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
