"""Training through programs against the framework's own hand-written loop, step for step."""

import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from mml.backends import Segment, SegmentInput, SegmentLoss, get_backend
from mml.errors import BackendError, LossError, ModelError, ShapeError, StateError
from mml.graph.optimizers import canonical
from mml_tf.layers import BatchNorm, Dropout
from mml_tf.losses import MeanSquaredError, wrap_loss
from mml_tf.slots import Slice

MSE = MeanSquaredError()
Adam, AdamW, Sgd = canonical.Adam, canonical.AdamW, canonical.Sgd
# Twenty float32 operations deep, over ten steps.
NEAR = {"rtol": 2e-5, "atol": 1e-6}


RULES = {"adam": canonical.Adam(), "sgd": canonical.Sgd(momentum=0.9)}


def by_hand(
    net: Any, x: Any, y: Any, *, rule: str = "adam", counts: Any = None, lr: float = 1e-2, **clip: Any
) -> list[float]:
    """The loop that a user writes: gradients by a tape, and the optimizer by its formula."""
    variables = list(net.trainable_variables)
    first = [tf.Variable(tf.zeros_like(one)) for one in variables]
    second = [tf.Variable(tf.zeros_like(one)) for one in variables]
    losses = []
    for step in range(len(x)):
        count = len(x[step]) if counts is None else counts[step]
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((net(tf.constant(x[step, :count]), training=True) - y[step, :count]) ** 2)
        gradients = tape.gradient(loss, variables)
        if "clip_value" in clip:
            gradients = [tf.clip_by_value(one, -clip["clip_value"], clip["clip_value"]) for one in gradients]
        if "clip_norm" in clip:
            gradients, _ = tf.clip_by_global_norm(gradients, clip["clip_norm"])
        for variable, gradient, m, v in zip(variables, gradients, first, second, strict=True):
            if rule == "sgd":
                m.assign(0.9 * m + gradient)
                variable.assign_sub(lr * m)
                continue
            m.assign(0.9 * m + 0.1 * gradient)
            v.assign(0.999 * v + 0.001 * gradient**2)
            unbiased = m / (1 - 0.9 ** (step + 1)), v / (1 - 0.999 ** (step + 1))
            variable.assign_sub(lr * unbiased[0] / (tf.sqrt(unbiased[1]) + 1e-8))
        losses.append(float(loss))
    return losses


def assert_near(one: tf.Module, other: tf.Module, **tolerance: float) -> None:
    for mine, theirs in zip(one.variables, other.variables, strict=True):
        np.testing.assert_allclose(mine.numpy(), theirs.numpy(), **(tolerance or NEAR))


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("rule", ["adam", "sgd"])
def test_training_equals_the_hand_written_loop(lab: Any, rule: str, jit_compile: bool) -> None:
    x, y = lab.data(9)
    # Adam would make steps of the rounding errors that reach a bias before a batch norm.
    expected_net, net = (lab.net(batch_norm=rule == "sgd") for _ in range(2))
    expected = by_hand(expected_net, x, y, rule=rule)
    losses = lab.train(lab.wrapped(net), RULES[rule], x, y, loss=MSE, jit_compile=jit_compile)
    np.testing.assert_allclose(losses[:, 0], expected, **NEAR)
    assert_near(net, expected_net)


def test_training_equals_the_optimizer_of_keras_to_its_own_rounding(lab: Any) -> None:
    x, y = lab.data(9)
    expected, net = lab.net(), lab.net()
    optimizer = tf.keras.optimizers.Adam(1e-2, epsilon=1e-8)
    optimizer.build(expected.trainable_variables)
    for step in range(9):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((expected(tf.constant(x[step])) - y[step]) ** 2)
        gradients = tape.gradient(loss, expected.trainable_variables)
        optimizer.apply_gradients(zip(gradients, expected.trainable_variables, strict=True))
    lab.train(lab.wrapped(net), Adam(), x, y, loss=MSE)
    # Its eps stands inside the correction, and its corrections are float32.
    assert_near(net, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    "clip", [{"clip_norm": 0.05}, {"clip_value": 0.01}, {"clip_norm": 0.02, "clip_value": 0.01}]
)
def test_clipping_equals_the_frameworks_own(lab: Any, clip: Any) -> None:
    x, y = lab.data(7)
    expected_net, net = lab.net(), lab.net()
    by_hand(expected_net, x, y, **clip)
    lab.train(lab.wrapped(net), Adam(), x, y, loss=MSE, **clip)
    assert_near(net, expected_net, rtol=1e-3, atol=1e-4)  # 1e-6 beside the norm, under Adam


