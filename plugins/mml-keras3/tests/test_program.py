"""Training through programs against Keras' own trainer, step for step from equal weights."""

import threading
import warnings
from dataclasses import replace
from typing import Any

import keras
import numpy as np
import pytest

from mml.backends import Call, Segment, SegmentInput, SegmentLoss, SegmentOptimizer
from mml.errors import BackendError, LossError, ModelError, ShapeError
from mml.graph.optimizers.canonical import Adam, AdamW, RMSprop, Sgd
from mml_keras3.engines import engine
from mml_keras3.losses import wrap_loss
from mml_keras3.optimizers import FrameworkOptimizer

ops = keras.ops
CLOSE: dict[str, Any] = {"rtol": 2e-5, "atol": 2e-6}


def by_keras(
    model: Any, x: Any, y: Any, *, optimizer: Any = None, weights: Any = None, **more: Any
) -> list[float]:
    """Train by `train_on_batch`; return the loss of each step, penalties of the model included."""
    model.compile(optimizer=optimizer or keras.optimizers.SGD(1e-2, momentum=0.9), loss="mse", **more)
    losses = []
    for step in range(len(x)):
        weight = None if weights is None else weights[step]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = model.train_on_batch(x[step], y[step], sample_weight=weight, return_dict=True)
        losses.append(float(result["loss"]))
        model.reset_metrics()
    return losses


def assert_close(model: Any, other: Any, **tolerance: Any) -> None:
    for one, expected in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(one, expected, **(tolerance or CLOSE))


def momentum(**settings: Any) -> Any:
    """Keras' own SGD with momentum, which differs from the canonical one only in where the rate stands."""
    return FrameworkOptimizer(keras.optimizers.SGD, {"learning_rate": 1e-2, "momentum": 0.9, **settings})


@pytest.mark.parametrize(
    "options", [{}, {"batch_norm": True}, {"kernel_regularizer": keras.regularizers.L2(0.1)}]
)
def test_training_equals_keras_own_trainer_step_for_step(lab: Any, options: Any) -> None:
    x, y = lab.data(11)
    expected, net = lab.net(**options), lab.net(**options)
    losses = by_keras(expected, x, y)
    program = lab.program(lab.segment(lab.wrapped(net), lab.loss("mse"), momentum(), lab.store()))
    seen = lab.run(program, lab.block(x=x, y=y), lab.controls(11))
    assert_close(net, expected)
    if "kernel_regularizer" not in options:
        np.testing.assert_allclose(seen[:, 0], losses, **CLOSE)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "RMSprop", "Adagrad", "Nadam", "Lion", "Adafactor"])
def test_an_optimizer_class_of_keras_steps_as_in_keras(lab: Any, name: str) -> None:
    if name == "Nadam" and lab.engine == "tensorflow":
        with pytest.raises(Exception, match="Nadam cannot be stepped"):
            FrameworkOptimizer(keras.optimizers.Nadam, {})
        return
    x, y = lab.data(7)
    made, settings = getattr(keras.optimizers, name), {"learning_rate": 1e-2}
    expected, net, store = lab.net(), lab.net(), lab.store()
    by_keras(expected, x, y, optimizer=made(**settings))
    rule = FrameworkOptimizer(made, settings)
    assert rule.default_rate == pytest.approx(1e-2)
    program = lab.program(lab.segment(lab.wrapped(net), lab.loss("mse"), rule, store))
    lab.run(program, lab.block(x=x, y=y), lab.controls(7), cut=3)
    assert_close(net, expected)
    assert {held["step"] for held in store.slots.values()} == {7}


def test_canonical_adam_follows_float64(lab: Any) -> None:
    x, y = lab.data(9)
    net, store = lab.net(), lab.store()
    values = [one.astype(np.float64) for one in net.get_weights()]
    moments = [(np.zeros_like(one), np.zeros_like(one)) for one in values]
    for step in range(9):
        hidden = np.tanh(x[step] @ values[0] + values[1])
        slope = 2 * (hidden @ values[2] + values[3] - y[step]) / 7
        back = (slope @ values[2].T) * (1 - hidden**2)
        gradients = [x[step].T @ back, back.sum(0), hidden.T @ slope, slope.sum(0)]
        for index, gradient in enumerate(gradients):
            first, second = moments[index]
            first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
            moments[index] = first, second
            corrected = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
            values[index] = values[index] - 1e-2 * corrected[0] / (np.sqrt(corrected[1]) + 1e-8)
    program = lab.program(lab.segment(lab.wrapped(net), lab.loss("mse"), Adam(), store))
    lab.run(program, lab.block(x=x, y=y), lab.controls(9), cut=4)
    for one, expected in zip(net.get_weights(), values, strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-5)


def test_clipping_bounds_the_norm_of_all_gradients_and_each_element(lab: Any) -> None:
    x, y = lab.data(7)
    for clip, settings in (
        ({"clip_norm": 0.05}, {"global_clipnorm": 0.05}),
        ({"clip_value": 0.01}, {"clipvalue": 0.01}),
    ):
        expected, net = lab.net(), lab.net()
        by_keras(expected, x, y, optimizer=keras.optimizers.SGD(0.1, **settings))
        program = lab.program(lab.segment(lab.wrapped(net), lab.loss("mse"), Sgd(), lab.store(), **clip))
        lab.run(program, lab.block(x=x, y=y), lab.controls(7, rate=0.1))
        assert_close(net, expected, rtol=1e-4, atol=2e-6)


def test_rates_that_change_reach_each_step(lab: Any) -> None:
    x, y = lab.data(6)
    rates = 0.1 / (1 + np.arange(6)[:, None])
    expected, net = lab.net(), lab.net()
    for step in range(6):
        by_keras(
            expected,
            x[step : step + 1],
            y[step : step + 1],
            optimizer=keras.optimizers.SGD(float(rates[step, 0])),
        )
    controls = replace(lab.controls(6), rates=rates)
    program = lab.program(lab.segment(lab.wrapped(net), lab.loss("mse"), Sgd(), lab.store()))
    lab.run(program, lab.block(x=x, y=y), controls, cut=4)
    assert_close(net, expected)


