"""The engine of this process: the one that Keras was loaded with."""

from __future__ import annotations

from functools import cache
from importlib import import_module

from mml_keras3.engines.engine import Engine
from mml_keras3.framework import ENGINE


@cache
def engine() -> Engine:
    """Return the engine, made at the first call."""
    found: Engine = import_module(f"mml_keras3.engines.{ENGINE}").make_engine()
    return found
