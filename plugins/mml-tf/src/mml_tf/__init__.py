"""TensorFlow for MML: what a script may import by hand.

The names are looked up when they are first asked for: finding this plugin imports its top level, and must
not load the framework.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mml_tf.backend import TensorflowBackend
    from mml_tf.base_model import TensorflowBaseModel
    from mml_tf.layers import Dropout
    from mml_tf.models import MLP, CNN1d

__all__ = ["MLP", "CNN1d", "Dropout", "TensorflowBackend", "TensorflowBaseModel"]

_HOMES = {
    "MLP": "models",
    "CNN1d": "models",
    "Dropout": "layers",
    "TensorflowBackend": "backend",
    "TensorflowBaseModel": "base_model",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