def test_sample_weights_are_divided_by_live_rows(lab: Any) -> None:
    x, y = lab.data(5)
    weights = np.random.default_rng(5).uniform(0.1, 3.0, size=(5, 7, 1)).astype("float32")
    expected, net = lab.net(), lab.net()
    by_keras(expected, x, y, optimizer=keras.optimizers.SGD(1e-2), weights=weights[..., 0])
    segment = lab.segment(lab.wrapped(net), lab.loss("mse"), Sgd(), lab.store(), sample_weight="w")
    lab.run(lab.program(segment), lab.block(x=x, y=y, w=weights), lab.controls(5))
    assert_close(net, expected)


@pytest.mark.parametrize("cut", [1, 2, 5, 11])
def test_results_do_not_depend_on_how_steps_are_cut(lab: Any, values_of: Any, cut: int) -> None:
    x, y = lab.data(11)
    counts = np.array([[7], [3], [7], [2], [0], [7], [3], [2], [7], [7], [3]])

    def trained(cut: int, *, separate_blocks: bool) -> tuple[Any, ...]:
        net, store = lab.net(dropout=0.4, batch_norm=True), lab.store()
        program = lab.program(lab.segment(lab.wrapped(net), lab.loss("mse"), Adam(), store))
        controls = lab.controls(11)
        if not separate_blocks:
            losses = lab.run(program, lab.block(counts, x=x, y=y), controls, cut=cut)
        else:
            parts = []
            for start in range(0, 11, cut):
                part = slice(start, start + cut)
                # A block of its own need not have room for more rows than its steps have.
                room = counts[part].max(initial=1)
                sub = type(controls)(seeds=controls.seeds[part], rates=controls.rates[part])
                block = lab.block(counts[part], x=x[part, :room], y=y[part, :room])
                parts.append(lab.run(program, block, sub))
            losses = np.concatenate(parts)
        slots = [np.asarray(value).tobytes() for held in lab.slots(store).values() for value in held.values()]
        return values_of(net), losses.tobytes(), slots

    whole = trained(11, separate_blocks=False)
    assert trained(cut, separate_blocks=False) == whole
    assert trained(cut, separate_blocks=True) == whole


@pytest.mark.parametrize("rule", [Adam(), Sgd(momentum=0.9, nesterov=True)])
@pytest.mark.parametrize("stop", [1, 4])
def test_a_resumed_run_continues_with_equal_bits(lab: Any, values_of: Any, rule: Any, stop: int) -> None:
    x, y = lab.data(9)
    block, controls = lab.block(x=x, y=y), lab.controls(9)
    net, store = lab.net(dropout=0.3, batch_norm=True), lab.store()
    lab.run(lab.program(lab.segment(lab.wrapped(net), lab.loss("mse"), rule, store)), block, controls)

    first, first_store = lab.net(dropout=0.3, batch_norm=True), lab.store()
    model = lab.wrapped(first)
    program = lab.program(lab.segment(model, lab.loss("mse"), rule, first_store))
    program.run(program.stage(block), 0, stop, controls)
    saved, slots = model.get_state(), lab.slots(first_store)
    program.run(program.stage(block), stop, 9, controls)  # what was saved is a snapshot, not a reference
    assert values_of(first) == values_of(net)

    second, second_store = lab.net(dropout=0.3, batch_norm=True, seed=1), lab.store()
    resumed = lab.wrapped(second)
    resumed.set_state(saved)
    second_store.slots.update(slots)
    program = lab.program(lab.segment(resumed, lab.loss("mse"), rule, second_store))
    program.run(program.stage(block), stop, 9, controls)
    assert values_of(second) == values_of(net)


def test_slots_restored_while_a_program_lives_are_used(lab: Any, values_of: Any) -> None:
    x, y = lab.data(6)
    net, store = lab.net(), lab.store()
    model = lab.wrapped(net)
    program = lab.program(lab.segment(model, lab.loss("mse"), Adam(), store))
    staged, controls = program.stage(lab.block(x=x, y=y)), lab.controls(6)
    program.run(staged, 0, 3, controls)
    saved, slots = model.get_state(), lab.slots(store)
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
    assert {held["step"] for held in store.slots.values()} == {1}


def two_nodes(
    lab: Any, trunk: Any, head: Any, store: Any, *, learns: tuple[bool, bool], rule: Any = None
) -> Segment:
    nodes = tuple(node for node, learn in zip(("trunk", "head"), learns, strict=True) if learn)
    return Segment(
        "keras3",
        "train",
        (SegmentInput("x", (lab.width,), None, 0), SegmentInput("y", (1,), None, 0)),
        (
            Call("trunk", "trunk", trunk, None, ("x",), learns[0], 0),
            Call("head", "head", head, None, ("trunk",), learns[1], 0),
        ),
        (SegmentLoss("head/mse", "head", lab.loss("mse"), ("head", "y"), 1.0, 0),),
        (SegmentOptimizer(rule or AdamW(weight_decay=0.1), store, nodes),),
        outputs=("trunk", "head"),
    )


