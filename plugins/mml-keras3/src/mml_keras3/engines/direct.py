"""Keras' own layers called directly, for an engine that steps through them at every step.

Around each call of a layer Keras converts, checks, names, and looks for masks, which takes longer than the
layer. For its own plain layers nothing of it changes anything, and `call` gives the same numbers; whatever is
not known to be plain is called the usual way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mml_keras3.batch_norm import BatchNorm
from mml_keras3.framework import keras
from mml_keras3.models import MLP, CNN1d
from mml_keras3.structure import layers_of

Run = Callable[[Any, bool], Any]


def direct_call(model: Any) -> Run:
    """Return ``run(inputs, training)`` for a built model or layer.

    Parameters
    ----------
    model : keras.Layer
    """
    if any(_makes_masks(layer) for layer in layers_of(model)):
        return _usual(model)
    if type(model) in (MLP, CNN1d):
        parts = {id(part): _direct_layer(part) for part in (*model.parts, getattr(model, "head", None))}
        return lambda inputs, training: model.through(inputs, training, lambda part: parts[id(part)])
    chain = _chain(model)
    if chain is not None:
        return _in_turn([_direct_layer(layer) for layer in chain], model)
    return _direct_layer(model)


def layers_that_add_losses(model: Any) -> list[Any]:
    """Return the layers of a model that may add losses of their own when they are called."""
    return [
        layer
        for layer in layers_of(model)
        if not _is_keras_own(layer) or layer.activity_regularizer is not None
    ]


def _chain(model: Any) -> Sequence[Any] | None:
    """Return the layers of a sequence of layers, None where it is more than that."""
    if type(model) is not keras.Sequential or model._functional is None:
        return None
    return list(model.layers)


def _in_turn(runs: Sequence[Run], model: Any) -> Run:
    dtype = model.layers[0].input_dtype

    def run(inputs: Any, training: bool) -> Any:
        if keras.backend.standardize_dtype(inputs.dtype) != dtype:
            # The usual way casts what comes in, and tells in Keras' words what it cannot take.
            return model(inputs, training=training)
        for one in runs:
            inputs = one(inputs, training)
        return inputs

    return run


def _direct_layer(layer: Any) -> Run:
    if layer is None or not _is_plain(layer):
        return _usual(layer)
    if layer._call_has_context_arg.get("training", False):
        return lambda inputs, training: layer.call(inputs, training=training)
    return lambda inputs, training: layer.call(inputs)  # noqa: ARG005 -- one signature for all


def _usual(layer: Any) -> Run:
    return lambda inputs, training: layer(inputs, training=training)


def _is_plain(layer: Any) -> bool:
    """Whether `call` is all that calling the layer does, for an input of its own dtype."""
    return (
        _is_keras_own(layer)
        and layer.built
        and not layer._layers
        and layer.activity_regularizer is None
        and layer.compute_dtype == layer.variable_dtype
        and layer.quantization_mode is None
        and getattr(layer, "_remat_mode", None) is None
    )


def _is_keras_own(layer: Any) -> bool:
    """Whether the class is Keras' or this plugin's, none of which adds losses but by a regularizer."""
    own = (MLP, CNN1d, BatchNorm)
    return type(layer) in own or type(layer).__module__.startswith(("keras.src.layers.", "keras.src.models."))


def _makes_masks(layer: Any) -> bool:
    return type(layer).__name__ == "Masking" or bool(getattr(layer, "mask_zero", False))
