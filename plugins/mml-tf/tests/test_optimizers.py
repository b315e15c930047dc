"""Named optimizers against float64 recurrences on four axes; clipping, groups of several dtypes, refusals."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from mml.backends import get_backend
from mml.errors import OptimizerError
from mml.graph.optimizers.canonical import Adagrad, Adam, AdamW, RMSprop, Sgd
from mml.graph.optimizers.optimizer import Optimizer
from mml.plugins import registry
from mml_tf import optimizers

RULES = {
    "sgd": Sgd(),
    "sgd momentum": Sgd(momentum=0.9, weight_decay=0.1),
    "sgd nesterov": Sgd(momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": Adam(),
    "adam l2": Adam(betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
    "adamw": AdamW(weight_decay=0.1),
    "adamw without decay": AdamW(weight_decay=0.0),
    "rmsprop": RMSprop(),
    "rmsprop momentum": RMSprop(rho=0.9, momentum=0.8),
    "adagrad": Adagrad(),
}


def oracle(rule: Any, p: np.ndarray, gradients: list[np.ndarray], rates: list[float]) -> np.ndarray:
    """The recurrences of the canonical formulas, written out once more."""
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, (gradient, lr) in enumerate(zip(gradients, rates, strict=True), start=1):
        g = gradient
        if isinstance(rule, AdamW):
            p = p - lr * rule.weight_decay * p
        elif getattr(rule, "weight_decay", 0):
            g = g + rule.weight_decay * p
        if isinstance(rule, Sgd):
            m = rule.momentum * m + g
            p = p - lr * (g + rule.momentum * m if rule.nesterov else m)
        elif isinstance(rule, Adam | AdamW):
            first, second = rule.betas
            m, v = first * m + (1 - first) * g, second * v + (1 - second) * g * g
            p = p - lr * (m / (1 - first**t)) / (np.sqrt(v / (1 - second**t)) + rule.eps)
        elif isinstance(rule, RMSprop):
            v = rule.rho * v + (1 - rule.rho) * g * g
            m = rule.momentum * m + g / (np.sqrt(v) + rule.eps)
            p = p - lr * m
        else:
            v = v + g * g
            p = p - lr * g / (np.sqrt(v) + rule.eps)
    return p


AXES = {
    "one step": (1, 1.0, lambda t: 0.1),
    "twenty steps": (20, 1.0, lambda t: 0.1),
    "small gradients": (20, 1e-6, lambda t: 0.1),
    "changing rate": (20, 1.0, lambda t: 0.2 * 0.7**t + 0.01 * (t % 3)),
}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", RULES)
def test_updates_follow_the_canonical_formula(name: str, axis: str, dtype: str) -> None:
    rule, (steps, scale, rate) = RULES[name], AXES[axis]
    rng = np.random.default_rng(3)
    shapes = [(5, 3), (7,), ()]
    start = [rng.normal(size=shape) for shape in shapes]
    gradients = [[rng.normal(size=shape) * scale for shape in shapes] for _ in range(steps)]
    rates = [rate(t) for t in range(steps)]
    variables = [tf.Variable(tf.constant(one, dtype)) for one in start]
    slots = {slot: tf.zeros([23], dtype) for slot in rule.slot_names}
    table = optimizers.coefficients(rule, rates, list(range(1, steps + 1)))
    names = optimizers.coefficient_names(rule)
    for step in range(steps):
        numbers = {name: tf.constant(value, dtype) for name, value in zip(names, table[step], strict=True)}
        gradient = optimizers.flat([tf.constant(one, dtype) for one in gradients[step]])
        slots = optimizers.apply_flat(rule, variables, gradient, slots, numbers)
    tolerance = {"rtol": 1e-9, "atol": 1e-12} if dtype == "float64" else {"rtol": 2e-5, "atol": 2e-6}
    for index, variable in enumerate(variables):
        expected = oracle(rule, start[index], [one[index] for one in gradients], rates)
        moved, wanted = variable.numpy().astype(float) - start[index], expected - start[index]
        np.testing.assert_allclose(moved, wanted, **tolerance)


def test_steps_without_an_update_have_no_coefficients() -> None:
    table = optimizers.coefficients(Adam(), [0.1, 0.1, 0.1], [0, 3, 0])
    assert (table[[0, 2]] == 0).all()
    assert table[1].tolist() == list(Adam().coefficients(rate=0.1, step=3).values())


def test_clipping_cuts_elements_first_and_the_norm_over_all_groups() -> None:
    gradients = [np.array([3.0, -0.5]), np.array([0.2, 4.0, -9.0])]
    cut = [np.clip(one, -1, 1) for one in gradients]
    norm = np.sqrt(sum((one**2).sum() for one in cut))
    found = optimizers.clipped([tf.constant(one) for one in gradients], clip_value=1.0, clip_norm=0.5)
    for one, expected in zip(found, cut, strict=True):
        np.testing.assert_allclose(one, expected * 0.5 / (norm + 1e-6), rtol=1e-12)
    kept = optimizers.clipped(
        [tf.constant([0.1]), tf.constant([0.1], tf.float64)], clip_value=None, clip_norm=9.0
    )
    assert [one.dtype for one in kept] == [tf.float32, tf.float64]
    np.testing.assert_allclose([float(one[0]) for one in kept], 0.1, rtol=1e-7)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "rmsprop", "adagrad"])
def test_names_resolve_to_cores_rules(name: str) -> None:
    rule = registry("optimizers").load(name, backend="tensorflow")
    assert rule is registry("optimizers").load(f"mml/{name}")
    with pytest.raises(OptimizerError, match=r"eps|momentum"):
        rule(**({"momentum": -1.0} if name == "sgd" else {"eps": -1.0}))


def test_parameters_of_several_dtypes_are_updated_each_in_its_own(lab: Any) -> None:
    from mml_tf.losses import MeanSquaredError

    class Mixed(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide, self.narrow = lab.linear(3, 5, dtype="float64"), lab.linear(5, 1)

        def __call__(self, inputs: Any) -> Any:
            return self.narrow(tf.cast(self.wide(tf.cast(inputs, tf.float64)), tf.float32))

    x, y = lab.data(3)
    net, store = Mixed(), lab.store()
    before = [one.numpy() for one in net.variables]
    lab.train(lab.wrapped(net), Adam(), x, y, loss=MeanSquaredError(), store=store, clip_norm=1.0)
    for old, one in zip(before, net.variables, strict=True):
        assert one.dtype == old.dtype
        assert (one.numpy() != old).all()
    assert {held["step"] for held in store.slots.values()} == {3}


@pytest.mark.parametrize("cls", [tf.keras.optimizers.Adam, tf.keras.optimizers.SGD, tf.keras.optimizers.Lion])
def test_optimizers_of_keras_are_refused_with_the_mend(cls: Any) -> None:
    with pytest.raises(
        OptimizerError, match=rf"(?s)'{cls.__name__}'.*registered name.*mml\[keras3\]"
    ) as caught:
        Optimizer(cls, learning_rate=0.1).resolve(get_backend("tensorflow"))
    nearest = {"Adam": "'adam'", "SGD": "'sgd'", "Lion": "'adam'"}[cls.__name__]
    assert nearest in caught.value.hint


def test_an_optimizer_of_another_backend_is_refused() -> None:
    other = Optimizer("reference/adam") if "reference/adam" in registry("optimizers").names() else None
    with pytest.raises(OptimizerError, match=r"numpy|reference"):
        (other or Optimizer("adam", backend="numpy")).resolve(get_backend("tensorflow"))