def test_a_frozen_trunk_keeps_its_bits_and_the_head_learns_as_in_keras(lab: Any, values_of: Any) -> None:
    x, y = lab.data(9)

    def parts(dropout: float) -> tuple[Any, Any]:
        layers = [keras.layers.Dense(5), keras.layers.BatchNormalization(), keras.layers.Dropout(dropout)]
        return lab.drawn(keras.Sequential(layers), lab.width, 0), lab.head()

    # Keras goes on dropping in what is frozen; in a graph, a frozen node runs in inference mode.
    expected_trunk, expected_head = parts(dropout=0.0)
    expected_trunk.trainable = False
    by_keras(keras.Sequential([expected_trunk, expected_head]), x, y)
    trunk, head = parts(dropout=0.5)
    before, store = values_of(trunk), lab.store()
    segment = two_nodes(
        lab,
        lab.wrapped(trunk, label="trunk"),
        lab.wrapped(head, (lab.hidden,), "head"),
        store,
        learns=(False, True),
        rule=momentum(),
    )
    lab.run(lab.program(segment), lab.block(x=x, y=y), lab.controls(9))
    assert values_of(trunk) == before
    assert_close(head, expected_head)
    assert set(store.slots) == {"head/kernel", "head/bias"}
    assert trunk.trainable
    assert all(variable.trainable for variable in trunk.layers[0].variables)


def test_gradients_flow_through_a_frozen_node_behind_a_learning_one(lab: Any, values_of: Any) -> None:
    x, y = lab.data(5)
    trunk, head = lab.trunk(), lab.head()
    before, frozen = values_of(trunk), values_of(head)
    segment = two_nodes(
        lab, lab.wrapped(trunk), lab.wrapped(head, (lab.hidden,)), lab.store(), learns=(True, False)
    )
    lab.run(lab.program(segment), lab.block(x=x, y=y), lab.controls(5))
    assert values_of(head) == frozen
    assert values_of(trunk) != before


def test_freezing_in_between_keeps_slots_and_counts(lab: Any) -> None:
    x, y = lab.data(6)
    trunk, head = lab.wrapped(lab.trunk()), lab.wrapped(lab.head(), (lab.hidden,))
    store, block, controls = lab.store(), lab.block(x=x, y=y), lab.controls(6)
    both, one = (
        lab.program(two_nodes(lab, trunk, head, store, learns=(first, True))) for first in (True, False)
    )
    both.run(both.stage(block), 0, 2, controls)
    moment = lab.numpy(store.slots["trunk/dense.kernel"]["first_moment"])
    one.run(one.stage(block), 2, 5, controls)
    np.testing.assert_array_equal(lab.numpy(store.slots["trunk/dense.kernel"]["first_moment"]), moment)
    both.run(both.stage(block), 5, 6, controls)
    counts = {name: held["step"] for name, held in store.slots.items()}
    assert counts == {"trunk/dense.kernel": 3, "trunk/dense.bias": 3, "head/kernel": 6, "head/bias": 6}


def two_heads(lab: Any, nets: list[Any], store: Any, *, weights: tuple[float, float], rule: Any) -> Segment:
    trunk, first, second = nets
    return Segment(
        "keras3",
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
            SegmentLoss("a", "first", lab.loss("mse"), ("first", "y"), weights[0], 1),
            SegmentLoss("b", "second", lab.loss("mse"), ("second", "z"), weights[1], 2),
        ),
        (SegmentOptimizer(rule, store, ("trunk", "first", "second")),),
        n_rows=3,
    )


def heads(lab: Any) -> list[Any]:
    return [lab.trunk(seed=3), lab.head(seed=4), lab.head(seed=5)]


def wrapped_heads(lab: Any, modules: list[Any]) -> list[Any]:
    return [lab.wrapped(modules[0])] + [lab.wrapped(one, (lab.hidden,)) for one in modules[1:]]


def test_two_weighted_heads_equal_keras_own_trainer(lab: Any) -> None:
    (x, y), (_, z) = lab.data(9), lab.data(9, seed=1)
    expected, modules = heads(lab), heads(lab)
    inputs = keras.Input((lab.width,))
    features = expected[0](inputs)
    joint = keras.Model(inputs, [expected[1](features), expected[2](features)])
    joint.compile(
        optimizer=keras.optimizers.SGD(1e-2, momentum=0.9), loss=["mse", "mse"], loss_weights=[0.7, 0.3]
    )
    for step in range(9):
        joint.train_on_batch(x[step], [y[step], z[step]])
    nets = wrapped_heads(lab, modules)
    program = lab.program(two_heads(lab, nets, lab.store(), weights=(0.7, 0.3), rule=momentum()))
    lab.run(program, lab.block(np.full((9, 3), 7), x=x, y=y, z=z), lab.controls(9))
    for one, other in zip(modules, expected, strict=True):
        assert_close(one, other)


def test_a_head_without_live_rows_does_not_move(lab: Any, values_of: Any) -> None:
    (x, y), (_, z) = lab.data(4), lab.data(4, seed=1)
    modules, store = heads(lab), lab.store()
    rule = Adam(weight_decay=0.1)
    program = lab.program(two_heads(lab, wrapped_heads(lab, modules), store, weights=(1.0, 1.0), rule=rule))
    counts = np.array([[7, 7, 7], [7, 7, 0], [7, 7, 0], [7, 7, 3]])
    staged, controls = program.stage(lab.block(counts, x=x, y=y, z=z)), lab.controls(4)
    program.run(staged, 0, 1, controls)
    before = values_of(modules[2])
    losses = lab.numpy(program.run(staged, 1, 3, controls).losses)
    assert values_of(modules[2]) == before
    assert np.isnan(losses[:, 1]).all()
    assert not np.isnan(losses[:, 0]).any()
    program.run(staged, 3, 4, controls)
    counts_of = {name: held["step"] for name, held in store.slots.items()}
    assert counts_of == {
        "trunk/dense.kernel": 4,
        "trunk/dense.bias": 4,
        "first/kernel": 4,
        "first/bias": 4,
        "second/kernel": 2,
        "second/bias": 2,
    }


