"""Callbacks: the order of hooks, what they may return, and that evaluation leaves no trace in training."""

from __future__ import annotations

import pytest

import mml
from mml.errors import FreezeWarning, MMLError, PhaseError

from .toy import digest, experiment, in_own_context, mse, training, validation


def fresh(**settings):
    return in_own_context(experiment, **settings)


class Trace(mml.Callback):
    """Writes down every hook."""

    def __init__(self):
        self.calls = []

    def on_phase_start(self, **_):
        self.calls.append("phase_start")

    def on_phase_end(self, **_):
        self.calls.append("phase_end")

    def on_epoch_start(self, *, epoch, **_):
        self.calls.append(f"epoch_start {epoch}")

    def on_epoch_end(self, *, epoch, **_):
        self.calls.append(f"epoch_end {epoch}")

    def on_batch_start(self, *, context, **_):
        self.calls.append(f"batch_start {context.epoch}.{context.batch}")

    def on_batch_end(self, *, context, **_):
        self.calls.append(f"batch_end {context.epoch}.{context.batch}")

    def on_exception(self, *, exception, **_):
        self.calls.append(f"exception {type(exception).__name__}")


class TestHooks:
    def test_of_training_fire_in_order(self):
        trace = Trace()
        fresh().run_phase(training(n_epochs=2, sampler=mml.SimpleSampler(batch_size=20), callbacks=[trace]))
        epochs = [
            [
                f"epoch_start {e}",
                *(f"batch_{w} {e}.{b}" for b in range(2) for w in ("start", "end")),
                f"epoch_end {e}",
            ]
            for e in range(2)
        ]
        assert trace.calls == ["phase_start", *epochs[0], *epochs[1], "phase_end"]

    def test_of_evaluation_fire_without_epochs(self):
        trace = Trace()
        fresh().run_phase(validation(batch_size=5, callbacks=[trace]))
        assert trace.calls == [
            "phase_start",
            *("batch_start 0.0", "batch_end 0.0"),
            *("batch_start 0.1", "batch_end 0.1"),
            "phase_end",
        ]

    def test_of_a_failure_fire(self):
        class Boom(mml.Callback):
            def on_epoch_end(self, **_):
                raise ValueError("boom")

        trace = Trace()
        with pytest.raises(PhaseError) as caught:
            fresh().run_phase(training(n_epochs=1, callbacks=[trace, Boom()]))
        assert trace.calls[-1] == "exception PhaseError"
        assert isinstance(caught.value.__cause__, ValueError)
        assert "callback 'Boom'" in str(caught.value)
        assert "hook 'on_epoch_end'" in str(caught.value)

    def test_listening_to_batches_changes_no_bit(self):
        quiet, loud = fresh(dropout=0.3), fresh(dropout=0.3)
        quiet.run_phase(training())
        loud.run_phase(training(callbacks=[Trace()]))
        assert digest(quiet) == digest(loud)

    def test_contexts_hold_inputs_and_losses(self):
        seen = []

        class Look(mml.Callback):
            def on_batch_end(self, *, context, **_):
                seen.append((context.inputs["trunk"].features["x"].shape, context.losses["head/mse"]))

        results = fresh().run_phase(training(n_epochs=1, callbacks=[Look()]))
        assert seen[0][0] == (5, 5)
        assert [loss for _, loss in seen] == list(results.losses().values)

    def test_experiment_hooks_enclose_phase_hooks(self):
        calls = []

        class Outer(mml.ExperimentCallback):
            def on_experiment_start(self, **_):
                calls.append("experiment_start")

            def on_experiment_end(self, **_):
                calls.append("experiment_end")

            def on_group_start(self, *, group, **_):
                calls.append(f"group_start {group.label}")

            def on_group_end(self, *, group, **_):
                calls.append(f"group_end {group.label}")

            def on_phase_start(self, *, phase, **_):
                calls.append(f"outer_start {phase.label}")

            def on_phase_end(self, *, phase, **_):
                calls.append(f"outer_end {phase.label}")

        class Inner(mml.Callback):
            def on_phase_start(self, **_):
                calls.append("inner_start")

            def on_phase_end(self, **_):
                calls.append("inner_end")

        made = fresh(phases=[], callbacks=[Outer()])
        made.execution_plan.add_group("g").add_phase(training(n_epochs=1, callbacks=[Inner()]))
        made.run()
        assert calls == [
            "experiment_start", "group_start g", "outer_start train", "inner_start",
            "inner_end", "outer_end train", "group_end g", "experiment_end",
        ]  # fmt: skip


