"""The wrapper of one estimator, held bit for bit against scikit-learn itself on real data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.cluster import DBSCAN, KMeans
from sklearn.decomposition import PCA, IncrementalPCA, SparsePCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from mml.errors import ModelError, ShapeError
from mml_sklearn.random_state import random_state_of


class Recorder(BaseEstimator):
    """Keeps the very arrays that it was given."""

    def fit(self, inputs: np.ndarray, targets: np.ndarray | None = None) -> Recorder:
        self.inputs_, self.targets_ = inputs, targets
        return self

    def transform(self, inputs: np.ndarray) -> np.ndarray:
        return inputs


class Labeller(ClassifierMixin, BaseEstimator):
    """A classifier whose output loses the rows."""

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> Labeller:
        self.classes_ = np.unique(targets)
        return self

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        return self.classes_


@pytest.mark.parametrize(
    ("estimator", "method"),
    [
        (PCA(n_components=7), "transform"),
        (StandardScaler(), "transform"),
        (LogisticRegression(max_iter=5000), "predict_proba"),
        (RandomForestClassifier(n_estimators=5, random_state=3), "predict_proba"),
        (SVC(random_state=0), "predict"),
        (LinearRegression(), "predict"),
        (KMeans(n_clusters=3, random_state=1), "transform"),
        (Pipeline([("scale", StandardScaler()), ("pca", PCA(3, svd_solver="full"))]), "transform"),
        (Pipeline([("scale", StandardScaler()), ("svc", SVC(random_state=0))]), "predict"),
    ],
)
def test_fit_and_output_equal_scikit_learn(cancer: Any, wrap: Any, estimator: Any, method: str) -> None:
    x, y = cancer
    own = clone(estimator).fit(x[:400], y[:400].ravel())
    expected = getattr(own, method)(x[400:])
    model = wrap(estimator, shape=(30,))
    model.fit(x[:400], y[:400])
    output = model.forward(x[400:])
    assert output.ndim == 2
    assert output.dtype == expected.dtype
    assert output.tobytes() == expected.tobytes()
    assert model.output_shape == output.shape[1:]
    assert model.is_fitted


def test_float32_stays_float32(cancer: Any, wrap: Any) -> None:
    x, y = cancer
    model = wrap(PCA(n_components=2, svd_solver="full"), shape=(30,))
    model.fit(x, y)
    assert model.forward(x).dtype == np.float32


def test_samples_of_any_rank_are_ravelled(cancer: Any, wrap: Any) -> None:
    x, _ = cancer
    model = wrap(PCA(n_components=2, svd_solver="full"), shape=(5, 6))
    model.fit(x.reshape(-1, 5, 6))
    assert (
        model.forward(x.reshape(-1, 5, 6)).tobytes()
        == PCA(n_components=2, svd_solver="full").fit(x).transform(x).tobytes()
    )


def test_an_array_reaches_the_estimator_without_a_copy(cancer: Any, wrap: Any) -> None:
    x, y = cancer
    model = wrap(Recorder(), shape=(30,))
    model.fit(x, y)
    assert np.shares_memory(model.native.inputs_, x)
    assert np.shares_memory(model.native.targets_, y)
    assert model.native.targets_.shape == (569,)


def test_several_targets_stay_two_dimensional(cancer: Any, wrap: Any) -> None:
    x, y = cancer
    both = np.concatenate([y, 1 - y], axis=1)
    model = wrap(KNeighborsRegressor(), shape=(30,))
    model.fit(x, both)
    assert model.forward(x[:7]).shape == (7, 2)
    assert model.output_shape == (2,)


def test_probabilities_of_several_targets_are_stacked(cancer: Any, wrap: Any) -> None:
    x, y = cancer
    both = np.concatenate([y, 1 - y], axis=1)
    estimator = MultiOutputClassifier(LogisticRegression(max_iter=5000))
    model = wrap(estimator, shape=(30,))
    model.fit(x, both)
    assert model.forward(x[:5]).shape == (5, 2, 2)
    np.testing.assert_array_equal(model.forward(x[:5])[:, 1], estimator.predict_proba(x[:5])[1])


def test_sparse_output_becomes_dense(wrap: Any) -> None:
    x = np.array([[0], [1], [2], [1]], dtype=np.float32)
    model = wrap(OneHotEncoder(), shape=(1,))
    model.fit(x)
    np.testing.assert_array_equal(model.forward(x), np.eye(3)[[0, 1, 2, 1]])
    assert model.output_shape == (3,)


@pytest.mark.parametrize("n_rows", [0, 1, 7])
def test_output_keeps_rows_and_dtype_for_any_number_of_rows(cancer: Any, wrap: Any, n_rows: int) -> None:
    x, y = cancer
    model = wrap(PCA(n_components=3), shape=(30,))
    model.fit(x, y)
    output = model.forward(x[:n_rows])
    assert (output.shape, output.dtype) == ((n_rows, 3), np.float32)


@pytest.mark.parametrize("output", ["predict", "decision_function"])
def test_the_output_can_be_chosen(cancer: Any, wrap: Any, output: str) -> None:
    x, y = cancer
    model = wrap(LogisticRegression, shape=(30,), max_iter=5000, output=output)
    model.fit(x, y)
    expected = getattr(LogisticRegression(max_iter=5000).fit(x, y.ravel()), output)(x)
    assert model.forward(x).tobytes() == expected.tobytes()
    assert model.get_config()["kwargs"] == {"max_iter": 5000, "output": output}


@pytest.mark.parametrize(
    ("estimator", "before"),
    [
        (PCA(n_components=4), (4,)),
        (PCA(n_components=0.95), None),
        (PCA(), None),
        (StandardScaler(), (30,)),
        (KMeans(n_clusters=5, random_state=0), (5,)),
        (LogisticRegression(max_iter=5000), None),
        (Pipeline([("scale", StandardScaler()), ("pca", PCA(2, svd_solver="full"))]), (2,)),
        (Pipeline([("pca", PCA(0.9)), ("scale", StandardScaler())]), None),
        (Pipeline([("pca", PCA(0.9)), ("last", PCA(1, svd_solver="full"))]), (1,)),
    ],
)
def test_the_output_shape_is_known_as_early_as_parameters_tell(
    cancer: Any, wrap: Any, estimator: Any, before: Any
) -> None:
    x, y = cancer
    model = wrap(clone(estimator), shape=(30,))
    assert model.output_shape == before
    model.fit(x, y)
    after = model.output_shape
    assert after == model.forward(x).shape[1:]
    assert before in (None, after)


def test_a_declared_shape_is_a_promise_that_is_checked(cancer: Any, wrap: Any) -> None:
    x, y = cancer
    model = wrap(LogisticRegression(max_iter=5000), shape=(30,), label="head")
    model.build((30,), (1,))
    assert model.output_shape == (1,)
    model.fit(x, y)
    with pytest.raises(ShapeError, match="head") as caught:
        model.forward(x)
    assert "(rows, 1)" in str(caught.value)
    assert "(rows, 2)" in str(caught.value)


def test_a_declared_shape_against_the_parameters_is_refused_at_build(wrap: Any) -> None:
    model = wrap(PCA(n_components=4))
    with pytest.raises(ShapeError, match=r"\(3,\)"):
        model.build((30,), (3,))


def test_building_changes_nothing_of_the_estimator(cancer: Any, wrap: Any) -> None:
    x, y = cancer
    estimator = PCA(n_components=2, svd_solver="full").fit(x, y)
    before = {name: id(value) for name, value in vars(estimator).items()}
    wrap(estimator, shape=(30,), seed=5)
    assert {name: id(value) for name, value in vars(estimator).items()} == before


def test_a_fitted_instance_keeps_its_values_and_reset_returns_to_them(cancer: Any, wrap: Any) -> None:
    x, _ = cancer
    estimator = PCA(n_components=2, svd_solver="full").fit(x[:100])
    expected = estimator.transform(x)
    model = wrap(estimator, shape=(30,))
    assert model.forward(x).tobytes() == expected.tobytes()
    model.fit(x[200:])
    assert model.forward(x).tobytes() != expected.tobytes()
    model.reset(seed=9)
    assert model.forward(x).tobytes() == expected.tobytes()
    assert model.native is estimator


def test_reset_returns_to_the_same_values_again_and_again(cancer: Any, wrap: Any) -> None:
    x, _ = cancer
    model = wrap(IncrementalPCA(n_components=2).fit(x[:100]), shape=(30,))
    before = model.get_state()["estimator"].tobytes()
    for start in (100, 200):
        model.partial_fit(x[start : start + 100])
        model.native.mean_ *= 2
        assert model.get_state()["estimator"].tobytes() != before
        model.reset(seed=0)
        assert model.get_state()["estimator"].tobytes() == before


def test_a_lone_row_stays_a_row(cancer: Any, wrap: Any) -> None:
    model = wrap(SparsePCA(n_components=2, max_iter=5), shape=(30,))
    model.fit(cancer[0])
    assert model.forward(cancer[0][:1]).shape == (1, 2)


def test_reset_makes_a_fresh_estimator_unfitted(cancer: Any, wrap: Any) -> None:
    x, _ = cancer
    model = wrap(PCA, shape=(30,), n_components=2)
    fresh = model.get_state()["estimator"].tobytes()
    model.fit(x)
    model.reset(seed=1)
    assert not model.is_fitted
    assert model.get_state()["estimator"].tobytes() == fresh


def test_an_open_random_state_follows_the_seed(cancer: Any, wrap: Any) -> None:
    x, y = cancer

    def fitted(seed: int) -> bytes:
        model = wrap(RandomForestRegressor(n_estimators=3), shape=(30,), seed=seed)
        model.fit(x, y)
        assert model.native.random_state is None
        return bytes(model.forward(x).tobytes())

    own = RandomForestRegressor(n_estimators=3, random_state=random_state_of(11)).fit(x, y.ravel())
    assert fitted(11) == own.predict(x).tobytes()
    assert fitted(11) == fitted(11)
    assert fitted(11) != fitted(12)


def test_a_random_state_of_the_user_is_left_alone(cancer: Any, wrap: Any) -> None:
    x, y = cancer
    own = RandomForestRegressor(n_estimators=3, random_state=4).fit(x, y.ravel())
    model = wrap(RandomForestRegressor(n_estimators=3, random_state=4), shape=(30,), seed=77)
    model.fit(x, y)
    assert model.forward(x).tobytes() == own.predict(x).tobytes()


def test_random_states_of_nested_estimators_are_seeded_too(cancer: Any, wrap: Any) -> None:
    x, y = cancer

    def fitted(seed: int) -> bytes:
        steps = [("scale", StandardScaler()), ("forest", RandomForestRegressor(n_estimators=2))]
        model = wrap(Pipeline(steps), shape=(30,), seed=seed)
        model.fit(x, y)
        assert steps[1][1].random_state is None
        return bytes(model.forward(x).tobytes())

    assert fitted(1) == fitted(1)
    assert fitted(1) != fitted(2)


def test_output_that_draws_is_repeatable(cancer: Any, wrap: Any) -> None:
    x, y = cancer
    model = wrap(DummyClassifier(strategy="uniform"), shape=(30,), output="predict")
    model.fit(x, y)
    assert model.forward(x).tobytes() == model.forward(x).tobytes()
    assert len(np.unique(model.forward(x))) == 2


@pytest.mark.parametrize(("estimator", "expected"), [(SGDClassifier(), True), (PCA(), False), (SVC(), False)])
def test_partial_fit_is_what_makes_a_model_learn(wrap: Any, estimator: Any, expected: bool) -> None:
    model = wrap(estimator)
    assert model.can_learn is expected
    assert model.can_fit


def test_partial_fit_equals_ones_own_loop(cancer: Any, wrap: Any) -> None:
    x, _ = cancer
    own = IncrementalPCA(n_components=3)
    model = wrap(IncrementalPCA(n_components=3), shape=(30,))
    for start in range(0, 500, 100):
        own.partial_fit(x[start : start + 100])
        model.partial_fit(x[start : start + 100])
    assert model.forward(x).tobytes() == own.transform(x).tobytes()


def test_variables_are_the_fitted_arrays(cancer: Any, wrap: Any) -> None:
    x, _ = cancer
    model = wrap(PCA(n_components=3), shape=(30,))
    assert model.variables() == ()
    model.fit(x)
    found = {one.name: (one.shape, one.dtype, one.role) for one in model.variables()}
    assert found["components_"] == ((3, 30), "float32", "buffer")
    assert list(found) == sorted(found)


def test_a_missing_output_names_the_node_the_method_and_the_alternatives(wrap: Any) -> None:
    with pytest.raises(ModelError) as caught:
        wrap(SVC(), output="predict_proba", label="vectors")
    for part in ("vectors", "predict_proba", "'predict'", "decision_function", "SVC"):
        assert part in str(caught.value)


def test_an_estimator_that_only_labels_what_it_saw_is_refused(wrap: Any) -> None:
    with pytest.raises(ModelError, match="DBSCAN") as caught:
        wrap(DBSCAN(), label="clusters")
    assert "fit_predict" in str(caught.value)
    assert "clusters" in str(caught.value)


def test_running_before_fitting_asks_for_a_fit_phase(cancer: Any, wrap: Any) -> None:
    model = wrap(PCA(n_components=2, svd_solver="full"), shape=(30,), label="pca")
    assert not model.is_fitted
    with pytest.raises(ModelError, match="FitPhase for 'pca'"):
        model.forward(cancer[0])
    with pytest.raises(ModelError, match="FitPhase for 'pca'"):
        model.forward(cancer[0][:0])


def test_missing_values_name_the_node_and_the_cause(cancer: Any, wrap: Any) -> None:
    x = cancer[0].copy()
    x[3, 4] = np.nan
    model = wrap(PCA(n_components=2, svd_solver="full"), shape=(30,), label="pca")
    with pytest.raises(ModelError, match="NaN") as caught:
        model.fit(x)
    assert "pca" in str(caught.value)
    assert "SimpleImputer" in str(caught.value)
    assert isinstance(caught.value.__cause__, ValueError)


def test_learning_without_targets_says_where_they_come_from(cancer: Any, wrap: Any) -> None:
    model = wrap(LogisticRegression(), shape=(30,), label="head")
    with pytest.raises(ModelError, match="targets") as caught:
        model.fit(cancer[0])
    assert "head" in str(caught.value)


def test_targets_of_other_rows_are_refused(cancer: Any, wrap: Any) -> None:
    x, y = cancer
    with pytest.raises(ShapeError, match="569 rows"):
        wrap(LogisticRegression(), shape=(30,)).fit(x, y[:10])


@pytest.mark.parametrize(
    ("inputs", "error"),
    [
        (np.zeros((4, 29), np.float32), ShapeError),
        (np.zeros((4, 30, 1), np.float32), ShapeError),
        (np.array(1.0, np.float32), ShapeError),
        (np.array([["a"] * 30] * 4), ModelError),
        (np.array([[None] * 30] * 4), ModelError),
        ([[0.0] * 30] * 4, ModelError),
    ],
)
def test_inputs_that_cannot_be_rows_by_features_are_refused(wrap: Any, inputs: Any, error: Any) -> None:
    model = wrap(StandardScaler(), shape=(30,), label="scale")
    with pytest.raises(error, match="scale"):
        model.fit(inputs)


def test_a_fitted_estimator_refuses_another_width_at_build(cancer: Any, wrap: Any) -> None:
    model = wrap(PCA(n_components=2, svd_solver="full").fit(cancer[0]), label="pca")
    with pytest.raises(ShapeError, match="30 features") as caught:
        model.build((12,))
    assert "12 features" in str(caught.value)


def test_a_sample_without_features_is_refused(wrap: Any) -> None:
    with pytest.raises(ShapeError, match="at least one feature"):
        wrap(PCA()).build((0,))


def test_an_output_that_loses_the_rows_is_refused(cancer: Any, wrap: Any) -> None:
    x, y = cancer
    model = wrap(Labeller(), shape=(30,), label="head")
    model.fit(x, y)
    with pytest.raises(ShapeError, match="keep the rows"):
        model.forward(x)


def test_training_what_has_no_partial_fit_is_refused(cancer: Any, wrap: Any) -> None:
    with pytest.raises(ModelError, match="FitPhase"):
        wrap(PCA(), shape=(30,)).partial_fit(cancer[0])


@pytest.mark.parametrize("target", [object(), "PCA", 3])
def test_what_is_no_estimator_is_refused(wrap: Any, target: Any) -> None:
    with pytest.raises(ModelError, match="no estimator"):
        wrap(target, label="node")


def test_an_unknown_argument_lists_the_near_ones(wrap: Any) -> None:
    with pytest.raises(ModelError, match="'n_components'"):
        wrap(PCA, n_component=3)


def test_a_missing_argument_is_named(wrap: Any) -> None:
    with pytest.raises(ModelError, match="'estimator'"):
        wrap(MultiOutputClassifier)


def test_running_before_building_is_an_error(cancer: Any, wrap: Any) -> None:
    with pytest.raises(ModelError, match="not built"):
        wrap(StandardScaler()).fit(cancer[0])
