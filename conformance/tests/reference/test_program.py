"""Core's default program, driven by the reference: blocks, accumulation, clipping, freezing, row counts."""

import numpy as np
import pytest

from mml.backends import get_backend
from mml.errors import LossError, ShapeError, StateError
from mml.graph.optimizers.optimizer import Optimizer
from mml_conformance.bench import (
    Head,
    Settings,
    Wiring,
    evaluate,
    losses_of,
    make_model,
    make_segment,
    run,
    same_bits,
    states_of,
    train,
)

REFERENCE = get_backend("reference")
STEPS, CAPACITY = 7, 3


class Concat:
    def merge(self, ops, arrays):
        return ops.concat(arrays, 1)


def data(steps=STEPS, capacity=CAPACITY, dtype="float32", **shapes):
    draw = np.random.default_rng(0)
    return {name: draw.normal(size=(steps, capacity, *shape)).astype(dtype) for name, shape in shapes.items()}


def chain(dtype="float32", **settings):
    trunk = make_model(
        REFERENCE,
        output_shape=(5,),
        seed=1,
        label="trunk",
        dtype=dtype,
        hidden=[5],
        dropout=0.3,
        batch_norm=True,
    )
    head = make_model(REFERENCE, input_shape=(5,), seed=2, label="head", dtype=dtype, hidden=[4])
    inputs = data(dtype=dtype, x=(3,), y=(1,), **settings)
    return Wiring({"trunk": (trunk, ("x",)), "head": (head, ("trunk",))}, inputs, [Head("head")])


def plain(dtype="float64", heads=None, **settings):
    model = make_model(REFERENCE, dtype=dtype, hidden=[5], activation="tanh", seed=4, label="m")
    inputs = data(dtype=dtype, x=(3,), y=(1,), w=(1,), **settings)
    return Wiring({"m": (model, ("x",))}, inputs, heads or [Head("m")])


@pytest.mark.parametrize("cuts", [(), (1, 2, 3, 4, 5, 6), (3,), (2, 6)])
def test_ranges_of_any_size_give_equal_bits(cuts):
    whole, cut = chain(), chain()
    live = [3, 2, 3, 1, 3, 0, 2]
    adam = Optimizer("adam", lr=0.01)
    expected = train(REFERENCE, whole, optimizer=adam, settings=Settings(live=live))
    other = Optimizer("adam", lr=0.01)
    seen = train(REFERENCE, cut, optimizer=other, settings=Settings(live=live, cuts=cuts))
    assert expected.tobytes() == seen.tobytes()
    assert same_bits(states_of(whole), states_of(cut))
    assert np.isnan(expected[5])
    assert np.isfinite(np.delete(expected, 5)).all()


def test_blocks_of_one_step_give_equal_bits():
    whole, single = chain(), chain()
    train(REFERENCE, whole, optimizer=Optimizer("sgd", lr=0.05, momentum=0.9))
    optimizer = Optimizer("sgd", lr=0.05, momentum=0.9)
    program = REFERENCE.compile(
        make_segment(REFERENCE, single, learning=("trunk", "head"), optimizer=optimizer)
    )
    for step in range(STEPS):
        part = {name: array[step : step + 1] for name, array in single.inputs.items()}
        run(program, Wiring(single.nodes, part, single.heads), Settings(seed=100 + step))
    assert same_bits(states_of(whole), states_of(single))


def test_the_host_buffers_may_be_overwritten_after_staging():
    kept, overwritten = chain(), chain()
    train(REFERENCE, kept, optimizer=Optimizer("sgd"))
    program = REFERENCE.compile(
        make_segment(REFERENCE, overwritten, learning=("trunk", "head"), optimizer=Optimizer("sgd"))
    )

    class Overwriting:
        def stage(self, block):
            staged = program.stage(block)
            for array in block.values.values():
                array[...] = np.nan
            block.rows[...] = 0
            return staged

        run = staticmethod(program.run)

    run(Overwriting(), overwritten)
    assert same_bits(states_of(kept), states_of(overwritten))


