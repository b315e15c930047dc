"""Experiment: runs, previews, history, failures, and that equal seeds give equal bits."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest

import mml
from mml.errors import ConfigError, ExperimentError, MMLError, NonFiniteError, PhaseError, RegistrationError

from .toy import digest, experiment, in_own_context, mse, network, rows, training, validation


def fresh(**settings):
    return in_own_context(experiment, **settings)


def orders(results):
    """Return the rows of every step of a training, in order."""
    return [rows.tolist() for rows in results.get_train_result().batches("trunk").values]


class TestRun:
    def test_records_every_phase_in_the_order_of_the_plan(self):
        made = fresh(phases=[training(), validation("test", "test")])
        results = made.run()
        assert list(results) == ["train", "test"]
        assert made.last_run.status == "completed"
        assert made.last_run.results is results
        assert [one.label for one in made.last_run.meta.children] == ["train", "test"]
        assert made.last_run.started_at <= made.last_run.ended_at

    def test_training_lowers_the_loss(self):
        results = fresh(phases=[training(n_epochs=60)]).run()
        losses = results.get_train_result().metrics().where(name="train_loss").values
        assert len(losses) == 60
        assert losses[-1] < 0.2 * losses[0]

    def test_equal_seeds_give_equal_bits_and_others_do_not(self):
        first, again, other = (
            fresh(seed=3, dropout=0.3),
            fresh(seed=3, dropout=0.3),
            fresh(seed=4, dropout=0.3),
        )
        for made in (first, again, other):
            made.run()
        assert digest(first) == digest(again)
        assert digest(first) != digest(other)

    def test_a_second_run_continues_with_streams_of_its_own(self):
        made = fresh(dropout=0.3)
        made.run()
        once = digest(made)
        made.run()
        assert digest(made) != once
        first, second = (orders(run.results) for run in made.history)
        assert first != second
        assert sorted(np.concatenate(first)) == sorted(np.concatenate(second))
        assert len(made.history) == 2

    def test_a_seed_of_a_samplers_own_orders_every_run_alike(self):
        seeded = mml.SimpleSampler(batch_size=5, shuffle=True, seed=0)
        made = fresh(phases=[training(sampler=seeded)])
        made.run()
        made.run()
        assert orders(made.history[0].results) == orders(made.history[1].results)

    def test_equal_phases_share_one_order_inside_a_run(self):
        made = fresh()
        phase = training("one")
        twice = mml.PhaseGroup("twice", [mml.PhaseGroup(name, [phase]) for name in ("first", "again")])
        runs = [made.run_group(twice) for _ in range(2)]
        for results in runs:
            assert orders(results["first"]) == orders(results["again"])
        assert orders(runs[0]["first"]) != orders(runs[1]["first"])

    def test_a_preview_shows_the_orders_of_the_next_run(self):
        made = fresh()
        seen = []
        for _ in range(2):
            seen.append(orders(made.preview_run()))
            assert orders(made.run()) == seen[-1]
        assert seen[0] != seen[1]

    def test_reset_returns_to_the_first_run(self):
        made = fresh(dropout=0.3)
        first = orders(made.run())
        once = digest(made)
        assert orders(made.run()) != first
        made.reset()
        assert made.history == ()
        assert orders(made.run()) == first
        assert digest(made) == once

    def test_an_empty_plan_is_refused(self):
        with pytest.raises(ExperimentError, match="plan is empty"):
            fresh(phases=[]).run()

    def test_a_run_without_a_graph_is_refused(self):
        made = mml.Experiment("bare")
        made.execution_plan.add_phase(training())
        with pytest.raises(PhaseError, match="no graph"):
            made.run()
        assert made.last_run.status == "failed"

    def test_run_phase_and_run_group_are_recorded(self):
        made = fresh()
        phase = made.run_phase(training("warm-up", n_epochs=1))
        group = made.run_group(mml.PhaseGroup("rest", [training("more", n_epochs=1), validation()]))
        assert phase.status == "completed"
        assert list(group) == ["more", "validate"]
        assert [list(run.results) for run in made.history] == [["warm-up"], ["more", "validate"]]

    def test_groups_are_mirrored_by_results(self):
        inner = mml.PhaseGroup("inner", [training("a", n_epochs=1), validation("b")])
        made = fresh(phases=[])
        made.execution_plan.add_group(inner)
        made.execution_plan.add_phase(validation("c", "test"))
        results = made.run()
        assert list(results) == ["inner", "c"]
        assert list(results["inner"]) == ["a", "b"]
        assert list(results.flatten()) == ["a", "b", "c"]

    @pytest.mark.parametrize("seed", [-1, 1.5, True, "7"])
    def test_a_seed_that_is_none_is_refused(self, seed):
        with pytest.raises(ExperimentError, match="seed"):
            mml.Experiment("bad", seed=seed)

    def test_unrelated_phases_do_not_change_what_a_phase_draws(self):
        plain = fresh(dropout=0.4, phases=[training()])
        between = fresh(dropout=0.4, phases=[validation("first"), training(), validation("last")])
        plain.run()
        between.run()
        assert digest(plain) == digest(between)


class TestFailure:
    def failing(self):
        data = rows()
        features = data.get_features("x").copy()
        features[data["train"].rows[11]] = np.nan
        broken = mml.FeatureSet.from_dict(
            "broken", {"x": features, "y": data.get_targets("y")}, feature_keys="x", target_keys="y"
        )
        broken.split_random(ratios={"train": 0.6, "val": 0.2, "test": 0.2}, seed=0)
        made = mml.Experiment("toy", network(broken))
        made.execution_plan.add_phase(training("good", n_epochs=1, on_nonfinite="ignore"))
        return made

    def test_a_failing_phase_returns_to_its_start_and_is_recorded(self):
        made = self.failing()
        made.execution_plan.remove("good")
        made.execution_plan.add_phase(training(sampler=mml.SimpleSampler(batch_size=5)))
        before = digest(made)
        with pytest.raises(NonFiniteError) as caught:
            made.run()
        assert digest(made) == before
        text = str(caught.value)
        assert "phase 'train'" in text
        assert "node 'head'" in text
        assert "epoch 0" in text
        assert "batch 2" in text
        run = made.last_run
        assert run.status == "failed"
        assert run.exception is caught.value
        assert run.results["train"].status == "failed"

    def test_earlier_phases_stay(self):
        made = fresh(
            phases=[training(n_epochs=1), training("bad", losses=[mml.AppliedLoss("mse", on="nowhere")])]
        )
        before = digest(made)
        with pytest.raises(MMLError, match="nowhere"):
            made.run()
        assert digest(made) != before
        assert made.last_run.results["train"].status == "completed"

    @pytest.mark.parametrize("policy", ["warn", "ignore"])
    def test_nonfinite_losses_may_be_let_through(self, policy):
        made = self.failing()
        made.execution_plan.remove("good")
        made.execution_plan.add_phase(training(n_epochs=1, on_nonfinite=policy))
        if policy == "warn":
            with pytest.warns(mml.MMLWarning, match="not finite"):
                made.run()
        else:
            made.run()
        assert made.last_run.status == "completed"


class TestPreview:
    def test_restores_everything_and_records_nothing(self):
        made = fresh(dropout=0.3)
        made.run()
        before = digest(made)
        results = made.preview_phase(training("look", n_epochs=2))
        assert results.n_epochs == 2
        assert digest(made) == before
        assert len(made.history) == 1

    def test_restores_when_it_raises(self):
        class Boom(mml.Callback):
            def on_epoch_end(self, **_):
                raise ValueError("boom")

        made = fresh()
        made.run()
        before = digest(made)
        with pytest.raises(PhaseError, match="boom"):
            made.preview_phase(training("look", callbacks=[Boom()]))
        assert digest(made) == before
        assert made.last_run.status == "completed"

    def test_a_preview_is_what_a_run_would_do(self):
        one, other = fresh(dropout=0.3), fresh(dropout=0.3)
        previewed = one.preview_run().get_train_result().metrics().where(name="train_loss").values
        ran = other.run().get_train_result().metrics().where(name="train_loss").values
        assert list(previewed) == list(ran)

    def test_previewing_first_does_not_change_the_run(self):
        plain, looked = fresh(dropout=0.3), fresh(dropout=0.3)
        looked.preview_run()
        looked.preview_group(mml.PhaseGroup("some", [training("x", n_epochs=1)]))
        plain.run()
        looked.run()
        assert digest(plain) == digest(looked)


class TestContexts:
    def test_two_experiments_stand_side_by_side(self):
        first, second = fresh(seed=1), fresh(seed=2)
        alone = fresh(seed=1)
        alone.run()
        first.run()
        second.run()
        assert digest(first) == digest(alone)

    def test_a_loop_over_seeds_works_in_a_script(self):
        default = mml.ExperimentContext.process_default()
        with default.activate():
            digests = set()
            for seed in range(3):
                made = experiment(seed=seed)
                made.run()
                digests.add(digest(made))
            assert len(digests) == 3
            assert len(default) == 0

    def test_a_feature_set_serves_a_second_graph_after_the_first_experiment_took_it(self):
        default = mml.ExperimentContext.process_default()
        with default.activate():
            data = rows()
            mml.Experiment("first", network(data)).run_phase(training(n_epochs=1))
            second = mml.Experiment("second", network(data))
            assert second.run_phase(training(n_epochs=1)).status == "completed"

    def test_a_released_feature_set_is_not_kept_alive(self):
        default = mml.ExperimentContext.process_default()
        with default.activate():
            made = mml.Experiment("first", network(rows()))
            uuid = made.featuresets[0].uuid
            assert default.find(uuid) is not None
            del made
            gc.collect()
            assert default.find(uuid) is None

    def test_without_an_experiment_a_label_taken_twice_is_refused(self):
        rows()
        with pytest.raises(RegistrationError, match="already taken"):
            rows()

    def test_a_second_thread_on_the_same_graph_is_refused(self):
        made = fresh()
        caught: list[BaseException] = []

        class Intruder(mml.Callback):
            def on_phase_start(self, **_):
                def enter():
                    try:
                        made.preview_phase(validation("other"))
                    except ExperimentError as error:
                        caught.append(error)

                thread = threading.Thread(target=enter)
                thread.start()
                thread.join()

        made.run_phase(training(n_epochs=1, callbacks=[Intruder()]))
        assert "another thread" in str(caught[0])


class TestConfig:
    def test_the_rebuilt_experiment_is_equal_and_trains_to_the_same_bits(self):
        evaluation = mml.Evaluation(validation(), metrics=[mml.EvalLossMetric(loss=mse())])
        made = fresh(
            seed=5,
            dropout=0.2,
            phases=[
                training(n_epochs=9, callbacks=[evaluation, mml.EarlyStopping(patience=2)]),
                validation("test", "test"),
            ],
        )
        rebuilt = mml.Experiment.from_config(made.get_config(), featuresets=made.featuresets)
        assert rebuilt == made
        assert rebuilt.get_config() == made.get_config()
        made.run()
        rebuilt.run()
        assert digest(made) == digest(rebuilt)

    def test_a_lambda_is_refused_with_its_label(self):
        loss = mml.AppliedLoss(lambda outputs, targets: (outputs - targets) ** 2, on="head", label="mine")
        made = fresh(phases=[training(losses=[loss])])
        with pytest.raises(ConfigError, match="mine"):
            made.get_config()

    def test_state_carries_values_slots_and_history_over(self):
        made = fresh(seed=5)
        made.run()
        twin = mml.Experiment.from_config(made.get_config(), featuresets=made.featuresets)
        twin.set_state(made.get_state())
        assert digest(twin) == digest(made)
        assert len(twin.history) == 1
        made.run()
        twin.run()
        assert digest(twin) == digest(made)