def test_a_rate_that_changes_from_step_to_step_changes_no_trace(lab: Any) -> None:
    x, y = lab.data(9)
    rates = 0.1 * 0.7 ** np.arange(9)
    expected_net, net = lab.net(), lab.net()
    for step, rate in enumerate(rates):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean((expected_net(tf.constant(x[step])) - y[step]) ** 2)
        for one, gradient in zip(
            expected_net.trainable_variables,
            tape.gradient(loss, expected_net.trainable_variables),
            strict=True,
        ):
            one.assign_sub(np.float32(rate) * gradient)
    program = lab.program(lab.segment(lab.wrapped(net), MSE, Sgd(), lab.store()))
    controls = replace(lab.controls(9), rates=rates[:, None])
    for size in (1, 2, 6):
        start = {1: 0, 2: 1, 6: 3}[size]
        part = slice(start, start + size)
        cut = replace(controls, seeds=controls.seeds[part], rates=controls.rates[part])
        lab.run(program, lab.block(x=x[part], y=y[part]), cut)
    assert_near(net, expected_net)
    assert len(program._executables) == 1


@pytest.mark.parametrize(
    ("cut", "jit_compile"), [(1, False), (2, False), (5, False), (11, False), (1, True), (5, True)]
)
def test_results_do_not_depend_on_how_steps_are_cut(
    lab: Any, values_of: Any, cut: int, jit_compile: bool
) -> None:
    x, y = lab.data(11)
    counts = np.array([[7], [3], [7], [1], [0], [7], [5], [2], [7], [7], [4]])
    if jit_compile:
        # Every other number of rows is compiled on its own.
        counts = np.where(counts > 4, 7, np.where(counts > 0, 3, 0))

    def trained(cut: int, *, separate_blocks: bool) -> tuple[Any, ...]:
        net, store = lab.net(dropout=0.4), lab.store()
        segment = lab.segment(lab.wrapped(net), MSE, Adam(), store, jit_compile=jit_compile)
        program, controls = lab.program(segment), lab.controls(11)
        if not separate_blocks:
            losses = lab.run(program, lab.block(counts, x=x, y=y), controls, cut=cut)
        else:
            parts = []
            for start in range(0, 11, cut):
                part = slice(start, start + cut)
                widest = max(int(counts[part].max()), 1)
                sub = type(controls)(seeds=controls.seeds[part], rates=controls.rates[part])
                block = lab.block(counts[part], x=x[part, :widest], y=y[part, :widest])
                parts.append(lab.run(program, block, sub))
            losses = np.concatenate(parts)
        slots = [
            lab.backend.to_numpy(value).tobytes() if isinstance(value, Slice) else value
            for held in store.slots.values()
            for value in held.values()
        ]
        return values_of(net), losses.tobytes(), slots

    whole = trained(11, separate_blocks=False)
    assert trained(cut, separate_blocks=False) == whole
    assert trained(cut, separate_blocks=True) == whole


