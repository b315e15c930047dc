"""Keras' own layers called directly, for an engine that steps through them at every step.

Around each call of a layer Keras converts, checks, names, and looks for masks, which takes longer than the
layer. For its own plain layers nothing of it changes anything, and `call` gives the same numbers; whatever is
not known to be plain is called the usual way.
"""

from __future__ import annotations

from collections.abc import Callable
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
    return _direct(model)


def _direct(model: Any) -> Run:
    if type(model) in (MLP, CNN1d):
        parts = {id(part): _direct_layer(part) for part in (*model.parts, getattr(model, "head", None))}
        return lambda inputs, training: model.through(inputs, training, lambda part: parts[id(part)])
    graph = model._functional if type(model) is keras.Sequential else model
    if type(graph).__name__ == "Functional" and len(graph.inputs) == len(graph.outputs) == 1:
        return _through_graph(graph, model)
    return _direct_layer(model)


def _through_graph(graph: Any, model: Any) -> Run:
    """Return what runs a functional model node by node."""
    nodes = [
        node
        for depth in sorted(graph._nodes_by_depth, reverse=True)
        for node in graph._nodes_by_depth[depth]
        if node.operation is not None and not node.is_input
    ]
    if any(len(node.outputs) > 1 for node in nodes):
        return _usual(model)
    runs = [(node, _run_of_node(node), id(node.outputs[0])) for node in nodes]
    source, target = graph.inputs[0], id(graph.outputs[0])
    dtype, rank = keras.backend.standardize_dtype(source.dtype), len(source.shape)

    def run(inputs: Any, training: bool) -> Any:
        if keras.backend.standardize_dtype(inputs.dtype) != dtype or len(inputs.shape) != rank:
            # The usual way casts what comes in, and tells in Keras' words what it cannot take.
            return model(inputs, training=training)
        known = {id(source): inputs}
        for node, run_node, output in runs:
            args, kwargs = node.arguments.fill_in(known)
            known[output] = run_node(args, kwargs, training)
        return known[target]

    return run


def _run_of_node(node: Any) -> Callable[[tuple[Any, ...], dict[str, Any], bool], Any]:
    """Return what runs one node on its arguments; whether it trains is decided anew at each call."""
    operation, arguments = node.operation, node.arguments
    told = {name for name, value in arguments.kwargs.items() if value is not None and name != "training"}
    if isinstance(operation, keras.Layer) and len(arguments.args) == 1 and not told:
        run = _direct(operation)
        return lambda args, kwargs, training: run(args[0], training)  # noqa: ARG005 -- one signature for both
    if "training" in getattr(operation, "_call_context_args", ()):
        return lambda args, kwargs, training: operation(*args, **{**kwargs, "training": training})
    return lambda args, kwargs, training: operation(*args, **kwargs)  # noqa: ARG005 -- one signature for both


def layers_that_add_losses(model: Any) -> list[Any]:
    """Return the layers of a model that may add losses of their own when they are called."""
    return [
        layer
        for layer in layers_of(model)
        if not _is_keras_own(layer) or layer.activity_regularizer is not None
    ]


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
