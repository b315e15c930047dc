"""Warnings that point at the user's line, however deep inside MML they arise."""

from __future__ import annotations

import sys
import warnings

from mml.errors import MMLWarning


def warn_user(message: str, category: type[MMLWarning]) -> None:
    """Warn with the place of the first caller outside of MML and of its plugins, ``mml_<name>``."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _is_ours(module: str) -> bool:
    package = module.partition(".")[0]
    return package == "mml" or package.startswith("mml_")
