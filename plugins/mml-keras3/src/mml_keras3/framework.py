"""Keras and the engine that it runs on in this process; where one is missing, what to install.

Keras chooses its engine once, when it is first imported: from the environment variable `KERAS_BACKEND`, else
from its own configuration file. Nothing here sets either. Every module of this plugin takes Keras from here,
so that whichever is imported first says what is missing.
"""

from __future__ import annotations

import importlib.util
import os

from mml.errors import PluginError

ENGINES = ("jax", "tensorflow", "torch")
"""The engines that this plugin runs on: each is Keras' name of it and the package to install."""


def installed_engines() -> list[str]:
    """Return the engines that are installed, importing none."""
    return [name for name in ENGINES if importlib.util.find_spec(name) is not None]


def _missing(module: str | None) -> PluginError:
    if module not in ENGINES:
        return PluginError(
            f"The package {module!r} is missing, which Keras needs.",
            hint='pip install "mml[keras3]", and an engine: jax, tensorflow or torch.',
        )
    others = [name for name in installed_engines() if name != module]
    choice = f" Or set KERAS_BACKEND={others[0]} before Python starts." if others else ""
    return PluginError(
        f"Keras is set to run on {module!r}, which is not installed.",
        where="KERAS_BACKEND" if os.environ.get("KERAS_BACKEND") else "Keras' own configuration",
        found=f"installed engines: {', '.join(others) or 'none'}",
        hint=f"pip install {module}.{choice}",
    )


def _untrainable(engine: str) -> PluginError:
    return PluginError(
        f"Keras runs on {engine!r} here, on which nothing can be trained.",
        expected=f"one of {ENGINES}",
        hint=f"Set KERAS_BACKEND={(installed_engines() or ['jax'])[0]} before Python starts.",
    )


# Before Keras is imported: some of its engines miss packages of their own first.
if os.environ.get("KERAS_BACKEND") not in (None, "", *ENGINES):
    raise _untrainable(os.environ["KERAS_BACKEND"])

try:
    import keras
except ModuleNotFoundError as _cause:
    raise _missing(_cause.name) from _cause

ENGINE: str = keras.backend.backend()
"""Keras' name of the engine of this process."""

if ENGINE not in ENGINES:
    raise _untrainable(ENGINE)


def require_engine_asked_for() -> None:
    """Refuse to go on where Keras was loaded with another engine than the environment asks for.

    Raises
    ------
    PluginError
        Keras cannot change its engine once it is loaded; the error names both.
    """
    asked = os.environ.get("KERAS_BACKEND")
    if asked is not None and asked != ENGINE:
        raise PluginError(
            f"Keras runs on {ENGINE!r} in this process, and KERAS_BACKEND asks for {asked!r}.",
            expected=f"Keras on {asked!r}",
            found=f"Keras on {ENGINE!r}, since it was imported before KERAS_BACKEND was set",
            hint=f"Set KERAS_BACKEND={asked} before Python starts, or before the first `import keras`.",
        )


__all__ = ["ENGINE", "ENGINES", "installed_engines", "keras", "require_engine_asked_for"]
