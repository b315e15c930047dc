"""What changes from step to step, and that nothing changes with how steps are cut into blocks."""

from __future__ import annotations

import math

import numpy as np
import pytest

import mml
from mml.experiment.running.pacing import Pacing
from mml.processing import BoundSampler

from .toy import digest, in_own_context, mse, network, rows, training, validation

N_STEPS = 6  # an epoch of `training`: 28 rows in batches of 5


def fresh(*, dropout=0.0, n_rows=47, **settings):
    def make():
        return mml.Experiment("toy", network(rows(n_rows=n_rows), dropout=dropout, **settings))

    return in_own_context(make)


def losses_of(results):
    return [float(value) for value in results.losses().values]


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_blocks_of_any_size_give_the_same_bits(size, accumulate, monkeypatch):
    usual, cut = (
        fresh(
            dropout=0.3,
            optimizer=mml.Optimizer("adam", lr=0.01, schedule="cosine", accumulate=accumulate),
        )
        for _ in range(2)
    )
    expected = usual.run_phase(training(result_recording="all"))
    monkeypatch.setattr("mml.experiment.running.pacing._FIRST_STEPS", size)
    monkeypatch.setattr(Pacing, "end", lambda self, n_steps: None)
    found = cut.run_phase(training(result_recording="all"))
    assert digest(cut) == digest(usual)
    assert losses_of(found) == losses_of(expected)
    assert all(map(np.array_equal, found.tensors("head").values, expected.tensors("head").values))
    assert found.metrics() == expected.metrics()


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_evaluations_do_not_depend_on_blocks(size, monkeypatch):
    made = fresh()
    expected = made.preview_phase(validation(batch_size=2))
    monkeypatch.setattr("mml.experiment.running.pacing._FIRST_STEPS", size)
    found = made.preview_phase(validation(batch_size=2))
    assert np.array_equal(found.stacked_tensors("head"), expected.stacked_tensors("head"))
    assert losses_of(found) == losses_of(expected)


def test_an_evaluation_larger_than_a_block_sees_every_row_in_order():
    data = rows(n_rows=5000)
    results = fresh(n_rows=5000).run_phase(validation(split="train", batch_size=3))
    assert np.array_equal(results.stacked_targets("head"), data["train"].get_targets("y"))
    assert len(losses_of(results)) == math.ceil(len(data["train"]) / 3)


class TestPacing:
    @pytest.mark.parametrize(("multiple", "rows_per_step"), [(1, 1), (3, 1), (7, 1), (3, 1 << 20)])
    def test_blocks_hold_whole_windows(self, multiple, rows_per_step):
        pacing = Pacing(multiple_of=multiple)
        for _ in range(20):
            size = pacing.size(rows_per_step)
            assert size >= multiple
            assert size % multiple == 0
            pacing.begin()
            pacing.end(size)

    def test_large_batches_make_short_blocks(self):
        pacing = Pacing()
        assert pacing.size(1 << 16) == 1
        assert pacing.size(1) > 1


class TestAccumulation:
    def test_equals_one_batch_of_those_rows(self):
        """28 rows: windows of 15 and 13 rows, once as three batches of 5 (the last of 3) and once whole."""
        one = fresh(optimizer=mml.Optimizer("sgd", lr=0.1))
        several = fresh(optimizer=mml.Optimizer("sgd", lr=0.1, accumulate=3))
        one.run_phase(training(sampler=mml.SimpleSampler(batch_size=15, shuffle=True, seed=1), n_epochs=2))
        several.run_phase(training(sampler=mml.SimpleSampler(batch_size=5, shuffle=True, seed=1), n_epochs=2))
        for label in ("trunk", "head"):
            mine, theirs = (made.graph[label].get_state()["model"] for made in (one, several))
            for name, value in mine.items():
                np.testing.assert_allclose(theirs[name], value, rtol=2e-6, atol=1e-7)

    def test_a_rest_steps_at_the_end_of_the_epoch(self):
        made = fresh(optimizer=mml.Optimizer("adam", lr=0.01, accumulate=4))
        made.run_phase(training(n_epochs=3))
        steps = {int(slots["step"]) for slots in _slots(made.graph.optimizer)}
        assert steps == {3 * math.ceil(N_STEPS / 4)}

    def test_freezing_in_the_middle_of_a_window_keeps_the_others_on_course(self):
        class Freeze(mml.Callback):
            def on_batch_end(self, *, context, **_):
                return mml.FreezeChange(freeze=("trunk",)) if context.batch == 1 else None

        def trained(size, batch_size, callbacks):
            made = fresh(optimizer=mml.Optimizer("sgd", lr=0.1, accumulate=size))
            made.graph.freeze(["trunk"] if not callbacks else [])
            sampler = mml.SimpleSampler(batch_size=batch_size)
            made.run_phase(training(n_epochs=1, sampler=sampler, callbacks=callbacks))
            return made.graph["head"].get_state()["model"]

        expected, found = trained(1, 15, []), trained(3, 5, [Freeze()])
        for name, value in expected.items():
            np.testing.assert_allclose(found[name], value, rtol=2e-6, atol=1e-7)

    def test_stages_with_windows_of_their_own_step_each_at_its_own(self, monkeypatch):
        # Blocks as short as they may be: of 2 or 3 steps they would cut the other one's windows.
        monkeypatch.setattr("mml.experiment.running.pacing._FIRST_STEPS", 1)
        monkeypatch.setattr(Pacing, "end", lambda self, n_steps: None)
        data = rows()
        upstream = data.reference(features="x", targets="y")
        nodes = [
            mml.ModelNode(
                label,
                mml.Model("reference/mlp", output_shape=1),
                upstream,
                optimizer=mml.Optimizer("sgd", lr=0.1, accumulate=accumulate),
            )
            for label, accumulate in (("two", 2), ("three", 3))
        ]
        made = mml.Experiment("toy", mml.ModelGraph(nodes))
        alone = {}
        for label in ("two", "three"):
            loss = mml.AppliedLoss("mse", on=label)
            made.reset()
            made.run_phase(training(losses=[loss], active_nodes=[label], callbacks=[]))
            alone[label] = made.graph[label].get_state()["model"]
            made.reset()
        both = training(losses=[mml.AppliedLoss("mse", on=label) for label in ("two", "three")])
        made.run_phase(both)
        for label, expected in alone.items():
            found = made.graph[label].get_state()["model"]
            assert all(np.array_equal(found[name], value) for name, value in expected.items())


