"""Keras' own optimizer classes in the form of a rule, with the meaning that Keras gave them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mml.errors import OptimizerError


class FrameworkOptimizer:
    """An optimizer class of Keras."""

    def __init__(self, factory: Any, kwargs: Mapping[str, Any]) -> None:
        raise OptimizerError("not yet", found=f"{factory}, {kwargs}")
