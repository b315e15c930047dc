"""Warnings that point at the user's line, however deep inside MML they arise."""

from __future__ import annotations

import sys
import warnings

from mml.errors import MMLWarning


def warn_user(message: str, category: type[MMLWarning]) -> None:
    """Warn with the place of the first caller outside of MML."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "mml":
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)
