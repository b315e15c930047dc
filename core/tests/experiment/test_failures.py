"""Whatever raises, and wherever: the graph is as before, the run is recorded, the error says where."""

from __future__ import annotations

import numpy as np
import pytest

import mml
from mml.errors import ConfigError, ExperimentError, MMLError, NonFiniteError, PhaseError, ShapeError

from .toy import digest, experiment, in_own_context, mse, network, rows, training, validation

WITHIN_EPOCHS = ("on_epoch_start", "on_epoch_end", "on_batch_start", "on_batch_end")
PHASE_HOOKS = ("on_phase_start", *WITHIN_EPOCHS, "on_phase_end")
PLAN_HOOKS = ("on_experiment_start", "on_group_start", "on_phase_start", "on_phase_end")


def fresh(**settings):
    return in_own_context(experiment, **settings)


def raising(hook, *, base=mml.Callback, error=None, at=0):
    """Return a callback that raises at the call number `at` of one hook."""
    calls = []

    def raise_(self, **_):
        calls.append(hook)
        if len(calls) == at + 1:
            raise error or ValueError("boom")

    return type("Raising", (base,), {hook: raise_})()


class TestPhaseHooks:
    @pytest.mark.parametrize("hook", PHASE_HOOKS)
    @pytest.mark.parametrize("how", ["run", "run_phase", "preview_phase"])
    def test_a_hook_that_raises_leaves_the_graph_as_it_was(self, hook, how):
        made = fresh(dropout=0.2, phases=[])
        made.run_phase(training("before", n_epochs=1))
        before, n_runs = digest(made), len(made.history)
        phase = training(callbacks=[raising(hook, at=1 if hook in WITHIN_EPOCHS else 0)])
        made.execution_plan.add_phase(phase)
        with pytest.raises(PhaseError, match="boom") as caught:
            getattr(made, how)(*([] if how == "run" else [phase]))
        assert digest(made) == before
        assert not made.in_callback
        assert isinstance(caught.value.__cause__, ValueError)
        where = caught.value.where
        for part in ("experiment 'toy'", "phase 'train'", "callback 'Raising'", f"hook '{hook}'"):
            assert where.count(part) == 1
        assert ("epoch" in where) == (hook in WITHIN_EPOCHS)
        assert ("batch 1" in where) == ("batch" in hook)
        if how == "preview_phase":
            assert len(made.history) == n_runs
        else:
            run = made.last_run
            assert (run.status, run.results.status, run.results["train"].status) == ("failed",) * 3
            assert run.exception is caught.value
            assert run.results["train"].exception is caught.value
            assert run.ended_at >= run.results["train"].ended_at >= run.results["train"].started_at

    @pytest.mark.parametrize("hook", ["on_phase_start", "on_batch_start", "on_batch_end", "on_phase_end"])
    @pytest.mark.parametrize("how", ["run_phase", "preview_phase"])
    def test_an_evaluation_that_raises_puts_freezing_back(self, hook, how):
        class Freeze(mml.Callback):
            def on_phase_start(self, **_):
                return mml.FreezeChange(freeze=("trunk",))

        made = fresh()
        before = digest(made)
        with pytest.raises(PhaseError, match="boom"):
            getattr(made, how)(validation(callbacks=[Freeze(), raising(hook)]))
        assert digest(made) == before

    def test_a_previewed_evaluation_puts_freezing_back(self):
        class Freeze(mml.Callback):
            def on_phase_end(self, **_):
                return mml.FreezeChange(freeze=("trunk",))

        made = fresh()
        made.preview_phase(validation(callbacks=[Freeze()]))
        assert not made.graph["trunk"].is_frozen

    def test_the_next_run_is_what_it_would_have_been(self):
        broken, plain = fresh(dropout=0.3), fresh(dropout=0.3)
        with pytest.raises(PhaseError):
            broken.preview_phase(training(callbacks=[raising("on_epoch_end", at=1)]))
        broken.run()
        plain.run()
        assert digest(broken) == digest(plain)

    def test_on_exception_sees_the_graph_as_it_failed_and_its_own_trouble_is_noted(self):
        seen = []

        class Last(mml.Callback):
            def on_exception(self, *, experiment, exception, **_):
                seen.append((digest(experiment), exception))
                raise RuntimeError("worse")

        made = fresh()
        before = digest(made)
        with pytest.raises(PhaseError, match="boom") as caught:
            made.run_phase(training(callbacks=[raising("on_epoch_end", at=1), Last()]))
        assert [exception for _, exception in seen] == [caught.value]
        assert seen[0][0] != before
        assert digest(made) == before
        assert "worse" in caught.value.__notes__[0]

    def test_freezing_returned_from_on_exception_does_not_stay(self):
        class Freeze(mml.Callback):
            def on_exception(self, **_):
                return mml.FreezeChange(freeze=("trunk",))

        made = fresh()
        with pytest.raises(PhaseError):
            made.run_phase(training(callbacks=[raising("on_epoch_end"), Freeze()]))
        assert not made.graph["trunk"].is_frozen

    def test_keyboard_interrupt_in_a_hook_restores_too_and_stays_what_it_is(self):
        made = fresh()
        before = digest(made)
        with pytest.raises(KeyboardInterrupt):
            made.run_phase(training(callbacks=[raising("on_epoch_end", error=KeyboardInterrupt())]))
        assert digest(made) == before
        assert made.last_run.status == "failed"

    def test_an_error_within_an_evaluation_names_both_phases_in_order(self):
        inner = validation(losses=[mml.AppliedLoss("mse", on="nowhere")])
        made = fresh()
        before = digest(made)
        with pytest.raises(MMLError, match="nowhere") as caught:
            made.run_phase(training(callbacks=[mml.Evaluation(inner)]))
        assert digest(made) == before
        where = caught.value.where
        places = [
            "phase 'train'",
            "epoch 0",
            "callback 'Evaluation'",
            "hook 'on_epoch_end'",
            "phase 'validate'",
        ]
        positions = [where.index(place) for place in places]
        assert positions == sorted(positions)
        assert all(where.count(place) == 1 for place in places)