@pytest.mark.parametrize("live", [[3, 3], [3, 1], [2, 0]])
@pytest.mark.parametrize("weighted", [None, "w"])
def test_accumulation_equals_one_batch(live, weighted):
    heads = [Head("m", sample_weight=weighted, weight=1.7)]
    split, joined = plain(heads=heads, steps=2), plain(heads=heads, steps=2)
    train(
        REFERENCE,
        split,
        optimizer=Optimizer("adam", lr=0.1, weight_decay=0.1),
        settings=Settings(live=live, apply=[False, True], window=[sum(live)] * 2),
    )
    rows = {
        name: np.concatenate([array[step, : live[step]] for step in range(2)])[None]
        for name, array in joined.inputs.items()
    }
    train(
        REFERENCE,
        Wiring(joined.nodes, rows, heads),
        optimizer=Optimizer("adam", lr=0.1, weight_decay=0.1),
    )
    for name, value in states_of(joined).items():
        np.testing.assert_allclose(states_of(split)[name], value, rtol=1e-12, atol=1e-14)


def test_an_unfinished_window_is_kept_among_the_slots_and_resumes_to_the_bit():
    settings = {"apply": [False, False, True, False, False, True, True], "window": [9] * 6 + [3]}
    whole, stopped = chain(), chain()
    train(REFERENCE, whole, optimizer=Optimizer("adam"), settings=Settings(**settings))

    first = Optimizer("adam")
    program = REFERENCE.compile(make_segment(REFERENCE, stopped, learning=("trunk", "head"), optimizer=first))
    half = {name: array[:5] for name, array in stopped.inputs.items()}
    cut = Settings(apply=settings["apply"][:5], window=settings["window"][:5])
    run(program, Wiring(stopped.nodes, half, stopped.heads), cut)

    resumed, second = chain(), Optimizer("adam")
    for label, model in resumed.models.items():
        model.set_state(stopped.models[label].get_state())
    second.resolve(REFERENCE)
    second.set_state(first.get_state())
    rest = {name: array[5:] for name, array in resumed.inputs.items()}
    cut = Settings(apply=settings["apply"][5:], window=settings["window"][5:], seed=105)
    train(REFERENCE, Wiring(resumed.nodes, rest, resumed.heads), optimizer=second, settings=cut)
    assert same_bits(states_of(whole), states_of(resumed))


def test_state_of_another_optimizer_is_refused_by_name():
    wiring, first = plain(), Optimizer("sgd", momentum=0.9)
    train(REFERENCE, wiring, optimizer=first)
    second = Optimizer("adam")
    second.set_state(first.get_state())
    with pytest.raises(StateError, match="velocity"):
        train(REFERENCE, wiring, optimizer=second)


def stepped(**settings):
    """Return the gradient of one step, taken from how far plain descent goes, and the distance clipped."""
    moves = []
    for options in ({}, settings):
        wiring = plain(steps=1)
        before = states_of(wiring)
        train(REFERENCE, wiring, optimizer=Optimizer("sgd", **options), settings=Settings(rates=[1.0]))
        after = states_of(wiring)
        moves.append(np.concatenate([(before[name] - after[name]).ravel() for name in before]))
    return moves


@pytest.mark.parametrize("limit", [0.01, 1e6])
def test_the_norm_is_clipped_over_all_parameters(limit):
    gradient, clipped = stepped(clip_norm=limit)
    norm = np.linalg.norm(gradient)
    assert norm > 0.01
    np.testing.assert_allclose(clipped, gradient * min(1.0, limit / (norm + 1e-6)), rtol=1e-9)


def test_elements_are_clipped():
    gradient, clipped = stepped(clip_value=0.05)
    assert (np.abs(gradient) > 0.05).any()
    np.testing.assert_allclose(clipped, np.clip(gradient, -0.05, 0.05), rtol=1e-9)


def test_clipping_by_value_comes_before_clipping_by_norm():
    gradient, clipped = stepped(clip_value=0.05, clip_norm=0.01)
    cut = np.clip(gradient, -0.05, 0.05)
    np.testing.assert_allclose(clipped, cut * (0.01 / (np.linalg.norm(cut) + 1e-6)), rtol=1e-9)


@pytest.mark.parametrize("optimizer", [{"momentum": 0.9, "weight_decay": 0.1}, {}])
def test_a_frozen_node_keeps_every_bit_and_its_slots(optimizer):
    wiring, rule = chain(), Optimizer("sgd", **optimizer)
    train(REFERENCE, wiring, optimizer=rule)
    before, slots = states_of(wiring), rule.get_state()
    train(REFERENCE, wiring, optimizer=rule, learning=("head",))
    after = states_of(wiring)
    trunk = {name for name in before if name.startswith("trunk/")}
    assert same_bits({name: before[name] for name in trunk}, {name: after[name] for name in trunk})
    assert all(before[name].tobytes() != after[name].tobytes() for name in before.keys() - trunk)
    kept = rule.get_state()
    for name in (name for name in slots if name.startswith("trunk/")):
        assert slots[name]["step"] == kept[name]["step"] == STEPS
        assert all(np.array_equal(slots[name][slot], kept[name][slot]) for slot in slots[name])
    assert kept["head/layers.0.weight"]["step"] == 2 * STEPS


