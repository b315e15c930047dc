"""Estimators in experiments: phases fit, train, freeze and score them as scikit-learn by hand would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA, IncrementalPCA
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier, SGDRegressor
from sklearn.metrics import accuracy_score, log_loss
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC

import mml
from mml.backends import ModelSource, get_backend
from mml.errors import BackendError, ModelError, OptimizerError, PhaseError, ShapeError
from mml.plugins import registry
from mml_sklearn import ScikitWrapper
from mml_sklearn.datasets import load
from mml_sklearn.random_state import random_state_of

IRIS = load("iris")["data"]


def iris(*, targets: Any = None, **extra: Any) -> mml.FeatureSet:
    """Return iris in three splits, with the class as target unless others are given."""
    targets = {"y": IRIS["y"]} if targets is None else targets
    made = mml.FeatureSet.from_dict(
        "iris",
        {"x": IRIS["x"], **targets, **extra},
        feature_keys="x",
        target_keys=list(targets),
        tag_keys=list(extra),
    )
    made.split_random(ratios={"train": 0.6, "val": 0.2, "test": 0.2}, seed=0)
    return made


def experiment(model: Any, data: mml.FeatureSet, **settings: Any) -> mml.Experiment:
    """Return an experiment with one node, ``node``."""
    node = mml.ModelNode("node", model, data.reference(features="x"), **settings)
    return mml.Experiment("toy", mml.ModelGraph([node]))


def fit(split: str = "train", label: str = "fit", **settings: Any) -> mml.FitPhase:
    return mml.FitPhase.from_split(label, split=split, **settings)


def train(n_epochs: int = 2, **settings: Any) -> mml.TrainPhase:
    sampler = mml.SimpleSampler(batch_size=16, shuffle=True, seed=3)
    return mml.TrainPhase.from_split("train", split="train", sampler=sampler, n_epochs=n_epochs, **settings)


def score(*metrics: str, **settings: Any) -> mml.EvalPhase:
    return mml.EvalPhase.from_split("test", split="test", metrics=metrics, **settings)


def native(made: mml.Experiment) -> Any:
    return made.graph["node"].model.native


def batches(data: mml.FeatureSet, n_epochs: int) -> list[np.ndarray]:
    """Return the rows of every batch that `train` takes, asked of the sampler alone."""
    sampler = mml.SimpleSampler(batch_size=16, shuffle=True, seed=3).bind(data["train"])
    return [view.rows["default"] for epoch in range(n_epochs) for view in sampler.epoch(epoch)]


def test_a_classifier_is_fitted_and_scored_as_by_hand():
    data = iris()
    made = experiment(LogisticRegression(max_iter=500), data)
    made.run_phase(fit())
    results = made.run_phase(score("accuracy", losses=[mml.AppliedLoss("nll", on="node", label="nll")]))

    own = LogisticRegression(max_iter=500)
    own.fit(data["train"].get_features("x"), data["train"].get_targets("y").ravel())
    x, y = data["test"].get_features("x"), data["test"].get_targets("y").ravel()
    assert results.stacked_tensors("node").tobytes() == own.predict_proba(x).tobytes()
    assert results.metric_store.latest("eval_accuracy") == accuracy_score(y, own.predict(x))
    # nll reads log-probabilities; scikit-learn's log_loss takes probabilities of the same classes.
    mean = -np.mean(own.predict_proba(x)[np.arange(len(y)), y])
    assert results.aggregated_losses()["nll"] == pytest.approx(mean, rel=1e-6)


def test_log_probabilities_are_an_output_that_nll_takes():
    data = iris()
    made = experiment(mml.Model(LogisticRegression, max_iter=500, output="predict_log_proba"), data)
    made.run_phase(fit())
    results = made.run_phase(score(losses=[mml.AppliedLoss("nll", on="node", label="nll")]))
    x, y = data["test"].get_features("x"), data["test"].get_targets("y").ravel()
    expected = log_loss(y, native(made).predict_proba(x))
    assert results.aggregated_losses()["nll"] == pytest.approx(expected, rel=1e-6)


def test_batches_are_learned_as_by_hand_with_the_classes_of_the_whole_bound_split():
    """A class that stands in one row of the split, or in none of it, is known or unknown from the start."""
    data = iris(targets={"y": np.where(np.arange(150) == 77, 9, IRIS["y"].ravel())})
    made = experiment(SGDClassifier(loss="log_loss"), data)
    made.run_phase(train())
    targets = data["train"].get_targets("y").ravel()
    assert native(made).classes_.tolist() == np.unique(targets).tolist()

    seed = made.graph["node"].model._seed
    own = SGDClassifier(loss="log_loss", random_state=random_state_of(seed))
    everything = data.get_features("x"), data.get_targets("y").ravel()
    for rows in batches(data, 2):
        own.partial_fit(everything[0][rows], everything[1][rows], classes=np.unique(targets))
    assert native(made).coef_.tobytes() == own.coef_.tobytes()
    assert native(made).intercept_.tobytes() == own.intercept_.tobytes()


def test_a_regressor_and_a_transformer_learn_by_batches_too():
    for model, targets in ((SGDRegressor(random_state=0), True), (IncrementalPCA(2), False)):
        with mml.ExperimentContext().activate():
            data = iris(targets={"y": IRIS["x"][:, :1] * 2})
            made = experiment(model, data)
            made.run_phase(train())
        own = type(model)(**model.get_params())
        for rows in batches(data, 2):
            y = (data.get_targets("y")[rows].ravel(),) if targets else ()
            own.partial_fit(data.get_features("x")[rows], *y)
        learned = "coef_" if targets else "components_"
        assert getattr(native(made), learned).tobytes() == getattr(own, learned).tobytes()


@pytest.mark.parametrize("columns", [1, 2])
def test_several_targets_have_classes_of_their_own(columns):
    is_setosa, species = (IRIS["y"] == 0).astype(np.int64), IRIS["y"]
    both = np.concatenate([is_setosa, species], axis=1)
    data = iris(targets={"y": both} if columns == 1 else {"a": is_setosa, "b": species})
    made = experiment(
        mml.Model(MultiOutputClassifier, estimator=SGDClassifier(random_state=0), output="predict"), data
    )
    made.run_phase(train())
    assert [one.classes_.tolist() for one in native(made).estimators_] == [[0, 1], [0, 1, 2]]
    assert made.run_phase(score()).stacked_tensors("node").shape == (30, 2)


def test_targets_of_one_value_reach_the_estimator_ravelled():
    data = iris(targets={"y": IRIS["x"][:, :1] * 3 + 1})
    assert data.get_targets("y").shape == (150, 1)
    made = experiment(LinearRegression(), data)
    made.run_phase(fit())
    assert native(made).coef_.shape == (4,)
    assert made.run_phase(score("rmse")).metric_store.latest("eval_rmse") < 1e-5


class TestOutput:
    def test_of_a_ready_estimator_is_chosen_through_its_wrapper(self):
        data = iris()
        made = experiment(ScikitWrapper(SVC(random_state=0), output="decision_function"), data)
        made.run_phase(fit())
        x = data["test"].get_features("x")
        own = SVC(random_state=0).fit(data["train"].get_features("x"), data["train"].get_targets("y").ravel())
        assert made.run_phase(score()).stacked_tensors("node").tobytes() == own.decision_function(x).tobytes()

    @pytest.mark.parametrize(
        ("asked", "mend"),
        [
            ("predict_proba", "CalibratedClassifierCV"),
            ("predict_prob", "'predict'"),
            ("transform", "another output"),
            ("everything", "Available"),
        ],
    )
    def test_that_an_estimator_lacks_names_the_node_what_it_has_and_the_mend(self, asked, mend):
        made = experiment(mml.Model("sklearn/SVC", output=asked), iris())
        with pytest.raises(ModelError, match=f"SVC has no output '{asked}'") as caught:
            made.run_phase(fit())
        assert "node 'node'" in caught.value.where
        assert "'decision_function'" in caught.value.expected
        assert mend in caught.value.hint

    def test_the_mend_for_probabilities_works(self):
        svc = {"model": "sklearn/SVC", "kwargs": {}}
        model = mml.Model("sklearn/CalibratedClassifierCV", estimator=svc, ensemble=False)
        data = iris()
        made = experiment(model, data)
        made.run_phase(fit())
        assert made.run_phase(score("accuracy")).metric_store.latest("eval_accuracy") > 0.8

    def test_of_texts_is_refused_with_the_mend(self):
        data = iris(targets={"y": np.array(["a", "b", "c"])[IRIS["y"].ravel()]})
        made = experiment(mml.Model(LogisticRegression, max_iter=500, output="predict"), data)
        with pytest.raises(ModelError, match="no numbers") as caught:
            made.run_phase(fit())
        assert "predict_proba" in caught.value.hint


class Widths(TransformerMixin, BaseEstimator):
    """Takes the shape of its input under two names, as one number and as it is."""

    def __init__(self, n_inputs: int, shape: Any = None) -> None:
        self.n_inputs, self.shape = n_inputs, shape

    def fit(self, X: Any, y: Any = None) -> Widths:
        assert X.shape[1] == self.n_inputs
        self.fitted_ = True
        return self

    def transform(self, X: Any) -> Any:
        return X[:, ::2]


def narrowing(input_shape):
    """Make a pipeline that halves the width of its input."""
    return make_pipeline(PCA(input_shape[0] // 2, svd_solver="full"))


class TestLazilyMade:
    def test_a_class_receives_the_width_under_the_name_that_is_given(self):
        made = experiment(mml.Model(Widths, input_argument="n_inputs", shape="mine"), iris())
        made.run_phase(fit())
        assert (native(made).n_inputs, native(made).shape) == (4, "mine")

    def test_an_argument_that_is_not_annotated_receives_the_shape(self):
        made = experiment(mml.Model(Widths, input_argument="shape", n_inputs=4), iris())
        made.run_phase(fit())
        assert native(made).shape == (4,)

    def test_a_width_that_is_given_is_kept(self):
        made = experiment(mml.Model(Widths, input_argument="n_inputs", n_inputs=3), iris())
        with pytest.raises(ModelError, match="fit failed"):
            made.run_phase(fit())

    def test_a_factory_receives_the_shape(self):
        made = experiment(mml.Model(narrowing, backend="sklearn"), iris())
        made.run_phase(fit())
        assert made.graph["node"].output_shape == (2,)

    def test_it_waits_for_an_upstream_whose_width_only_fitting_tells(self):
        data = iris()
        pca = mml.ModelNode("pca", PCA(0.97, svd_solver="full"), data.reference(features="x"))
        below = mml.ModelNode("below", mml.Model(Widths, input_argument="n_inputs"), pca)
        made = mml.Experiment("toy", mml.ModelGraph([pca, below]))
        made.run_phase(fit())
        assert made.graph["below"].model.native.n_inputs == made.graph["pca"].output_shape[0] == 2

    def test_its_configuration_is_the_same_before_and_after_it_was_made(self):
        source = ModelSource(Widths, False, None, {"shape": "mine"}, input_argument="n_inputs", label="node")
        with registered(Widths) as name:
            model = get_backend("sklearn").wrap(source)
            before = model.get_config()
            assert not model.is_built
            assert (model.can_fit, model.can_learn, model.is_fitted, model.variables()) == (
                True,
                False,
                False,
                (),
            )
            model.build((4,))
            assert model.get_config() == before
            assert before == {
                "model": name,
                "backend": "sklearn",
                "kwargs": {"shape": "mine"},
                "input_argument": "n_inputs",
            }
            again = type(model).from_config(before)
            again.build((6,))
            assert again.native.n_inputs == 6


@contextmanager
def registered(cls: type) -> Iterator[str]:
    """Register a class as a user's model for a while."""
    registry("models").register("widths", backend="sklearn")(cls)
    try:
        yield "user/widths"
    finally:
        registry("models").remove("user/widths")