class TestExperimentHooks:
    @pytest.mark.parametrize("hook", PLAN_HOOKS)
    def test_a_hook_that_raises_leaves_the_graph_as_it_was(self, hook):
        made = fresh(phases=[], callbacks=[raising(hook, base=mml.ExperimentCallback)])
        made.execution_plan.add_group("group").add_phase(training())
        before = digest(made)
        with pytest.raises(PhaseError, match="boom") as caught:
            made.run()
        assert digest(made) == before
        assert made.last_run.status == "failed"
        assert made.last_run.exception is caught.value
        assert isinstance(caught.value.__cause__, ValueError)
        assert f"hook '{hook}'" in caught.value.where
        if "phase" in hook:
            assert made.last_run.results["group"]["train"].status == "failed"

    @pytest.mark.parametrize("hook", ["on_group_end", "on_experiment_end"])
    def test_phases_that_were_completed_before_stay(self, hook):
        made = fresh(phases=[], callbacks=[raising(hook, base=mml.ExperimentCallback)])
        made.execution_plan.add_group("group").add_phase(training())
        before = digest(made)
        with pytest.raises(PhaseError, match="boom"):
            made.run()
        assert digest(made) != before
        assert made.last_run.status == "failed"
        assert made.last_run.results["group"]["train"].status == "completed"
        assert made.last_run.results["group"].status == ("failed" if hook == "on_group_end" else "completed")

    def test_on_exception_that_raises_does_not_hide_the_error(self):
        last = raising("on_exception", base=mml.ExperimentCallback, error=RuntimeError("worse"))
        made = fresh(phases=[training(callbacks=[raising("on_epoch_end")])], callbacks=[last])
        with pytest.raises(PhaseError, match="boom") as caught:
            made.run()
        assert "worse" in caught.value.__notes__[0]
        assert made.last_run.exception is caught.value

    def test_previews_fire_none(self):
        made = fresh(callbacks=[raising("on_phase_start", base=mml.ExperimentCallback)])
        assert made.preview_run().get_train_result().status == "completed"

    def test_groups_run_on_their_own_fire_their_hooks_and_the_plan_none(self):
        calls = []

        class Trace(mml.ExperimentCallback):
            def on_group_start(self, *, group, results, **_):
                calls.append(("start", group.label, results.label))

            def on_group_end(self, *, group, results, **_):
                calls.append(("end", group.label, list(results)))

        made = fresh(callbacks=[Trace()])
        made.run()
        made.run_phase(training(n_epochs=1))
        assert calls == []
        made.run_group(mml.PhaseGroup("extra", [training(n_epochs=1)]))
        assert calls == [("start", "extra", "extra"), ("end", "extra", ["train"])]

    def test_metrics_returned_around_a_phase_are_recorded_with_it(self):
        class Around(mml.ExperimentCallback):
            def on_phase_end(self, **_):
                return [mml.MetricResult("cost", 3.0), mml.FreezeChange(freeze=("trunk",))]

        made = fresh(callbacks=[Around()])
        results = made.run()["train"]
        assert results.metric_store.latest("cost") == 3.0
        assert made.graph["trunk"].is_frozen

    @pytest.mark.parametrize(
        ("hook", "value"), [("on_phase_end", 3.0), ("on_experiment_end", mml.MetricResult("a", 1.0))]
    )
    def test_what_cannot_be_recorded_is_refused(self, hook, value):
        wrong = type("Wrong", (mml.ExperimentCallback,), {hook: lambda self, **_: value})()
        with pytest.raises(PhaseError, match="record") as caught:
            fresh(callbacks=[wrong]).run()
        assert f"hook '{hook}'" in caught.value.where


