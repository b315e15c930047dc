"""FitPhase: what is fitted on what, in which order, and who is kept as it is."""

from __future__ import annotations

import numpy as np
import pytest

import mml
from mml.errors import MMLError, PhaseError
from mml.plugins import get_manager

from . import fitting
from .toy import N_FEATURES, RATIOS, digest, mse, rows


@pytest.fixture(autouse=True)
def fitting_plugin():
    """Let models of the test plugin be named while a test runs."""
    get_manager().register_module(fitting)
    yield
    get_manager().unregister(fitting.NAME)


def chain(*models, data=None, optimizer="sgd", then=None):
    """Return an experiment whose nodes stand in a row, and its data; the last may be a dense head."""
    data = rows() if data is None else data
    upstream, nodes = data.reference(features="x", targets="y"), []
    for model in models:
        node = mml.ModelNode(model, mml.Model(f"fitting/{model}"), upstream)
        upstream = node
        nodes.append(node)
    if then is not None:
        nodes.append(mml.ModelNode("head", mml.Model("reference/mlp", output_shape=1, **then), upstream))
    return mml.Experiment("toy", mml.ModelGraph(nodes, optimizer=optimizer)), data


def fit(label="fit", split="train", **settings):
    return mml.FitPhase.from_split(label, split=split, **settings)


def train(**settings):
    # With a seed of its own, the order is the same in every run, however many came before.
    sampler = mml.SimpleSampler(batch_size=5, shuffle=True, seed=0)
    return mml.TrainPhase.from_split("train", split="train", sampler=sampler, losses=[mse()], **settings)


def model(made, label):
    return made.graph[label].model


class TestFitting:
    def test_sees_the_whole_split_once_and_no_other_row(self):
        made, data = chain("centre")
        results = made.run_phase(fit())
        assert model(made, "centre").n_fits == 1
        assert np.array_equal(model(made, "centre").rows_seen, data["train"].get_features("x"))
        assert np.array_equal(results.batches("centre").values[0], data["train"].rows)
        assert results.status == "completed"

    def test_goes_down_the_graph_each_on_its_fitted_upstreams_output(self):
        made, data = chain("centre", "ridge")
        made.run_phase(fit())
        x, y = data["train"].get_features("x"), data["train"].get_targets("y")
        centred = x - x.mean(axis=0)
        assert np.array_equal(model(made, "ridge").rows_seen, centred)
        expected = np.linalg.solve(centred.T @ centred + np.eye(N_FEATURES), centred.T @ y)
        np.testing.assert_allclose(model(made, "ridge").value, expected, rtol=1e-4)

    def test_of_one_node_leaves_the_others(self):
        made, data = chain("centre", "ridge")
        made.run_phase(fit("first", active_nodes=["centre"]))
        assert model(made, "centre").is_fitted
        assert not model(made, "ridge").is_fitted
        made.run_phase(fit("second", active_nodes=["ridge"]))
        assert model(made, "centre").n_fits == 1
        assert np.array_equal(
            model(made, "ridge").rows_seen,
            made.graph.forward(data["train"].get_features("x"), active_nodes=["centre"])["centre"],
        )

    def test_below_what_is_not_fitted_is_refused(self):
        made, _ = chain("centre", "ridge")
        with pytest.raises(PhaseError, match="not fitted yet") as caught:
            made.run_phase(fit(active_nodes=["ridge"]))
        assert "node 'centre'" in caught.value.where
        assert "FitPhase" in caught.value.hint

    def test_takes_all_batches_of_a_sampler(self):
        made, data = chain("centre")
        sampler = mml.SimpleSampler(batch_size=5, shuffle=True, seed=1)
        binding = mml.InputBinding.for_training(node="centre", split="train", sampler=sampler)
        made.run_phase(mml.FitPhase("fit", input_sources=[binding]))
        seen, train_rows = model(made, "centre").rows_seen, data["train"].get_features("x")
        assert seen.shape == train_rows.shape
        assert not np.array_equal(seen, train_rows)
        assert sorted(map(tuple, seen)) == sorted(map(tuple, train_rows))

    def test_fires_no_batch_hooks(self):
        calls = []

        def hook(name):
            return lambda self, **_: calls.append(name)

        names = ["phase_start", "phase_end", "epoch_start", "epoch_end", "batch_start", "batch_end"]
        trace = type("Trace", (mml.Callback,), {f"on_{name}": hook(name) for name in names})()
        chain("centre")[0].run_phase(fit(callbacks=[trace]))
        assert calls == ["phase_start", "phase_end"]

    def test_of_a_graph_without_anything_to_fit_is_refused(self):
        made, _ = chain(then={})
        with pytest.raises(PhaseError, match="can be fitted"):
            made.run_phase(fit())
        with pytest.raises(PhaseError, match="cannot be fitted in one pass") as caught:
            made.run_phase(fit(active_nodes=["head"]))
        assert "TrainPhase" in caught.value.hint


