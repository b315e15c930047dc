"""The hooks of the Keras plugin: names only, so that finding the plugin loads no framework."""

from __future__ import annotations

from collections.abc import Iterator

from mml.plugins import Claim, Component, Finding, PluginInfo, hookimpl

_NAME = "keras3"

_DECLARED: dict[str, dict[str, tuple[str, str]]] = {
    "backends": {
        "keras3": (
            "mml_keras3.backend:KerasBackend",
            "Keras 3: gradients, on JAX, TensorFlow or PyTorch, whichever Keras has in this process.",
        ),
    },
    "models": {
        "mlp": ("mml_keras3.models:MLP", "Fully connected layers."),
        "cnn1d": ("mml_keras3.models:CNN1d", "Convolutions along one axis, averaged, then a linear layer."),
    },
}


@hookimpl
def mml_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return PluginInfo(_NAME, api_version=(1, 1), requires=("keras",), install="mml[keras3]")


@hookimpl
def mml_components() -> Iterator[Component]:
    """Declare what the plugin brings; losses and optimizers by name are core's canonical ones."""
    for kind, declared in _DECLARED.items():
        for name, (target, text) in declared.items():
            yield Component(kind, _NAME, name, target, text, backend=_NAME)


@hookimpl
def mml_claims() -> tuple[Claim, ...]:
    """Claim layers, which models are too, and Keras' own losses and optimizers."""
    return (
        Claim("keras.src.layers.layer.Layer", _NAME),
        Claim("keras.src.losses.loss.Loss", _NAME),
        Claim("keras.src.optimizers.base_optimizer.BaseOptimizer", _NAME),
    )


@hookimpl
def mml_health() -> Iterator[Finding]:
    """Tell `mml doctor` how Keras fares here; only this hook imports it."""
    from mml_keras3.health import findings

    return findings()
