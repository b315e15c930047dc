"""Keras 3 for MML: what a script may import by hand.

The names are looked up when they are first asked for: finding this plugin imports its top level, and must
load neither Keras nor an engine.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mml_keras3.backend import KerasBackend
    from mml_keras3.base_model import KerasBaseModel
    from mml_keras3.models import MLP, CNN1d

__all__ = ["MLP", "CNN1d", "KerasBackend", "KerasBaseModel"]

_HOMES = {"MLP": "models", "CNN1d": "models", "KerasBackend": "backend", "KerasBaseModel": "base_model"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
