"""Settings that a user gives: numbers, flags, and ranges from one number to a greater one.

What only looks like one is refused: Python takes the text ``"false"`` for true, and ``"01"`` for two ends.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mml.errors import ConfigError


def checked_number(given: Any, *, name: str) -> float:
    """Return a finite number as a float.

    Raises
    ------
    ConfigError
        If it is no number, or not finite.
    """
    if not _is_number(given) or not math.isfinite(given):
        raise ConfigError(f"The setting {name!r} is a finite number.", found=repr(given)[:80])
    return float(given)


def checked_flag(given: Any, *, name: str) -> bool:
    """Return a flag as a bool.

    Raises
    ------
    ConfigError
        If it is neither true nor false.
    """
    if not isinstance(given, bool | np.bool_):
        raise ConfigError(f"The setting {name!r} is True or False.", found=repr(given)[:80])
    return bool(given)


def checked_range(given: Any, *, low: float = -math.inf, high: float = math.inf) -> tuple[float, float]:
    """Return a range as two floats.

    Parameters
    ----------
    given : tuple of float
    low, high : float
        What it must lie within.

    Raises
    ------
    ConfigError
        If it has not two finite ends, or does not end above its start.
    """
    ends = list(given) if isinstance(given, list | tuple | np.ndarray) else []
    if len(ends) != 2 or not all(map(_is_number, ends)):
        raise ConfigError("A range has two ends.", expected="two numbers", found=repr(given)[:80])
    start, end = map(float, ends)
    # The difference is taken, because that of float64's own extremes overflows.
    if not (math.isfinite(start) and math.isfinite(end - start) and start < end):
        raise ConfigError("A range ends above its start.", found=repr(given))
    if start < low or end > high:
        raise ConfigError(f"A range lies within {low:g} and {high:g} here.", found=repr(given))
    return start, end


def _is_number(given: Any) -> bool:
    return isinstance(given, int | float | np.integer | np.floating) and not isinstance(given, bool)
