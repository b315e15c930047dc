"""Training through programs against the framework's own hand-written loop, to the bit."""

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mml.backends import Call, Segment, SegmentInput, SegmentLoss, SegmentOptimizer
from mml.errors import BackendError, LossError, ModelError, ShapeError
from mml.graph.optimizers import canonical
from mml_torch.losses import MeanSquaredError, wrap_loss
from mml_torch.optimizers import Adam, AdamW, Sgd

MSE = MeanSquaredError()


def by_hand(
    net: nn.Module, x: Any, y: Any, *, lr: float = 1e-2, fused: bool = True, **options: Any
) -> list[float]:
    """The loop that a user writes, seeding each step as the program does."""
    clip_norm, clip_value = options.pop("clip_norm", None), options.pop("clip_value", None)
    optimizer = torch.optim.Adam(net.parameters(), lr=lr, fused=fused)
    losses = []
    with torch.random.fork_rng():
        for step in range(len(x)):
            torch.manual_seed(100 + step)
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(net(torch.from_numpy(x[step])), torch.from_numpy(y[step]))
            loss.backward()
            if clip_value is not None:
                nn.utils.clip_grad_value_(net.parameters(), clip_value)
            if clip_norm is not None:
                nn.utils.clip_grad_norm_(net.parameters(), clip_norm)
            optimizer.step()
            losses.append(loss.item())
    return losses


@pytest.mark.parametrize("options", [{}, {"dropout": 0.4}, {"batch_norm": True, "dropout": 0.3}])
def test_training_equals_the_hand_written_loop_to_the_bit(lab: Any, values_of: Any, options: Any) -> None:
    x, y = lab.data(11)
    expected_net, net = lab.net(**options), lab.net(**options)
    expected = by_hand(expected_net, x, y)
    program = lab.program(lab.segment(lab.wrapped(net), MSE, Adam(), lab.store()))
    losses = lab.run(program, lab.block(x=x, y=y), lab.controls(11))
    assert losses[:, 0].tolist() == expected
    assert values_of(net) == values_of(expected_net)