@pytest.mark.parametrize("stop", range(1, 8))
def test_a_run_resumes_to_the_bit_in_new_objects(lab: Any, values_of: Any, stop: int) -> None:
    x, y = lab.data(9)
    block, controls, rule = lab.block(x=x, y=y), lab.controls(9), Adam(weight_decay=0.01)
    net = lab.net(dropout=0.3, batch_norm=True)
    lab.run(lab.program(lab.segment(lab.wrapped(net), MSE, rule, lab.store())), block, controls)

    first, first_store = lab.net(dropout=0.3, batch_norm=True), lab.store()
    model = lab.wrapped(first)
    program = lab.program(lab.segment(model, MSE, rule, first_store))
    program.run(program.stage(block), 0, stop, controls)
    saved, slots = model.get_state(), as_numpy(lab, first_store)
    program.run(program.stage(block), stop, 9, controls)  # what was saved is a snapshot, not a reference
    assert values_of(first) == values_of(net)

    second, second_store = lab.net(dropout=0.3, batch_norm=True, seed=1), lab.store()
    resumed = lab.wrapped(second)
    resumed.set_state(saved)
    second_store.slots.update(slots)
    program = lab.program(lab.segment(resumed, MSE, rule, second_store))
    program.run(program.stage(block), stop, 9, controls)
    assert values_of(second) == values_of(net)


def as_numpy(lab: Any, store: Any) -> dict[str, dict[str, Any]]:
    return {
        name: {slot: v if isinstance(v, int) else lab.backend.to_numpy(v) for slot, v in held.items()}
        for name, held in store.slots.items()
    }


def test_slots_restored_while_a_program_lives_are_used(lab: Any, values_of: Any) -> None:
    x, y = lab.data(6)
    net, store = lab.net(), lab.store()
    model = lab.wrapped(net)
    program = lab.program(lab.segment(model, MSE, Adam(), store))
    staged, controls = program.stage(lab.block(x=x, y=y)), lab.controls(6)
    program.run(staged, 0, 3, controls)
    saved, slots = model.get_state(), as_numpy(lab, store)
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


def test_slots_are_native_arrays_of_their_variables_shape(lab: Any) -> None:
    x, y = lab.data(2)
    net, store = lab.net(), lab.store()
    lab.train(lab.wrapped(net), Adam(), x, y, loss=MSE, store=store)
    assert set(store.slots) == {"net/layers.0.weight", "net/layers.0.bias"} | {
        "net/layers.2.weight",
        "net/layers.2.bias",
    }
    for name, held in store.slots.items():
        variable = net.layers[int(name[len("net/layers.")])]
        shape = tuple(getattr(variable, name.rpartition(".")[2]).shape)
        for slot in ("first_moment", "second_moment"):
            assert lab.backend.is_native(held[slot])
            assert held[slot].shape == lab.backend.to_numpy(held[slot]).shape == shape


@pytest.mark.parametrize(
    ("slots", "told"),
    [
        ({"step": 1}, "velocity"),
        ({"step": 1, "velocity": np.ones(5, dtype="float32")}, r"\(3, 5\)"),
        ({"velocity": np.ones((3, 5), dtype="float32")}, "step"),
        ({"step": 1, "velocity": "fast"}, "str"),
    ],
)
def test_slots_that_do_not_fit_are_named(lab: Any, slots: Any, told: str) -> None:
    x, y = lab.data(1)
    store = lab.store()
    store.slots["net/layers.0.weight"] = slots
    with pytest.raises(StateError, match=f"(?s)net/layers.0.weight.*{told}|{told}.*net/layers.0.weight"):
        lab.train(lab.wrapped(lab.net()), Sgd(momentum=0.9), x, y, loss=MSE, store=store)


def test_sample_weights_are_divided_by_live_rows(lab: Any) -> None:
    x, y = lab.data(1, dtype="float64")
    weights = np.random.default_rng(5).uniform(0.1, 3.0, size=(1, 7, 1))
    net = lab.net(dtype="float64")
    outputs = net(tf.constant(x[0])).numpy()
    expected = float((weights[0, :5] * (outputs - y[0])[:5] ** 2).sum() / 5)
    segment = lab.segment(lab.wrapped(net), MSE, Sgd(), lab.store(), sample_weight="w")
    losses = lab.run(lab.program(segment), lab.block([[5]], x=x, y=y, w=weights), lab.controls(1))
    np.testing.assert_allclose(losses, [[expected]], rtol=1e-14)