def test_a_head_whose_loss_has_no_live_rows_runs_in_inference_mode_and_moves_no_statistics(
    lab: Any, values_of: Any
) -> None:
    (x, y), (_, z) = lab.data(3), lab.data(3, seed=1)
    trunk, first, _ = heads(lab)
    second = lab.drawn(
        keras.Sequential(
            [keras.layers.BatchNormalization(), keras.layers.Dropout(0.3), keras.layers.Dense(1)]
        ),
        lab.hidden,
        5,
    )
    segment = two_heads(
        lab, wrapped_heads(lab, [trunk, first, second]), lab.store(), weights=(1.0, 1.0), rule=Adam()
    )
    third = replace(segment.calls[2], rows=0)
    program = lab.program(replace(segment, calls=(*segment.calls[:2], third), outputs=("trunk", "second")))
    staged = program.stage(lab.block(np.array([[7, 7, 7], [7, 7, 0], [7, 7, 0]]), x=x, y=y, z=z))
    program.run(staged, 0, 1, lab.controls(3))
    before = values_of(second)
    result = program.run(staged, 1, 2, lab.controls(3))
    assert values_of(second) == before
    features = result.outputs["trunk"][0]
    expected = ops.convert_to_numpy(second(features, training=False))
    np.testing.assert_allclose(lab.numpy(result.outputs["second"][0]), expected, **CLOSE)


def test_a_step_without_any_live_row_changes_nothing(lab: Any, values_of: Any) -> None:
    x, y = lab.data(2)
    net, store = lab.net(batch_norm=True), lab.store()
    program = lab.program(lab.segment(lab.wrapped(net), lab.loss("mse"), Sgd(momentum=0.9), store))
    staged, controls = program.stage(lab.block([[7], [0]], x=x, y=y)), lab.controls(2)
    program.run(staged, 0, 1, controls)
    before = values_of(net)
    result = program.run(staged, 1, 2, controls)
    assert values_of(net) == before
    assert np.isnan(lab.numpy(result.losses)).all()
    assert {held["step"] for held in store.slots.values()} == {1}


def test_rows_that_are_not_live_never_enter(lab: Any) -> None:
    x, y = lab.data(6)
    counts = np.array([[4], [7], [2], [4], [7], [2]])
    spoiled_x, spoiled_y = x.copy(), y.copy()
    for step, (count,) in enumerate(counts):
        spoiled_x[step, count:], spoiled_y[step, count:] = np.nan, np.inf
    expected, net = lab.net(batch_norm=True), lab.net(batch_norm=True)
    expected.compile(optimizer=keras.optimizers.SGD(1e-2, momentum=0.9), loss="mse")
    for step, (count,) in enumerate(counts):
        expected.train_on_batch(x[step, :count], y[step, :count])
    program = lab.program(lab.segment(lab.wrapped(net), lab.loss("mse"), momentum(), lab.store()))
    losses = lab.run(program, lab.block(counts, x=spoiled_x, y=spoiled_y), lab.controls(6))
    assert np.isfinite(losses).all()
    assert_close(net, expected)


def test_rows_that_differ_between_losses_are_those_that_count(lab: Any) -> None:
    """Counts of two columns differ in a step: padded or exact, masked rows have no part in anything."""
    (x, y), (_, z) = lab.data(6), lab.data(6, seed=1)
    counts = np.array([[7, 7, 5], [7, 7, 3], [7, 6, 7], [7, 7, 2], [7, 5, 3], [7, 7, 1]])
    spoiled_y, spoiled_z = y.copy(), z.copy()
    expected, modules = heads(lab), heads(lab)
    weights = [one.astype(np.float64) for part in expected for one in part.get_weights()]
    for step, (_, live_y, live_z) in enumerate(counts):
        spoiled_y[step, live_y:], spoiled_z[step, live_z:] = np.nan, np.inf
        kernel, bias, first, first_bias, second, second_bias = weights
        features = np.tanh(x[step] @ kernel + bias)
        slopes = []
        for head, head_bias, target, live, weight in (
            (first, first_bias, y, live_y, 0.7),
            (second, second_bias, z, live_z, 0.3),
        ):
            slope = np.zeros((7, 1))
            slope[:live] = weight * 2 * (features @ head + head_bias - target[step])[:live] / live
            slopes.append(slope)
        back = (slopes[0] @ first.T + slopes[1] @ second.T) * (1 - features**2)
        gradients = [x[step].T @ back, back.sum(0)]
        for slope in slopes:
            gradients += [features.T @ slope, slope.sum(0)]
        weights = [one - 1e-2 * gradient for one, gradient in zip(weights, gradients, strict=True)]
    program = lab.program(
        two_heads(lab, wrapped_heads(lab, modules), lab.store(), weights=(0.7, 0.3), rule=Sgd())
    )
    losses = lab.run(program, lab.block(counts, x=x, y=spoiled_y, z=spoiled_z), lab.controls(6))
    assert np.isfinite(losses).all()
    seen = [one for part in modules for one in part.get_weights()]
    for one, wanted in zip(seen, weights, strict=True):
        np.testing.assert_allclose(one, wanted, rtol=1e-5, atol=1e-6)


def test_accumulation_equals_one_batch_of_the_same_rows(lab: Any) -> None:
    x, y = lab.data(4)
    counts = np.array([[7], [3], [5], [7]])
    joined_x = np.concatenate([x[step, : counts[step, 0]] for step in range(4)])[None]
    joined_y = np.concatenate([y[step, : counts[step, 0]] for step in range(4)])[None]
    settings = {"kernel_regularizer": keras.regularizers.L2(0.05)}
    whole, split = lab.net(**settings), lab.net(**settings)
    rule = Sgd(momentum=0.9)
    lab.run(
        lab.program(lab.segment(lab.wrapped(whole), lab.loss("mse"), rule, lab.store())),
        lab.block([[22]], x=joined_x, y=joined_y),
        lab.controls(1),
    )
    store = lab.store()
    apply = np.array([[False], [False], [False], [True]])
    controls = lab.controls(4, apply=apply, accumulated=np.full((4, 1), 22))
    program = lab.program(lab.segment(lab.wrapped(split), lab.loss("mse"), rule, store))
    staged = program.stage(lab.block(counts, x=x, y=y))
    program.run(staged, 0, 3, controls)
    waiting = {name: set(held) for name, held in store.slots.items()}
    assert all("accumulated" in held for held in waiting.values())
    program.run(staged, 3, 4, controls)
    assert all("accumulated" not in held for held in store.slots.values())
    assert {held["step"] for held in store.slots.values()} == {1}
    assert_close(split, whole)


