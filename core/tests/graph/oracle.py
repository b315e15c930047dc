"""A second, independent trainer in float64, written down by hand: what a step of MML must come to.

It knows dense layers with ReLU between, squared error, SGD and Adam, and nothing of MML.
"""

from __future__ import annotations

import numpy as np


class Net:
    """Dense layers with ReLU between, from the values ``layers.<n>.weight`` and ``layers.<n>.bias``."""

    def __init__(self, values):
        count = len(values) // 2
        self.p = {name: np.array(value, dtype=np.float64) for name, value in values.items()}
        self.names = [f"layers.{number}" for number in range(count)]

    def forward(self, x):
        self.seen = []
        for number, name in enumerate(self.names):
            z = x @ self.p[f"{name}.weight"] + self.p[f"{name}.bias"]
            self.seen.append((x, z))
            x = np.maximum(z, 0) if number < len(self.names) - 1 else z
        return x

    def backward(self, slope):
        """Return the slope at the input and the gradients."""
        found = {}
        for number in reversed(range(len(self.names))):
            x, z = self.seen[number]
            if number < len(self.names) - 1:
                slope = slope * (z > 0)
            found[f"{self.names[number]}.weight"] = x.T @ slope
            found[f"{self.names[number]}.bias"] = slope.sum(0)
            slope = slope @ self.p[f"{self.names[number]}.weight"].T
        return slope, found


def mse(o, t, w=None):
    """Return Σ w ℓ / n and its slope at the outputs, ℓ the mean over a row's elements."""
    n, k = o.shape
    w = np.ones(n) if w is None else w
    return float((w[:, None] * (o - t) ** 2).sum() / (n * k)), 2 * w[:, None] * (o - t) / (n * k)


class Sgd:
    def __init__(self, lr=0.01, momentum=0.0):
        self.lr, self.momentum, self.v = lr, momentum, {}

    def step(self, net, grads, prefix="", rate=None):
        for name, g in grads.items():
            key = prefix + name
            self.v[key] = self.momentum * self.v.get(key, 0.0) + g
            net.p[name] = net.p[name] - (self.lr if rate is None else rate) * self.v[key]


class Adam:
    def __init__(self, lr=0.001, betas=(0.9, 0.999), eps=1e-8):
        self.lr, self.b, self.eps, self.m, self.v, self.t = lr, betas, eps, {}, {}, {}

    def step(self, net, grads, prefix="", rate=None):
        for name, g in grads.items():
            key = prefix + name
            t = self.t[key] = self.t.get(key, 0) + 1
            m = self.m[key] = self.b[0] * self.m.get(key, 0.0) + (1 - self.b[0]) * g
            v = self.v[key] = self.b[1] * self.v.get(key, 0.0) + (1 - self.b[1]) * g * g
            m_hat, v_hat = m / (1 - self.b[0] ** t), v / (1 - self.b[1] ** t)
            net.p[name] = net.p[name] - (self.lr if rate is None else rate) * m_hat / (
                np.sqrt(v_hat) + self.eps
            )


def close(graph_values, net, tolerance=2e-5):
    """Whether float32 values are the net's, to rounding."""
    assert set(graph_values) == set(net.p)
    for name, value in graph_values.items():
        np.testing.assert_allclose(value, net.p[name], rtol=tolerance, atol=tolerance, err_msg=name)
    return True
