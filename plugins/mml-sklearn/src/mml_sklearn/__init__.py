"""Scikit-learn for MML: any estimator as a node that is fitted, trained batch by batch, and run.

The names are looked up when they are first asked for: finding this plugin imports its top level, and must
not load the framework.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mml_sklearn.backend import SklearnBackend
    from mml_sklearn.models import ScikitWrapper

__all__ = ["ScikitWrapper", "SklearnBackend"]

_HOMES = {"ScikitWrapper": "models", "SklearnBackend": "backend"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