def test_rows_that_are_not_live_never_enter(lab: Any) -> None:
    x, y = lab.data(6)
    counts = np.array([[4], [7], [2], [5], [7], [3]])
    spoiled_x, spoiled_y = x.copy(), y.copy()
    for step, (count,) in enumerate(counts):
        spoiled_x[step, count:], spoiled_y[step, count:] = np.nan, np.inf
    for jit_compile in (False, True):
        expected_net, net = lab.net(batch_norm=True), lab.net(batch_norm=True)
        expected = by_hand(expected_net, x, y, rule="sgd", counts=counts[:, 0])
        segment = lab.segment(lab.wrapped(net), MSE, RULES["sgd"], lab.store(), jit_compile=jit_compile)
        losses = lab.run(lab.program(segment), lab.block(counts, x=spoiled_x, y=spoiled_y), lab.controls(6))
        np.testing.assert_allclose(losses[:, 0], expected, **NEAR)
        assert_near(net, expected_net)


def test_a_step_without_any_live_row_changes_nothing(lab: Any, values_of: Any) -> None:
    x, y = lab.data(2)
    net, store = lab.net(batch_norm=True), lab.store()
    program = lab.program(lab.segment(lab.wrapped(net), MSE, Sgd(momentum=0.9), store))
    staged, controls = program.stage(lab.block([[7], [0]], x=x, y=y)), lab.controls(2)
    program.run(staged, 0, 1, controls)
    before = values_of(net)
    result = program.run(staged, 1, 2, controls)
    assert values_of(net) == before
    assert np.isnan(result.losses.numpy()).all()
    assert {held["step"] for held in store.slots.values()} == {1}


@pytest.mark.parametrize("sees_values", [False, True])
def test_accumulation_equals_one_batch_of_the_same_rows(lab: Any, sees_values: bool) -> None:
    x, y = lab.data(4, dtype="float64")
    counts = np.array([[7], [3], [5], [7]])
    joined_x = np.concatenate([x[step, : counts[step, 0]] for step in range(4)])[None]
    joined_y = np.concatenate([y[step, : counts[step, 0]] for step in range(4)])[None]
    whole, split = lab.net(dtype="float64"), lab.net(dtype="float64")
    rule, store = Sgd(momentum=0.9), lab.store()
    lab.run(
        lab.program(lab.segment(lab.wrapped(whole), MSE, rule, lab.store())),
        lab.block([[22]], x=joined_x, y=joined_y),
        lab.controls(1),
    )

    def told(outputs: Any, targets: Any, *, context: Any = None, reduction: str = "mean") -> Any:
        return MSE(outputs, targets, reduction=reduction)

    loss = told if sees_values else MSE
    segment = lab.segment(lab.wrapped(split), loss, rule, store, context=sees_values)
    program = lab.program(segment)
    controls = lab.controls(
        4, apply=np.array([[False], [False], [False], [True]]), accumulated=np.full((4, 1), 22)
    )
    lab.run(program, lab.block(counts, x=x, y=y), controls, cut=2)
    assert_near(split, whole, rtol=1e-12, atol=1e-14)
    assert {held["step"] for held in store.slots.values()} == {1}
    assert all("accumulated" not in held for held in store.slots.values())


def test_a_window_that_is_cut_lies_among_the_slots_and_resumes_to_the_bit(lab: Any, values_of: Any) -> None:
    x, y = lab.data(6)
    controls = lab.controls(
        6, apply=np.array([[False], [False], [True]] * 2), accumulated=np.full((6, 1), 21)
    )
    block = lab.block(x=x, y=y)
    whole = lab.net(dropout=0.3)
    lab.run(lab.program(lab.segment(lab.wrapped(whole), MSE, Adam(), lab.store())), block, controls)
    first, store = lab.net(dropout=0.3), lab.store()
    model = lab.wrapped(first)
    program = lab.program(lab.segment(model, MSE, Adam(), store))
    program.run(program.stage(block), 0, 4, controls)
    assert {held["step"] for held in store.slots.values()} == {1}
    assert all("accumulated" in held for held in store.slots.values())
    second, resumed = lab.net(seed=1, dropout=0.3), lab.store()
    other = lab.wrapped(second)
    other.set_state(model.get_state())
    resumed.slots.update(as_numpy(lab, store))
    program = lab.program(lab.segment(other, MSE, Adam(), resumed))
    program.run(program.stage(block), 4, 6, controls)
    assert values_of(second) == values_of(whole)
    assert {held["step"] for held in resumed.slots.values()} == {2}


