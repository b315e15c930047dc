"""The hooks of the PyTorch plugin: names only, so that finding the plugin loads no framework."""

from __future__ import annotations

from collections.abc import Iterator

from mml.plugins import Claim, Component, Finding, PluginInfo, hookimpl

_NAME = "torch"

_DECLARED: dict[str, dict[str, tuple[str, str]]] = {
    "backends": {
        "torch": ("mml_torch.backend:TorchBackend", "PyTorch: gradients, on CPU and CUDA."),
    },
    "models": {
        "mlp": ("mml_torch.models:MLP", "Fully connected layers."),
        "cnn1d": ("mml_torch.models:CNN1d", "Convolutions along one axis, averaged, then a linear layer."),
    },
    "losses": {
        "mse": ("mml_torch.losses:MeanSquaredError", "Mean squared error."),
        "mae": ("mml_torch.losses:MeanAbsoluteError", "Mean absolute error."),
        "huber": ("mml_torch.losses:Huber", "Squared near zero, absolute beyond."),
        "bce": ("mml_torch.losses:BinaryCrossEntropy", "Binary cross-entropy of probabilities."),
        "bce_logits": ("mml_torch.losses:BinaryCrossEntropyLogits", "Binary cross-entropy of logits."),
        "cross_entropy": ("mml_torch.losses:CrossEntropy", "Cross-entropy of logits over classes."),
        "nll": ("mml_torch.losses:NegativeLogLikelihood", "Negative log likelihood of log probabilities."),
    },
    "optimizers": {
        "sgd": ("mml_torch.optimizers:Sgd", "Gradient descent with momentum or nesterov."),
        "adam": ("mml_torch.optimizers:Adam", "Adam, fused; weight decay as L2."),
        "adamw": ("mml_torch.optimizers:AdamW", "Adam, fused, with decoupled weight decay."),
        "rmsprop": ("mml_torch.optimizers:RMSprop", "Steps divided by a running root mean square."),
        "adagrad": ("mml_torch.optimizers:Adagrad", "Steps divided by the root of all squares."),
    },
}


@hookimpl
def mml_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return PluginInfo(_NAME, api_version=(1, 1), requires=("torch",), install="mml[torch]")


@hookimpl
def mml_components() -> Iterator[Component]:
    """Declare what the plugin brings."""
    for kind, declared in _DECLARED.items():
        for name, (target, text) in declared.items():
            yield Component(kind, _NAME, name, target, text, backend=_NAME)


@hookimpl
def mml_claims() -> tuple[Claim, ...]:
    """Claim modules, which losses are too, and optimizers."""
    return (
        Claim("torch.nn.modules.module.Module", _NAME),
        Claim("torch.optim.optimizer.Optimizer", _NAME),
    )


@hookimpl
def mml_health() -> Iterator[Finding]:
    """Tell `mml doctor` how PyTorch fares here; only this hook imports it."""
    from mml_torch.health import findings

    return findings()
