"""Keyword arguments of a declaration as JSON, so that a configuration reads back to an equal declaration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from mml.errors import ConfigError


def json_settings(settings: Mapping[str, Any], *, of: str) -> dict[str, Any]:
    """Return settings as JSON values: tuples as lists, NumPy numbers as Python's.

    Parameters
    ----------
    settings : mapping of str to object
    of : str
        What they belong to, for messages.

    Raises
    ------
    ConfigError
        If a value is nothing that JSON holds; the message names the setting.
    """
    return {key: _json(value, of=of, setting=key) for key, value in settings.items()}


def _json(value: Any, *, of: str, setting: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list | tuple):
        return [_json(one, of=of, setting=setting) for one in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _json(one, of=of, setting=setting) for key, one in value.items()}
    plain = value is None or isinstance(value, bool | int | str)
    if plain or (isinstance(value, float) and math.isfinite(value)):
        return value
    raise ConfigError(
        f"The setting {setting!r} of {of} cannot be written down.",
        expected="numbers, text, lists and mappings of them",
        found=f"{type(value).__name__}: {value!r}",
        hint="Give it by name, or give a factory that is defined in a module.",
    )
