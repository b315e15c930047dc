"""Keras objects on TensorFlow, told by their classes: models, layers, losses.

`tf.keras` is Keras 3, whose engine is fixed for the process. Under another engine its objects hold no
variables of TensorFlow, and are refused by name. Nothing here imports Keras: who has none never needs it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from mml.errors import ModelError

_LAYER = ("keras.src.layers.layer", "Layer")
_LOSS = ("keras.src.losses.loss", "Loss")
_ENGINE = "tensorflow"


def is_layer(value: Any) -> bool:
    """Whether it is a model or layer of Keras."""
    return _is_a(type(value), _LAYER)


def is_layer_class(value: Any) -> bool:
    """Whether it is a class of models or layers of Keras."""
    return isinstance(value, type) and _is_a(value, _LAYER)


def is_loss(value: Any) -> bool:
    """Whether it is a loss object of Keras."""
    return _is_a(type(value), _LOSS)


def require_engine(what: Any, *, where: dict[str, Any] | None = None) -> None:
    """Refuse an object of Keras where Keras computes with something else than TensorFlow.

    Raises
    ------
    ModelError
        Saying which environment variable decides, and what brings the other engine's backend.
    """
    engine = sys.modules["keras"].config.backend() if "keras" in sys.modules else _ENGINE
    if engine != _ENGINE:
        name = what.__qualname__ if isinstance(what, type) else type(what).__qualname__
        raise ModelError(
            "tf.keras follows the engine of Keras, and that is not TensorFlow in this process.",
            where=where,
            expected=f"KERAS_BACKEND={_ENGINE}, set before Keras is imported",
            found=f"{name} on the engine {engine!r}",
            hint='Set KERAS_BACKEND=tensorflow and start anew, or pip install "mml[keras3]".',
        )


def refuse_added_losses(layer: Any, *, where: dict[str, Any] | None = None) -> None:
    """Refuse a layer that adds losses of its own: a graph trains on the losses that are applied to it.

    Raises
    ------
    ModelError
        Naming the layers, and what takes their place.
    """
    found = [one for one in layer._flatten_layers() if one.losses]
    if found:
        raise ModelError(
            "A layer adds losses of its own, as regularizers do, and a graph would leave them out.",
            where=where,
            found=", ".join(dict.fromkeys(f"{one.name!r} ({type(one).__name__})" for one in found)),
            hint="Use weight_decay of an optimizer, or an AppliedLoss, instead.",
        )


def named_variables(layer: Any) -> Iterator[tuple[str, Any, str]]:
    """Yield name, variable and role of everything in a layer, named by position.

    Keras' own names count the layers made so far in the process.
    """
    seeds = {id(one.state) for one in seed_generators(layer)}
    metrics = {id(one) for one in getattr(layer, "metrics_variables", ())}
    kept = [one for one in layer.variables if id(one) not in metrics]
    for number, variable in enumerate(kept):
        role = "param" if variable.trainable else "random" if id(variable) in seeds else "buffer"
        yield f"{number}.{variable.name}", variable, role


def seed_generators(layer: Any) -> list[Any]:
    """Return the seed generators of a layer and the layers inside it."""
    layers = layer._flatten_layers() if hasattr(layer, "_flatten_layers") else [layer]
    return [one for part in layers for one in getattr(part, "_seed_generators", ())]


def _is_a(cls: type, wanted: tuple[str, str]) -> bool:
    return any((base.__module__, base.__qualname__) == wanted for base in cls.__mro__)
