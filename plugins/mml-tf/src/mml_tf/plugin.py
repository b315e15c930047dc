"""The hooks of the TensorFlow plugin: names only, so that finding the plugin loads no framework."""

from __future__ import annotations

from collections.abc import Iterator

from mml.plugins import Claim, Component, Finding, PluginInfo, hookimpl

_NAME = "tensorflow"
_RULES = "mml.graph.optimizers.canonical"

_DECLARED: dict[str, dict[str, tuple[str, str]]] = {
    "backends": {
        "tensorflow": ("mml_tf.backend:TensorflowBackend", "TensorFlow: gradients, one function a segment."),
    },
    "models": {
        "mlp": ("mml_tf.models:MLP", "Fully connected layers."),
        "cnn1d": ("mml_tf.models:CNN1d", "Convolutions along one axis, averaged, then a linear layer."),
    },
    "losses": {
        "mse": ("mml_tf.losses:MeanSquaredError", "Mean squared error."),
        "mae": ("mml_tf.losses:MeanAbsoluteError", "Mean absolute error."),
        "bce_logits": ("mml_tf.losses:BinaryCrossEntropyLogits", "Binary cross-entropy of logits."),
        "cross_entropy": ("mml_tf.losses:CrossEntropy", "Cross-entropy of logits over classes."),
    },
    # Core's own formulas, which the program of this backend applies to all parameters of a node at once.
    "optimizers": {
        "sgd": (f"{_RULES}:Sgd", "Gradient descent with momentum or nesterov."),
        "adam": (f"{_RULES}:Adam", "Adam; weight decay as L2."),
        "adamw": (f"{_RULES}:AdamW", "Adam with decoupled weight decay."),
        "rmsprop": (f"{_RULES}:RMSprop", "Steps divided by a running root mean square."),
        "adagrad": (f"{_RULES}:Adagrad", "Steps divided by the root of all squares."),
    },
}


@hookimpl
def mml_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return PluginInfo(_NAME, api_version=(1, 1), requires=("tensorflow", "keras"), install="mml[tf]")


@hookimpl
def mml_components() -> Iterator[Component]:
    """Declare what the plugin brings."""
    for kind, declared in _DECLARED.items():
        for name, (target, text) in declared.items():
            yield Component(kind, _NAME, name, target, text, backend=_NAME)


@hookimpl
def mml_claims() -> tuple[Claim, ...]:
    """Claim modules; objects of Keras, which are no modules, only where nobody else does."""
    return (
        Claim("tensorflow.python.module.module.Module", _NAME),
        Claim("keras.src.layers.layer.Layer", _NAME, priority=-1),
        Claim("keras.src.losses.loss.Loss", _NAME, priority=-1),
    )


@hookimpl
def mml_health() -> Iterator[Finding]:
    """Tell `mml doctor` how TensorFlow fares here; only this hook imports it."""
    from mml_tf.health import findings

    return findings()