def test_evaluation_changes_nothing_and_returns_live_rows(lab: Any, values_of: Any) -> None:
    x, y = lab.data(3)
    net = lab.net(dropout=0.5, batch_norm=True)
    before = values_of(net)
    for jit_compile in (False, True):
        segment = lab.segment(lab.wrapped(net), MSE, None, None, outputs=("net",), jit_compile=jit_compile)
        program = lab.program(segment)
        staged = program.stage(lab.block([[7], [0], [2]], x=x, y=y))
        result = program.run(staged, 0, 3, lab.controls(3, optimizers=0))
        assert values_of(net) == before
        outputs = result.outputs["net"]
        assert outputs[1] is None
        for step, count in ((0, 7), (2, 2)):
            expected = net(tf.constant(x[step, :count])).numpy()
            np.testing.assert_allclose(outputs[step].numpy(), expected, rtol=1e-5, atol=1e-6)
            loss = float(np.mean((expected.astype(float) - y[step, :count]) ** 2))
            np.testing.assert_allclose(result.losses[step, 0], loss, rtol=1e-6)
        assert np.isnan(result.losses[1, 0])


def test_a_segment_without_losses_gives_outputs(lab: Any) -> None:
    x, _ = lab.data(3)
    net = lab.net()
    segment = lab.segment(lab.wrapped(net), MSE, None, None, outputs=("net",), losses=())
    segment = replace(segment, inputs=segment.inputs[:1])
    program = lab.program(segment)
    result = program.run(program.stage(lab.block([[7], [3], [7]], x=x)), 1, 3, lab.controls(3, optimizers=0))
    assert result.losses.shape == (2, 0)
    assert [tuple(one.shape) for one in result.outputs["net"]] == [(3, 1), (7, 1)]


def test_cross_backend_losses_are_those_of_the_float64_reference(mlp: Any, lab: Any) -> None:
    from mml_conformance.bench import make_model

    x, y = lab.data(5)
    mine = mlp(activation="tanh", batch_norm=True)
    reference = get_backend("reference")
    other = make_model(
        reference, input_shape=(3,), output_shape=(1,), hidden=[5], activation="tanh", batch_norm=True
    )
    state = mine.get_state()
    names = {"layers.0": "layers.0", "norms.0": "layers.1", "layers.1": "layers.3"}
    theirs = {}
    for spec in other.variables():
        layer, _, part = spec.name.rpartition(".")
        theirs[spec.name] = state[f"{names[layer]}.{part}"].astype(spec.dtype)
    other.set_state(theirs)
    losses = []
    for backend, model in ((lab.backend, mine), (reference, other)):
        segment = lab.segment(model, _named("mse", backend), Adam(), lab.store(), backend=backend.name)
        program = backend.compile(segment)
        staged = program.stage(lab.block([[7], [4], [7], [6], [7]], x=x, y=y))
        losses.append(np.asarray(program.run(staged, 0, 5, lab.controls(5)).losses, dtype=float))
    np.testing.assert_allclose(losses[0], losses[1], rtol=2e-5)


def _named(name: str, backend: Any) -> Any:
    from mml.graph.losses.loss import Loss

    return Loss(name).resolve(backend)


def test_a_replaced_parameter_is_found(lab: Any) -> None:
    x, y = lab.data(2)
    net = lab.net()
    program = lab.program(lab.segment(lab.wrapped(net), MSE, Sgd(), lab.store()))
    staged, controls = program.stage(lab.block(x=x, y=y)), lab.controls(2)
    program.run(staged, 0, 1, controls)
    net.layers[2].weight = tf.Variable(tf.fill([lab.hidden, 1], 0.5))
    program.run(staged, 1, 2, controls)
    assert not np.array_equal(net.layers[2].weight.numpy(), np.full((lab.hidden, 1), 0.5, "float32"))
    assigned = tf.fill([lab.hidden, 1], 0.25)
    net.layers[2].weight.assign(assigned)
    program.run(staged, 1, 2, controls)
    change = net.layers[2].weight.numpy() - assigned.numpy()
    assert 0 < np.abs(change).max() < 0.1


