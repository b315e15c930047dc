"""Several nodes in one segment against the framework's own loop: heads, branches, frozen and idle nodes."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from mml.backends import Call, Segment, SegmentInput, SegmentLoss, SegmentOptimizer
from mml.graph.optimizers import canonical
from mml_tf.layers import BatchNorm
from mml_tf.losses import MeanSquaredError

MSE = MeanSquaredError()
Adam, AdamW, Sgd = canonical.Adam, canonical.AdamW, canonical.Sgd
NEAR = {"rtol": 2e-5, "atol": 1e-6}


class ByHand:
    """Adam as a user would write it, stepping what has a gradient."""

    def __init__(self, variables: Any, lr: float = 1e-2) -> None:
        self.variables, self.lr = list(variables), lr
        self.first = [np.zeros(one.shape) for one in self.variables]
        self.second = [np.zeros(one.shape) for one in self.variables]
        self.steps = [0] * len(self.variables)

    def step(self, tape: tf.GradientTape, total: tf.Tensor) -> None:
        for index, gradient in enumerate(tape.gradient(total, self.variables)):
            if gradient is None:
                continue
            g = gradient.numpy().astype(float)
            self.steps[index] += 1
            t, m, v = self.steps[index], self.first[index], self.second[index]
            m += 0.1 * (g - m)
            v += 0.001 * (g * g - v)
            change = self.lr * (m / (1 - 0.9**t)) / (np.sqrt(v / (1 - 0.999**t)) + 1e-8)
            self.variables[index].assign_sub(change.astype("float32"))


def mse(outputs: Any, targets: Any) -> Any:
    return tf.reduce_mean((outputs - targets) ** 2)


def assert_near(mine: Any, theirs: Any) -> None:
    for one, other in zip(mine, theirs, strict=True):
        for left, right in zip(one.variables, other.variables, strict=True):
            np.testing.assert_allclose(left.numpy(), right.numpy(), **NEAR)


def all_variables(modules: Any) -> list[Any]:
    return [one for module in modules for one in module.trainable_variables]


def two_nodes(
    lab: Any, trunk: Any, head: Any, store: Any, *, learns: tuple[bool, bool], rule: Any = None
) -> Segment:
    nodes = tuple(node for node, learn in zip(("trunk", "head"), learns, strict=True) if learn)
    return Segment(
        "tensorflow",
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


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_frozen_trunk_keeps_its_bits_and_the_head_learns_as_by_hand(
    lab: Any, values_of: Any, jit_compile: bool
) -> None:
    x, y = lab.data(9)
    trunk, head = lab.trunk(dropout=0.5, batch_norm=True), lab.linear(lab.hidden, 1)
    expected = lab.linear(lab.hidden, 1)
    rate, decay = 1e-2, 0.1
    features = [trunk(tf.constant(one)) for one in x]
    hand = ByHand(expected.trainable_variables, rate)
    for step in range(9):
        with tf.GradientTape() as tape:
            total = mse(expected(features[step]), y[step])
        for one in expected.trainable_variables:
            one.assign_sub(rate * decay * one)
        hand.step(tape, total)
    before, store = values_of(trunk), lab.store()
    segment = two_nodes(
        lab,
        lab.wrapped(trunk, label="trunk"),
        lab.wrapped(head, (lab.hidden,), "head"),
        store,
        learns=(False, True),
    )
    program = lab.program(replace(segment, jit_compile=jit_compile))
    lab.run(program, lab.block(x=x, y=y), lab.controls(9))
    assert values_of(trunk) == before
    assert_near([head], [expected])
    assert set(store.slots) == {"head/weight", "head/bias"}


def test_gradients_flow_through_a_frozen_node_behind_a_learning_one(lab: Any, values_of: Any) -> None:
    x, y = lab.data(5)
    trunk, head = lab.trunk(), lab.linear(lab.hidden, 1)
    before, frozen = values_of(trunk), values_of(head)
    segment = two_nodes(
        lab, lab.wrapped(trunk), lab.wrapped(head, (lab.hidden,)), lab.store(), learns=(True, False)
    )
    lab.run(lab.program(segment), lab.block(x=x, y=y), lab.controls(5))
    assert values_of(head) == frozen
    assert values_of(trunk) != before


def test_unfreezing_late_counts_own_steps_and_keeps_slots(lab: Any) -> None:
    x, y = lab.data(6)
    parts = [lab.trunk(), lab.linear(lab.hidden, 1)]
    expected = [lab.trunk(), lab.linear(lab.hidden, 1)]
    hand = ByHand(all_variables(expected))
    for step in range(6):
        with tf.GradientTape() as tape:
            features = expected[0](tf.constant(x[step]))
            features = features if step < 2 or step > 4 else tf.stop_gradient(features)
            total = mse(expected[1](features), y[step])
        hand.step(tape, total)
    trunk, head = lab.wrapped(parts[0]), lab.wrapped(parts[1], (lab.hidden,))
    store, block, controls = lab.store(), lab.block(x=x, y=y), lab.controls(6)
    both, one = (
        lab.program(two_nodes(lab, trunk, head, store, learns=(first, True), rule=Adam()))
        for first in (True, False)
    )
    both.run(both.stage(block), 0, 2, controls)
    moment = lab.backend.to_numpy(store.slots["trunk/layers.0.weight"]["first_moment"])
    one.run(one.stage(block), 2, 5, controls)
    kept = lab.backend.to_numpy(store.slots["trunk/layers.0.weight"]["first_moment"])
    assert kept.tobytes() == moment.tobytes()
    both.run(both.stage(block), 5, 6, controls)
    counts = {name: held["step"] for name, held in store.slots.items()}
    assert counts == {
        "trunk/layers.0.weight": 3,
        "trunk/layers.0.bias": 3,
        "head/weight": 6,
        "head/bias": 6,
    }
    assert_near(parts, expected)


def test_parameters_with_unequal_counts_in_one_node_are_stepped_each_by_its_own(lab: Any) -> None:
    x, y = lab.data(4)
    net, expected, store = lab.net(), lab.net(), lab.store()
    hand = ByHand(expected.trainable_variables)
    ahead = [tuple(one.shape) for one in hand.variables].index((3, 5))
    hand.steps[ahead] = 5
    hand.first[ahead][...], hand.second[ahead][...] = 0.3, 0.2
    store.slots["net/layers.0.weight"] = {
        "step": 5,
        "first_moment": np.full((3, 5), 0.3, "float32"),
        "second_moment": np.full((3, 5), 0.2, "float32"),
    }
    for step in range(4):
        with tf.GradientTape() as tape:
            total = mse(expected(tf.constant(x[step])), y[step])
        hand.step(tape, total)
    lab.train(lab.wrapped(net), Adam(), x, y, loss=MSE, store=store)
    assert_near([net], [expected])
    assert sorted(held["step"] for held in store.slots.values()) == [4, 4, 4, 9]


def two_heads(
    lab: Any, nets: list[Any], store: Any, *, weights: tuple[float, float], rule: Any, **changes: Any
) -> Segment:
    trunk, first, second = nets
    segment = Segment(
        "tensorflow",
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
    return replace(segment, **changes)


def heads(lab: Any) -> list[Any]:
    return [lab.trunk(seed=3), lab.linear(lab.hidden, 1, seed=4), lab.linear(lab.hidden, 1, seed=5)]


def wrapped_heads(lab: Any, modules: list[Any]) -> list[Any]:
    return [lab.wrapped(modules[0])] + [lab.wrapped(one, (lab.hidden,)) for one in modules[1:]]


@pytest.mark.parametrize("jit_compile", [False, True])
def test_two_weighted_heads_equal_the_hand_written_loop(lab: Any, jit_compile: bool) -> None:
    (x, y), (_, z) = lab.data(9), lab.data(9, seed=1)
    expected, modules = heads(lab), heads(lab)
    hand = ByHand(all_variables(expected))
    for step in range(9):
        with tf.GradientTape() as tape:
            features = expected[0](tf.constant(x[step]))
            total = 0.7 * mse(expected[1](features), y[step]) + 0.3 * mse(expected[2](features), z[step])
        hand.step(tape, total)
    segment = two_heads(
        lab,
        wrapped_heads(lab, modules),
        lab.store(),
        weights=(0.7, 0.3),
        rule=Adam(),
        jit_compile=jit_compile,
    )
    lab.run(lab.program(segment), lab.block(np.full((9, 3), 7), x=x, y=y, z=z), lab.controls(9))
    assert_near(modules, expected)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_head_without_live_rows_does_not_run_and_does_not_move(
    lab: Any, values_of: Any, jit_compile: bool
) -> None:
    (x, y), (_, z) = lab.data(4), lab.data(4, seed=1)
    modules, store = heads(lab), lab.store()
    segment = two_heads(
        lab,
        wrapped_heads(lab, modules),
        store,
        weights=(1.0, 1.0),
        rule=Adam(weight_decay=0.1),
        outputs=("second",),
        jit_compile=jit_compile,
    )
    program = lab.program(segment)
    counts = np.array([[7, 7, 7], [7, 7, 0], [7, 7, 0], [7, 7, 3]])
    staged, controls = program.stage(lab.block(counts, x=x, y=y, z=z)), lab.controls(4)
    program.run(staged, 0, 1, controls)
    before = values_of(modules[2])
    result = program.run(staged, 1, 3, controls)
    assert values_of(modules[2]) == before
    assert np.isnan(result.losses[:, 1]).all()
    assert not np.isnan(result.losses[:, 0]).any()
    assert result.outputs["second"] == [None, None]
    last = program.run(staged, 3, 4, controls)
    assert last.outputs["second"][0].shape == (3, 1)
    counts_of = {name: held["step"] for name, held in store.slots.items()}
    assert counts_of == {
        "trunk/layers.0.weight": 4,
        "trunk/layers.0.bias": 4,
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

    def parts() -> list[Any]:
        trunk, first, second = heads(lab)
        return [trunk, first, type(trunk)(BatchNorm(lab.hidden), second)]

    expected, modules = parts(), parts()
    for step, scored in enumerate(live):
        with tf.GradientTape() as tape:
            features = expected[0](tf.constant(x[step]))
            total = mse(expected[1](features), y[step])
            second = expected[2](features, training=scored)
            if scored:
                total = total + mse(second, z[step])
        variables = all_variables(expected)
        for one, gradient in zip(variables, tape.gradient(total, variables), strict=True):
            if gradient is not None:
                one.assign_sub(1e-2 * gradient)
        if step == 3:
            idle = second.numpy()
    nets = wrapped_heads(lab, modules)
    segment = two_heads(lab, nets, lab.store(), weights=(1.0, 1.0), rule=Sgd())
    trunk, first, second_call = segment.calls
    calls = (trunk, first, replace(second_call, rows=0))
    program = lab.program(replace(segment, calls=calls, outputs=("second",)))
    counts = np.array([[7, 7, 7 if scored else 0] for scored in live])
    result = program.run(program.stage(lab.block(counts, x=x, y=y, z=z)), 0, 5, lab.controls(5))
    assert_near(modules, expected)
    np.testing.assert_allclose(result.outputs["second"][3].numpy(), idle, **NEAR)


def test_windows_of_accumulation_carry_the_gradients_of_a_head_that_is_idle_at_their_end(lab: Any) -> None:
    (x, y), (_, z) = lab.data(2, dtype="float64"), lab.data(2, seed=1, dtype="float64")
    modules = [lab.trunk(dtype="float64")] + [
        lab.linear(lab.hidden, 1, seed=seed, dtype="float64") for seed in (4, 5)
    ]
    before = [modules[2].weight.numpy(), modules[2].bias.numpy()]
    features = modules[0](tf.constant(x[0]))
    with tf.GradientTape() as tape:
        loss = mse(modules[2](features), z[0])
    expected = [one.numpy() for one in tape.gradient(loss, [modules[2].weight, modules[2].bias])]
    store = lab.store()
    segment = two_heads(lab, wrapped_heads(lab, modules), store, weights=(1.0, 1.0), rule=Sgd())
    program = lab.program(segment)
    counts = np.array([[7, 7, 7], [7, 7, 0]])
    controls = lab.controls(
        2, rate=1.0, apply=np.array([[False], [True]]), accumulated=np.array([[14, 7], [14, 7]])
    )
    staged = program.stage(lab.block(counts, x=x, y=y, z=z))
    program.run(staged, 0, 1, controls)
    program.run(staged, 1, 2, controls)
    after = [modules[2].weight.numpy(), modules[2].bias.numpy()]
    for old, new, gradient in zip(before, after, expected, strict=True):
        np.testing.assert_allclose(old - new, gradient, rtol=1e-10)
    assert {held["step"] for held in store.slots.values()} == {1}


def test_outputs_of_one_program_feed_the_next(lab: Any, values_of: Any) -> None:
    x, y = lab.data(5)
    counts = np.array([[7], [0], [3], [7], [2]])
    trunk, head = lab.trunk(batch_norm=True), lab.linear(lab.hidden, 1)
    joint_trunk, joint_head = lab.trunk(batch_norm=True), lab.linear(lab.hidden, 1)
    frozen = Segment(
        "tensorflow",
        "eval",
        (SegmentInput("x", (3,), None, 0),),
        (Call("trunk", "trunk", lab.wrapped(trunk), None, ("x",), False, 0),),
        outputs=("trunk",),
    )
    program = lab.program(frozen)
    features = program.run(
        program.stage(lab.block(counts, x=x)), 0, 5, lab.controls(5, optimizers=0)
    ).outputs["trunk"]
    assert features[1] is None
    learning = Segment(
        "tensorflow",
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
    assert_near([head], [joint_head])


class Concat:
    def merge(self, ops: Any, arrays: list[Any]) -> Any:
        return ops.concat(arrays, 1)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_merge_cuts_to_its_rows_and_passes_gradients(lab: Any, jit_compile: bool) -> None:
    x, y = lab.data(3)
    counts = np.array([[7, 4], [7, 7], [5, 2]])

    def parts() -> list[Any]:
        return [lab.linear(3, 2), lab.linear(3, 3), lab.linear(5, 1)]

    expected, modules = parts(), parts()
    for step, (_, joined) in enumerate(counts):
        variables = all_variables(expected[:2])
        with tf.GradientTape() as tape:
            inputs = tf.constant(x[step, :joined])
            total = mse(expected[2](tf.concat([one(inputs) for one in expected[:2]], 1)), y[step, :joined])
        for one, gradient in zip(variables, tape.gradient(total, variables), strict=True):
            one.assign_sub(1e-2 * gradient)
    first, second, head = modules
    segment = Segment(
        "tensorflow",
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
        jit_compile=jit_compile,
    )
    program = lab.program(segment)
    result = program.run(program.stage(lab.block(counts, x=x, y=y)), 0, 3, lab.controls(3))
    assert [tuple(one.shape) for one in result.outputs["join"]] == [(4, 5), (7, 5), (2, 5)]
    assert_near(modules, expected)


def test_gradients_agree_with_finite_differences(lab: Any) -> None:
    (x, y), (_, z) = lab.data(1, dtype="float64"), lab.data(1, seed=1, dtype="float64")
    modules = [lab.trunk(dtype="float64")] + [
        lab.linear(lab.hidden, 1, seed=seed, dtype="float64") for seed in (4, 5)
    ]
    counts = np.array([[7, 5, 3]])

    def total() -> float:
        layer = modules[0].layers[0]
        features = np.tanh(x[0] @ layer.weight.numpy() + layer.bias.numpy())
        value = 0.0
        for head, target, weight, count in ((modules[1], y, 0.7, 5), (modules[2], z, 0.3, 3)):
            outputs = features[:count] @ head.weight.numpy() + head.bias.numpy()
            value += weight * float(np.mean((outputs - target[0, :count]) ** 2))
        return value

    variables, expected = all_variables(modules), []
    for variable in variables:
        kept = variable.numpy()
        for index in np.ndindex(*kept.shape):
            ends = []
            for change in (1e-6, -1e-6):
                moved = kept.copy()
                moved[index] += change
                variable.assign(moved)
                ends.append(total())
            expected.append((ends[0] - ends[1]) / 2e-6)
        variable.assign(kept)
    before = np.concatenate([one.numpy().ravel() for one in variables])
    segment = two_heads(lab, wrapped_heads(lab, modules), lab.store(), weights=(0.7, 0.3), rule=Sgd())
    lab.run(lab.program(segment), lab.block(counts, x=x, y=y, z=z), lab.controls(1, rate=1.0))
    after = np.concatenate([one.numpy().ravel() for one in variables])
    np.testing.assert_allclose(before - after, expected, rtol=1e-6, atol=1e-9)


def test_two_optimizers_accumulate_each_in_its_own_window(lab: Any, values_of: Any) -> None:
    x, y = lab.data(4)
    trunk, head = lab.trunk(), lab.linear(lab.hidden, 1)
    slow, fast = lab.store(), lab.store()
    segment = two_nodes(lab, lab.wrapped(trunk), lab.wrapped(head, (lab.hidden,)), slow, learns=(True, True))
    optimizers = (SegmentOptimizer(Sgd(), slow, ("trunk",)), SegmentOptimizer(Adam(), fast, ("head",)))
    program = lab.program(replace(segment, optimizers=optimizers))
    apply = np.array([[False, True], [True, True], [False, True], [True, True]])
    controls = lab.controls(4, optimizers=2, apply=apply, accumulated=np.full((4, 1), 7))
    staged, before = program.stage(lab.block(x=x, y=y)), values_of(trunk)
    program.run(staged, 0, 1, controls)
    assert values_of(trunk) == before
    program.run(staged, 1, 4, controls)
    assert values_of(trunk) != before
    assert {held["step"] for held in slow.slots.values()} == {2}
    assert {held["step"] for held in fast.slots.values()} == {4}
