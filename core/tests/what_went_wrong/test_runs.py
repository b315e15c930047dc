"""Runs and what is kept of them: what went wrong elsewhere. Checks pass on MML and fail on a faulty double.

What is checked is a function or a small class; a double answers the same calls in a few lines.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

import mml
from mml.files import state_digest


def network(*, callbacks=(), **settings):
    """Return an experiment with one network of the reference backend, in a context of its own."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 3)).astype(np.float32)
    with mml.ExperimentContext().activate():
        rows = mml.FeatureSet.from_dict("rows", {"x": x, "y": x[:, :1]}, feature_keys="x", target_keys="y")
        model = mml.Model("reference/mlp", hidden=[4], output_shape=1, **settings)
        graph = mml.ModelGraph([mml.ModelNode("head", model, rows)], optimizer="adam")
        return mml.Experiment("toy", graph, callbacks=callbacks)


def train(**settings):
    sampler = mml.SimpleSampler(batch_size=4, shuffle=True, seed=1)
    losses = [mml.AppliedLoss("mse", on="head")]
    return mml.TrainPhase.from_split(
        "train", split=None, sampler=sampler, losses=losses, n_epochs=3, **settings
    )


# --- callbacks of an experiment ----------------------------------------------------------------------------


def mml_run(callbacks):
    made = network(callbacks=callbacks)
    made.execution_plan.add_phase(train())
    made.run()


def with_other_arguments(callbacks):
    """The double: the hooks are called in another form than they are declared."""
    for one in callbacks:
        one.on_experiment_start(SimpleNamespace(label="toy"))


def check_that_callbacks_of_an_experiment_run(run):
    calls = []

    class Told(mml.ExperimentCallback):
        def on_experiment_start(self, *, experiment, run):
            calls.append("experiment_start")

        def on_phase_start(self, *, experiment, phase, results):
            calls.append(f"phase_start {phase.label}")

        def on_phase_end(self, *, experiment, phase, results):
            calls.append(f"phase_end {results.status}")

        def on_experiment_end(self, *, experiment, run):
            calls.append("experiment_end")

    run([Told()])
    assert calls == ["experiment_start", "phase_start train", "phase_end completed", "experiment_end"]


def test_callbacks_of_an_experiment_run():
    """'... an experiment callback makes `run()` raise ...'"""
    check_that_callbacks_of_an_experiment_run(mml_run)
    with pytest.raises(TypeError, match="on_experiment_start"):
        check_that_callbacks_of_an_experiment_run(with_other_arguments)


# --- previews and failures ---------------------------------------------------------------------------------


class Boom(mml.Callback):
    """Raises in the second epoch."""

    def on_epoch_end(self, *, epoch, **_):
        if epoch == 1:
            raise RuntimeError("boom")


class Previewed:
    """MML: an experiment with dropout, whose steps draw random numbers."""

    def __init__(self):
        self.made = network(dropout=0.5)

    def preview(self, *, fails=False):
        self.made.preview_phase(train(callbacks=[Boom()] if fails else []))

    def train(self):
        self.made.run_phase(train())
        return state_digest(self.made.graph.get_state())

    @property
    def n_failed(self):
        return sum(run.status == "failed" for run in self.made.history)

    def fail(self):
        self.made.run_phase(train(callbacks=[Boom()]))


class OfOneGenerator:
    """The double: one generator for everything, values put back at the end, history of what ended well."""

    def __init__(self):
        self.generator, self.value, self.n_failed = np.random.default_rng(0), 0.0, 0

    def preview(self, *, fails=False):
        before = self.value
        self.value += self.generator.normal()
        if fails:
            raise RuntimeError("boom")
        self.value = before

    def train(self):
        self.value += self.generator.normal()
        return f"{self.value}"

    def fail(self):
        raise RuntimeError("boom")


class OfGeneratorsPutBack(OfOneGenerator):
    """The double: the generator is put back too, where nothing raises."""

    def preview(self, *, fails=False):
        before = self.generator.bit_generator.state
        super().preview(fails=fails)
        self.generator.bit_generator.state = before


def check_that_a_preview_leaves_no_trace(kind, *, fails):
    plain, looked = kind(), kind()
    if fails:
        with pytest.raises(Exception, match="boom"):
            looked.preview(fails=True)
    else:
        looked.preview()
    assert looked.train() == plain.train(), "training goes otherwise after a preview"


def check_that_failed_runs_are_kept(kind):
    model = kind()
    with pytest.raises(Exception, match="boom"):
        model.fail()
    assert model.n_failed == 1, "the failed run is not in the history"


@pytest.mark.parametrize(("double", "fails"), [(OfOneGenerator, False), (OfGeneratorsPutBack, True)])
def test_a_preview_restores_everything_also_when_it_raises(double, fails):
    """'A preview does not restore random state, and nothing at all when it raises.'"""
    check_that_a_preview_leaves_no_trace(Previewed, fails=fails)
    with pytest.raises(AssertionError, match="goes otherwise"):
        check_that_a_preview_leaves_no_trace(double, fails=fails)


def test_failed_runs_are_in_the_history():
    """'Failed runs are not in history.'"""
    check_that_failed_runs_are_kept(Previewed)
    with pytest.raises(AssertionError, match="not in the history"):
        check_that_failed_runs_are_kept(OfOneGenerator)