def test_a_parameter_whose_gradients_are_off_stays(lab: Any, values_of: Any) -> None:
    x, y = lab.data(3)
    net, store = lab.net(), lab.store()
    net.layers[0].weight = tf.Variable(net.layers[0].weight, trainable=False)
    before = net.layers[0].weight.numpy().tobytes()
    lab.train(lab.wrapped(net), Adam(weight_decay=0.1), x, y, loss=MSE, store=store)
    assert net.layers[0].weight.numpy().tobytes() == before
    assert "net/layers.0.weight" not in store.slots


def test_threads_that_train_at_once_equal_one_after_the_other(lab: Any, values_of: Any) -> None:
    x, y = lab.data(9)

    def train(net: Any) -> None:
        program = lab.program(lab.segment(lab.wrapped(net), MSE, Adam(), lab.store()))
        lab.run(program, lab.block(x=x, y=y), lab.controls(9), cut=1)

    expected = lab.net(dropout=0.4)
    train(expected)
    nets = [lab.net(dropout=0.4) for _ in range(3)]
    threads = [threading.Thread(target=train, args=(net,)) for net in nets]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [values_of(net) for net in nets] == [values_of(expected)] * 3


@pytest.mark.parametrize("jit_compile", [False, True])
def test_host_buffers_may_be_overwritten_after_staging(lab: Any, values_of: Any, jit_compile: bool) -> None:
    x, y = lab.data(4)
    expected, net = lab.net(), lab.net()
    lab.train(lab.wrapped(expected), Adam(), x, y, loss=MSE, jit_compile=jit_compile)
    segment = lab.segment(lab.wrapped(net), MSE, Adam(), lab.store(), jit_compile=jit_compile)
    program = lab.program(segment)
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


def test_a_device_that_is_there_is_used(lab: Any) -> None:
    x, y = lab.data(2)
    expected, net = lab.net(), lab.net()
    for one, device in ((expected, None), (net, "cpu")):
        segment = lab.segment(lab.wrapped(one), MSE, Adam(), lab.store(), device=device)
        program = lab.program(segment)
        result = program.run(program.stage(lab.block(x=x, y=y)), 0, 2, lab.controls(2))
        assert "CPU" in result.losses.device
    assert_near(net, expected)


def test_an_unknown_device_is_refused(lab: Any) -> None:
    with pytest.raises(BackendError, match="tpu"):
        lab.program(lab.segment(lab.wrapped(lab.net()), MSE, Adam(), lab.store(), device="tpu"))


def test_a_model_of_another_backend_is_refused(lab: Any) -> None:
    from mml_conformance.bench import make_model

    foreign = make_model(get_backend("reference"))
    with pytest.raises(BackendError, match="'net'"):
        lab.program(lab.segment(foreign, MSE, Adam(), lab.store()))


def test_a_failing_node_is_named_with_the_sizes_of_the_step(lab: Any) -> None:
    x, y = lab.data(1)
    net = lab.net()
    model = lab.wrapped(net)
    net.layers[0].weight = tf.Variable(tf.zeros([lab.width + 1, lab.hidden]))
    with pytest.raises(ModelError, match=r"(?s)'net'.*\(7, 3\)"):
        lab.train(model, Sgd(), x, y, loss=MSE)


def test_outputs_and_targets_that_would_broadcast_are_refused(lab: Any) -> None:
    x, y = lab.data(1)
    with pytest.raises(ShapeError, match=r"(?s)net/loss.*\(7, 1\).*\(7,\)"):
        lab.train(lab.wrapped(lab.net()), Adam(), x, y[..., 0], loss=MSE)


@pytest.mark.parametrize("wrong", [7, -1])
def test_a_class_that_there_is_not_is_named_as_a_mistake_in_the_targets(lab: Any, wrong: int) -> None:
    x, _ = lab.data(1)
    classes = np.full((1, lab.rows, 1), wrong)
    net = lab.linear(lab.width, 5)
    with pytest.raises(LossError, match="net/loss"):
        lab.train(lab.wrapped(net), Sgd(), x, classes, loss=_named("cross_entropy", lab.backend))