def test_a_window_that_waits_goes_on_in_other_objects(lab: Any, values_of: Any) -> None:
    x, y = lab.data(4)
    apply = np.array([[False], [True], [False], [True]])
    controls = lab.controls(4, apply=apply, accumulated=np.full((4, 1), 14))
    block = lab.block(x=x, y=y)
    whole, first, second = lab.net(), lab.net(), lab.net(seed=9)
    lab.run(
        lab.program(lab.segment(lab.wrapped(whole), lab.loss("mse"), Adam(), lab.store())), block, controls
    )
    store, resumed = lab.store(), lab.store()
    model, other = lab.wrapped(first), lab.wrapped(second)
    program = lab.program(lab.segment(model, lab.loss("mse"), Adam(), store))
    program.run(program.stage(block), 0, 3, controls)
    other.set_state(model.get_state())
    resumed.slots.update(lab.slots(store))
    program = lab.program(lab.segment(other, lab.loss("mse"), Adam(), resumed))
    program.run(program.stage(block), 3, 4, controls)
    assert values_of(second) == values_of(whole)


def test_a_failed_run_leaves_what_it_can_as_it_was(lab: Any, values_of: Any) -> None:
    x, y = lab.data(3)
    net, store = lab.net(), lab.store()

    def loss(outputs: Any, targets: Any) -> Any:
        raise ArithmeticError("on purpose")

    program = lab.program(lab.segment(lab.wrapped(net), lab.backend.wrap_loss(loss), Sgd(), store))
    before = values_of(net)
    with pytest.raises(LossError, match="on purpose") as caught:
        program.run(program.stage(lab.block(x=x, y=y)), 0, 3, lab.controls(3))
    assert "net/loss" in str(caught.value.where)
    assert values_of(net) == before


def test_a_parameter_that_the_user_turned_off_stays_off(lab: Any) -> None:
    x, y = lab.data(4)
    net, store = lab.net(), lab.store()
    net.layers[0].bias.trainable = False
    before = net.layers[0].bias.numpy().copy()
    program = lab.program(lab.segment(lab.wrapped(net), lab.loss("mse"), AdamW(weight_decay=0.5), store))
    staged, controls = program.stage(lab.block(x=x, y=y)), lab.controls(4)
    program.run(staged, 0, 2, controls)
    np.testing.assert_array_equal(net.layers[0].bias.numpy(), before)
    assert "net/dense.bias" not in store.slots
    net.layers[0].bias.trainable = True
    program.run(staged, 2, 4, controls)
    assert not np.array_equal(net.layers[0].bias.numpy(), before)
    assert [store.slots[name]["step"] for name in ("net/dense.kernel", "net/dense.bias")] == [4, 2]


