"""The reference backend: NumPy arrays and gradients derived by hand.

Names are imported when they are asked for, because finding the plugin imports this package.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mml_conformance.reference.backend import ReferenceBackend
    from mml_conformance.reference.models import Mlp, ReferenceModel

_HOMES = {"Mlp": "models", "ReferenceBackend": "backend", "ReferenceModel": "models"}

__all__ = ["Mlp", "ReferenceBackend", "ReferenceModel"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