class TestCauses:
    def test_a_graph_that_cannot_be_built_is_a_failed_run(self):
        upstream = rows().reference(features="x", targets="y")
        node = mml.ModelNode("a", mml.Model("reference/mlp", input_shape=3), upstream)
        made = mml.Experiment("toy", mml.ModelGraph([node], optimizer="sgd"))
        made.execution_plan.add_phase(training(losses=[mml.AppliedLoss("mse", on="a")]))
        with pytest.raises(ShapeError) as caught:
            made.run()
        assert made.last_run.status == "failed"
        assert made.last_run.exception is caught.value

    def test_an_error_of_a_users_loss_names_the_phase_and_is_chained(self):
        def broken(outputs, targets):
            raise ZeroDivisionError("user code")

        made = fresh()
        before = digest(made)
        with pytest.raises(MMLError, match="user code") as caught:
            made.run_phase(validation(losses=[mml.AppliedLoss(broken, on="head", label="mine")]))
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert "phase 'validate'" in caught.value.where
        assert digest(made) == before

    def test_no_graph_is_told_once_and_recorded_everywhere(self):
        made = mml.Experiment("bare")
        with pytest.raises(PhaseError, match="no graph") as caught:
            made.run_phase(training())
        assert caught.value.where == "experiment 'bare', phase 'train'"
        assert made.last_run.results["train"].status == "failed"
        with pytest.raises(PhaseError, match="no graph"):
            made.preview_phase(training())

    @pytest.mark.parametrize("how", ["run_phase", "preview_phase", "run_group", "preview_group"])
    def test_running_something_else_is_refused(self, how):
        with pytest.raises(ExperimentError, match="This runs a") as caught:
            getattr(fresh(), how)("train")
        assert "'train'" in caught.value.found

    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_the_first_bad_batch_is_named_wherever_the_block_ends(self, seed, monkeypatch):
        monkeypatch.setattr(
            "mml.experiment.running.pacing.Pacing.size", lambda self, rows: (1, 3, 1000)[seed]
        )
        data = in_own_context(rows)
        x = data.get_features("x").copy()
        x[data["train"].rows[[17, 3 * 5 + 4]]] = np.inf
        broken = mml.FeatureSet.from_dict(
            "broken", {"x": x, "y": data.get_targets("y")}, feature_keys="x", target_keys="y"
        )
        broken.split_random(ratios={"train": 0.6, "val": 0.2, "test": 0.2}, seed=0)
        made = mml.Experiment("toy", network(broken))
        with np.errstate(invalid="ignore"), pytest.raises(NonFiniteError) as caught:
            made.run_phase(training(n_epochs=1, sampler=mml.SimpleSampler(batch_size=5)))
        assert caught.value.where.endswith("loss 'head/mse', node 'head', epoch 0, batch 3")


class TestConfigErrors:
    def test_of_an_experiment_with_a_lambda_name_it(self):
        made = fresh(
            phases=[training(losses=[mse(), mml.AppliedLoss(lambda a, b: a, on="head", label="odd")])]
        )
        with pytest.raises(ConfigError, match="odd"):
            made.get_config()


@pytest.mark.parametrize(
    ("make", "near"),
    [
        (lambda: training(epochs=3), "n_epochs"),
        (lambda: training(callback=()), "callbacks"),
        (lambda: validation(loses=()), "losses"),
        (lambda: mml.FitPhase.from_split("fit", split="train", freeze_after_fits=True), "freeze_after_fit"),
    ],
)
def test_a_misspelled_setting_of_a_phase_says_which_is_meant(make, near):
    with pytest.raises(PhaseError, match="has no setting") as caught:
        make()
    assert f"'{near}'" in caught.value.hint


@pytest.mark.parametrize("label", ["", "  ", 3, None])
def test_an_experiment_needs_a_label(label):
    with pytest.raises(ExperimentError, match="needs a label"):
        mml.Experiment(label)


@pytest.mark.parametrize("graph", [3, "graph", []])
def test_an_experiment_runs_a_graph_and_nothing_else(graph):
    with pytest.raises(ExperimentError, match="runs a ModelGraph"):
        mml.Experiment("toy", graph)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"min_delta": "0.1"}, "min_delta"),
        ({"min_delta": float("nan")}, "min_delta"),
        ({"min_delta": True}, "min_delta"),
        ({"monitor": None}, "monitor"),
        ({"restore_best": "yes"}, "restore_best"),
    ],
)
def test_early_stopping_checks_its_settings(settings, message):
    with pytest.raises(PhaseError, match=message):
        mml.EarlyStopping(**settings)
