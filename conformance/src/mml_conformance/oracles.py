"""Losses and optimizers in float64, written again from the specification, independent of core's formulas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Array = np.ndarray


def sigmoid(x: Array) -> Array:
    """Logistic function."""
    return np.exp(-np.logaddexp(0.0, -x))


def bce_logits(x: Array, t: Array) -> Array:
    """-t·log σ(x) - (1 - t)·log(1 - σ(x)), with both logarithms taken exactly."""
    return t * np.logaddexp(0.0, -x) + (1.0 - t) * np.logaddexp(0.0, x)


def cross_entropy(x: Array, t: Array) -> Array:
    """Log of the sum of exponentials, minus the target's logit."""
    return np.logaddexp.reduce(x, axis=1) - x[np.arange(len(x)), t.reshape(-1)]


def _elements(function: Callable[[Array, Array], Array]) -> Callable[[Array, Array], Array]:
    return lambda outputs, targets: function(outputs, targets).reshape(len(outputs), -1).mean(axis=1)


LOSSES: dict[str, Callable[[Array, Array], Array]] = {
    "mse": _elements(lambda o, t: (o - t) ** 2),
    "mae": _elements(lambda o, t: np.abs(o - t)),
    "huber": _elements(lambda o, t: np.where(np.abs(o - t) <= 1, (o - t) ** 2 / 2, np.abs(o - t) - 0.5)),
    "bce_logits": _elements(bce_logits),
    "cross_entropy": cross_entropy,
}
"""By name: outputs and targets in float64 to one value a row."""


def sgd(
    p: Array, gradients: Sequence[Array], rates: Sequence[float], *, momentum: float = 0.0, **settings: Any
) -> Array:
    """Step by gradient descent; `nesterov` and `weight_decay` in `settings`."""
    velocity = np.zeros_like(p)
    for gradient, rate in zip(gradients, rates, strict=True):
        g = gradient + settings.get("weight_decay", 0.0) * p
        velocity = momentum * velocity + g
        p = p - rate * (g + momentum * velocity if settings.get("nesterov") else velocity)
    return p


def adam(
    p: Array,
    gradients: Sequence[Array],
    rates: Sequence[float],
    *,
    weight_decay: float = 0.0,
    **settings: Any,
) -> Array:
    """Step by Adam; `betas`, `eps` and `decoupled` in `settings`."""
    b1, b2 = settings.get("betas", (0.9, 0.999))
    m, v = np.zeros_like(p), np.zeros_like(p)
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        g = gradient
        if settings.get("decoupled"):
            p = p - rate * weight_decay * p
        else:
            g = gradient + weight_decay * p
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g * g
        m_hat, v_hat = m / (1 - b1**step), v / (1 - b2**step)
        p = p - rate * m_hat / (np.sqrt(v_hat) + settings.get("eps", 1e-8))
    return p


def adamw(
    p: Array,
    gradients: Sequence[Array],
    rates: Sequence[float],
    *,
    weight_decay: float = 0.01,
    **settings: Any,
) -> Array:
    """Step by Adam with decoupled decay."""
    return adam(p, gradients, rates, weight_decay=weight_decay, decoupled=True, **settings)


def rmsprop(
    p: Array, gradients: Sequence[Array], rates: Sequence[float], *, rho: float = 0.99, **settings: Any
) -> Array:
    """Step by RMSprop; `eps` and `momentum` in `settings`."""
    v, b = np.zeros_like(p), np.zeros_like(p)
    for g, rate in zip(gradients, rates, strict=True):
        v = rho * v + (1 - rho) * g * g
        b = settings.get("momentum", 0.0) * b + g / (np.sqrt(v) + settings.get("eps", 1e-8))
        p = p - rate * b
    return p


def adagrad(p: Array, gradients: Sequence[Array], rates: Sequence[float], *, eps: float = 1e-10) -> Array:
    """Step by Adagrad."""
    s = np.zeros_like(p)
    for g, rate in zip(gradients, rates, strict=True):
        s = s + g * g
        p = p - rate * g / (np.sqrt(s) + eps)
    return p


OPTIMIZERS: dict[str, Callable[..., Array]] = {
    "sgd": sgd,
    "adam": adam,
    "adamw": adamw,
    "rmsprop": rmsprop,
    "adagrad": adagrad,
}
