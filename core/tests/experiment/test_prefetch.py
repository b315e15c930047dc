"""Gathering ahead: the same bits and the same errors with and without it, and no thread beyond its phase."""

from __future__ import annotations

import signal
import threading
import warnings
from dataclasses import dataclass

import numpy as np
import pytest

import mml
from mml.experiment.running.pacing import Pacing
from mml.files import state_digest

from .toy import digest, in_own_context, network, rows, training, validation

N_BATCHES = 6  # of an epoch of `training`: 28 rows in batches of 5
_LONG_S = 30.0


@dataclass
class Hooked:
    """A scaler that doubles values and, once it is fitted, tells a function of a test what it is given."""

    told = staticmethod(lambda values: None)
    fitted = False
    thread_safe = True

    def fit(self, values):
        return self

    def transform(self, values):
        if type(self).fitted:
            type(self).told(values)
        return values * values.dtype.type(2)

    def inverse_transform(self, values):
        return values / values.dtype.type(2)

    def get_config(self):
        return {}

    @classmethod
    def from_config(cls, config):
        return cls()

    def get_state(self):
        return {}

    def set_state(self, state):
        pass


def hooked(told, name="Hooked"):
    return type(name, (Hooked,), {"told": staticmethod(told)})


def fresh(scaler=Hooked, **settings):
    def make():
        data = rows()
        if scaler is not Hooked:
            scaler.fitted = False
        data.fit_transform(scaler, domain="features", fit_to_split="train")
        if scaler is not Hooked:
            scaler.fitted = True
        return mml.Experiment("toy", network(data, dropout=0.3, **settings))

    return in_own_context(make)


@pytest.fixture(autouse=True)
def blocks_of_two(monkeypatch):
    """Cut small blocks, and evaluate scaled columns block by block as those of a large set are."""
    size(monkeypatch, 2)
    monkeypatch.setattr("mml.data.source._KEPT_BYTES", 0)


@pytest.fixture
def ahead(monkeypatch):
    monkeypatch.setenv("MML_PREFETCH", "1")