class TestReturns:
    def test_a_metric_is_logged_under_its_name(self):
        class Answer(mml.Callback):
            def on_epoch_end(self, *, epoch, **_):
                return mml.MetricResult("answer", 40.0 + epoch)

        results = fresh().run_phase(training(n_epochs=3, callbacks=[Answer()]))
        assert list(results.metrics().where(name="answer").values) == [40.0, 41.0, 42.0]
        assert results.callbacks().select(epoch=1)[0].callback == "Answer"

    def test_anything_else_is_refused(self):
        class Wrong(mml.Callback):
            def on_epoch_end(self, **_):
                return 3.0

        with pytest.raises(PhaseError, match="cannot record"):
            fresh().run_phase(training(n_epochs=1, callbacks=[Wrong()]))

    def test_a_freeze_change_is_applied_after_the_hook(self):
        class Later(mml.Callback):
            def on_epoch_end(self, *, epoch, **_):
                return mml.FreezeChange(freeze=("trunk",)) if epoch == 0 else None

        made = fresh()
        made.run_phase(training(n_epochs=2, callbacks=[Later()]))
        assert made.graph["trunk"].is_frozen

    def test_freezing_directly_is_reverted_with_a_warning(self):
        class Sneaky(mml.Callback):
            def on_epoch_end(self, *, experiment, **_):
                experiment.graph["trunk"].freeze()

        made = fresh()
        with pytest.warns(FreezeWarning, match="FreezeChange"):
            made.run_phase(training(n_epochs=1, callbacks=[Sneaky()]))
        assert not made.graph["trunk"].is_frozen


class TestFreezeChange:
    def test_takes_effect_from_the_next_epoch(self):
        states = []

        class Watch(mml.Callback):
            def on_epoch_end(self, *, experiment, epoch, **_):
                states.append(experiment.graph["trunk"].get_state()["model"])
                return mml.FreezeChange(freeze=("trunk",)) if epoch == 0 else None

        fresh().run_phase(training(n_epochs=3, callbacks=[Watch()]))
        first, *rest = [{name: value.tobytes() for name, value in state.items()} for state in states]
        assert all(state == first for state in rest)


class TestEvaluation:
    def test_leaves_no_trace_in_training(self):
        plain, watched = fresh(dropout=0.4), fresh(dropout=0.4)
        plain.run_phase(training())
        results = watched.run_phase(training(callbacks=[mml.Evaluation(validation())]))
        assert digest(plain) == digest(watched)
        assert len(results.metrics().where(name="val_loss").values) == 3

    def test_logs_the_weighted_total_as_val_loss(self):
        losses = [mse(weight=2.0), mml.AppliedLoss("mae", on="head")]
        phase = validation(losses=losses)
        made = fresh()
        results = made.run_phase(training(n_epochs=1, callbacks=[mml.Evaluation(phase)]))
        means = made.preview_phase(phase).aggregated_losses()
        expected = 2.0 * means["head/mse"] + means["head/mae"]
        assert results.metric_store.latest("val_loss") == pytest.approx(expected, rel=1e-12)

    def test_runs_every_n_epochs_and_on_start(self):
        evaluation = mml.Evaluation(validation(), every_n_epochs=2, run_on_start=True)
        results = fresh().run_phase(training(n_epochs=5, callbacks=[evaluation]))
        assert results.metrics().where(name="val_loss").coordinates("epoch").tolist() == [-1, 1, 3]

    def test_does_not_depend_on_the_batch_size(self):
        made = fresh()
        losses = [
            made.preview_phase(validation(batch_size=size)).aggregated_losses()["total"]
            for size in (1, 2, 4, 100)
        ]
        assert losses == pytest.approx([losses[-1]] * 4, rel=1e-6)

    def test_metrics_by_name_are_logged(self):
        evaluation = mml.Evaluation(validation(), metrics=["mae", "rmse"])
        results = fresh().run_phase(training(n_epochs=1, callbacks=[evaluation]))
        assert {"val_mae", "val_rmse"} <= set(results.metric_store.names())

    def test_a_metric_may_be_of_a_node_without_a_loss(self):
        trunk = mml.AppliedLoss("mse", on="head")
        phase = validation(losses=[trunk])
        metric = mml.experiment.callbacks.OutputMetric(
            mml.experiment.metrics.MeanAbsoluteError(), node="trunk"
        )
        with pytest.raises(MMLError, match="shape"):
            # Its outputs are recorded, and are three columns beside targets of one.
            fresh().run_phase(training(n_epochs=1, callbacks=[mml.Evaluation(phase, metrics=[metric])]))
        assert phase.metrics == ()

    def test_an_eval_phase_logs_its_own_metrics(self):
        results = fresh().run_phase(validation(metrics=["mae"]))
        outputs, targets = results.stacked_tensors("head"), results.stacked_targets("head")
        assert results.metric_store.latest("eval_mae") == pytest.approx(
            abs(outputs - targets).mean(), rel=1e-6
        )

    def test_callbacks_of_the_inner_phase_do_not_fire(self):
        trace = Trace()
        evaluation = mml.Evaluation(validation(callbacks=[trace]))
        fresh().run_phase(training(n_epochs=1, callbacks=[evaluation]))
        assert trace.calls == []