class TestRates:
    def test_are_logged_by_the_graph_or_node_that_has_the_optimizer(self):
        data = rows()
        trunk = mml.ModelNode(
            "trunk", mml.Model("reference/mlp", output_shape=3), data.reference(features="x", targets="y")
        )
        own = mml.Optimizer("sgd", lr=0.5)
        head = mml.ModelNode("head", mml.Model("reference/mlp", output_shape=1), trunk, optimizer=own)
        graph = mml.ModelGraph([trunk, head], optimizer=mml.Optimizer("adam", lr=0.25), label="net")
        store = mml.Experiment("toy", graph).run_phase(training(n_epochs=2)).metric_store
        assert {name for name in store.names() if name.startswith("lr/")} == {"lr/net", "lr/head"}
        assert (store.latest("lr/net"), store.latest("lr/head")) == (0.25, 0.5)

    def test_follow_the_schedule_over_updates_not_batches(self):
        optimizer = mml.Optimizer("sgd", lr=0.08, accumulate=2, schedule="cosine")
        results = fresh(optimizer=optimizer).run_phase(training(n_epochs=4))
        logged = results.metrics().where(name="lr/model-graph").values
        total = 4 * N_STEPS // 2
        last_updates = [(epoch + 1) * N_STEPS // 2 - 1 for epoch in range(4)]
        expected = [0.08 * 0.5 * (1 + math.cos(math.pi * update / total)) for update in last_updates]
        np.testing.assert_allclose(logged, expected, rtol=1e-9)

    def test_schedules_restart_with_each_phase(self):
        made = fresh(optimizer=mml.Optimizer("sgd", lr=0.08, schedule="cosine"))
        first, second = (
            made.run_phase(training()).metrics().where(name="lr/model-graph").values for _ in range(2)
        )
        assert list(first) == list(second)
        assert first[0] > first[-1]


class TestLossMetrics:
    def test_every_loss_and_their_weighted_total_are_logged(self):
        losses = [mse(weight=2.0), mml.AppliedLoss("mae", on="head", label="absolute")]
        results = fresh().run_phase(training(losses=losses))
        metrics = results.metrics()
        parts = [metrics.where(name=f"train_loss/{label}").values for label in ("head/mse", "absolute")]
        expected = [2 * one + other for one, other in zip(*parts, strict=True)]
        assert list(metrics.where(name="train_loss").values) == pytest.approx(expected, rel=1e-12)

    def test_batches_weigh_by_their_rows(self):
        results = fresh().run_phase(training(n_epochs=1))
        values = losses_of(results)
        weights = [5] * (N_STEPS - 1) + [28 - 5 * (N_STEPS - 1)]
        expected = np.average(values, weights=weights)
        assert results.metric_store.latest("train_loss") == pytest.approx(expected, rel=1e-9)


def test_no_epochs_order_is_made_before_the_epoch(monkeypatch):
    made = []
    order_of = BoundSampler.epoch

    def noted(self, epoch):
        made.append(epoch)
        return order_of(self, epoch)

    class Look(mml.Callback):
        def on_phase_start(self, **_):
            assert set(made) == {0}

    monkeypatch.setattr(BoundSampler, "epoch", noted)
    fresh().run_phase(training(n_epochs=5, callbacks=[Look()]))
    assert sorted(set(made)) == list(range(5))


def _slots(optimizer):
    state = optimizer.get_state()
    found = []

    def walk(value):
        if isinstance(value, dict):
            if "step" in value:
                found.append(value)
            for one in value.values():
                walk(one)

    walk(state)
    assert found
    return found