def size(monkeypatch, steps):
    monkeypatch.setattr(Pacing, "size", lambda self, _: max(1, steps // self.multiple_of) * self.multiple_of)


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "mml-prefetch"]


def trace(results):
    """Return a digest of everything that a phase recorded, times apart."""
    state = results.get_state()
    return state_digest({key: part for key, part in state.items() if key not in ("started_at", "ended_at")})


def outcome(make_phase, monkeypatch, *, wish, scaler=Hooked, **settings):
    """Run a phase and return weights, results and what was raised."""
    monkeypatch.setenv("MML_PREFETCH", wish)
    made, raised = fresh(scaler, **settings), None
    try:
        made.run_phase(make_phase())
    except (mml.errors.MMLError, KeyboardInterrupt) as error:
        raised = (type(error), str(error), type(error.__cause__))
    assert not threads()
    return digest(made), trace(made.last_run.results.phases()[0]) if made.last_run else None, raised


def same_with_and_without(make_phase, monkeypatch, **settings):
    without = outcome(make_phase, monkeypatch, wish="0", **settings)
    assert outcome(make_phase, monkeypatch, wish="1", **settings) == without
    return without


def counting():
    """Return a scaler class that notes on which threads it works."""
    used = []
    return hooked(lambda _: used.append(threading.current_thread())), used


class TestResults:
    @pytest.mark.parametrize("steps", [1, 2, 3, 1000])
    @pytest.mark.parametrize("accumulate", [1, 3])
    def test_of_training_are_the_same_bits(self, steps, accumulate, monkeypatch):
        optimizer = mml.Optimizer("adam", lr=0.01, schedule="cosine", accumulate=accumulate)
        expected = outcome(
            lambda: training(result_recording="all"), monkeypatch, wish="0", optimizer=optimizer
        )
        size(monkeypatch, steps)
        optimizer = mml.Optimizer("adam", lr=0.01, schedule="cosine", accumulate=accumulate)
        found = outcome(lambda: training(result_recording="all"), monkeypatch, wish="1", optimizer=optimizer)
        assert found == expected
        assert found[2] is None

    def test_of_an_evaluation_are_the_same_bits(self, monkeypatch):
        _, recorded, raised = same_with_and_without(
            lambda: validation(batch_size=2, metrics=["mae"]), monkeypatch
        )
        assert recorded is not None
        assert raised is None

    def test_of_a_preview_are_the_same_bits(self, monkeypatch):
        found = []
        for wish in ("0", "1"):
            monkeypatch.setenv("MML_PREFETCH", wish)
            found.append(trace(fresh().preview_phase(validation(batch_size=2))))
        assert found[0] == found[1]

    def test_with_a_listener_on_batches_are_the_same_bits(self, monkeypatch):
        class Listening(mml.Callback):
            def on_batch_end(self, *, context, **_):
                return mml.MetricResult("mean", float(np.mean(context.inputs["trunk"].features["x"])))

        _, _, raised = same_with_and_without(lambda: training(callbacks=[Listening()]), monkeypatch)
        assert raised is None

    @pytest.mark.parametrize("hook", ["on_batch_start", "on_batch_end", "on_epoch_start", "on_epoch_end"])
    @pytest.mark.parametrize("accumulate", [1, 2])
    def test_follow_freezing_in_the_middle(self, hook, accumulate, monkeypatch):
        class Freezing(mml.Callback):
            def change(self, *, context=None, epoch=None, **_):
                here = (context.epoch, context.batch) if context is not None else (epoch, 2)
                if here == (1, 2):
                    return mml.FreezeChange(freeze=("trunk",))
                return mml.FreezeChange(unfreeze=("trunk",)) if here == (2, 2) else None

        def phase():
            kind = type("Freezing", (Freezing,), {hook: Freezing.change})
            return training(n_epochs=4, callbacks=[kind()])

        thawed = outcome(lambda: training(n_epochs=4), monkeypatch, wish="0")[0]
        found = []
        for wish in ("0", "1"):
            optimizer = mml.Optimizer("adam", lr=0.01, accumulate=accumulate)
            found.append(outcome(phase, monkeypatch, wish=wish, optimizer=optimizer))
        assert found[0] == found[1]
        assert found[0][0] != thawed

    def test_a_stop_request_ends_the_same_epoch(self, monkeypatch):
        class Stopping(mml.Callback):
            def on_batch_end(self, *, phase, context, **_):
                if (context.epoch, context.batch) == (1, 1):
                    phase.request_stop()

        same_with_and_without(lambda: training(n_epochs=5, callbacks=[Stopping()]), monkeypatch)
        monkeypatch.setenv("MML_PREFETCH", "1")
        made = fresh()
        results = made.run_phase(training(n_epochs=5, callbacks=[Stopping()]))
        assert (results.status, results.n_epochs) == ("stopped", 2)

    @pytest.mark.parametrize("presses", [1, 2])
    def test_ctrl_c_ends_at_the_same_batch(self, presses, monkeypatch):
        class Pressing(mml.Callback):
            def on_batch_end(self, *, context, **_):
                for _ in range(presses if (context.epoch, context.batch) == (1, 2) else 0):
                    signal.raise_signal(signal.SIGINT)

        found = []
        for wish in ("0", "1"):
            monkeypatch.setenv("MML_PREFETCH", wish)
            made = fresh()
            made.execution_plan.add_phase(training(callbacks=[Pressing()]))
            try:
                made.run()
            except KeyboardInterrupt:
                assert presses == 2
            assert not threads()
            phase = made.last_run.results["train"]
            found.append((digest(made), trace(phase), phase.status))
        assert found[0] == found[1]
        assert found[0][2] == ("stopped" if presses == 1 else "failed")


class TestOrder:
    def test_blocks_are_gathered_one_after_the_other(self, ahead):
        seen = []
        made = fresh(hooked(lambda values: seen.append(values.copy())))
        results = made.run_phase(training(n_epochs=1))
        order = np.concatenate(results.batches().values)
        values = made.context.get("rows").view().get_data(["x"], "raw", fmt="dict_numpy")["features.x.raw"]
        # Only the last batch is short; copies fill it behind the live rows.
        assert np.array_equal(np.concatenate(seen)[: len(order)], values[order])

    def test_the_next_block_is_gathered_while_this_one_runs(self, ahead):
        begun, release, overlaps = threading.Event(), threading.Event(), []

        def wait(values):
            if threading.current_thread() is not threading.main_thread():
                begun.set()
                assert release.wait(_LONG_S)

        class Listening(mml.Callback):
            def on_batch_end(self, *, context, **_):
                if context.batch == 0:
                    overlaps.append(begun.wait(_LONG_S))
                    release.set()

        fresh(hooked(wait)).run_phase(training(n_epochs=1, callbacks=[Listening()]))
        assert overlaps == [True]

    def test_nothing_is_gathered_beyond_the_end_of_an_epoch(self, ahead):
        at_ends = []

        class Listening(mml.Callback):
            def on_epoch_end(self, **_):
                at_ends.append(threads())

        kind, used = counting()
        fresh(kind).run_phase(training(callbacks=[Listening()]))
        assert at_ends == [[], [], []]
        assert any(thread is not threading.main_thread() for thread in used)

    def test_a_phase_of_one_block_needs_no_thread(self, ahead, monkeypatch):
        kind, used = counting()
        size(monkeypatch, 1000)
        fresh(kind).run_phase(training())
        assert set(used) == {threading.main_thread()}


class TestThreads:
    @pytest.mark.parametrize("declared", [False, "yes", None])
    def test_a_scaler_that_does_not_declare_it_stays_on_the_thread_of_the_phase(self, declared, ahead):
        kind, used = counting()
        kind.thread_safe = declared
        fresh(kind).run_phase(training())
        assert set(used) == {threading.main_thread()}

    def test_none_is_used_where_it_is_switched_off(self, monkeypatch):
        monkeypatch.setenv("MML_PREFETCH", "0")
        kind, used = counting()
        fresh(kind).run_phase(training())
        assert set(used) == {threading.main_thread()}

    def test_cheap_gathering_needs_none(self, monkeypatch):
        monkeypatch.delenv("MML_PREFETCH", raising=False)
        monkeypatch.setattr("mml.processing.prefetch._WORTH_S", 3600.0)
        kind, used = counting()
        fresh(kind).run_phase(training())
        assert set(used) == {threading.main_thread()}

    def test_expensive_gathering_gets_one(self, monkeypatch):
        monkeypatch.delenv("MML_PREFETCH", raising=False)
        monkeypatch.setattr("mml.processing.prefetch._WORTH_S", 0.0)
        kind, used = counting()
        fresh(kind).run_phase(training())
        assert len(set(used)) > 1

    def test_the_context_of_the_phase_holds_there(self, ahead):
        found = set()
        made = fresh(
            hooked(lambda _: found.add((mml.ExperimentContext.active(), threading.current_thread())))
        )
        made.run_phase(training())
        assert {context for context, _ in found} == {made.context}
        assert len(found) > 1

    def test_settings_for_floating_point_errors_hold_there(self, ahead):
        found = set()
        made = fresh(hooked(lambda _: found.add(np.geterr()["under"])))
        with np.errstate(under="raise"):
            made.run_phase(training())
        assert found == {"raise"}

    def test_warnings_come_through(self, monkeypatch):
        kind = hooked(lambda _: warnings.warn("odd values", UserWarning, stacklevel=1))
        counts = []
        for wish in ("0", "1"):
            monkeypatch.setenv("MML_PREFETCH", wish)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                fresh(kind).run_phase(training(n_epochs=1))
            counts.append([str(one.message) for one in caught])
        assert counts[0] == counts[1]
        assert len(counts[0]) > 1


class Broken(Exception):
    """What the scaler below raises."""


def failing_at(call, error=Broken):
    """Return a scaler class that raises in one of the blocks that it transforms, counted from 0."""
    calls = []

    def told(values):
        calls.append(len(values))
        if len(calls) == call + 1:
            raise error("no more")

    return hooked(told, name="Failing")


class TestErrors:
    @pytest.mark.parametrize("error", [Broken, mml.errors.ScalerError])
    @pytest.mark.parametrize("block", range(6))
    def test_of_a_scaler_are_the_same_in_every_block(self, block, error, monkeypatch):
        found = [
            outcome(lambda: training(n_epochs=2), monkeypatch, wish=wish, scaler=failing_at(block, error))
            for wish in ("0", "1")
        ]
        assert found[0] == found[1]
        assert found[0][2] is not None
        assert "no more" in found[0][2][1]

    @pytest.mark.parametrize("block", range(3))
    def test_leave_everything_as_it_was(self, block, ahead):
        made = fresh(failing_at(block))
        before = digest(made)
        with pytest.raises(mml.errors.MMLError, match="no more"):
            made.run_phase(training())
        assert digest(made) == before
        assert not threads()
        made.run_phase(training())
        assert digest(made) != before

    def test_memory_that_is_short_for_two_blocks_is_no_error(self, monkeypatch):
        def told(values):
            if threading.current_thread() is not threading.main_thread():
                raise MemoryError

        kind = hooked(told)
        expected = outcome(training, monkeypatch, wish="0")
        assert outcome(training, monkeypatch, wish="1", scaler=kind) == expected

    @pytest.mark.parametrize("hook", ["on_batch_start", "on_batch_end"])
    @pytest.mark.parametrize("batch", range(N_BATCHES))
    def test_of_a_callback_leave_no_thread(self, hook, batch, monkeypatch):
        def fail(self, *, context, **_):
            if context.batch == batch:
                raise Broken("in the callback")

        _, _, raised = same_with_and_without(
            lambda: training(callbacks=[type("Failing", (mml.Callback,), {hook: fail})()]), monkeypatch
        )
        assert "in the callback" in raised[1]

    def test_while_the_thread_works_wait_for_it(self, ahead):
        begun, release = threading.Event(), threading.Event()

        def wait(values):
            if threading.current_thread() is not threading.main_thread():
                begun.set()
                assert release.wait(_LONG_S)

        class Failing(mml.Callback):
            def on_batch_end(self, **_):
                assert begun.wait(_LONG_S)
                release.set()
                raise Broken("in the callback")

        made = fresh(hooked(wait))
        before = digest(made)
        with pytest.raises(mml.errors.PhaseError, match="in the callback"):
            made.run_phase(training(callbacks=[Failing()]))
        assert not threads()
        assert digest(made) == before
        made.run_phase(training())
        assert digest(made) != before

    def test_of_a_step_that_is_not_finite_come_before_those_of_the_next_block(self, monkeypatch):
        found = []
        for wish in ("0", "1"):
            optimizer = mml.Optimizer("sgd", lr=1e30)
            with np.errstate(all="ignore"):
                found.append(
                    outcome(training, monkeypatch, wish=wish, scaler=failing_at(1), optimizer=optimizer)
                )
        assert found[0] == found[1]
        assert found[0][2][0] is mml.errors.NonFiniteError

    @pytest.mark.parametrize("good", range(1, N_BATCHES))
    def test_of_the_steps_themselves_come_in_their_place(self, good, monkeypatch):
        class Short(mml.TrainPhase):
            def iter_execution(self, inputs):
                for number, context in enumerate(super().iter_execution(inputs)):
                    if number == good:
                        raise Broken("no more steps")
                    yield context

        def phase():
            made = training()
            made.__class__ = Short
            return made

        _, _, raised = same_with_and_without(phase, monkeypatch)
        assert "no more steps" in raised[1]

    def test_an_unknown_wish_is_refused(self, monkeypatch):
        monkeypatch.setenv("MML_PREFETCH", "perhaps")
        with pytest.raises(mml.errors.ConfigError, match="MML_PREFETCH"):
            fresh().run_phase(training())
