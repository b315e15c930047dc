"""Raw optimizer classes: the framework's own numbers, in core's slots."""

import functools
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mml.errors import OptimizerError
from mml_torch.losses import MeanSquaredError

CLASSES: list[tuple[Any, dict[str, Any]]] = [
    (torch.optim.SGD, {"momentum": 0.9, "dampening": 0.3}),
    (torch.optim.SGD, {}),
    (torch.optim.Adam, {"amsgrad": True}),
    (torch.optim.AdamW, {}),
    (torch.optim.RMSprop, {"centered": True, "alpha": 0.8}),
    (torch.optim.Adagrad, {"lr_decay": 0.1}),
    (torch.optim.Adadelta, {}),
    (torch.optim.NAdam, {}),
    (functools.partial(torch.optim.Adam, betas=(0.5, 0.7)), {}),
]


@pytest.mark.parametrize(("factory", "kwargs"), CLASSES)
def test_training_and_resuming_equal_the_frameworks_own_loop(
    lab: Any, values_of: Any, factory: Any, kwargs: Any
) -> None:
    x, y = lab.data(8)
    expected = lab.net()
    optimizer = factory(expected.parameters(), lr=1e-2, **kwargs)
    for step in range(8):
        optimizer.zero_grad()
        nn.functional.mse_loss(expected(torch.from_numpy(x[step])), torch.from_numpy(y[step])).backward()
        optimizer.step()

    net, store = lab.net(), lab.store()
    rule = lab.backend.wrap_optimizer(factory, kwargs)
    program = lab.program(lab.segment(lab.wrapped(net), MeanSquaredError(), rule, store))
    staged, controls = program.stage(lab.block(x=x, y=y)), lab.controls(8)
    program.run(staged, 0, 1, controls)
    program.run(staged, 1, 5, controls)
    assert {float(held["step"]) for held in store.slots.values()} == {5.0}
    for held in store.slots.values():
        for slot, value in list(held.items()):
            held[slot] = lab.backend.to_numpy(value) if isinstance(value, torch.Tensor) else value
    fresh = lab.backend.wrap_optimizer(factory, kwargs)
    program = lab.program(lab.segment(lab.wrapped(net), MeanSquaredError(), fresh, store))
    program.run(program.stage(lab.block(x=x, y=y)), 5, 8, controls)
    assert values_of(net) == values_of(expected)
    assert {float(held["step"]) for held in store.slots.values()} == {8.0}


def test_the_default_rate_is_the_classs_own(lab: Any) -> None:
    assert lab.backend.wrap_optimizer(torch.optim.Adadelta, {}).default_rate == 1.0
    assert lab.backend.wrap_optimizer(torch.optim.Adam, {}).default_rate == 1e-3


@pytest.mark.parametrize(
    ("factory", "kwargs", "named"),
    [
        (torch.optim.Adam, {"momentun": 0.9}, "momentun"),
        (torch.optim.LBFGS, {}, "LBFGS"),
        (nn.Linear, {}, "Linear"),
        (lambda params: 3, {}, "no optimizer"),
        (torch.optim.SGD([torch.zeros(1)]), {}, "class"),
    ],
)
def test_what_cannot_step_a_graph_is_refused(lab: Any, factory: Any, kwargs: Any, named: str) -> None:
    with pytest.raises(OptimizerError, match=named):
        lab.backend.wrap_optimizer(factory, kwargs)


def test_a_users_gradients_stay(lab: Any) -> None:
    x, y = lab.data(2)
    net = lab.net()
    net[0].bias.grad = torch.ones(5)
    rule = lab.backend.wrap_optimizer(torch.optim.SGD, {})
    lab.run(
        lab.program(lab.segment(lab.wrapped(net), MeanSquaredError(), rule, lab.store())),
        lab.block(x=x, y=y),
        lab.controls(2),
    )
    np.testing.assert_array_equal(net[0].bias.grad, np.ones(5))
    assert net[0].weight.grad is None
