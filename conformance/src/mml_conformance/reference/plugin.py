"""The reference backend's hooks: what it brings, by name. Nothing is imported until it is asked for."""

from __future__ import annotations

from collections.abc import Iterator

from mml.plugins import Claim, Component, PluginInfo, hookimpl

NAME = "reference"
_LOSSES = {
    "mse": ("MeanSquaredError", "Mean squared error."),
    "mae": ("MeanAbsoluteError", "Mean absolute error."),
    "huber": ("Huber", "Squared up to delta, linear beyond."),
    "bce_logits": ("BinaryCrossEntropyOfLogits", "Binary cross entropy of logits."),
    "cross_entropy": ("CrossEntropy", "Cross entropy of class logits against class numbers."),
}


@hookimpl
def mml_plugin() -> PluginInfo:
    """Return the plugin's identity."""
    return PluginInfo(NAME, api_version=(1, 1), install="mml-conformance")


@hookimpl
def mml_components() -> Iterator[Component]:
    """Declare the backend, its model and its losses."""
    package = "mml_conformance.reference"
    yield Component(
        "backends", NAME, NAME, f"{package}.backend:ReferenceBackend", "NumPy, by hand; for tests."
    )
    yield Component(
        "models",
        NAME,
        "mlp",
        f"{package}.models:Mlp",
        "Dense layers with a ReLU or tanh between.",
        backend=NAME,
    )
    for name, (attribute, text) in _LOSSES.items():
        yield Component("losses", NAME, name, f"{package}.losses:{attribute}", text, backend=NAME)


@hookimpl
def mml_claims() -> tuple[Claim, ...]:
    """Claim the model's own class."""
    return (Claim("mml_conformance.reference.models.Mlp", backend=NAME),)
