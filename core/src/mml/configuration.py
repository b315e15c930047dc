"""Reading configurations: their keys are checked before anything is made of them.

A component is written down as its settings beside its registered name, which stands under the noun of its
kind: ``{"scaler": "mml/minmax", "feature_range": [0, 1]}``.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, TypeVar

from mml.errors import ConfigError, did_you_mean, listed
from mml.protocols import Config

Made = TypeVar("Made")


def checked_config(
    config: Any, what: str, *, required: Iterable[str] = (), optional: Iterable[str] = ()
) -> Config:
    """Return a configuration if it is a mapping with these keys and no others.

    Parameters
    ----------
    config : dict
    what : str
        What it describes, with its article, for messages.
    required, optional : iterable of str
        The keys.

    Raises
    ------
    ConfigError
        If a key is missing or unknown, or it is no mapping.
    """
    if not isinstance(config, dict):
        raise ConfigError(f"The configuration of {what} is no mapping.", found=f"{config!r}")
    needed = tuple(required)
    known = (*needed, *optional)
    for key in config:
        if key not in known:
            raise ConfigError(
                f"The configuration of {what} has an unknown key {key!r}.", hint=did_you_mean(str(key), known)
            )
    missing = [key for key in needed if key not in config]
    if missing:
        raise ConfigError(
            f"The configuration of {what} is incomplete.",
            expected=listed(needed),
            found=f"no {listed(missing)}",
        )
    return dict(config)


def registered_name(config: Any, kind: str) -> str:
    """Return the registered name in the configuration of a component.

    Parameters
    ----------
    config : dict
    kind : str
        Noun of the kind of component, such as ``"scaler"``; the key of the name.

    Raises
    ------
    ConfigError
        If it names no component.
    """
    name = config.get(kind) if isinstance(config, dict) else None
    if not isinstance(name, str):
        raise ConfigError(
            f"The configuration of a {kind} names none.",
            expected=f"its registered name under {kind!r}",
            found=f"{config!r}",
        )
    return name


def settings_beside(config: Config, kind: str) -> Config:
    """Return the settings of a component: its configuration without the registered name."""
    return {key: value for key, value in config.items() if key != kind}


def several(config: Config, key: str, what: str) -> list[Any]:
    """Return the list under a key, empty where the key is absent.

    Raises
    ------
    ConfigError
        If it is something else.
    """
    found = config.get(key, ())
    if not isinstance(found, list | tuple):
        raise ConfigError(f"{key!r} in the configuration of {what} is no list.", found=f"{found!r}")
    return list(found)


def made_with(target: type[Made], settings: Config) -> Made:
    """Return an object made with keyword arguments out of a configuration.

    Raises
    ------
    ConfigError
        If the class does not take these arguments.
    """
    require_settings(target, settings)
    return target(**settings)


def require_settings(target: type, settings: Config) -> None:
    """Refuse settings that a class does not take, before anything is made of them.

    Raises
    ------
    ConfigError
        If one is unknown, with the near misses, or one is missing.
    """
    try:
        signature = inspect.signature(target)
    except ValueError:
        # Some classes written in C do not tell; what they refuse shows when they are called.
        return
    known = signature.parameters
    if not any(one.kind is inspect.Parameter.VAR_KEYWORD for one in known.values()):
        for key in settings:
            if key not in known:
                raise ConfigError(
                    f"{target.__name__} has no setting {key!r}.", hint=did_you_mean(str(key), known)
                )
    try:
        signature.bind(**settings)
    except TypeError as cause:
        raise ConfigError(f"{target.__name__} does not take these settings: {cause}.") from cause
