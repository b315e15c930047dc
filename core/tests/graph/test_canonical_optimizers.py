"""The canonical optimizers against loops over Python floats: one step, twenty, tiny gradients, schedules."""

import math

import numpy as np
import pytest

from mml.backends import NumpyOps
from mml.errors import OptimizerError
from mml.graph.optimizers.canonical import Adagrad, Adam, AdamW, RMSprop, Sgd

OPS = NumpyOps()
SIZE = 5


def sgd(p, grads, rates, *, momentum=0.0, nesterov=False, weight_decay=0.0):
    v = 0.0
    for g, lr in zip(grads, rates, strict=True):
        decayed = g + weight_decay * p
        v = momentum * v + decayed
        p -= lr * (decayed + momentum * v) if nesterov else lr * v
    return p


def adam(p, grads, rates, *, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False):
    m = v = 0.0
    for t, (g, lr) in enumerate(zip(grads, rates, strict=True), start=1):
        used = g if decoupled else g + weight_decay * p
        p -= lr * weight_decay * p if decoupled else 0.0
        m = betas[0] * m + (1 - betas[0]) * used
        v = betas[1] * v + (1 - betas[1]) * used * used
        p -= lr * (m / (1 - betas[0] ** t)) / (math.sqrt(v / (1 - betas[1] ** t)) + eps)
    return p


def adamw(p, grads, rates, weight_decay=0.01, **settings):
    return adam(p, grads, rates, weight_decay=weight_decay, decoupled=True, **settings)


def rmsprop(p, grads, rates, *, rho=0.99, eps=1e-8, momentum=0.0):
    v = b = 0.0
    for g, lr in zip(grads, rates, strict=True):
        v = rho * v + (1 - rho) * g * g
        b = momentum * b + g / (math.sqrt(v) + eps)
        p -= lr * b
    return p


def adagrad(p, grads, rates, eps=1e-10):
    s = 0.0
    for g, lr in zip(grads, rates, strict=True):
        s += g * g
        p -= lr * g / (math.sqrt(s) + eps)
    return p


RULES = [
    (Sgd, sgd, {}),
    (Sgd, sgd, {"momentum": 0.9}),
    (Sgd, sgd, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    (Adam, adam, {}),
    (Adam, adam, {"betas": (0.5, 0.9), "weight_decay": 0.1}),
    (AdamW, adamw, {}),
    (AdamW, adamw, {"weight_decay": 0.3}),
    (RMSprop, rmsprop, {}),
    (RMSprop, rmsprop, {"rho": 0.9, "momentum": 0.8}),
    (Adagrad, adagrad, {}),
]

# steps, size of the gradients, learning rates
AXES = {
    "one step": (1, 1.0, lambda t: 0.1),
    "twenty steps": (20, 1.0, lambda t: 0.1),
    "tiny gradients": (20, 1e-6, lambda t: 0.1),
    "changing rate": (20, 1.0, lambda t: 0.1 / (1 + t) ** 2),
}


def run(rule, start, gradients, rates, dtype):
    variable = start.astype(dtype)
    slots = {name: np.zeros(SIZE, dtype) for name in rule.slot_names}
    for step, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), start=1):
        variable, slots = rule.update(OPS, variable, gradient.astype(dtype), slots, rate=rate, step=step)
        assert set(slots) == set(rule.slot_names)
    return variable


@pytest.mark.parametrize(("rule", "oracle", "settings"), RULES)
@pytest.mark.parametrize("axis", list(AXES))
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_each_rule_follows_its_oracle(rule, oracle, settings, axis, dtype):
    tolerance = {"float64": 1e-12, "float32": 3e-6}[dtype]
    steps, size, schedule = AXES[axis]
    draw = np.random.default_rng(3)
    start, gradients = draw.normal(size=SIZE), draw.normal(size=(steps, SIZE)) * size
    rates = [schedule(step) for step in range(steps)]
    expected = np.array(
        [oracle(p, list(g), rates, **settings) for p, g in zip(start, gradients.T, strict=True)]
    )
    seen = run(rule(**settings), start, gradients, rates, dtype)
    assert seen.dtype == dtype
    moved = np.abs(expected - start).max()
    assert moved > 0
    np.testing.assert_allclose(seen, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("rule", "oracle", "settings"), RULES)
def test_tiny_gradients_are_judged_by_the_distance_moved(rule, oracle, settings):
    draw = np.random.default_rng(4)
    gradients = draw.normal(size=(5, SIZE)) * 1e-6
    expected = np.array([oracle(0.0, list(g), [0.1] * 5, **settings) for g in gradients.T])
    seen = run(rule(**settings), np.zeros(SIZE), gradients, [0.1] * 5, "float32")
    np.testing.assert_allclose(seen, expected, rtol=1e-5)


@pytest.mark.parametrize(("rule", "oracle", "settings"), RULES)
def test_a_rule_changes_nothing_that_it_is_given(rule, oracle, settings):
    made = rule(**settings)
    variable, gradient = np.ones(SIZE), np.full(SIZE, 0.5)
    slots = {name: np.zeros(SIZE) for name in made.slot_names}
    made.update(OPS, variable, gradient, slots, rate=0.1, step=1)
    assert (variable == 1).all()
    assert (gradient == 0.5).all()
    assert all((slot == 0).all() for slot in slots.values())


def test_the_first_correction_is_exact_in_float64():
    numbers = Adam().coefficients(rate=1e-3, step=100_000)
    assert numbers["rate"] == 1e-3 / (1 - 0.9**100_000)
    assert numbers["root"] == 1 / math.sqrt(1 - 0.999**100_000)


@pytest.mark.parametrize("rule", [Sgd, Adam, AdamW, RMSprop, Adagrad])
def test_every_rule_has_a_default_rate(rule):
    assert 0 < rule.default_rate < 1


@pytest.mark.parametrize(
    ("rule", "settings", "message"),
    [
        (Sgd, {"momentum": 1.0}, "momentum: a number of at least 0 and below 1"),
        (Sgd, {"momentum": True}, "momentum"),
        (Sgd, {"nesterov": True}, "needs a momentum"),
        (Sgd, {"nesterov": 1, "momentum": 0.5}, "True or False"),
        (Sgd, {"weight_decay": -0.1}, "weight_decay: a number of at least 0"),
        (Adam, {"betas": (0.9, 1.0)}, r"betas\[1\]: a number of at least 0 and below 1"),
        (Adam, {"betas": 0.9}, "two numbers"),
        (Adam, {"eps": 0.0}, "eps: a number above 0"),
        (AdamW, {"eps": "small"}, "eps"),
        (AdamW, {"weight_decay": float("nan")}, "weight_decay"),
        (RMSprop, {"rho": -0.1}, "rho"),
        (RMSprop, {"momentum": float("inf")}, "momentum"),
        (Adagrad, {"eps": -1}, "eps"),
    ],
)
def test_bad_settings_name_the_argument_and_its_range(rule, settings, message):
    with pytest.raises(OptimizerError, match=message):
        rule(**settings)


def test_settings_from_a_file_make_an_equal_rule():
    assert Adam(betas=[0.9, 0.99]) == Adam(betas=(0.9, 0.99))
