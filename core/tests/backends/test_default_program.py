"""The program that a simple backend has for nothing: staging, counts, updates, and what it keeps between."""

from __future__ import annotations

import numpy as np
import pytest

import mml
from mml.backends import (
    Block,
    Call,
    Controls,
    Segment,
    SegmentInput,
    SegmentLoss,
    SegmentOptimizer,
    get_backend,
)
from mml.errors import BackendError
from mml_conformance.bench import make_model

X = np.random.default_rng(0).normal(size=(4, 5, 3)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(4, 5, 1)).astype(np.float32)


def made(*, mode="train", optimizer=None, weight=1.0):
    backend = get_backend("reference")
    model = make_model(backend, input_shape=(3,), output_shape=(1,), label="n")
    optimizer = optimizer or mml.Optimizer("sgd", lr=0.1)
    loss = mml.Loss("mse").resolve(backend)
    segment = Segment(
        backend="reference",
        mode=mode,
        inputs=(SegmentInput("x", (3,), "float32", 0), SegmentInput("y", (1,), "float32", 0)),
        calls=(Call("n", "n", model, None, ("x",), mode == "train", 0),),
        losses=(SegmentLoss("l", "n", loss, ("n", "y"), weight, 0),),
        optimizers=(SegmentOptimizer(optimizer.resolve(backend), optimizer, ("n",)),)
        if mode == "train"
        else (),
        outputs=("n",),
    )
    return model, optimizer, backend.compile(segment)


def controls(steps=4, **more):
    return Controls(seeds=np.arange(steps), rates=np.full((steps, 1), 0.1), **more)


def forward(model, x):
    values = model.get_state()
    return x @ values["layers.0.weight"] + values["layers.0.bias"]


def test_staged_arrays_are_copies_of_live_rows():
    model, _, program = made(mode="eval")
    x, y = X.copy(), Y.copy()
    x[1, 3:] = np.nan
    staged = program.stage(Block({"x": x, "y": y}, np.array([[5], [3], [0], [1]])))
    expected = forward(model, X)
    x[:], y[:] = np.inf, np.inf
    result = program.run(staged, 0, 4, controls())
    for step, count in enumerate([5, 3, 0, 1]):
        output = result.outputs["n"][step]
        if not count:
            assert output is None
            assert np.isnan(result.losses[step, 0])
            continue
        np.testing.assert_allclose(output, expected[step, :count], rtol=1e-5)
        np.testing.assert_allclose(
            result.losses[step, 0], np.mean((expected[step, :count] - Y[step, :count]) ** 2), rtol=1e-5
        )


def test_native_values_of_another_program_go_in_as_they_are():
    model, _, program = made(mode="eval")
    native = [X[0, :2], None, X[2], X[3]]
    staged = program.stage(Block({"x": native, "y": Y}, np.array([[2], [0], [5], [5]])))
    assert staged.values["x"] is native
    result = program.run(staged, 1, 3, controls())
    assert result.outputs["n"][0] is None
    np.testing.assert_allclose(result.outputs["n"][1], forward(model, X[2]), rtol=1e-5)
    assert result.losses.shape == (2, 1)


def test_evaluation_changes_nothing_and_training_without_live_rows_neither():
    for mode in ("eval", "train"):
        model, optimizer, program = made(mode=mode)
        before = model.get_state()
        rows = np.full((4, 1), 5 if mode == "eval" else 0)
        program.run(program.stage(Block({"x": X, "y": Y}, rows)), 0, 4, controls())
        assert all(before[name].tobytes() == value.tobytes() for name, value in model.get_state().items())
        assert all(slots["step"] == 0 for slots in optimizer.get_state().values())


def test_the_users_own_arrays_are_written_and_read_at_each_run():
    model, _, program = made()
    weight = model.native.values["layers.0.weight"]
    staged = program.stage(Block({"x": X, "y": Y}, np.full((4, 1), 5)))
    program.run(staged, 0, 1, controls())
    assert model.native.values["layers.0.weight"] is weight
    weight[:] = 0
    bias = model.native.values["layers.0.bias"].copy()
    result = program.run(staged, 1, 2, controls())
    np.testing.assert_allclose(result.outputs["n"][0], np.broadcast_to(bias, (5, 1)))


def test_the_weight_of_a_loss_scales_gradients_but_not_the_recorded_value():
    recorded, moved = [], []
    for weight in (1.0, 3.0):
        model, _, program = made(weight=weight)
        before = model.get_state()["layers.0.weight"]
        result = program.run(program.stage(Block({"x": X, "y": Y}, np.full((4, 1), 5))), 0, 1, controls())
        recorded.append(result.losses[0, 0])
        moved.append(model.get_state()["layers.0.weight"] - before)
    assert recorded[0] == recorded[1]
    np.testing.assert_allclose(moved[1], 3 * moved[0], rtol=1e-4, atol=1e-7)


def test_what_is_accumulated_is_applied_once_and_then_gone():
    model, optimizer, program = made()
    before = model.get_state()
    staged = program.stage(Block({"x": X, "y": Y}, np.full((4, 1), 5)))
    window = controls(apply=np.array([[False], [True]] * 2), accumulated=np.full((4, 1), 10))
    program.run(staged, 0, 1, window)
    assert all(np.array_equal(before[name], value) for name, value in model.get_state().items())
    assert "accumulated" in optimizer.get_state()["n/layers.0.weight"]
    program.run(staged, 1, 2, window)
    assert "accumulated" not in optimizer.get_state()["n/layers.0.weight"]
    x, y = X[:2].reshape(10, 3), Y[:2].reshape(10, 1)
    slope = 2 * (x @ before["layers.0.weight"] + before["layers.0.bias"] - y) / 10
    np.testing.assert_allclose(
        model.get_state()["layers.0.weight"],
        before["layers.0.weight"] - 0.1 * x.T @ slope,
        rtol=1e-4,
        atol=1e-6,
    )


def test_a_backend_that_fits_nothing_refuses_a_fit():
    backend = get_backend("reference")
    with pytest.raises(BackendError, match="'reference' fits nothing") as caught:
        backend.compile(Segment("reference", "fit", (), (Call("n", "n", None, None, (), True, 0),), n_rows=1))
    assert "'n'" in str(caught.value)