def test_a_module_that_two_nodes_share_is_stepped_once_and_frozen_for_both_or_neither(
    lab: Any, values_of: Any
) -> None:
    from mml.backends import Call, SegmentOptimizer

    def twice(net: Any, store: Any, *, learns: bool) -> Segment:
        model = lab.wrapped(net)
        return Segment(
            "tensorflow",
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
    lab.train(lab.wrapped(once), Sgd(), x, y, loss=MSE)
    lab.run(lab.program(twice(both, store, learns=True)), lab.block(x=x, y=y), lab.controls(3))
    assert_near(both, once)
    assert {held["step"] for held in store.slots.values()} == {3}
    with pytest.raises(BackendError, match="a, b"):
        lab.program(twice(both, store, learns=False))


def test_deterministic_kernels_are_asked_for_meanwhile(lab: Any) -> None:
    from tensorflow.python.framework import config

    seen: list[bool] = []

    def loss(outputs: Any, targets: Any, *, context: Any, reduction: str = "mean") -> Any:
        seen.append(config.is_op_determinism_enabled())
        return MSE(outputs, targets, reduction=reduction)

    x, y = lab.data(1)
    lab.train(lab.wrapped(lab.net()), Adam(), x, y, loss=loss, context=True, deterministic=True)
    assert seen == [True]


@pytest.mark.parametrize(
    "loss",
    [
        lambda outputs, targets: (tf.stop_gradient(outputs) - targets) ** 2,
        lambda outputs, targets: tf.reduce_mean(tf.cast(tf.round(outputs) != targets, tf.float32)),
    ],
)
def test_a_loss_that_cuts_its_gradient_is_refused_instead_of_training_nothing(
    lab: Any, values_of: Any, loss: Any
) -> None:
    x, y = lab.data(3)
    net = lab.net()
    before = values_of(net)
    with pytest.raises(LossError, match=r"(?s)No gradient flows.*net/loss"):
        lab.train(lab.wrapped(net), Adam(), x, y, loss=wrap_loss(loss, lab.backend.ops))
    assert values_of(net) == before


def test_a_module_without_anything_that_takes_gradients_is_left_as_it_is(lab: Any, values_of: Any) -> None:
    x, y = lab.data(3)
    net = lab.net()
    for layer in (net.layers[0], net.layers[2]):
        layer.weight = tf.Variable(layer.weight, trainable=False)
        layer.bias = tf.Variable(layer.bias, trainable=False)
    before = values_of(net)
    model = lab.wrapped(net)
    assert not model.can_learn
    losses = lab.train(model, Adam(), x, y, loss=MSE)
    assert np.isfinite(losses).all()
    assert values_of(net) == before


def test_a_parameter_that_no_gradient_reaches_gets_no_update(lab: Any) -> None:
    class Spare(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = lab.linear(3, 1), lab.linear(3, 1, seed=1)

        def __call__(self, inputs: Any) -> Any:
            return self.used(inputs)

    x, y = lab.data(4)
    net, store = Spare(), lab.store()
    before = net.spare.weight.numpy().tobytes()
    lab.train(lab.wrapped(net), AdamW(weight_decay=0.1), x, y, loss=MSE, store=store)
    assert net.spare.weight.numpy().tobytes() == before
    assert {name: held["step"] for name, held in store.slots.items() if held["step"]} == {
        "net/used.weight": 4,
        "net/used.bias": 4,
    }


def test_a_loss_with_the_steps_context_receives_it_and_may_look_at_values(lab: Any) -> None:
    seen: list[Any] = []

    def loss(outputs: Any, targets: Any, *, context: Any, reduction: str = "mean") -> Any:
        seen.append((context, float(tf.reduce_sum(outputs))))
        return context * MSE(outputs, targets, reduction=reduction)

    x, y = lab.data(3)
    plain, net = lab.net(dropout=0.3), lab.net(dropout=0.3)
    expected = lab.train(lab.wrapped(plain), Adam(), x, y, loss=MSE, weight=2.0)
    segment = lab.segment(lab.wrapped(net), loss, Adam(), lab.store(), context=True, outputs=("net",))
    losses = lab.run(
        lab.program(segment), lab.block(x=x, y=y), lab.controls(3, contexts=[2.0, 2.0, 2.0]), cut=2
    )
    assert [one for one, _ in seen] == [2.0] * 3
    np.testing.assert_allclose(losses, 2.0 * expected, rtol=1e-5)
    assert_near(net, plain)


class Averaged:
    """A rule of a user's own: a step along the gradient, and the mean of all parameters so far."""

    slot_names = ("mean",)
    default_rate = 0.1

    def update(
        self, ops: Any, variable: Any, gradient: Any, slots: Any, *, rate: float, step: int
    ) -> tuple[Any, dict[str, Any]]:
        assert isinstance(step, int)
        new = variable - rate * gradient
        return new, {"mean": slots["mean"] + (new - slots["mean"]) / step}


def test_a_rule_that_is_no_formula_runs_step_by_step(lab: Any) -> None:
    x, y = lab.data(4)
    plain, net, store = lab.net(), lab.net(), lab.store()
    path = []
    for step in range(4):
        lab.train(lab.wrapped(plain), Sgd(), x[step : step + 1], y[step : step + 1], loss=MSE)
        path.append(plain.layers[0].weight.numpy())
    lab.train(lab.wrapped(net), Averaged(), x, y, loss=MSE, store=store)
    assert_near(net, plain)
    held = store.slots["net/layers.0.weight"]
    assert held["step"] == 4
    np.testing.assert_allclose(lab.backend.to_numpy(held["mean"]), np.mean(path, axis=0), rtol=1e-5)


def test_a_convolution_under_the_compiler_runs_outside_a_loop(lab: Any) -> None:
    from mml_tf import CNN1d, TensorflowBaseModel

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(3, 7, 2, 11)).astype("float32"), rng.normal(size=(3, 7, 1)).astype("float32")
    states = []
    for jit_compile in (False, True):
        model = TensorflowBaseModel(CNN1d, kwargs={"channels": [5]}, label="net")
        model.build((2, 11), (1,), seed=1)
        segment = lab.segment(model, MSE, Adam(), lab.store(), jit_compile=jit_compile)
        program = lab.program(segment)
        lab.run(program, lab.block(x=x, y=y), lab.controls(3))
        assert [one.is_loop for one in program._executables.values()] == [not jit_compile]
        states.append(model.get_state())
    for name, value in states[0].items():
        np.testing.assert_allclose(states[1][name], value, **NEAR)


def test_a_block_longer_than_a_program_of_fixed_shapes_holds_is_cut(
    lab: Any, monkeypatch: Any, values_of: Any
) -> None:
    x, y = lab.data(9)
    expected, net = lab.net(dropout=0.2), lab.net(dropout=0.2)
    lab.train(lab.wrapped(expected), Adam(), x, y, loss=MSE, jit_compile=True)
    monkeypatch.setattr("mml_tf.program._FIXED_STEPS", 4)
    segment = lab.segment(lab.wrapped(net), MSE, Adam(), lab.store(), jit_compile=True, outputs=("net",))
    program = lab.program(segment)
    staged = program.stage(lab.block(x=x, y=y))
    assert [len(one.rows) for one in staged] == [4, 4, 1]
    result = program.run(staged, 0, 3, lab.controls(9))
    rest = program.run(staged, 3, 9, lab.controls(9))
    assert (len(result.outputs["net"]), len(rest.outputs["net"])) == (3, 6)
    assert values_of(net) == values_of(expected)


def test_dropout_inside_a_users_own_layers_follows_the_step(lab: Any, values_of: Any) -> None:
    x, y = lab.data(2)
    parts = [BatchNorm, Dropout]
    assert all(issubclass(one, tf.Module) for one in parts)
    nets = [lab.net(dropout=0.5) for _ in range(2)]
    for net in nets:
        lab.train(lab.wrapped(net), Sgd(), x, y, loss=MSE)
    assert values_of(nets[0]) == values_of(nets[1])
