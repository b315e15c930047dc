"""Fit lineage: who saw which rows, and what is said when they are scored on them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import mml
from mml.errors import LeakageError, LeakageWarning, MMLError

from .toy import in_own_context, mse, network, rows, training, validation


def made(**settings):
    def build():
        data = rows()
        return data, mml.Experiment("toy", network(data), **settings)

    return in_own_context(build)


def overlapping(data):
    """Divide off a split that shares rows with the training split."""
    tags = np.zeros(len(data), dtype=np.int64)
    tags[data["train"].rows[:4]] = 1
    tags[data["test"].rows[:3]] = 1
    both = np.flatnonzero(tags)
    return data.take(both)


class TestNodes:
    def test_know_the_rows_they_were_trained_on(self):
        data, experiment = made()
        experiment.run_phase(training(n_epochs=1))
        for label in ("trunk", "head"):
            (seen,) = experiment.lineage.of(label)
            assert seen.source == "rows[train]"
            np.testing.assert_array_equal(seen.uuids, data["train"].sample_uuids)

    def test_that_were_frozen_saw_nothing(self):
        _, experiment = made()
        experiment.graph["trunk"].freeze()
        experiment.run_phase(training(n_epochs=1))
        assert experiment.lineage.of("trunk") == ()
        assert len(experiment.lineage.of("head")) == 1

    def test_that_a_callback_unfroze_in_mid_phase_saw_the_rows_from_then_on(self):
        class Later(mml.Callback):
            def on_epoch_end(self, *, epoch, **_):
                return mml.FreezeChange(unfreeze=("trunk",)) if epoch == 0 else None

        _, experiment = made()
        experiment.graph["trunk"].freeze()
        experiment.run_phase(training(n_epochs=2, callbacks=[Later()]))
        (seen,) = experiment.lineage.of("trunk")
        assert seen.source == "rows[train]"

    def test_forget_with_a_preview_and_with_a_failure(self):
        class Boom(mml.Callback):
            def on_epoch_end(self, **_):
                raise ValueError("boom")

        _, experiment = made()
        experiment.preview_phase(training(n_epochs=1))
        with pytest.raises(MMLError, match="boom"):
            experiment.run_phase(training(n_epochs=1, callbacks=[Boom()]))
        assert experiment.lineage.of("head") == ()

    def test_survive_a_file(self, tmp_path):
        _, experiment = made()
        experiment.run_phase(training(n_epochs=1))
        loaded = mml.Experiment.load(experiment.save(tmp_path / "toy.mml"))
        assert loaded.lineage.of("head") == experiment.lineage.of("head")


class TestScoring:
    def test_other_rows_is_silent(self):
        _, experiment = made()
        experiment.run_phase(training(n_epochs=1))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            results = experiment.run_phase(validation("test", "test"))
        assert results.in_sample is False

    def test_the_very_split_is_in_sample_and_silent(self):
        _, experiment = made()
        experiment.run_phase(training(n_epochs=1))
        with mml.strict():
            results = experiment.run_phase(validation("again", "train"))
        assert results.in_sample is True

    def test_rows_that_a_node_saw_warns_once_and_names_them(self):
        _, experiment = made()
        experiment.run_phase(training(n_epochs=1))
        everything = mml.EvalPhase.from_split("all", split=None, losses=[mse()])
        with pytest.warns(LeakageWarning) as caught:
            experiment.run_phase(everything)
        text = str(caught[0].message)
        assert "rows[train]" in text
        assert "28 of the 47 rows" in text
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            experiment.run_phase(everything)

    def test_is_an_error_under_strict_and_records_the_failure(self):
        _, experiment = made()
        experiment.run_phase(training(n_epochs=1))
        everything = mml.EvalPhase.from_split("all", split=None, losses=[mse()])
        for _ in range(2):
            with mml.strict(), pytest.raises(LeakageError, match="phase 'all' scores"):
                experiment.run_phase(everything)
        assert experiment.last_run.status == "failed"

    def test_an_evaluation_inside_training_is_looked_at_too(self):
        _, experiment = made()
        everything = mml.EvalPhase.from_split("all", split=None, losses=[mse()])
        with pytest.warns(LeakageWarning) as caught:
            experiment.run_phase(training(n_epochs=3, callbacks=[mml.Evaluation(everything)]))
        assert len(caught) == 2  # one for each node, not one for each epoch

    def test_rows_that_a_scaler_saw_warns(self):
        data, experiment = made()
        with pytest.warns(LeakageWarning, match="outside the training split"):
            data.fit_transform("standard", domain="features")
        with pytest.warns(LeakageWarning, match="The scaler of x was fitted on rows, which holds 9 of the 9"):
            experiment.run_phase(validation("test", "test"))

    def test_rows_that_a_scaler_taken_over_saw_warns(self):
        data, experiment = made()
        with mml.ExperimentContext().activate():
            known = overlapping(data).to_featureset("known")
            known.fit_transform("standard", domain="features")
        data.transform_like(known)
        with pytest.warns(LeakageWarning, match="scaler of x was fitted on known, which holds 3 of the 9"):
            experiment.run_phase(validation("test", "test"))

    def test_other_samples_under_the_same_label_and_numbers_are_not_in_sample(self):
        data, experiment = made()
        known = in_own_context(lambda: rows(seed=1))
        known.fit_transform("standard", domain="features", fit_to_split="train")
        data.transform_like(known)
        assert np.array_equal(known["train"].rows, data["train"].rows)
        with mml.strict():
            results = experiment.run_phase(validation("again", "train"))
        assert results.in_sample is False

    def test_the_same_samples_in_another_feature_set_are_recognised_by_uuid(self):
        data, experiment = made()
        experiment.run_phase(training(n_epochs=1))
        with mml.ExperimentContext().activate():
            other = overlapping(data).to_featureset("other")
        experiment.context.register(other)
        phase = mml.EvalPhase(
            "other",
            input_sources=[mml.InputBinding.for_evaluation(node="trunk", upstream=other)],
            losses=[mse()],
        )
        with pytest.warns(LeakageWarning, match="holds 4 of the 7 rows of other"):
            experiment.run_phase(phase)


def test_refitting_a_scaler_inside_strict_leaves_the_data_as_it_was():
    data, _ = made()
    before = data.snapshot()
    with mml.strict(), pytest.raises(LeakageError):
        data.fit_transform("standard", domain="features")
    assert data.snapshot() is before