class TestFreezing:
    def test_of_a_fit_phase_lets_another_fit_it_again_and_no_train_phase(self):
        data = iris()
        made = experiment(IncrementalPCA(2), data)
        made.run_phase(fit())
        assert made.graph["node"].frozen_by == "fit"
        with pytest.raises(PhaseError, match="frozen"):
            made.run_phase(train(active_nodes=["node"]))
        made.run_phase(fit("val", "again"))
        own = IncrementalPCA(2).fit(data["val"].get_features("x"))
        assert native(made).components_.tobytes() == own.components_.tobytes()

    def test_of_the_user_keeps_every_bit_and_refuses_a_fit_by_name(self):
        made = experiment(IncrementalPCA(2), iris())
        made.run_phase(fit(freeze_after_fit=False))
        made.graph["node"].freeze()
        before = made.graph["node"].get_state()["model"]["estimator"].tobytes()
        with pytest.raises(PhaseError, match="frozen") as caught:
            made.run_phase(fit("val", "again", active_nodes=["node"]))
        assert "unfreeze" in caught.value.hint
        with pytest.raises(PhaseError):
            made.run_phase(train())
        made.run_phase(score())
        assert made.graph["node"].get_state()["model"]["estimator"].tobytes() == before

    def test_that_is_left_out_lets_batches_go_on_where_the_fit_ended(self):
        data = iris()
        made = experiment(IncrementalPCA(2), data)
        made.run_phase(fit(freeze_after_fit=False))
        made.run_phase(train(1))
        own = IncrementalPCA(2).fit(data["train"].get_features("x"))
        for rows in batches(data, 1):
            own.partial_fit(data.get_features("x")[rows])
        assert native(made).components_.tobytes() == own.components_.tobytes()