def test_training_equals_the_loop_without_fused_kernels_to_rounding(lab: Any) -> None:
    x, y = lab.data(11)
    expected_net, net = lab.net(), lab.net()
    by_hand(expected_net, x, y, fused=False)
    lab.run(
        lab.program(lab.segment(lab.wrapped(net), MSE, Adam(), lab.store())),
        lab.block(x=x, y=y),
        lab.controls(11),
    )
    for one, other in zip(net.parameters(), expected_net.parameters(), strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize(
    "clip", [{"clip_norm": 0.05}, {"clip_value": 0.01}, {"clip_norm": 0.02, "clip_value": 0.01}]
)
def test_clipping_equals_the_frameworks_own(lab: Any, values_of: Any, clip: Any) -> None:
    x, y = lab.data(7)
    expected_net, net, free = lab.net(), lab.net(), lab.net()
    by_hand(expected_net, x, y, **clip)
    by_hand(free, x, y)
    program = lab.program(lab.segment(lab.wrapped(net), MSE, Adam(), lab.store(), **clip))
    lab.run(program, lab.block(x=x, y=y), lab.controls(7))
    assert values_of(net) == values_of(expected_net)
    assert values_of(net) != values_of(free)


@pytest.mark.parametrize("cut", [1, 2, 5, 11])
def test_results_do_not_depend_on_how_steps_are_cut(lab: Any, values_of: Any, cut: int) -> None:
    x, y = lab.data(11)
    counts = np.array([[7], [3], [7], [1], [0], [7], [5], [2], [7], [7], [4]])

    def trained(cut: int, *, separate_blocks: bool) -> tuple[Any, ...]:
        net, store = lab.net(dropout=0.4), lab.store()
        program = lab.program(lab.segment(lab.wrapped(net), MSE, Adam(), store))
        controls = lab.controls(11)
        if not separate_blocks:
            losses = lab.run(program, lab.block(counts, x=x, y=y), controls, cut=cut)
        else:
            parts = []
            for start in range(0, 11, cut):
                part = slice(start, start + cut)
                sub = type(controls)(seeds=controls.seeds[part], rates=controls.rates[part])
                parts.append(lab.run(program, lab.block(counts[part], x=x[part], y=y[part]), sub))
            losses = np.concatenate(parts)
        slots = [np.asarray(value).tobytes() for held in store.slots.values() for value in held.values()]
        return values_of(net), losses.tobytes(), slots

    whole = trained(11, separate_blocks=False)
    assert trained(cut, separate_blocks=False) == whole
    assert trained(cut, separate_blocks=True) == whole


@pytest.mark.parametrize("rule", [Adam(), Sgd(momentum=0.9, nesterov=True)])
@pytest.mark.parametrize("stop", [1, 4, 7])
def test_a_resumed_run_continues_with_equal_bits(lab: Any, values_of: Any, rule: Any, stop: int) -> None:
    x, y = lab.data(9)
    block, controls = lab.block(x=x, y=y), lab.controls(9)
    net, store = lab.net(dropout=0.3, batch_norm=True), lab.store()
    lab.run(lab.program(lab.segment(lab.wrapped(net), MSE, rule, store)), block, controls)

    first, first_store = lab.net(dropout=0.3, batch_norm=True), lab.store()
    model = lab.wrapped(first)
    program = lab.program(lab.segment(model, MSE, rule, first_store))
    program.run(program.stage(block), 0, stop, controls)
    saved = model.get_state()
    slots = {
        name: {slot: v if isinstance(v, int) else lab.backend.to_numpy(v) for slot, v in held.items()}
        for name, held in first_store.slots.items()
    }
    program.run(program.stage(block), stop, 9, controls)  # what was saved is a snapshot, not a reference
    assert values_of(first) == values_of(net)

    second, second_store = lab.net(dropout=0.3, batch_norm=True, seed=1), lab.store()
    resumed = lab.wrapped(second)
    resumed.set_state(saved)
    second_store.slots.update(slots)
    program = lab.program(lab.segment(resumed, MSE, rule, second_store))
    program.run(program.stage(block), stop, 9, controls)
    assert values_of(second) == values_of(net)


def test_slots_restored_while_a_program_lives_are_used(lab: Any, values_of: Any) -> None:
    x, y = lab.data(6)
    net, store = lab.net(), lab.store()
    model = lab.wrapped(net)
    program = lab.program(lab.segment(model, MSE, Adam(), store))
    staged, controls = program.stage(lab.block(x=x, y=y)), lab.controls(6)
    program.run(staged, 0, 3, controls)
    saved = model.get_state()
    slots = {
        name: {slot: lab.backend.to_numpy(v) for slot, v in held.items()}
        for name, held in store.slots.items()
    }
    program.run(staged, 3, 6, controls)
    expected = values_of(net)
    model.set_state(saved)
    for name, held in store.slots.items():
        held.clear()
        held.update(slots[name])
    program.run(staged, 3, 6, controls)
    assert values_of(net) == expected
    store.slots.clear()
    program.run(staged, 0, 1, controls)
    assert {float(held["step"]) for held in store.slots.values()} == {1.0}


def two_nodes(
    lab: Any, trunk: Any, head: Any, store: Any, *, learns: tuple[bool, bool], rule: Any = None
) -> Segment:
    nodes = tuple(node for node, learn in zip(("trunk", "head"), learns, strict=True) if learn)
    return Segment(
        "torch",
        "train",
        (SegmentInput("x", (lab.width,), None, 0), SegmentInput("y", (1,), None, 0)),
        (
            Call("trunk", "trunk", trunk, None, ("x",), learns[0], 0),
            Call("head", "head", head, None, ("trunk",), learns[1], 0),
        ),
        (SegmentLoss("head/mse", "head", MSE, ("head", "y"), 1.0, 0),),
        (SegmentOptimizer(rule or AdamW(weight_decay=0.1), store, nodes),),
        outputs=("trunk", "head"),
    )


def test_a_frozen_trunk_keeps_its_bits_and_the_head_learns_as_by_hand(lab: Any, values_of: Any) -> None:
    x, y = lab.data(9)

    def parts() -> tuple[nn.Module, nn.Module]:
        trunk = lab.net(dropout=0.5, batch_norm=True)[:-1]
        return trunk, lab.net(seed=1)[2]

    expected_trunk, expected_head = parts()
    expected_trunk.eval()
    optimizer = torch.optim.AdamW(expected_head.parameters(), lr=1e-2, weight_decay=0.1, fused=True)
    for step in range(9):
        optimizer.zero_grad()
        with torch.no_grad():
            features = expected_trunk(torch.from_numpy(x[step]))
        nn.functional.mse_loss(expected_head(features), torch.from_numpy(y[step])).backward()
        optimizer.step()

    trunk, head = parts()
    before, store = values_of(trunk), lab.store()
    recorded: list[bool] = []
    segment = two_nodes(
        lab,
        lab.wrapped(trunk, label="trunk"),
        lab.wrapped(head, (lab.hidden,), "head"),
        store,
        learns=(False, True),
    )
    trunk.register_forward_hook(lambda *_: recorded.append(torch.is_grad_enabled()))
    lab.run(lab.program(segment), lab.block(x=x, y=y), lab.controls(9))
    assert recorded == [False] * 9
    assert values_of(trunk) == before
    assert values_of(head) == values_of(expected_head)
    assert set(store.slots) == {"head/weight", "head/bias"}
    assert trunk.training
    assert head.training


def test_gradients_flow_through_a_frozen_node_behind_a_learning_one(lab: Any, values_of: Any) -> None:
    x, y = lab.data(5)
    trunk, head = lab.net()[:-1], lab.net(seed=1)[2]
    before, frozen = values_of(trunk), values_of(head)
    segment = two_nodes(
        lab, lab.wrapped(trunk), lab.wrapped(head, (lab.hidden,)), lab.store(), learns=(True, False)
    )
    lab.run(lab.program(segment), lab.block(x=x, y=y), lab.controls(5))
    assert values_of(head) == frozen
    assert values_of(trunk) != before


def test_freezing_in_between_keeps_slots_and_counts(lab: Any) -> None:
    x, y = lab.data(6)
    trunk, head = lab.wrapped(lab.net()[:-1]), lab.wrapped(lab.net(seed=1)[2], (lab.hidden,))
    store, block, controls = lab.store(), lab.block(x=x, y=y), lab.controls(6)
    both, one = (
        lab.program(two_nodes(lab, trunk, head, store, learns=(first, True))) for first in (True, False)
    )
    both.run(both.stage(block), 0, 2, controls)
    moment = store.slots["trunk/0.weight"]["first_moment"].clone()
    one.run(one.stage(block), 2, 5, controls)
    assert torch.equal(store.slots["trunk/0.weight"]["first_moment"], moment)
    both.run(both.stage(block), 5, 6, controls)
    counts = {name: float(held["step"]) for name, held in store.slots.items()}
    assert counts == {"trunk/0.weight": 3, "trunk/0.bias": 3, "head/weight": 6, "head/bias": 6}


def two_heads(lab: Any, nets: list[Any], store: Any, *, weights: tuple[float, float], rule: Any) -> Segment:
    trunk, first, second = nets
    return Segment(
        "torch",
        "train",
        (
            SegmentInput("x", (lab.width,), None, 0),
            SegmentInput("y", (1,), None, 1),
            SegmentInput("z", (1,), None, 2),
        ),
        (
            Call("trunk", "trunk", trunk, None, ("x",), True, 0),
            Call("first", "first", first, None, ("trunk",), True, 1),
            Call("second", "second", second, None, ("trunk",), True, 2),
        ),
        (
            SegmentLoss("a", "first", MSE, ("first", "y"), weights[0], 1),
            SegmentLoss("b", "second", MSE, ("second", "z"), weights[1], 2),
        ),
        (SegmentOptimizer(rule, store, ("trunk", "first", "second")),),
        n_rows=3,
    )


def heads(lab: Any) -> list[nn.Module]:
    return [lab.net(seed=3)[:-1], lab.net(seed=4)[2], lab.net(seed=5)[2]]


def test_two_weighted_heads_equal_the_hand_written_loop(lab: Any, values_of: Any) -> None:
    (x, y), (_, z) = lab.data(9), lab.data(9, seed=1)
    expected, modules = heads(lab), heads(lab)
    optimizer = torch.optim.Adam([one for net in expected for one in net.parameters()], lr=1e-2, fused=True)
    for step in range(9):
        optimizer.zero_grad()
        features = expected[0](torch.from_numpy(x[step]))
        first = nn.functional.mse_loss(expected[1](features), torch.from_numpy(y[step]))
        second = nn.functional.mse_loss(expected[2](features), torch.from_numpy(z[step]))
        (first * 0.7 + second * 0.3).backward()
        optimizer.step()
    nets = [lab.wrapped(modules[0])] + [lab.wrapped(one, (lab.hidden,)) for one in modules[1:]]
    program = lab.program(two_heads(lab, nets, lab.store(), weights=(0.7, 0.3), rule=Adam()))
    lab.run(program, lab.block(np.full((9, 3), 7), x=x, y=y, z=z), lab.controls(9))
    assert values_of(*modules) == values_of(*expected)


def test_a_head_without_live_rows_does_not_run_and_does_not_move(lab: Any, values_of: Any) -> None:
    (x, y), (_, z) = lab.data(4), lab.data(4, seed=1)
    modules = heads(lab)
    nets = [lab.wrapped(modules[0])] + [lab.wrapped(one, (lab.hidden,)) for one in modules[1:]]
    ran: list[int] = []
    modules[2].register_forward_hook(lambda *_: ran.append(1))
    store = lab.store()
    rule = Adam(weight_decay=0.1)
    program = lab.program(two_heads(lab, nets, store, weights=(1.0, 1.0), rule=rule))
    counts = np.array([[7, 7, 7], [7, 7, 0], [7, 7, 0], [7, 7, 3]])
    staged, controls = program.stage(lab.block(counts, x=x, y=y, z=z)), lab.controls(4)
    program.run(staged, 0, 1, controls)
    before = values_of(modules[2])
    losses = program.run(staged, 1, 3, controls).losses
    assert values_of(modules[2]) == before
    assert torch.isnan(losses[:, 1]).all()
    assert not torch.isnan(losses[:, 0]).any()
    program.run(staged, 3, 4, controls)
    assert len(ran) == 2
    counts_of = {name: float(held["step"]) for name, held in store.slots.items()}
    assert counts_of == {
        "trunk/0.weight": 4,
        "trunk/0.bias": 4,
        "first/weight": 4,
        "first/bias": 4,
        "second/weight": 2,
        "second/bias": 2,
    }


def test_a_head_whose_loss_has_no_live_rows_runs_in_inference_mode_and_moves_no_statistics(
    lab: Any, values_of: Any
) -> None:
    (x, y), (_, z) = lab.data(5), lab.data(5, seed=1)
    live = [True, False, True, False, False]

    def parts() -> list[nn.Module]:
        trunk, first, second = heads(lab)
        return [trunk, first, nn.Sequential(nn.BatchNorm1d(lab.hidden), nn.Dropout(0.3), second)]

    expected, modules = parts(), parts()
    optimizer = torch.optim.Adam([one for net in expected for one in net.parameters()], lr=1e-2, fused=True)
    outputs = []
    with torch.random.fork_rng():
        for step, scored in enumerate(live):
            torch.manual_seed(100 + step)
            optimizer.zero_grad()
            expected[2].train(scored)
            features = expected[0](torch.from_numpy(x[step]))
            total = nn.functional.mse_loss(expected[1](features), torch.from_numpy(y[step]))
            second = expected[2](features)
            if scored:
                total = total + nn.functional.mse_loss(second, torch.from_numpy(z[step]))
            total.backward()
            optimizer.step()
            outputs.append(second.detach().numpy().tobytes())

    nets = [lab.wrapped(modules[0])] + [lab.wrapped(one, (lab.hidden,)) for one in modules[1:]]
    segment = two_heads(lab, nets, lab.store(), weights=(1.0, 1.0), rule=Adam())
    trunk, first, second_call = segment.calls
    calls = (trunk, first, replace(second_call, rows=0))
    program = lab.program(replace(segment, calls=calls, outputs=("second",)))
    counts = np.array([[7, 7, 7 if scored else 0] for scored in live])
    result = program.run(program.stage(lab.block(counts, x=x, y=y, z=z)), 0, 5, lab.controls(5))
    assert values_of(*modules) == values_of(*expected)
    assert [one.numpy().tobytes() for one in result.outputs["second"]] == outputs
    assert all(part.training for net in modules for part in net.modules())


def test_a_step_without_any_live_row_changes_nothing(lab: Any, values_of: Any) -> None:
    x, y = lab.data(2)
    net, store = lab.net(batch_norm=True), lab.store()
    program = lab.program(lab.segment(lab.wrapped(net), MSE, Sgd(momentum=0.9), store))
    staged, controls = program.stage(lab.block([[7], [0]], x=x, y=y)), lab.controls(2)
    program.run(staged, 0, 1, controls)
    before = values_of(net)
    result = program.run(staged, 1, 2, controls)
    assert values_of(net) == before
    assert torch.isnan(result.losses).all()
    assert {held["step"] for held in store.slots.values()} == {1}


def test_rows_that_are_not_live_never_enter(lab: Any, values_of: Any) -> None:
    x, y = lab.data(6)
    counts = np.array([[4], [7], [2], [5], [7], [3]])
    spoiled_x, spoiled_y = x.copy(), y.copy()
    for step, (count,) in enumerate(counts):
        spoiled_x[step, count:], spoiled_y[step, count:] = np.nan, np.inf
    expected_net, net = lab.net(batch_norm=True), lab.net(batch_norm=True)
    optimizer = torch.optim.Adam(expected_net.parameters(), lr=1e-2, fused=True)
    for step, (count,) in enumerate(counts):
        optimizer.zero_grad()
        outputs = expected_net(torch.from_numpy(x[step, :count]))
        nn.functional.mse_loss(outputs, torch.from_numpy(y[step, :count])).backward()
        optimizer.step()
    program = lab.program(lab.segment(lab.wrapped(net), MSE, Adam(), lab.store()))
    losses = lab.run(program, lab.block(counts, x=spoiled_x, y=spoiled_y), lab.controls(6))
    assert np.isfinite(losses).all()
    assert values_of(net) == values_of(expected_net)


def test_accumulation_equals_one_batch_of_the_same_rows(lab: Any) -> None:
    x, y = lab.data(4, dtype="float64")
    counts = np.array([[7], [3], [5], [7]])
    joined_x = np.concatenate([x[step, : counts[step, 0]] for step in range(4)])[None]
    joined_y = np.concatenate([y[step, : counts[step, 0]] for step in range(4)])[None]
    whole, split = lab.net().double(), lab.net().double()
    rule = Sgd(momentum=0.9)
    lab.run(
        lab.program(lab.segment(lab.wrapped(whole), MSE, rule, lab.store())),
        lab.block([[22]], x=joined_x, y=joined_y),
        lab.controls(1),
    )
    store = lab.store()
    apply = np.array([[False], [False], [False], [True]])
    controls = lab.controls(4, apply=apply, accumulated=np.full((4, 1), 22))
    program = lab.program(lab.segment(lab.wrapped(split), MSE, rule, store))
    lab.run(program, lab.block(counts, x=x, y=y), controls, cut=3)
    assert {held["step"] for held in store.slots.values()} == {1}
    for one, other in zip(whole.parameters(), split.parameters(), strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=1e-13)


def test_waiting_gradients_of_a_failed_run_are_dropped(lab: Any, values_of: Any) -> None:
    x, y = lab.data(3)
    fails = [False]

    def loss(outputs: Any, targets: Any) -> Any:
        if fails[0]:
            raise ArithmeticError("on purpose")
        return ((outputs - targets) ** 2).mean(dim=1)

    net, fresh = lab.net(), lab.net()
    program = lab.program(lab.segment(lab.wrapped(net), lab.backend.wrap_loss(loss), Sgd(), lab.store()))
    staged = program.stage(lab.block(x=x, y=y))
    waits = lab.controls(3, apply=np.array([[False], [True], [True]]))
    program.run(staged, 0, 1, waits)
    fails[0] = True
    with pytest.raises(LossError, match="on purpose"):
        program.run(staged, 1, 2, waits)
    fails[0] = False
    program.run(staged, 2, 3, waits)
    other = lab.program(lab.segment(lab.wrapped(fresh), lab.backend.wrap_loss(loss), Sgd(), lab.store()))
    other.run(other.stage(lab.block(x=x, y=y)), 2, 3, waits)
    assert values_of(net) == values_of(fresh)


def test_a_parameter_that_the_user_turned_off_stays_off(lab: Any) -> None:
    x, y = lab.data(4)
    net, store = lab.net(), lab.store()
    net[0].bias.requires_grad_(False)
    before = net[0].bias.clone()
    program = lab.program(lab.segment(lab.wrapped(net), MSE, AdamW(weight_decay=0.5), store))
    staged, controls = program.stage(lab.block(x=x, y=y)), lab.controls(4)
    program.run(staged, 0, 2, controls)
    assert torch.equal(net[0].bias, before)
    assert "net/0.bias" not in store.slots
    net[0].bias.requires_grad_(True)
    program.run(staged, 2, 4, controls)
    assert not torch.equal(net[0].bias, before)
    assert [float(store.slots[name]["step"]) for name in ("net/0.weight", "net/0.bias")] == [4.0, 2.0]


def test_a_parameter_that_no_loss_reaches_gets_no_update(lab: Any) -> None:
    class Partly(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.unused = nn.Linear(lab.width, 1), nn.Linear(lab.width, 1)

        def forward(self, inputs: Any) -> Any:
            return self.used(inputs)

    x, y = lab.data(3)
    with torch.random.fork_rng():
        net, store = Partly(), lab.store()
    before = net.unused.weight.clone()
    program = lab.program(lab.segment(lab.wrapped(net), MSE, AdamW(weight_decay=0.5), store))
    lab.run(program, lab.block(x=x, y=y), lab.controls(3))
    assert torch.equal(net.unused.weight, before)
    assert float(store.slots["net/used.weight"]["step"]) == 3.0
    assert float(store.slots.get("net/unused.weight", {"step": 0})["step"]) == 0.0


def test_a_gradient_of_another_memory_layout_updates_the_right_elements(lab: Any) -> None:
    class Transposed(nn.Module):
        """Its weight's gradient arrives transposed, and its shift's expanded from one number."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.linspace(-1.0, 1.0, 15).reshape(5, 3))
            self.shift = nn.Parameter(torch.linspace(0.0, 1.0, 5))

        def forward(self, inputs: Any) -> Any:
            scaled = self.weight.t().contiguous() * torch.arange(15.0).reshape(3, 5)
            return (inputs @ scaled).sum(1, keepdim=True) + self.shift.sum()

    x, y = lab.data(4)
    expected_net, net = Transposed(), Transposed()
    by_hand(expected_net, x, y, fused=False)
    program = lab.program(lab.segment(lab.wrapped(net), MSE, Adam(), lab.store()))
    lab.run(program, lab.block(x=x, y=y), lab.controls(4))
    np.testing.assert_allclose(net.weight.detach(), expected_net.weight.detach(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(net.shift.detach(), expected_net.shift.detach(), rtol=1e-4, atol=1e-5)


def test_gradients_agree_with_finite_differences(lab: Any) -> None:
    (x, y), (_, z) = lab.data(1, dtype="float64"), lab.data(1, seed=1, dtype="float64")
    modules = [one.double() for one in heads(lab)]
    nets = [lab.wrapped(modules[0])] + [lab.wrapped(one, (lab.hidden,)) for one in modules[1:]]
    counts = np.array([[7, 5, 3]])

    def total() -> float:
        features = np.tanh(
            x[0] @ modules[0][0].weight.detach().numpy().T + modules[0][0].bias.detach().numpy()
        )
        value = 0.0
        for head, target, weight, count in ((modules[1], y, 0.7, 5), (modules[2], z, 0.3, 3)):
            outputs = features[:count] @ head.weight.detach().numpy().T + head.bias.detach().numpy()
            value += weight * float(np.mean((outputs - target[0, :count]) ** 2))
        return value

    expected = []
    for parameter in [one for module in modules for one in module.parameters()]:
        flat = parameter.detach().view(-1)
        for index in range(flat.numel()):
            value = float(flat[index])
            flat[index] = value + 1e-6
            above = total()
            flat[index] = value - 1e-6
            expected.append((above - total()) / 2e-6)
            flat[index] = value
    before = torch.cat([one.detach().flatten() for module in modules for one in module.parameters()])
    program = lab.program(two_heads(lab, nets, lab.store(), weights=(0.7, 0.3), rule=Sgd()))
    lab.run(program, lab.block(counts, x=x, y=y, z=z), lab.controls(1, rate=1.0))
    after = torch.cat([one.detach().flatten() for module in modules for one in module.parameters()])
    np.testing.assert_allclose((before - after).numpy(), expected, rtol=1e-6, atol=1e-9)


def test_sample_weights_are_divided_by_live_rows(lab: Any) -> None:
    x, y = lab.data(1, dtype="float64")
    weights = np.random.default_rng(5).uniform(0.1, 3.0, size=(1, 7, 1))
    net = lab.net().double()
    with torch.no_grad():
        outputs = net(torch.from_numpy(x[0])).numpy()
    expected = float((weights[0, :5] * (outputs - y[0])[:5] ** 2).sum() / 5)
    segment = lab.segment(lab.wrapped(net), MSE, Sgd(), lab.store(), sample_weight="w")
    losses = lab.run(lab.program(segment), lab.block([[5]], x=x, y=y, w=weights), lab.controls(1))
    np.testing.assert_allclose(losses, [[expected]], rtol=1e-14)


def test_evaluation_changes_nothing_and_returns_live_rows(lab: Any, values_of: Any) -> None:
    x, y = lab.data(3)
    net = lab.net(dropout=0.5, batch_norm=True)
    before = values_of(net)
    segment = lab.segment(lab.wrapped(net), MSE, None, None, outputs=("net",))
    program = lab.program(segment)
    result = program.run(
        program.stage(lab.block([[7], [0], [2]], x=x, y=y)), 0, 3, lab.controls(3, optimizers=0)
    )
    assert values_of(net) == before
    assert net.training
    net.eval()
    outputs = result.outputs["net"]
    assert outputs[1] is None
    for step, count in ((0, 7), (2, 2)):
        with torch.no_grad():
            expected = net(torch.from_numpy(x[step, :count]))
        assert torch.equal(outputs[step], expected)
        assert not outputs[step].requires_grad
        loss = nn.functional.mse_loss(expected, torch.from_numpy(y[step, :count]))
        assert torch.equal(result.losses[step, 0], loss)


def test_outputs_of_one_program_feed_the_next(lab: Any, values_of: Any) -> None:
    x, y = lab.data(5)
    counts = np.array([[7], [0], [3], [7], [2]])
    trunk, head = lab.net(batch_norm=True)[:-1], lab.net(seed=1)[2]
    joint_trunk, joint_head = lab.net(batch_norm=True)[:-1], lab.net(seed=1)[2]
    frozen = Segment(
        "torch",
        "eval",
        (SegmentInput("x", (3,), None, 0),),
        (Call("trunk", "trunk", lab.wrapped(trunk), None, ("x",), False, 0),),
        outputs=("trunk",),
    )
    program = lab.program(frozen)
    features = program.run(
        program.stage(lab.block(counts, x=x)), 0, 5, lab.controls(5, optimizers=0)
    ).outputs["trunk"]
    learning = Segment(
        "torch",
        "train",
        (SegmentInput("trunk", (5,), None, 0, origin="trunk"), SegmentInput("y", (1,), None, 0)),
        (Call("head", "head", lab.wrapped(head, (5,)), None, ("trunk",), True, 0),),
        (SegmentLoss("l", "head", MSE, ("head", "y"), 1.0, 0),),
        (SegmentOptimizer(Adam(), lab.store(), ("head",)),),
    )
    lab.run(lab.program(learning), lab.block(counts, trunk=features, y=y), lab.controls(5))
    joint = two_nodes(
        lab,
        lab.wrapped(joint_trunk),
        lab.wrapped(joint_head, (5,)),
        lab.store(),
        learns=(False, True),
        rule=Adam(),
    )
    lab.run(lab.program(joint), lab.block(counts, x=x, y=y), lab.controls(5))
    assert values_of(head) == values_of(joint_head)


def test_a_merge_cuts_to_its_rows_and_passes_gradients(lab: Any, values_of: Any) -> None:
    class Concat:
        def merge(self, ops: Any, arrays: list[Any]) -> Any:
            return ops.concat(arrays, 1)

    x, y = lab.data(3)
    with torch.random.fork_rng():
        first, second, head = nn.Linear(3, 2), nn.Linear(3, 3), nn.Linear(5, 1)
    before = values_of(first, second)
    segment = Segment(
        "torch",
        "train",
        (SegmentInput("x", (3,), None, 0), SegmentInput("y", (1,), None, 1)),
        (
            Call("a", "a", lab.wrapped(first), None, ("x",), True, 0),
            Call("b", "b", lab.wrapped(second), None, ("x",), True, 0),
            Call("join", "join", None, Concat(), ("a", "b"), False, 1),
            Call("head", "head", lab.wrapped(head, (5,)), None, ("join",), False, 1),
        ),
        (SegmentLoss("l", "head", MSE, ("head", "y"), 1.0, 1),),
        (SegmentOptimizer(Sgd(), lab.store(), ("a", "b")),),
        outputs=("join",),
        n_rows=2,
    )
    program = lab.program(segment)
    counts = np.array([[7, 4], [7, 7], [5, 2]])
    result = program.run(program.stage(lab.block(counts, x=x, y=y)), 0, 3, lab.controls(3))
    assert [tuple(one.shape) for one in result.outputs["join"]] == [(4, 5), (7, 5), (2, 5)]
    assert not any(one.requires_grad for one in result.outputs["join"])
    after = values_of(first, second)
    assert all(one != other for one, other in zip(before, after, strict=True))


def test_cores_canonical_rules_run_too(lab: Any) -> None:
    x, y = lab.data(9, dtype="float64")
    own, generic = lab.net().double(), lab.net().double()
    for net, rule in ((own, Adam(weight_decay=0.1)), (generic, canonical.Adam(weight_decay=0.1))):
        program = lab.program(lab.segment(lab.wrapped(net), MSE, rule, lab.store()))
        lab.run(program, lab.block(x=x, y=y), lab.controls(9), cut=4)
    for one, other in zip(own.parameters(), generic.parameters(), strict=True):
        np.testing.assert_allclose(one.detach(), other.detach(), rtol=1e-9)


def test_users_gradients_and_modes_are_left_alone(lab: Any) -> None:
    x, y = lab.data(2)
    net = lab.net(dropout=0.5)
    net[2].eval()
    net[0].weight.grad = torch.ones_like(net[0].weight)
    program = lab.program(lab.segment(lab.wrapped(net), MSE, Adam(), lab.store()))
    lab.run(program, lab.block(x=x, y=y), lab.controls(2))
    assert torch.equal(net[0].weight.grad, torch.ones_like(net[0].weight))
    assert net[0].bias.grad is None
    assert [module.training for module in net] == [True, True, False, True]


def test_a_class_that_keeps_its_batch_norm_still_is_asked(lab: Any, values_of: Any) -> None:
    class Still(nn.Sequential):
        def train(self, mode: bool = True) -> Any:
            super().train(mode)
            self[1].eval()
            return self

    x, y = lab.data(3)
    net = Still(*lab.net(batch_norm=True))
    before = net[1].running_mean.clone()
    program = lab.program(lab.segment(lab.wrapped(net), MSE, Adam(), lab.store()))
    lab.run(program, lab.block(x=x, y=y), lab.controls(3))
    assert torch.equal(net[1].running_mean, before)


def test_a_replaced_parameter_is_found(lab: Any) -> None:
    x, y = lab.data(2)
    net = lab.net()
    program = lab.program(lab.segment(lab.wrapped(net), MSE, Sgd(), lab.store()))
    staged, controls = program.stage(lab.block(x=x, y=y)), lab.controls(2)
    program.run(staged, 0, 1, controls)
    net[2].weight = nn.Parameter(torch.full_like(net[2].weight, 0.5))
    net[0].bias.data = torch.ones_like(net[0].bias)
    program.run(staged, 1, 2, controls)
    assert not torch.equal(net[2].weight, torch.full_like(net[2].weight, 0.5))
    assert not torch.equal(net[0].bias, torch.ones_like(net[0].bias))


def test_threads_that_train_at_once_equal_one_after_the_other(lab: Any, values_of: Any) -> None:
    x, y = lab.data(9)

    def train(net: nn.Module) -> None:
        program = lab.program(lab.segment(lab.wrapped(net), MSE, Adam(), lab.store()))
        lab.run(program, lab.block(x=x, y=y), lab.controls(9), cut=1)

    expected = lab.net(dropout=0.4)
    train(expected)
    nets = [lab.net(dropout=0.4) for _ in range(4)]
    threads = [threading.Thread(target=train, args=(net,)) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [values_of(net) for net in nets] == [values_of(expected)] * 4


def test_host_buffers_may_be_overwritten_after_staging(lab: Any, values_of: Any) -> None:
    x, y = lab.data(4)
    expected, net = lab.net(), lab.net()
    by_hand(expected, x, y)
    program = lab.program(lab.segment(lab.wrapped(net), MSE, Adam(), lab.store()))
    staged = program.stage(lab.block(x=x, y=y))
    x[:], y[:] = np.nan, np.nan
    program.run(staged, 0, 4, lab.controls(4))
    assert values_of(net) == values_of(expected)


@pytest.mark.parametrize("layout", ["read only", "reversed", "fortran", "strided"])
def test_blocks_of_any_memory_layout_are_staged(lab: Any, layout: str) -> None:
    x, y = lab.data(2)
    given = {
        "read only": x.copy(),
        "reversed": x[:, ::-1].copy()[:, ::-1],
        "fortran": np.asfortranarray(x),
        "strided": np.repeat(x, 2, axis=2)[:, :, ::2],
    }[layout]
    given.flags.writeable = layout != "read only"
    segment = lab.segment(lab.wrapped(lab.net()), MSE, None, None)
    losses = [
        lab.run(lab.program(segment), lab.block(x=values, y=y), lab.controls(2, optimizers=0))
        for values in (x, given)
    ]
    assert losses[0].tobytes() == losses[1].tobytes()


def test_fitting_is_refused(lab: Any) -> None:
    with pytest.raises(BackendError, match="TrainPhase"):
        lab.program(lab.segment(lab.wrapped(lab.net()), MSE, Adam(), lab.store(), mode="fit"))


def test_an_unknown_device_is_refused(lab: Any) -> None:
    with pytest.raises(BackendError, match="tpu"):
        lab.program(lab.segment(lab.wrapped(lab.net()), MSE, Adam(), lab.store(), device="tpu"))


def test_a_failing_node_is_named_and_modes_come_back(lab: Any) -> None:
    x, y = lab.data(1)
    net = lab.net(dropout=0.5)
    segment = lab.segment(lab.wrapped(net), MSE, None, None)
    net[0].weight.data = torch.zeros(lab.hidden, lab.width + 1)
    with pytest.raises(ModelError, match="'net'"):
        lab.run(lab.program(segment), lab.block(x=x, y=y), lab.controls(1, optimizers=0))
    assert all(module.training for module in net.modules())


def test_outputs_and_targets_that_would_broadcast_are_refused(lab: Any) -> None:
    x, y = lab.data(1)
    segment = lab.segment(lab.wrapped(lab.net()), MSE, Adam(), lab.store())
    with pytest.raises(ShapeError, match="net/loss"):
        lab.run(lab.program(segment), lab.block(x=x, y=y[..., 0]), lab.controls(1))


def test_a_module_that_two_nodes_share_is_stepped_once_and_frozen_for_both_or_neither(
    lab: Any, values_of: Any
) -> None:
    def twice(net: nn.Module, store: Any, *, learns: bool) -> Segment:
        model = lab.wrapped(net)
        return Segment(
            "torch",
            "train",
            (SegmentInput("x", (3,), None, 0), SegmentInput("y", (1,), None, 0)),
            (
                Call("a", "a", model, None, ("x",), True, 0),
                Call("b", "b", model, None, ("x",), learns, 0),
            ),
            (SegmentLoss("a", "a", MSE, ("a", "y"), 0.5, 0), SegmentLoss("b", "b", MSE, ("b", "y"), 0.5, 0)),
            (SegmentOptimizer(Sgd(), store, ("a", "b") if learns else ("a",)),),
        )

    x, y = lab.data(3)
    once, both, store = lab.net(), lab.net(), lab.store()
    lab.run(
        lab.program(lab.segment(lab.wrapped(once), MSE, Sgd(), lab.store())),
        lab.block(x=x, y=y),
        lab.controls(3),
    )
    lab.run(lab.program(twice(both, store, learns=True)), lab.block(x=x, y=y), lab.controls(3))
    assert values_of(both) == values_of(once)
    assert {held["step"] for held in store.slots.values()} == {3}
    with pytest.raises(BackendError, match="a, b"):
        lab.program(twice(both, store, learns=False))


def test_deterministic_kernels_are_asked_for_meanwhile(lab: Any) -> None:
    seen: list[bool] = []

    def loss(outputs: Any, targets: Any) -> Any:
        seen.append(torch.are_deterministic_algorithms_enabled())
        return ((outputs - targets) ** 2).mean()

    x, y = lab.data(1)
    segment = lab.segment(
        lab.wrapped(lab.net()), lab.backend.wrap_loss(loss), Adam(), lab.store(), deterministic=True
    )
    lab.run(lab.program(segment), lab.block(x=x, y=y), lab.controls(1))
    assert seen == [True]


@pytest.mark.parametrize(
    "loss",
    [
        lambda outputs, targets: (outputs.detach() - targets) ** 2,
        lambda outputs, targets: (outputs.round().bool() != targets.bool()).float().mean(),
    ],
)
def test_a_loss_that_cuts_its_gradient_is_refused_instead_of_training_nothing(lab: Any, loss: Any) -> None:
    x, y = lab.data(3)
    net = lab.net()
    before = [one.clone() for one in net.parameters()]
    segment = lab.segment(lab.wrapped(net), wrap_loss(loss, lab.backend.ops), Adam(), lab.store())
    with pytest.raises(LossError, match="No gradient flows") as caught:
        lab.run(lab.program(segment), lab.block(x=x, y=y), lab.controls(3))
    assert segment.losses[0].label in caught.value.where
    assert all(torch.equal(one, old) for one, old in zip(net.parameters(), before, strict=True))


def test_a_module_without_anything_that_takes_gradients_is_left_as_it_is(lab: Any) -> None:
    x, y = lab.data(3)
    net = lab.net()
    for one in net.parameters():
        one.requires_grad_(False)
    before = [one.clone() for one in net.parameters()]
    program = lab.program(lab.segment(lab.wrapped(net), MSE, Adam(), lab.store()))
    losses = lab.run(program, lab.block(x=x, y=y), lab.controls(3))
    assert np.isfinite(losses).all()
    assert all(torch.equal(one, old) for one, old in zip(net.parameters(), before, strict=True))
