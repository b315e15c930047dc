"""Stop requests and Ctrl-C: where a phase ends, what it is called then, and what is kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

import mml

from .toy import digest, experiment, in_own_context, network, rows, training, validation

N_STEPS = 6  # an epoch of `training`: 28 rows in batches of 5


def fresh(**settings):
    return in_own_context(experiment, **settings)


def stopping(hook, *, epoch=0, batch=2):
    """Return a callback that asks its phase to stop in one hook."""

    def stop(self, *, phase, context=None, **more):
        here = (context.epoch, context.batch) if context is not None else (more.get("epoch", epoch), batch)
        if here == (epoch, batch):
            phase.request_stop()

    return type("Stopping", (mml.Callback,), {hook: stop})()


def interrupting(hook, *, epoch=0, batch=2):
    """Return a callback that presses Ctrl-C in one hook."""

    def press(self, *, context=None, **more):
        here = (context.epoch, context.batch) if context is not None else (more.get("epoch", epoch), batch)
        if here == (epoch, batch):
            signal.raise_signal(signal.SIGINT)

    return type("Interrupting", (mml.Callback,), {hook: press})()


def n_batches(results):
    return len(results.losses().values)


class TestStopRequests:
    @pytest.mark.parametrize("hook", ["on_epoch_start", "on_batch_start", "on_batch_end", "on_epoch_end"])
    def test_end_the_phase_with_its_epoch(self, hook):
        made, twin = fresh(phases=[]), fresh(phases=[])
        results = made.run_phase(training(n_epochs=4, callbacks=[stopping(hook, epoch=1)]))
        twin.run_phase(training(n_epochs=2))
        assert results.status == "stopped"
        assert results.n_epochs == 2
        assert n_batches(results) == 2 * N_STEPS
        assert digest(made) == digest(twin)

    def test_before_the_first_epoch_nothing_is_trained(self):
        made = fresh()
        before = digest(made)
        results = made.run_phase(training(callbacks=[stopping("on_phase_start")]))
        assert results.status == "stopped"
        assert results.n_epochs == 0
        assert digest(made) == before

    def test_the_run_goes_on_and_is_completed(self):
        made = fresh(phases=[training(callbacks=[stopping("on_epoch_end")]), validation()])
        results = made.run()
        assert [one.status for one in results.phases()] == ["stopped", "completed"]
        assert made.last_run.status == "completed"

    def test_are_forgotten_by_the_next_run(self):
        phase = training(callbacks=[])
        phase.request_stop()
        results = fresh().run_phase(phase)
        assert results.status == "completed"
        assert not phase.stop_requested


class TestInterrupt:
    def run(self, made):
        results = made.run()
        return results["train"], made.last_run

    def plan(self, hook, **at):
        return fresh(phases=[training(n_epochs=4, callbacks=[interrupting(hook, **at)]), validation()])

    @pytest.mark.parametrize(("hook", "n_done"), [("on_batch_start", 9), ("on_batch_end", 9)])
    def test_ends_the_phase_after_the_batch(self, hook, n_done):
        phase, run = self.run(self.plan(hook, epoch=1, batch=2))
        assert n_batches(phase) == n_done
        assert (phase.status, run.status) == ("stopped", "stopped")
        assert list(run.results) == ["train"]

    def test_keeps_the_metrics_of_the_batches_that_were_run(self):
        phase, _ = self.run(self.plan("on_batch_end", epoch=1, batch=2))
        logged = phase.metrics().where(name="train_loss")
        assert logged.coordinates("epoch").tolist() == [0, 1]
        entries = phase.losses().where(epoch=1)
        assert logged.values[1] == pytest.approx(sum(entries.values) / 3, rel=1e-6)

    def test_at_the_end_of_an_epoch_the_epoch_is_closed(self):
        class Trace(mml.Callback):
            def __init__(self):
                self.epochs = []

            def on_epoch_end(self, *, epoch, **_):
                self.epochs.append(epoch)

        trace = Trace()
        made = fresh(
            phases=[training(n_epochs=4, callbacks=[interrupting("on_batch_end", batch=N_STEPS - 1), trace])]
        )
        phase, run = self.run(made)
        assert trace.epochs == [0]
        assert phase.metrics().where(name="train_loss").coordinates("epoch").tolist() == [0]
        assert run.status == "stopped"

    def test_that_leaves_nothing_undone_changes_no_status(self):
        made = fresh(phases=[training(n_epochs=2, callbacks=[interrupting("on_epoch_end", epoch=1)])])
        phase, run = self.run(made)
        assert (phase.status, run.status) == ("completed", "completed")

    def test_after_a_completed_phase_the_next_one_does_not_start(self):
        phase, run = self.run(self.plan("on_phase_end"))
        assert phase.status == "completed"
        assert run.status == "stopped"
        assert list(run.results) == ["train"]

    def test_before_the_first_batch_nothing_is_trained(self):
        made = self.plan("on_phase_start")
        before = digest(made)
        phase, _ = self.run(made)
        assert phase.status == "stopped"
        assert digest(made) == before

    def test_cuts_an_evaluation_and_computes_no_metric_of_a_part(self):
        phase = validation(batch_size=3, metrics=["mae"], callbacks=[interrupting("on_batch_end", batch=0)])
        results = fresh(phases=[phase]).run()["validate"]
        assert results.status == "stopped"
        assert "eval_mae" not in results.metric_store

    def test_phase_end_hooks_still_run(self):
        stop = mml.EarlyStopping(monitor="train_loss", mode="max", patience=50)
        made = fresh(phases=[training(n_epochs=9, callbacks=[stop, interrupting("on_batch_end", epoch=3)])])
        twin = fresh(phases=[training(n_epochs=1)])
        self.run(made)
        twin.run()
        assert stop.best_epoch == 0
        assert digest(made) == digest(twin)

    def test_gradients_are_never_left_waiting(self):
        optimizer = mml.Optimizer("adam", lr=0.01, accumulate=3)
        made = mml.Experiment("toy", network(rows(), optimizer=optimizer))
        results = made.run_phase(training(n_epochs=4, callbacks=[interrupting("on_batch_end", batch=0)]))
        assert n_batches(results) == 3
        assert "accumulated" not in str(made.graph.optimizer.get_state())

    def test_the_handler_is_put_back(self):
        before = signal.getsignal(signal.SIGINT)
        self.run(self.plan("on_batch_end"))
        assert signal.getsignal(signal.SIGINT) is before

    def test_a_second_one_raises_at_once(self):
        class Twice(mml.Callback):
            def on_batch_end(self, **_):
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)

        made = fresh(phases=[training(callbacks=[Twice()]), validation()])
        before = digest(made)
        with pytest.raises(KeyboardInterrupt):
            made.run()
        assert digest(made) == before
        assert made.last_run.status == "failed"
        assert isinstance(made.last_run.exception, KeyboardInterrupt)

    def test_somebody_elses_handler_is_left_alone(self):
        pressed = []
        before = signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
        try:
            made = fresh(phases=[training(n_epochs=1, callbacks=[interrupting("on_batch_end")])])
            made.run()
        finally:
            signal.signal(signal.SIGINT, before)
        assert pressed == [True]
        assert made.last_run.status == "completed"


SCRIPT = """
import json, sys
import mml
from core.tests.experiment.toy import experiment, training, validation