class TestRefused:
    @pytest.mark.parametrize("place", ["node", "phase"])
    @pytest.mark.parametrize("device", ["cuda", "cuda:7", "nonsense"])
    def test_a_device_that_estimators_do_not_have_names_the_node(self, place, device):
        settings = {"device": device}
        made = experiment(mml.Model("sklearn/PCA"), iris(), **(settings if place == "node" else {}))
        with pytest.raises(BackendError, match=f"no device '{device}'") as caught:
            made.run_phase(fit(**(settings if place == "phase" else {})))
        assert "node 'node'" in caught.value.where
        assert "'cpu'" in caught.value.expected

    def test_training_what_only_fits_leads_to_a_fit_phase(self):
        made = experiment(PCA(2), iris())
        with pytest.raises(PhaseError, match="can be trained") as caught:
            made.run_phase(train())
        assert caught.value.hint == "A FitPhase can do it for 'node'."
        with pytest.raises(PhaseError, match="batch by batch") as caught:
            made.run_phase(train(active_nodes=["node"]))
        assert "FitPhase" in caught.value.hint

    def test_an_optimizer_of_its_own_is_not_dropped_silently(self):
        made = experiment(SGDClassifier(), iris(), optimizer="adam")
        with pytest.raises(OptimizerError, match="takes no optimizer") as caught:
            made.run_phase(train())
        assert "node 'node'" in caught.value.where

    def test_scoring_before_fitting_names_the_node_and_the_phase_that_helps(self):
        made = experiment(Ridge(), iris())
        with pytest.raises(PhaseError, match="not fitted") as caught:
            made.run_phase(score())
        assert "active_nodes=['node']" in caught.value.hint

    def test_probabilities_that_differ_in_width_by_target_offer_predictions(self):
        targets = {"a": (IRIS["y"] == 0).astype(np.int64), "b": IRIS["y"]}
        made = experiment(MultiOutputClassifier(LogisticRegression(max_iter=500)), iris(targets=targets))
        with pytest.raises(ShapeError, match="different shapes") as caught:
            made.run_phase(fit())
        assert "output='predict'" in caught.value.hint