class TestFreezing:
    def test_keeps_what_was_fitted_in_later_phases(self):
        made, _ = chain("centre", then={})
        made.run_phase(fit())
        assert made.graph["centre"].frozen_by == "fit"
        before = model(made, "centre").value.copy()
        made.run_phase(train(n_epochs=2))
        assert np.array_equal(model(made, "centre").value, before)
        assert model(made, "centre").n_fits == 1

    def test_allows_another_fit(self):
        made, data = chain("centre")
        made.run_phase(fit())
        made.run_phase(fit("again", split="val"))
        assert model(made, "centre").n_fits == 2
        assert np.array_equal(model(made, "centre").rows_seen, data["val"].get_features("x"))
        made.run_phase(fit("by name", active_nodes=["centre"]))
        assert model(made, "centre").n_fits == 3

    def test_by_the_user_is_kept(self):
        made, _ = chain("centre", "ridge")
        made.run_phase(fit())
        made.graph["centre"].freeze()
        with pytest.raises(PhaseError, match="frozen") as caught:
            made.run_phase(fit(active_nodes=["centre"]))
        assert "node 'centre'" in caught.value.where
        assert "centre.unfreeze()" in caught.value.hint
        made.run_phase(fit())
        assert (model(made, "centre").n_fits, model(made, "ridge").n_fits) == (1, 2)
        assert made.graph["centre"].frozen_by == "user"

    def test_may_be_left_out(self):
        made, _ = chain("centre")
        made.run_phase(fit(freeze_after_fit=False))
        assert model(made, "centre").is_fitted
        assert not made.graph["centre"].is_frozen

    def test_does_not_happen_where_nothing_was_fitted(self):
        class Stop(mml.Callback):
            def on_phase_start(self, *, phase, **_):
                phase.request_stop()

        made, _ = chain("centre")
        results = made.run_phase(fit(callbacks=[Stop()]))
        assert results.status == "stopped"
        assert not made.graph["centre"].is_frozen

    def test_is_named_yes_or_no(self):
        with pytest.raises(PhaseError, match="freeze_after_fit"):
            fit(freeze_after_fit="no")


class TestTraining:
    def test_on_a_fitted_upstream_of_another_backend_takes_it_as_a_constant(self):
        """The head below `centre` learns what a head alone learns on data that were centred beforehand."""
        made, data = chain("centre", optimizer=mml.Optimizer("adam", lr=0.05), then={})
        made.run_phase(fit())
        x, y = model(made, "centre").forward(data.get_features("x")), data.get_targets("y")
        with mml.ExperimentContext().activate():
            centred = mml.FeatureSet.from_dict("rows", {"x": x, "y": y}, feature_keys="x", target_keys="y")
            centred.split_random(ratios=RATIOS, seed=0)
            alone, _ = chain(data=centred, optimizer=mml.Optimizer("adam", lr=0.05), then={})
        for one in (made, alone):
            one.run_phase(train(n_epochs=3))
        mine, theirs = (one.graph["head"].get_state()["model"] for one in (made, alone))
        assert mine.keys() == theirs.keys()
        assert all(np.array_equal(mine[name], theirs[name]) for name in mine)

    def test_before_fitting_is_refused_with_the_mend(self):
        made, _ = chain("centre", then={})
        with pytest.raises(PhaseError, match="not fitted yet") as caught:
            made.run_phase(train())
        assert "FitPhase with active_nodes=['centre']" in caught.value.hint
        assert caught.value.where == "experiment 'toy', phase 'train', graph 'model-graph', node 'centre'"

    def test_of_what_can_only_be_fitted_is_refused(self):
        made, _ = chain("centre", then={})
        made.run_phase(fit(freeze_after_fit=False))
        with pytest.raises(PhaseError, match="cannot learn batch by batch"):
            made.run_phase(train(active_nodes=["centre"]))
        assert made.run_phase(train()).status == "completed"


