"""A loss with a parameter `context` receives the context of its step, however steps are cut into blocks."""

from __future__ import annotations

import numpy as np
import pytest

import mml
from mml.errors import LossError

from . import toy


def evaluated(loss, **settings):
    with mml.ExperimentContext().activate():
        made = toy.experiment(phases=[])
        applied = mml.AppliedLoss(loss, on="head", label="watched", **settings.pop("applied", {}))
        phase = toy.validation(losses=[applied], batch_size=3, **settings)
        return made, made.run_phase(phase)


def test_it_is_the_context_of_the_step():
    seen = []

    def loss(outputs, targets, context):
        (batch,) = context.inputs.values()
        np.testing.assert_array_equal(batch.targets["y"], targets)
        seen.append((context.phase_label, context.epoch, context.batch, context.is_last))
        return (outputs - targets) ** 2

    made, results = evaluated(loss)
    n_batches = -(-len(toy_view(made)) // 3)
    assert seen == [("validate", 0, batch, batch == n_batches - 1) for batch in range(n_batches)]
    plain = evaluated("mse")[1]
    np.testing.assert_allclose(results.losses("head").values, plain.losses("head").values, rtol=1e-6)


def toy_view(made):
    return made.context.get("rows")["val"]


def test_a_listener_changes_nothing():
    def loss(outputs, targets, *, context):
        return (outputs - targets) ** 2 * (1 + context.batch)

    class Listens(mml.Callback):
        def on_batch_end(self, **_):
            pass

    blocked, single = evaluated(loss)[1], evaluated(loss, callbacks=[Listens()])[1]
    assert blocked.losses("head").values.tolist() == single.losses("head").values.tolist()


def test_rows_are_weighted_and_inputs_named_as_ever():
    def loss(*, prediction, truth, context, scale):
        assert context.batch >= 0
        return scale * (prediction - truth) ** 2

    inputs = {"prediction": "outputs", "truth": "targets"}
    found = evaluated(mml.Loss(loss, scale=2.0), applied={"inputs": inputs, "sample_weight": "targets.y"})[1]
    expected = evaluated("mse", applied={"sample_weight": "targets.y"})[1]
    np.testing.assert_allclose(
        found.losses("head").values, 2 * np.asarray(expected.losses("head").values), rtol=1e-6
    )


def test_an_object_and_a_class_are_asked_by_what_is_called():
    class Squared:
        def __call__(self, outputs, targets, context):
            assert context.phase_label == "validate"
            return (outputs - targets) ** 2

    plain = evaluated("mse")[1].losses("head").values
    for loss in (Squared(), Squared):
        np.testing.assert_allclose(evaluated(loss)[1].losses("head").values, plain, rtol=1e-6)


def test_what_it_raises_names_the_shapes_of_arrays_only():
    def loss(outputs, targets, context):
        return outputs / context.missing

    with pytest.raises(LossError, match=r"missing(.|\n)*shapes \[\(3, 1\), \(3, 1\)\]"):
        evaluated(loss)


def test_named_losses_and_builtins_take_none():
    assert not mml.Loss("mse").takes_context
    assert not mml.Loss(max).takes_context
