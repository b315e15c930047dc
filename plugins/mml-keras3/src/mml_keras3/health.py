"""What `mml doctor` shows of Keras: which engine it runs on in this process, and who chose it."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator

from mml.plugins import Finding
from mml_keras3.framework import installed_engines, keras


def findings() -> Iterator[Finding]:
    """Yield the engine with its version, what chose it, and the engines that could be chosen."""
    engine = keras.config.backend()
    asked = os.environ.get("KERAS_BACKEND")
    yield Finding("KERAS_BACKEND", asked or "not set: Keras' own configuration file decides")
    # One that nothing can be trained on is refused where Keras is taken from, with the way out.
    yield Finding("engine", f"{engine} {getattr(importlib.import_module(engine), '__version__', '')}")
    others = [one for one in installed_engines() if one != engine]
    yield Finding("other engines", ", ".join(others) or "none is installed")
    yield Finding("floatx", keras.config.floatx())
