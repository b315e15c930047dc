"""Reading configurations: their keys are checked before anything is made of them."""

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
    try:
        inspect.signature(target).bind(**settings)
    except TypeError as cause:
        raise ConfigError(f"{target.__name__} does not take these settings: {cause}.") from cause
    return target(**settings)