class Say(mml.Callback):
    def on_epoch_start(self, *, epoch, **_):
        if epoch == 3:
            print("ready", flush=True)
            while sys.argv[1] == "hanging":
                pass

made = experiment(phases=[training(n_epochs=10**6, callbacks=[Say()]), validation()])
raised = None
try:
    made.run()
except KeyboardInterrupt as error:
    raised = type(error).__name__
run = made.last_run
phases = {one.label: one.status for one in run.results.phases()}
epochs = run.results["train"].n_epochs
print(json.dumps([raised, run.status, phases, epochs >= 3, len(made.history)]), flush=True)
"""


@pytest.fixture
def process(request):
    """Start the script; what it says "ready" to is a signal."""
    children = []

    def start(how):
        child = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, how],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=request.config.rootpath,
            env={**os.environ, "MML_PROGRESS": "0", "PYTHONPATH": str(request.config.rootpath)},
        )
        children.append(child)
        assert child.stdout.readline() == "ready\n"
        return child

    yield start
    for child in children:
        child.kill()
        child.wait()
        child.stdout.close()


def test_a_process_that_gets_the_signal_ends_in_good_order(process):
    child = process("running")
    child.send_signal(signal.SIGINT)
    assert json.loads(child.stdout.readline()) == [None, "stopped", {"train": "stopped"}, True, 1]
    assert child.wait(30) == 0


def test_a_process_that_hangs_ends_at_the_second_signal(process):
    child = process("hanging")
    child.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        # Two signals that arrive together are one, so the second waits.
        child.wait(0.3)
    child.send_signal(signal.SIGINT)
    found = json.loads(child.stdout.readline())
    assert found == ["KeyboardInterrupt", "failed", {"train": "failed"}, True, 1]
    assert child.wait(30) == 0


def test_outside_the_main_thread_a_run_needs_no_handler():
    made, found = fresh(phases=[training(n_epochs=1)]), []
    thread = threading.Thread(target=lambda: found.append(made.run().get_train_result().status))
    thread.start()
    thread.join()
    assert found == ["completed"]