class Partly(keras.Model):
    """Makes two layers and uses one."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = keras.layers.Dense(1), keras.layers.Dense(1)

    def build(self, input_shape: Any) -> None:
        self.used.build(input_shape)
        self.unused.build(input_shape)

    def call(self, inputs: Any) -> Any:
        return self.used(inputs)


def test_a_parameter_that_no_loss_reaches_gets_no_update(lab: Any) -> None:
    x, y = lab.data(3)
    net, store = lab.drawn(Partly(), lab.width, 0), lab.store()
    before = net.unused.kernel.numpy().copy()
    program = lab.program(lab.segment(lab.wrapped(net), lab.loss("mse"), AdamW(weight_decay=0.5), store))
    lab.run(program, lab.block(x=x, y=y), lab.controls(3))
    np.testing.assert_array_equal(net.unused.kernel.numpy(), before)
    assert store.slots["net/dense.kernel"]["step"] == 3
    assert store.slots.get("net/dense_1.kernel", {"step": 0})["step"] == 0


def test_evaluation_changes_nothing_and_returns_live_rows(lab: Any, values_of: Any) -> None:
    x, y = lab.data(3)
    net = lab.net(dropout=0.5, batch_norm=True)
    before = values_of(net)
    program = lab.program(lab.segment(lab.wrapped(net), lab.loss("mse"), None, None, outputs=("net",)))
    staged = program.stage(lab.block([[7], [0], [2]], x=x, y=y))
    result = program.run(staged, 0, 3, lab.controls(3, optimizers=0))
    assert values_of(net) == before
    outputs, losses = result.outputs["net"], lab.numpy(result.losses)
    assert outputs[1] is None
    for step, count in ((0, 7), (2, 2)):
        expected = ops.convert_to_numpy(net(x[step, :count], training=False))
        np.testing.assert_allclose(lab.numpy(outputs[step]), expected, **CLOSE)
        np.testing.assert_allclose(losses[step, 0], ((expected - y[step, :count]) ** 2).mean(), rtol=1e-4)


def test_outputs_of_one_program_feed_the_next(lab: Any) -> None:
    x, y = lab.data(5)
    counts = np.array([[7], [0], [3], [7], [3]])
    trunk, head, joint_trunk, joint_head = lab.trunk(), lab.head(), lab.trunk(), lab.head()
    frozen = Segment(
        "keras3",
        "eval",
        (SegmentInput("x", (3,), None, 0),),
        (Call("trunk", "trunk", lab.wrapped(trunk), None, ("x",), False, 0),),
        outputs=("trunk",),
    )
    program = lab.program(frozen)
    features = program.run(program.stage(lab.block(counts, x=x)), 0, 5, lab.controls(5, optimizers=0)).outputs
    assert [one is None for one in features["trunk"]] == [False, True, False, False, False]
    learning = Segment(
        "keras3",
        "train",
        (SegmentInput("trunk", (5,), None, 0, origin="trunk"), SegmentInput("y", (1,), None, 0)),
        (Call("head", "head", lab.wrapped(head, (5,)), None, ("trunk",), True, 0),),
        (SegmentLoss("l", "head", lab.loss("mse"), ("head", "y"), 1.0, 0),),
        (SegmentOptimizer(Adam(), lab.store(), ("head",)),),
    )
    lab.run(lab.program(learning), lab.block(counts, trunk=features["trunk"], y=y), lab.controls(5))
    joint = two_nodes(
        lab,
        lab.wrapped(joint_trunk),
        lab.wrapped(joint_head, (5,)),
        lab.store(),
        learns=(False, True),
        rule=Adam(),
    )
    lab.run(lab.program(joint), lab.block(counts, x=x, y=y), lab.controls(5))
    assert_close(head, joint_head)


class Concat:
    def merge(self, backend_ops: Any, arrays: list[Any]) -> Any:
        return backend_ops.concat(arrays, 1)


def test_two_branches_that_merge_equal_keras_own_trainer(lab: Any) -> None:
    x, y = lab.data(6)

    def parts() -> list[Any]:
        return [
            lab.drawn(keras.layers.Dense(2, activation="relu"), 3, 0),
            lab.drawn(keras.layers.Dense(3, activation="tanh"), 3, 1),
            lab.drawn(keras.layers.Dense(1), 5, 2),
        ]

    expected, (first, second, head) = parts(), parts()
    inputs = keras.Input((3,))
    joined = keras.layers.Concatenate()([expected[0](inputs), expected[1](inputs)])
    by_keras(keras.Model(inputs, expected[2](joined)), x, y)
    segment = Segment(
        "keras3",
        "train",
        (SegmentInput("x", (3,), None, 0), SegmentInput("y", (1,), None, 0)),
        (
            Call("a", "a", lab.wrapped(first), None, ("x",), True, 0),
            Call("b", "b", lab.wrapped(second), None, ("x",), True, 0),
            Call("join", "join", None, Concat(), ("a", "b"), False, 0),
            Call("head", "head", lab.wrapped(head, (5,)), None, ("join",), True, 0),
        ),
        (SegmentLoss("l", "head", lab.loss("mse"), ("head", "y"), 1.0, 0),),
        (SegmentOptimizer(momentum(), lab.store(), ("a", "b", "head")),),
        outputs=("join",),
    )
    program = lab.program(segment)
    result = program.run(program.stage(lab.block(x=x, y=y)), 0, 6, lab.controls(6))
    assert [tuple(one.shape) for one in result.outputs["join"]] == [(7, 5)] * 6
    for one, other in zip((first, second, head), expected, strict=True):
        assert_close(one, other)


def test_a_merge_cuts_to_its_rows(lab: Any, values_of: Any) -> None:
    x, y = lab.data(3)
    first, second = lab.drawn(keras.layers.Dense(2), 3, 0), lab.drawn(keras.layers.Dense(3), 3, 1)
    head = lab.head(width=5)
    before = values_of(first, second)
    segment = Segment(
        "keras3",
        "train",
        (SegmentInput("x", (3,), None, 0), SegmentInput("y", (1,), None, 1)),
        (
            Call("a", "a", lab.wrapped(first), None, ("x",), True, 0),
            Call("b", "b", lab.wrapped(second), None, ("x",), True, 0),
            Call("join", "join", None, Concat(), ("a", "b"), False, 1),
            Call("head", "head", lab.wrapped(head, (5,)), None, ("join",), False, 1),
        ),
        (SegmentLoss("l", "head", lab.loss("mse"), ("head", "y"), 1.0, 1),),
        (SegmentOptimizer(Sgd(), lab.store(), ("a", "b")),),
        outputs=("join",),
        n_rows=2,
    )
    program = lab.program(segment)
    counts = np.array([[7, 4], [7, 7], [5, 2]])
    result = program.run(program.stage(lab.block(counts, x=x, y=y)), 0, 3, lab.controls(3))
    assert [tuple(one.shape) for one in result.outputs["join"]] == [(4, 5), (7, 5), (2, 5)]
    assert all(one != other for one, other in zip(before, values_of(first, second), strict=True))


@pytest.mark.parametrize("rule", [RMSprop(momentum=0.5), Sgd(momentum=0.9, nesterov=True)])
def test_threads_that_train_at_once_equal_one_after_the_other(lab: Any, values_of: Any, rule: Any) -> None:
    x, y = lab.data(4)

    def train(net: Any) -> None:
        program = lab.program(lab.segment(lab.wrapped(net), lab.loss("mse"), rule, lab.store()))
        lab.run(program, lab.block(x=x, y=y), lab.controls(4), cut=2)

    expected = lab.net(dropout=0.4)
    train(expected)
    nets = [lab.net(dropout=0.4) for _ in range(3)]
    threads = [threading.Thread(target=train, args=(net,)) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [values_of(net) for net in nets] == [values_of(expected)] * 3


def test_host_buffers_may_be_overwritten_after_staging(lab: Any, values_of: Any) -> None:
    nets = [lab.net(), lab.net()]
    for net, spoils in zip(nets, (False, True), strict=True):
        x, y = lab.data(4)
        program = lab.program(lab.segment(lab.wrapped(net), lab.loss("mse"), Adam(), lab.store()))
        staged = program.stage(lab.block(x=x, y=y))
        if spoils:
            x[:], y[:] = np.nan, np.nan
        program.run(staged, 0, 4, lab.controls(4))
    assert values_of(nets[0]) == values_of(nets[1])


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
    program = lab.program(lab.segment(lab.wrapped(lab.net()), lab.loss("mse"), None, None))
    losses = [
        lab.run(program, lab.block(x=values, y=y), lab.controls(2, optimizers=0)) for values in (x, given)
    ]
    assert losses[0].tobytes() == losses[1].tobytes()


def test_users_references_see_every_update(lab: Any) -> None:
    x, y = lab.data(2)
    net = lab.net()
    kernel = net.layers[0].kernel
    program = lab.program(lab.segment(lab.wrapped(net), lab.loss("mse"), Sgd(), lab.store()))
    staged, controls = program.stage(lab.block(x=x, y=y)), lab.controls(2)
    before = kernel.numpy().copy()
    program.run(staged, 0, 1, controls)
    assert not np.array_equal(kernel.numpy(), before)
    kernel.assign(np.full(kernel.shape, 0.25, "float32"))
    program.run(staged, 1, 2, controls)
    moved = kernel.numpy() - 0.25
    assert 0 < np.abs(moved).max() < 0.2


def test_layers_that_add_losses_of_their_own_are_heard(lab: Any) -> None:
    class Adding(keras.layers.Layer):
        def build(self, input_shape: Any) -> None:
            self.dense = keras.layers.Dense(1)
            self.dense.build(input_shape)

        def call(self, inputs: Any) -> Any:
            outputs = self.dense(inputs)
            self.add_loss(0.3 * ops.sum(outputs * outputs))
            return outputs

    x, y = lab.data(6)
    expected, net = lab.drawn(Adding(), lab.width, 0), lab.drawn(Adding(), lab.width, 0)
    by_keras(keras.Sequential([expected]), x, y, optimizer=keras.optimizers.SGD(1e-2))
    program = lab.program(lab.segment(lab.wrapped(net), lab.loss("mse"), Sgd(), lab.store()))
    lab.run(program, lab.block(x=x, y=y), lab.controls(6), cut=4)
    assert_close(net, expected)


def test_constraints_of_layers_hold_after_each_update(lab: Any) -> None:
    x, y = lab.data(5)
    made = {"kernel_constraint": keras.constraints.NonNeg()}
    expected, net = lab.net(**made), lab.net(**made)
    by_keras(expected, x, y, optimizer=keras.optimizers.SGD(1e-1))
    program = lab.program(lab.segment(lab.wrapped(net), lab.loss("mse"), Sgd(), lab.store()))
    lab.run(program, lab.block(x=x, y=y), lab.controls(5, rate=1e-1))
    assert_close(net, expected)
    assert (net.get_weights()[0] >= 0).all()


def test_a_loss_with_a_context_gets_each_steps_own_and_looks_at_values(lab: Any) -> None:
    x, y = lab.data(4)
    seen: list[Any] = []

    def loss(outputs: Any, targets: Any, *, context: Any) -> Any:
        seen.append((context, float(ops.convert_to_numpy(ops.stop_gradient(ops.mean(targets))))))
        return ops.mean((outputs - targets) ** 2)

    expected, net, store = lab.net(), lab.net(), lab.store()
    by_keras(expected, x, y)
    segment = lab.segment(lab.wrapped(net), lab.backend.wrap_loss(loss), momentum(), store, context=True)
    program = lab.program(segment)
    controls = replace(lab.controls(4), contexts=["a", "b", "c", "d"])
    lab.run(program, lab.block(x=x, y=y), controls, cut=3)
    assert [one for one, _ in seen] == ["a", "b", "c", "d"]
    np.testing.assert_allclose([value for _, value in seen], y.mean(axis=(1, 2)), rtol=1e-4, atol=1e-6)
    assert_close(net, expected)


def test_convolutions_train_too(lab: Any) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 7, 6, 2)).astype("float32"), rng.normal(size=(4, 7, 1)).astype("float32")

    def net() -> Any:
        model = keras.Sequential(
            [
                keras.layers.Conv1D(3, 3),
                keras.layers.BatchNormalization(),
                keras.layers.Flatten(),
                keras.layers.Dense(1),
            ]
        )
        model.build((None, 6, 2))
        draws = np.random.default_rng(1)
        model.set_weights(
            [draws.uniform(0.1, 0.9, one.shape).astype("float32") for one in model.get_weights()]
        )
        return model

    expected, made = net(), net()
    by_keras(expected, x, y)
    segment = lab.segment(lab.wrapped(made, (6, 2)), lab.loss("mse"), momentum(), lab.store())
    inputs = (SegmentInput("x", (6, 2), None, 0), SegmentInput("y", (1,), None, 0))
    program = lab.program(replace(segment, inputs=inputs))
    lab.run(program, lab.block(x=x, y=y), lab.controls(4), cut=3)
    assert_close(made, expected)


def test_the_optimising_compiler_gives_the_same_numbers(lab: Any) -> None:
    x, y = lab.data(6)
    net, compiled = lab.net(batch_norm=True), lab.net(batch_norm=True)
    if not engine().has_compiler:
        assert not lab.backend.capabilities.compiler
        return
    for one, asked in ((net, False), (compiled, True)):
        segment = lab.segment(
            lab.wrapped(one), lab.loss("mse"), Sgd(momentum=0.9), lab.store(), jit_compile=asked
        )
        lab.run(lab.program(segment), lab.block(x=x, y=y), lab.controls(6), cut=4)
    assert_close(compiled, net, rtol=1e-4, atol=1e-6)


def test_fitting_is_refused(lab: Any) -> None:
    with pytest.raises(BackendError, match="TrainPhase"):
        lab.program(lab.segment(lab.wrapped(lab.net()), lab.loss("mse"), Adam(), lab.store(), mode="fit"))


def test_an_unknown_device_is_refused(lab: Any) -> None:
    for device in ("abacus", "cuda:99", "cpu:7x"):
        with pytest.raises(BackendError, match=device):
            lab.program(
                lab.segment(lab.wrapped(lab.net()), lab.loss("mse"), Adam(), lab.store(), device=device)
            )


def test_a_failing_node_is_named(lab: Any) -> None:
    class Failing(keras.layers.Layer):
        def call(self, inputs: Any, training: bool = False) -> Any:
            if training:
                raise ZeroDivisionError("on purpose")
            return inputs[:, :1]

    x, y = lab.data(1)
    trunk = lab.wrapped(keras.Sequential([keras.layers.Dense(3), Failing()]))
    with pytest.raises(ModelError, match=r"(?s)on purpose.*'net'"):
        lab.run(
            lab.program(lab.segment(trunk, lab.loss("mse"), Sgd(), lab.store())),
            lab.block(x=x, y=y),
            lab.controls(1),
        )


def test_outputs_and_targets_that_would_broadcast_are_refused(lab: Any) -> None:
    x, y = lab.data(1)
    segment = lab.segment(lab.wrapped(lab.net()), lab.loss("mse"), Adam(), lab.store())
    with pytest.raises(ShapeError, match="net/loss"):
        lab.run(lab.program(segment), lab.block(x=x, y=y[..., 0]), lab.controls(1))


def test_a_target_that_is_the_number_of_no_class_is_refused(lab: Any) -> None:
    x, _ = lab.data(2)
    y = np.zeros((2, 7, 1), np.int64)
    y[1, 3] = 5
    model = lab.wrapped(lab.drawn(keras.layers.Dense(5), lab.width, 0))
    program = lab.program(lab.segment(model, lab.loss("cross_entropy"), Sgd(), lab.store()))
    with pytest.raises(LossError, match=r"(?s)no class.*net/loss.*0 to 4") as caught:
        program.stage(lab.block(x=x, y=y))
    assert "5" in str(caught.value.found)
    program.stage(lab.block([[7], [3]], x=x, y=y))  # the row is not live


def test_whole_numbers_enter_exactly_or_not_at_all(lab: Any) -> None:
    x, _ = lab.data(1)
    model = lab.wrapped(lab.drawn(keras.layers.Dense(5), lab.width, 0))
    program = lab.program(lab.segment(model, lab.loss("cross_entropy"), Sgd(), lab.store()))
    losses = [
        lab.run(program, lab.block(x=x, y=np.full((1, 7, 1), 4, dtype)), lab.controls(1, rate=0.0))
        for dtype in ("int8", "int32", "int64")
    ]
    assert losses[0].tobytes() == losses[1].tobytes() == losses[2].tobytes()
    wide = lab.program(lab.segment(lab.wrapped(lab.net()), lab.loss("mse"), None, None))
    block = lab.block(x=np.full((1, 7, 3), 1 + 2**-40), y=np.zeros((1, 7, 1), "float32"))
    if engine().program_dtype(np.dtype("float64")) == np.float64:
        return
    with pytest.raises(BackendError, match=r"(?s)32 bits.*'x'.*JAX_ENABLE_X64"):
        wide.stage(block)
    wide.stage(lab.block(x=np.full((1, 7, 3), 0.5), y=np.zeros((1, 7, 1), "float32")))


def test_a_model_that_two_nodes_share_is_stepped_once_and_frozen_for_both_or_neither(lab: Any) -> None:
    def twice(net: Any, store: Any, *, learns: bool) -> Segment:
        model, mse = lab.wrapped(net), lab.loss("mse")
        return Segment(
            "keras3",
            "train",
            (SegmentInput("x", (3,), None, 0), SegmentInput("y", (1,), None, 0)),
            (Call("a", "a", model, None, ("x",), True, 0), Call("b", "b", model, None, ("x",), learns, 0)),
            (SegmentLoss("a", "a", mse, ("a", "y"), 0.5, 0), SegmentLoss("b", "b", mse, ("b", "y"), 0.5, 0)),
            (SegmentOptimizer(Sgd(), store, ("a", "b") if learns else ("a",)),),
        )

    x, y = lab.data(3)
    once, both, store = lab.net(), lab.net(), lab.store()
    lab.run(
        lab.program(lab.segment(lab.wrapped(once), lab.loss("mse"), Sgd(), lab.store())),
        lab.block(x=x, y=y),
        lab.controls(3),
    )
    lab.run(lab.program(twice(both, store, learns=True)), lab.block(x=x, y=y), lab.controls(3))
    assert_close(both, once)
    assert {held["step"] for held in store.slots.values()} == {3}
    with pytest.raises(BackendError, match="a, b"):
        lab.program(twice(both, store, learns=False))


@pytest.mark.parametrize(
    "loss",
    [
        lambda outputs, targets: (ops.stop_gradient(outputs) - targets) ** 2,
        lambda outputs, targets: ops.cast(ops.argmax(outputs, axis=-1), "float32"),
    ],
)
def test_a_loss_that_cuts_its_gradient_is_refused_instead_of_training_nothing(
    lab: Any, values_of: Any, loss: Any
) -> None:
    x, y = lab.data(3)
    net = lab.net()
    before = values_of(net)
    segment = lab.segment(lab.wrapped(net), wrap_loss(loss, lab.backend.ops), Adam(), lab.store())
    with pytest.raises(LossError, match="No gradient flows") as caught:
        lab.run(lab.program(segment), lab.block(x=x, y=y), lab.controls(3))
    assert segment.losses[0].label in caught.value.where
    assert values_of(net) == before


def test_a_model_without_anything_trainable_is_left_as_it_is(lab: Any, values_of: Any) -> None:
    x, y = lab.data(3)
    net = lab.net()
    net.trainable = False
    before = values_of(net)
    program = lab.program(lab.segment(lab.wrapped(net), lab.loss("mse"), Adam(), lab.store()))
    losses = lab.run(program, lab.block(x=x, y=y), lab.controls(3))
    assert np.isfinite(losses).all()
    assert values_of(net) == before


def test_a_range_without_steps_gives_nothing(lab: Any) -> None:
    x, y = lab.data(2)
    program = lab.program(
        lab.segment(lab.wrapped(lab.net()), lab.loss("mse"), Adam(), lab.store(), outputs=("net",))
    )
    result = program.run(program.stage(lab.block(x=x, y=y)), 1, 1, lab.controls(2))
    assert lab.numpy(result.losses).shape == (0, 1)
    assert result.outputs == {"net": []}
