"""EvalPhase: every row once and in order, whatever the chunks; recorded tensors; metrics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mml
from mml.errors import ConfigError, DataError, MMLError, PhaseError, ResultError
from mml.experiment.callbacks import OutputMetric
from mml.experiment.metrics import Accuracy

from .toy import digest, experiment, in_own_context, mse, rows, training, validation


@pytest.fixture(scope="module")
def made():
    return in_own_context(experiment, phases=[training(n_epochs=2)])


@pytest.fixture(scope="module")
def data(made):
    return made.featuresets[0]


class TestRows:
    @pytest.mark.parametrize("split", ["train", "val", "test", None])
    @pytest.mark.parametrize("batch_size", [None, 1, 4, 1000])
    def test_are_those_of_the_split_in_order(self, made, data, split, batch_size):
        results = made.run_phase(validation(split=split, batch_size=batch_size))
        view = data.view() if split is None else data[split]
        expected = made.graph.forward(view.get_features("x"))["head"]
        np.testing.assert_allclose(results.stacked_tensors("head"), expected, rtol=1e-5, atol=1e-6)
        assert np.array_equal(results.stacked_targets("head"), view.get_targets("y"))
        assert np.array_equal(results.stacked_sample_uuids("head"), data.snapshot().uuids(view.rows))
        n_chunks = -(-len(view) // (batch_size or 1024))
        assert len(results.losses().values) == n_chunks

    @given(batch_size=st.integers(1, 12))
    def test_may_be_cut_anyhow(self, batch_size):
        made = in_own_context(experiment, phases=[])
        losses = [mse(weight=0.5), mml.AppliedLoss("mae", on="head")]
        metrics = ["mae", "rmse", "r2"]
        whole = made.preview_phase(validation(losses=losses, metrics=metrics))
        cut = made.preview_phase(validation(losses=losses, metrics=metrics, batch_size=batch_size))
        for label, value in whole.aggregated_losses().items():
            assert cut.aggregated_losses()[label] == pytest.approx(value, rel=1e-5)
        for name in ("eval_mae", "eval_rmse", "eval_r2", "eval_loss"):
            assert cut.metric_store.latest(name) == pytest.approx(whole.metric_store.latest(name), rel=1e-5)

    def test_change_nothing(self, made):
        before = digest(made)
        made.run_phase(validation(batch_size=3))
        assert digest(made) == before

    def test_use_no_dropout(self):
        made = in_own_context(experiment, dropout=0.5, phases=[])
        first, second = (made.run_phase(validation()).stacked_tensors("head") for _ in range(2))
        assert np.array_equal(first, second)


class TestRecording:
    def test_of_evaluations_keeps_all_and_drops_on_demand(self, made):
        assert made.run_phase(validation()).stacked_tensors("head").shape == (10, 1)
        results = made.run_phase(validation(result_recording="none", batch_size=4))
        assert len(results.losses().values) == 3
        assert (
            np.concatenate(list(results.batches("trunk").values)).tolist()
            == made.featuresets[0]["val"].rows.tolist()
        )
        with pytest.raises(ResultError, match="result_recording"):
            results.stacked_tensors("head")

    @pytest.mark.parametrize(("recording", "epochs"), [("none", None), ("last", [2]), ("all", [0, 1, 2])])
    def test_of_training_keeps_the_epochs_asked_for(self, recording, epochs):
        made = in_own_context(experiment, phases=[])
        results = made.run_phase(training(result_recording=recording))
        assert results.n_epochs == 3
        assert len(results.losses().values) == 3 * 6
        if epochs is None:
            with pytest.raises(ResultError, match="result_recording"):
                results.tensors("head")
        else:
            assert results.tensors("head").axes_values()["epoch"] == epochs

    def test_is_of_every_tail_and_node_with_a_loss_or_metric(self, made):
        results = made.run_phase(validation(losses=[], metrics=[OutputMetric("mae", node="head")]))
        assert results.stacked_tensors("head").shape == (10, 1)
        with pytest.raises(ResultError, match="trunk"):
            results.stacked_tensors("trunk")
        results = made.run_phase(validation(active_nodes=["trunk"], losses=[]))
        assert results.stacked_tensors("trunk").shape == (10, 3)


class TestMetrics:
    def test_equal_their_definitions(self, made, data):
        results = made.run_phase(validation(metrics=["mae", "rmse"], batch_size=4))
        difference = results.stacked_tensors("head") - data["val"].get_targets("y")
        store = results.metric_store
        assert store.latest("eval_mae") == pytest.approx(np.abs(difference).mean(), rel=1e-6)
        assert store.latest("eval_rmse") == pytest.approx(np.sqrt((difference**2).mean()), rel=1e-6)
        assert store.latest("eval_loss") == pytest.approx((difference**2).mean(), rel=1e-6)
        assert store.latest("eval_loss/head/mse") == store.latest("eval_loss")

    def test_without_recorded_outputs_name_the_option(self, made):
        with pytest.raises(MMLError, match="result_recording"):
            made.run_phase(validation(metrics=["mae"], result_recording="none"))

    def test_that_fit_several_nodes_ask_for_one(self, made):
        norm = mml.AppliedLoss("mse", on="trunk", inputs=["outputs", "outputs"])
        with pytest.raises(PhaseError, match="several nodes") as caught:
            made.preview_phase(validation(losses=[mse(), norm], metrics=["mae"]))
        assert "node=" in caught.value.hint

    def test_are_of_the_last_node_that_is_active(self):
        data, nodes = rows(), []
        for label in ("trunk", "other"):
            model = mml.Model("reference/mlp", hidden=[4], output_shape=1)
            nodes.append(mml.ModelNode(label, model, data.reference(features="x", targets="y")))
        nodes.append(mml.ModelNode("head", mml.Model("reference/mlp", hidden=[], output_shape=1), nodes[0]))
        several = mml.Experiment("toy", mml.ModelGraph(nodes))
        with pytest.raises(PhaseError, match="several nodes"):
            several.run_phase(validation(losses=[], metrics=["mae"]))
        for active, node in ((["head"], "head"), (["trunk", "head"], "head"), (["trunk"], "trunk")):
            results = several.run_phase(validation(losses=[], metrics=["mae"], active_nodes=active))
            errors = results.stacked_tensors(node) - data["val"].get_targets("y")
            assert results.metric_store.latest("eval_mae") == pytest.approx(np.abs(errors).mean(), rel=1e-6)

    @pytest.mark.parametrize("reducer", ["mean", "sum"])
    @pytest.mark.parametrize("batch_size", [1, 4, 1000])
    def test_losses_reduce_over_rows_not_batches(self, made, reducer, batch_size):
        losses = [mse(weight=2.0), mml.AppliedLoss("mae", on="head")]
        metrics = [
            mml.EvalLossMetric(loss=losses[0], name="squared", reducer=reducer),
            mml.EvalLossMetric(name="total", reducer=reducer),
        ]
        store = made.run_phase(validation(losses=losses, metrics=metrics, batch_size=batch_size)).metric_store
        results = made.run_phase(validation())
        difference = results.stacked_tensors("head") - results.stacked_targets("head")
        reduce = np.mean if reducer == "mean" else np.sum
        assert store.latest("squared") == pytest.approx(reduce(difference**2), rel=1e-5)
        assert store.latest("total") == pytest.approx(reduce(2 * difference**2 + abs(difference)), rel=1e-5)

    def test_a_loss_that_the_evaluation_does_not_compute_is_refused(self, made):
        with pytest.raises(ResultError, match="'head/mae'") as caught:
            made.preview_phase(validation(metrics=[mml.EvalLossMetric(loss="head/mae")]))
        assert "head/mse" in caught.value.expected

    @pytest.mark.parametrize("wrong", [3, mml.SimpleSampler, [None]])
    def test_what_is_none_is_refused(self, wrong):
        with pytest.raises(PhaseError, match="metric"):
            validation(metrics=wrong)
        with pytest.raises(PhaseError, match="Metric"):
            OutputMetric("eval_loss")


class TestLogits:
    """Targets of 0 and 1 and one score a row: whether it is a logit, only the loss can tell."""

    def made(self):
        rng = np.random.default_rng(0)
        x = rng.normal(size=(40, 3)).astype(np.float32)
        y = (x[:, :1] > 0).astype(np.float32)
        data = mml.FeatureSet.from_dict("rows", {"x": x, "y": y}, feature_keys="x", target_keys="y")
        data.split_random(ratios={"train": 0.5, "val": 0.5}, seed=0)
        node = mml.ModelNode(
            "head", mml.Model("reference/mlp", output_shape=1), data.reference(features="x", targets="y")
        )
        return mml.Experiment("toy", mml.ModelGraph([node], optimizer="sgd"))

    def accuracy(self, results, border):
        return np.mean((results.stacked_tensors("head") > border) == results.stacked_targets("head"))

    @pytest.mark.parametrize(("loss", "border"), [("bce_logits", 0.0), ("mml/bce_logits", 0.0)])
    def test_the_loss_tells(self, loss, border):
        results = self.made().run_phase(
            validation(losses=[mml.AppliedLoss(loss, on="head")], metrics=["accuracy"])
        )
        assert results.metric_store.latest("eval_accuracy") == self.accuracy(results, border)

    @pytest.mark.parametrize("losses", [[], ["mse"]])
    def test_where_it_does_not_the_metric_asks(self, losses):
        phase = validation(losses=[mml.AppliedLoss(one, on="head") for one in losses], metrics=["accuracy"])
        with pytest.raises(ConfigError, match="logits or probabilities") as caught:
            self.made().run_phase(phase)
        assert "from_logits" in caught.value.hint
        assert "node 'head'" in caught.value.where

    def test_the_users_word_wins(self):
        losses = [mml.AppliedLoss("mse", on="head")]
        results = self.made().run_phase(validation(losses=losses, metrics=[Accuracy(from_logits=True)]))
        assert results.metric_store.latest("eval_accuracy") == self.accuracy(results, 0.0)

    def test_scores_that_are_no_probabilities_are_refused_as_such(self):
        losses = [mml.AppliedLoss("mse", on="head")]
        with pytest.raises(DataError, match="outside 0 to 1"):
            self.made().run_phase(validation(losses=losses, metrics=[Accuracy(from_logits=False)]))


def test_a_metric_takes_settings_beside_its_name():
    phase = validation(metrics=[{"accuracy": {"threshold": 0.25, "from_logits": True}}, {"rmse": {}}])
    assert phase.metrics[0] == OutputMetric(Accuracy(threshold=0.25, from_logits=True))
    assert phase.metrics[1] == OutputMetric("rmse")
    with pytest.raises(ConfigError, match="no setting 'treshold'") as caught:
        validation(metrics=[{"accuracy": {"treshold": 0.25}}])
    assert "'threshold'" in caught.value.hint


@pytest.mark.parametrize("wrong", [Accuracy, {"accuracy": 3}, {"rmse": {}, "mae": {}}, {3: {}}, len])
def test_what_is_no_metric_says_how_one_is_written(wrong):
    with pytest.raises(PhaseError, match="A metric is") as caught:
        validation(metrics=[wrong])
    assert "{'f1': {'average': 'macro'}}" in caught.value.hint
