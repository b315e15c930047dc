"""Ranges that a user gives: two finite ends, the second above the first."""

from __future__ import annotations

import math
from typing import Any

from mml.errors import ConfigError


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
    try:
        start, end = (float(one) for one in given)
    except (TypeError, ValueError) as cause:
        raise ConfigError("A range has two ends.", found=repr(given)) from cause
    # The difference is taken, because that of float64's own extremes overflows.
    if not (math.isfinite(start) and math.isfinite(end - start) and start < end):
        raise ConfigError("A range ends above its start.", found=repr(given))
    if start < low or end > high:
        raise ConfigError(f"A range lies within {low:g} and {high:g} here.", found=repr(given))
    return start, end