def test_no_live_row_means_no_update_and_no_step():
    wiring, rule = plain(steps=3), Optimizer("adamw", lr=0.1)
    train(REFERENCE, wiring, optimizer=rule, settings=Settings(live=[3, 0, 0]))
    alone, other = plain(steps=3), Optimizer("adamw", lr=0.1)
    one = {name: array[:1] for name, array in alone.inputs.items()}
    train(REFERENCE, Wiring(alone.nodes, one, alone.heads), optimizer=other)
    assert same_bits(states_of(wiring), states_of(alone))
    assert {slots["step"] for slots in rule.get_state().values()} == {1}


def test_masked_rows_equal_deleted_rows_to_the_bit():
    masked, deleted = chain(), chain()
    for array in masked.inputs.values():
        array[:, 2:] = np.nan
    train(REFERENCE, masked, optimizer=Optimizer("adam"), settings=Settings(live=[2] * STEPS))
    short = {name: array[:, :2] for name, array in deleted.inputs.items()}
    train(REFERENCE, Wiring(deleted.nodes, short, deleted.heads), optimizer=Optimizer("adam"))
    assert same_bits(states_of(masked), states_of(deleted))


@pytest.mark.parametrize("loss", ["mse", "mae", "huber", "bce_logits"])
def test_row_weights_are_divided_by_the_number_of_rows(loss):
    wiring = plain(heads=[Head("m", loss=loss), Head("m", loss=loss, sample_weight="w")], steps=1)
    model = wiring.models["m"]
    rows = [
        evaluate(
            REFERENCE, Wiring(wiring.nodes, {k: v[:, [i]] for k, v in wiring.inputs.items()}, wiring.heads)
        )[0]
        for i in range(CAPACITY)
    ]
    losses, _ = evaluate(REFERENCE, wiring)
    weights = wiring.inputs["w"].reshape(-1)
    each = np.array([row[0, 0] for row in rows])
    np.testing.assert_allclose(losses[0], [each.mean(), (each * weights).sum() / CAPACITY], rtol=1e-12)
    assert model.is_built


def test_evaluation_changes_nothing_and_returns_outputs():
    wiring = chain()
    before = states_of(wiring)
    losses, outputs = evaluate(
        REFERENCE, wiring, outputs=("trunk", "head"), settings=Settings(live=[3] * 6 + [0])
    )
    assert same_bits(before, states_of(wiring))
    assert outputs["head"][-1] is None
    expected = wiring.models["head"].forward(outputs["trunk"][0])
    assert expected.tobytes() == outputs["head"][0].tobytes()
    np.testing.assert_allclose(losses[0, 0], np.square(expected - wiring.inputs["y"][0]).mean(), rtol=1e-6)


def test_a_segment_without_losses_runs():
    wiring = Wiring(chain().nodes, data(x=(3,)))
    program = REFERENCE.compile(make_segment(REFERENCE, wiring, outputs=("head",)))
    results = run(program, wiring)
    assert losses_of(REFERENCE, results).shape == (STEPS, 0)
    assert len(results[0].outputs["head"]) == STEPS


def test_targets_that_would_broadcast_are_refused():
    wiring = plain()
    wiring.inputs["y"] = wiring.inputs["y"][..., 0]
    with pytest.raises(ShapeError, match=r"\(3, 1\)"):
        train(REFERENCE, wiring, optimizer=Optimizer("sgd"))


def test_a_callable_loss_must_give_one_value_a_row():
    loss = REFERENCE.wrap_loss(lambda outputs, targets: np.zeros(2))
    with pytest.raises(LossError, match=r"\(7, \.\.\.\)"):
        loss(np.zeros((7, 1)), np.zeros((7, 1)))
    assert REFERENCE.wrap_loss(lambda outputs, targets: (outputs - targets) ** 2)(
        np.ones((7, 1)), np.zeros((7, 1))
    ) == pytest.approx(1.0)