class TestEarlyStopping:
    def test_stops_after_patience_and_restores_the_best_epoch(self):
        class Scripted(mml.Callback):
            values = (5.0, 4.0, 3.0, 3.5, 3.6, 3.7, 1.0)

            def __init__(self):
                self.states = []

            def metrics_logged(self, phase):
                return ("score",)

            def on_epoch_end(self, *, experiment, epoch, **_):
                self.states.append(digest(experiment))
                return mml.MetricResult("score", self.values[epoch])

        scripted, stopping = Scripted(), mml.EarlyStopping(monitor="score", patience=3)
        made = fresh()
        results = made.run_phase(training(n_epochs=7, callbacks=[scripted, stopping]))
        assert results.status == "stopped"
        assert results.n_epochs == 6
        assert stopping.best_epoch == 2
        assert digest(made) == scripted.states[2]

    def test_keeps_the_last_epoch_where_asked_to(self):
        made, twin = fresh(), fresh()
        made.run_phase(
            training(callbacks=[mml.EarlyStopping(monitor="train_loss", mode="max", restore_best=False)])
        )
        twin.run_phase(training())
        assert digest(made) == digest(twin)

    def test_restores_where_the_phase_ran_to_its_end(self):
        made = fresh()
        stopping = mml.EarlyStopping(monitor="train_loss", mode="max", patience=50)
        made.run_phase(training(n_epochs=4, callbacks=[stopping]))
        twin = fresh()
        twin.run_phase(training(n_epochs=4, callbacks=[mml.EarlyStopping(monitor="train_loss", patience=50)]))
        assert stopping.best_epoch == 0
        assert digest(made) != digest(twin)

    def test_a_metric_that_nobody_logs_is_refused_before_the_first_epoch(self):
        trace = Trace()
        watching = mml.EarlyStopping(monitor="val_los")
        with pytest.raises(PhaseError, match="val_los") as caught:
            fresh().run_phase(training(callbacks=[mml.Evaluation(validation()), watching, trace]))
        assert trace.calls == ["exception PhaseError"]
        assert "val_loss" in caught.value.hint

    def test_behind_a_callback_that_does_not_say_what_it_logs_it_is_refused_after_one_epoch(self):
        trace = Trace()
        with pytest.raises(PhaseError, match="nobody logs"):
            fresh().run_phase(training(callbacks=[trace, mml.EarlyStopping(monitor="val_loss")]))
        assert "epoch_end 0" in trace.calls
        assert "epoch_start 1" not in trace.calls

    def test_a_monitor_that_only_a_later_callback_logs_is_refused(self):
        with pytest.raises(PhaseError, match="before it"):
            fresh().run_phase(training(callbacks=[mml.EarlyStopping(), mml.Evaluation(validation())]))

    def test_restoring_the_best_epoch_keeps_who_is_frozen_by_now(self):
        class Later(mml.Callback):
            def metrics_logged(self, phase):
                return ("score",)

            def on_epoch_end(self, *, epoch, **_):
                change = [mml.FreezeChange(freeze=("trunk",))] if epoch == 1 else []
                return [mml.MetricResult("score", float(epoch)), *change]

        made = fresh()
        made.run_phase(training(callbacks=[Later(), mml.EarlyStopping(monitor="score", patience=9)]))
        assert made.graph["trunk"].is_frozen

    def test_state_survives(self):
        stopping = mml.EarlyStopping(monitor="train_loss", patience=5)
        fresh().run_phase(training(callbacks=[stopping]))
        twin = mml.EarlyStopping(monitor="train_loss", patience=5)
        twin.set_state(stopping.get_state())
        assert (twin.best_value, twin.best_epoch) == (stopping.best_value, stopping.best_epoch)

    @pytest.mark.parametrize(
        "settings", [{"mode": "least"}, {"patience": 0}, {"min_delta": -1.0}, {"min_delta": float("nan")}]
    )
    def test_wrong_settings_are_refused(self, settings):
        with pytest.raises(PhaseError):
            mml.EarlyStopping(**settings)


def test_a_freeze_change_takes_one_label_as_one_node():
    assert mml.FreezeChange(freeze="head").freeze == ("head",)
    assert mml.FreezeChange(unfreeze=["a", "head"]).unfreeze == ("a", "head")


def test_callbacks_show_their_settings():
    assert repr(mml.EarlyStopping(patience=3)) == (
        "EarlyStopping(monitor='val_loss', patience=3, min_delta=0.0, mode='min', restore_best=True)"
    )
    assert repr(mml.Evaluation(validation())).startswith("Evaluation(phase=EvalPhase('validate'), ")
    assert repr(Trace()) == "Trace()"


def test_an_evaluation_that_cannot_run_is_refused_before_the_first_epoch():
    trace = Trace()
    for wrong, message in (
        (mml.Evaluation(validation(split="vall")), "no data has a split 'vall'"),
        (mml.Evaluation(validation(), metrics=[mml.EvalLossMetric(loss="head/mae")]), "no loss 'head/mae'"),
    ):
        with pytest.raises(MMLError, match=f"(?i){message}") as caught:
            fresh(phases=[]).run_phase(training(callbacks=[trace, wrong]))
        assert "phase 'validate'" in caught.value.where
    assert not any(call.startswith("epoch_start") for call in trace.calls)
