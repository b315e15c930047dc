"""Named optimizers against float64 recurrences on four axes; counts, fallbacks, slots."""

from typing import Any

import numpy as np
import pytest
import torch

from mml.errors import OptimizerError, StateError
from mml.plugins import registry
from mml_torch import optimizers
from mml_torch.optimizers import Adagrad, Adam, AdamW, RMSprop, Sgd
from mml_torch.slots import fresh_slots, make_native

RULES = {
    "sgd": Sgd(),
    "sgd momentum": Sgd(momentum=0.9, weight_decay=0.1),
    "sgd nesterov": Sgd(momentum=0.9, nesterov=True, weight_decay=0.1),
    "adam": Adam(),
    "adam l2": Adam(betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1),
    "adamw": AdamW(weight_decay=0.1),
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
@pytest.mark.parametrize("kernels", ["fused", "foreach"])
def test_updates_follow_the_canonical_formula(
    monkeypatch: Any, kernels: str, name: str, axis: str, dtype: str
) -> None:
    if kernels == "foreach":
        monkeypatch.setattr(optimizers, "_is_fusable", lambda *_: False)
    rule, (steps, scale, rate) = RULES[name], AXES[axis]
    rng = np.random.default_rng(3)
    shapes = [(5, 3), (7,), ()]
    start = [rng.normal(size=shape) for shape in shapes]
    gradients = [[rng.normal(size=shape) * scale for shape in shapes] for _ in range(steps)]
    rates = [rate(t) for t in range(steps)]
    params = [torch.tensor(one, dtype=getattr(torch, dtype)) for one in start]
    slots = [dict(fresh_slots(rule.slot_names, one)) for one in params]
    update = rule.bind(params, slots)
    for step in range(steps):
        update([torch.tensor(one, dtype=params[0].dtype) for one in gradients[step]], rates[step])
    tolerance = {"rtol": 1e-9, "atol": 1e-12} if dtype == "float64" else {"rtol": 2e-5, "atol": 2e-6}
    for index, param in enumerate(params):
        expected = oracle(rule, start[index], [one[index] for one in gradients], rates)
        moved, wanted = param.double().numpy() - start[index], expected - start[index]
        np.testing.assert_allclose(moved, wanted, **tolerance)
        assert float(slots[index]["step"]) == steps


def test_the_fused_kernels_are_there() -> None:
    # The fallback is correct but slower; its use here would be a change of the framework to know of.
    assert all(
        optimizers._is_fusable(kernel, "cpu", torch.float32) for kernel in ("_fused_adam_", "_fused_adamw_")
    )


def test_a_missing_or_changed_kernel_is_noticed(monkeypatch: Any) -> None:
    is_fusable = optimizers._is_fusable.__wrapped__
    assert not is_fusable("_fused_nothing_", "cpu", torch.float32)
    monkeypatch.setattr(torch, "_fused_adam_", lambda *_, **__: None)
    assert not is_fusable("_fused_adam_", "cpu", torch.float32)
    assert not is_fusable("_fused_adamw_", "cpu", torch.complex64)


@pytest.mark.parametrize("name", RULES)
def test_parameters_of_several_dtypes_are_updated_each_in_its_own(name: str) -> None:
    rule = RULES[name]
    params = [torch.ones(3, dtype=dtype) for dtype in (torch.float32, torch.float64, torch.float32)]
    slots = [dict(fresh_slots(rule.slot_names, one)) for one in params]
    rule.bind(params, slots)([torch.full_like(one, 0.5) for one in params], 0.1)
    expected = oracle(rule, np.ones(3), [np.full(3, 0.5)], [0.1])
    assert [one.dtype for one in params] == [torch.float32, torch.float64, torch.float32]
    for one in params:
        np.testing.assert_allclose(one, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("kernels", ["fused", "foreach"])
def test_a_parameter_released_late_counts_its_own_steps(monkeypatch: Any, kernels: str) -> None:
    if kernels == "foreach":
        monkeypatch.setattr(optimizers, "_is_fusable", lambda *_: False)
    rule = Adam()
    params = [torch.ones(3, dtype=torch.float64), torch.ones(5, dtype=torch.float64)]
    slots = [dict(fresh_slots(rule.slot_names, one)) for one in params]
    early = rule.bind(params[:1], slots[:1])
    for _ in range(4):
        early([torch.full_like(params[0], 0.3)], 0.1)
    both = rule.bind(params, slots)
    for _ in range(2):
        both([torch.full_like(one, 0.3) for one in params], 0.1)
    rule.bind(params[1:], slots[1:])([torch.full_like(params[1], 0.3)], 0.1)
    assert [float(held["step"]) for held in slots] == [6.0, 3.0]
    for param, steps in zip(params, (6, 3), strict=True):
        expected = oracle(rule, np.ones(param.shape), [np.full(param.shape, 0.3)] * steps, [0.1] * steps)
        np.testing.assert_allclose(param, expected, rtol=1e-12)


def test_slots_go_from_fused_to_foreach_and_back(monkeypatch: Any) -> None:
    rule, param = Adam(), torch.ones(3, dtype=torch.float64)
    slots = [dict(fresh_slots(rule.slot_names, param))]
    for fusable in (True, False, True):
        monkeypatch.setattr(optimizers, "_is_fusable", lambda *_, fusable=fusable: fusable)
        rule.bind([param], slots)([torch.full_like(param, 0.3)], 0.1)
    np.testing.assert_allclose(param, oracle(rule, np.ones(3), [np.full(3, 0.3)] * 3, [0.1] * 3), rtol=1e-12)


def test_a_slot_that_does_not_fit_is_named() -> None:
    variable = torch.ones(3)
    for slots in (
        {"step": 1},
        {"step": 1, "velocity": np.ones(5, dtype="float32")},
        {"velocity": np.ones(3, dtype="float32")},
    ):
        with pytest.raises(StateError, match="net/weight"):
            make_native(slots, ("velocity",), variable, label="net/weight")


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "rmsprop", "adagrad"])
def test_names_resolve_to_these_rules_with_cores_defaults(name: str) -> None:
    rule = registry("optimizers").load(name, backend="torch")
    assert rule.__module__ == "mml_torch.optimizers"
    assert rule().default_rate == registry("optimizers").load(f"mml/{name}")().default_rate
    with pytest.raises(OptimizerError, match=r"eps|momentum"):
        rule(**({"momentum": -1.0} if name == "sgd" else {"eps": -1.0}))