class TestUnknownWidth:
    def data(self):
        """Of five columns, the last is constant in training, and the last two are in validation."""
        rng = np.random.default_rng(0)
        x = rng.normal(size=(40, 5)).astype(np.float32)
        x[:, 4] = 1
        x[20:, 3] = 1
        made = mml.FeatureSet.from_dict(
            "rows",
            {"x": x, "y": x[:, :1], "i": np.arange(40)},
            feature_keys="x",
            target_keys="y",
            tag_keys="i",
        )
        made.split(mml.ConditionSplitter({"train": {"i": set(range(20))}}, rest="val"))
        return made

    def test_is_built_below_once_it_is_known(self):
        made, _ = chain("varying", data=self.data(), then={})
        made.graph.build(seed=made.initial_seed, context=made.context)
        assert not made.graph["head"].is_built
        made.run_phase(fit())
        assert made.graph["head"].input_shape == (4,)
        assert made.run_phase(train()).status == "completed"

    def test_training_before_is_refused_with_the_mend(self):
        made, _ = chain("varying", data=self.data(), then={})
        with pytest.raises(PhaseError) as caught:
            made.run_phase(train())
        assert "FitPhase" in caught.value.hint

    def test_streams_do_not_depend_on_when_it_was_built(self):
        seen = []
        for early in (False, True):
            with mml.ExperimentContext().activate():
                made, _ = chain("varying", data=self.data(), then={})
            if early:
                made.preview_phase(fit("look"))
            made.run_phase(fit())
            seen.append(made.graph["head"].get_state()["model"])
        assert all(np.array_equal(seen[0][name], seen[1][name]) for name in seen[0])

    def test_a_preview_gives_the_width_back(self):
        made, _ = chain("varying", data=self.data(), then={})
        made.preview_phase(fit("look", split="val"))
        assert not model(made, "varying").is_fitted
        made.run_phase(fit())
        assert made.graph["head"].input_shape == (4,)

    def test_a_failing_fit_gives_the_width_back(self):
        class Boom(mml.Callback):
            def on_phase_end(self, **_):
                raise ValueError("boom")

        made, _ = chain("varying", data=self.data(), then={})
        with pytest.raises(PhaseError, match="boom"):
            made.run_phase(fit(split="val", callbacks=[Boom()]))
        assert not made.graph["varying"].is_frozen
        made.run_phase(fit())
        assert made.graph["head"].input_shape == (4,)

    def test_a_fit_of_another_width_below_which_something_was_built_names_both_nodes(self):
        made, _ = chain("varying", data=self.data(), then={})
        made.run_phase(fit())
        before = digest(made)
        with pytest.raises(MMLError) as caught:
            made.run_phase(fit("again", split="val"))
        assert "'head'" in caught.value.where
        assert "'varying'" in caught.value.where
        assert digest(made) == before


class TestEvaluation:
    def test_of_fitted_nodes_gives_their_outputs_and_losses(self):
        made, data = chain("centre", "ridge")
        made.run_phase(fit())
        loss = mml.AppliedLoss("mse", on="ridge")
        results = made.run_phase(
            mml.EvalPhase.from_split("test", split="test", losses=[loss], metrics=["mae"])
        )
        x, y = data["test"].get_features("x"), data["test"].get_targets("y")
        expected = (x - model(made, "centre").value) @ model(made, "ridge").value
        np.testing.assert_allclose(results.stacked_tensors("ridge"), expected, rtol=1e-6)
        assert results.aggregated_losses()["ridge/mse"] == pytest.approx(
            np.mean((expected - y) ** 2), rel=1e-5
        )
        assert results.metric_store.latest("eval_mae") == pytest.approx(np.abs(expected - y).mean(), rel=1e-5)
