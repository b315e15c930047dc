"""Programs of estimators: segments made by hand, held against plain loops over scikit-learn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.cluster import MiniBatchKMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from mml.backends import (
    Block,
    Call,
    Capabilities,
    Controls,
    Segment,
    SegmentInput,
    SegmentLoss,
    SegmentOptimizer,
    get_backend,
)
from mml.errors import BackendError, ModelError
from mml_sklearn.random_state import random_state_of


class SquaredError:
    """The loss protocol on NumPy arrays."""

    def __call__(self, outputs: np.ndarray, targets: np.ndarray, reduction: str = "mean") -> Any:
        rows = np.mean((outputs - targets) ** 2, axis=1, dtype=np.float64)
        return rows if reduction == "none" else rows.mean()


class Concat:
    """The merge protocol: features side by side."""

    def merge(self, ops: Any, arrays: list[Any]) -> Any:
        return ops.concat(arrays, -1)


class Overwriting(BaseEstimator):
    """Writes into its input, as estimators made with copy=False may."""

    def fit(self, inputs: np.ndarray, targets: Any = None) -> Overwriting:
        return self

    def transform(self, inputs: np.ndarray) -> np.ndarray:
        inputs *= 0
        return inputs


class GlobalDraw(BaseEstimator):
    """Draws from NumPy's global generator, as estimators without a random_state may."""

    def fit(self, inputs: np.ndarray, targets: Any = None) -> GlobalDraw:
        self.draw_ = np.random.rand(3)
        return self

    def transform(self, inputs: np.ndarray) -> np.ndarray:
        return inputs


X = SegmentInput("x", (30,), "float32", 0)
Y = SegmentInput("y", (1,), "float32", 0)


def call(key: str, model: Any, *sources: str, learns: bool = False, **extra: Any) -> Call:
    return Call(key, key, model, extra.pop("merge", None), sources, learns, extra.pop("rows", 0), **extra)


def segment(mode: Any, *calls: Call, **extra: Any) -> Segment:
    return Segment("sklearn", mode, extra.pop("inputs", (X, Y)), calls, **extra)


def whole(cancer: Any) -> dict[str, np.ndarray]:
    return {"x": cancer[0][None], "y": cancer[1][None]}


def batches(cancer: Any, *, size: int = 71) -> dict[str, np.ndarray]:
    x, y = cancer
    steps = len(x) // size
    return {
        "x": x[: steps * size].reshape(steps, size, 30),
        "y": y[: steps * size].reshape(steps, size, 1),
    }


def test_the_backend_declares_what_it_can() -> None:
    capabilities = get_backend("sklearn").capabilities
    assert capabilities == Capabilities(fit=True, partial_fit=True, deterministic=True, dlpack=True)


def test_nodes_are_fitted_in_order_each_on_its_fitted_upstream(cancer: Any, wrap: Any, execute: Any) -> None:
    x, y = cancer
    scale, pca, head = (
        wrap(one, shape=shape)
        for one, shape in (
            (StandardScaler(), (30,)),
            (PCA(3, svd_solver="full"), (30,)),
            (LinearRegression(), (3,)),
        )
    )
    plan = segment(
        "fit",
        call("scale", scale, "x", learns=True),
        call("pca", pca, "scale", learns=True),
        call("head", head, "pca", learns=True, targets="y"),
        outputs=("head",),
    )
    (result,) = execute(plan, whole(cancer))
    scaled = StandardScaler().fit_transform(x)
    reduced = PCA(3, svd_solver="full").fit(scaled).transform(scaled)
    expected = LinearRegression().fit(reduced, y.ravel()).predict(reduced)
    assert result.outputs["head"][0].tobytes() == expected.tobytes()
    assert result.outputs["head"][0].shape == (569, 1)


def test_a_fit_hands_over_the_array_itself(cancer: Any, wrap: Any, execute: Any) -> None:
    seen = []

    class Recorder(BaseEstimator):
        def fit(self, inputs: np.ndarray, targets: np.ndarray) -> Recorder:
            seen.extend([inputs, targets])
            return self

        def transform(self, inputs: np.ndarray) -> np.ndarray:
            return inputs

    plan = segment("fit", call("keep", wrap(Recorder(), shape=(30,)), "x", learns=True, targets="y"))
    execute(plan, whole(cancer))
    assert np.shares_memory(seen[0], cancer[0])
    assert np.shares_memory(seen[1], cancer[1])


def test_nothing_is_computed_that_nobody_reads(cancer: Any, wrap: Any, execute: Any) -> None:
    class FitOnly(BaseEstimator):
        def fit(self, inputs: np.ndarray, targets: Any = None) -> FitOnly:
            self.fitted_ = True
            return self

        def transform(self, inputs: np.ndarray) -> np.ndarray:
            raise AssertionError("nobody asked for the output")

    model = wrap(FitOnly(), shape=(30,))
    execute(segment("fit", call("only", model, "x", learns=True)), whole(cancer))
    assert model.is_fitted


def test_only_live_rows_are_fitted(cancer: Any, wrap: Any, execute: Any) -> None:
    x, _ = cancer
    spoiled = x.copy()
    spoiled[400:] = np.nan
    pca = wrap(PCA(2, svd_solver="full"), shape=(30,))
    plan = segment("fit", call("pca", pca, "x", learns=True), inputs=(X,))
    execute(plan, {"x": spoiled[None]}, rows=np.array([[400]]))
    assert pca.native.components_.tobytes() == PCA(2, svd_solver="full").fit(x[:400]).components_.tobytes()


def test_partial_fit_over_batches_equals_ones_own_loop(cancer: Any, wrap: Any, execute: Any) -> None:
    data = batches(cancer)
    model = wrap(SGDClassifier(loss="log_loss"), shape=(30,), seed=8)
    plan = segment(
        "train",
        call("head", model, "x", learns=True, targets="y"),
        options={"classes": {"head": np.array([0.0, 1.0], np.float32)}},
    )
    execute(plan, data)
    own = SGDClassifier(loss="log_loss", random_state=random_state_of(8))
    for x, y in zip(data["x"], data["y"], strict=True):
        own.partial_fit(x, y.ravel(), classes=np.array([0.0, 1.0], np.float32))
    assert model.native.coef_.tobytes() == own.coef_.tobytes()
    assert model.native.intercept_.tobytes() == own.intercept_.tobytes()


@pytest.mark.parametrize("cuts", [(), (1,), (3, 5), tuple(range(1, 8))])
def test_blocks_and_ranges_do_not_change_a_bit(cancer: Any, wrap: Any, execute: Any, cuts: Any) -> None:
    data = batches(cancer)

    def run(cuts: tuple[int, ...]) -> tuple[bytes, bytes]:
        model = wrap(MiniBatchKMeans(n_clusters=3, n_init=1), shape=(30,), seed=2)
        plan = segment("train", call("k", model, "x", learns=True), outputs=("k",))
        results = execute(plan, data, cuts=cuts)
        outputs = [one for result in results for one in result.outputs["k"]]
        return model.native.cluster_centers_.tobytes(), b"".join(one.tobytes() for one in outputs)

    assert run(cuts) == run(())


def test_steps_in_two_blocks_equal_steps_in_one(cancer: Any, wrap: Any, execute: Any) -> None:
    data = batches(cancer)
    whole_run, split_run = (wrap(MiniBatchKMeans(n_clusters=3, n_init=1), shape=(30,)) for _ in range(2))
    execute(segment("train", call("k", whole_run, "x", learns=True)), data)
    plan = segment("train", call("k", split_run, "x", learns=True))
    execute(plan, {name: value[:3] for name, value in data.items()})
    execute(plan, {name: value[3:] for name, value in data.items()})
    assert split_run.native.cluster_centers_.tobytes() == whole_run.native.cluster_centers_.tobytes()


def test_evaluation_changes_nothing_and_runs_rows_by_step(cancer: Any, wrap: Any, execute: Any) -> None:
    x, y = cancer
    estimator = LogisticRegression(max_iter=5000).fit(x, y.ravel())
    model = wrap(estimator, shape=(30,))
    before = model.get_state()["estimator"].tobytes()
    data = batches(cancer)
    rows = np.full((8, 1), 71)
    rows[-1] = 5
    (result,) = execute(segment("eval", call("head", model, "x"), outputs=("head",)), data, rows=rows)
    for step, output in enumerate(result.outputs["head"]):
        live = data["x"][step, : rows[step, 0]]
        assert output.tobytes() == estimator.predict_proba(live).tobytes()
    assert model.get_state()["estimator"].tobytes() == before


def test_a_frozen_node_runs_and_does_not_learn(cancer: Any, wrap: Any, execute: Any) -> None:
    x, _ = cancer
    scaler = StandardScaler().fit(x)
    scale = wrap(scaler, shape=(30,))
    k = wrap(MiniBatchKMeans(n_clusters=2, n_init=1), shape=(30,))
    before = scale.get_state()["estimator"].tobytes()
    execute(segment("train", call("scale", scale, "x"), call("k", k, "scale", learns=True)), batches(cancer))
    assert scale.get_state()["estimator"].tobytes() == before
    own = MiniBatchKMeans(n_clusters=2, n_init=1, random_state=random_state_of(0))
    for batch in batches(cancer)["x"]:
        own.partial_fit(scaler.transform(batch))
    assert k.native.cluster_centers_.tobytes() == own.cluster_centers_.tobytes()


def test_losses_are_means_over_live_rows_with_and_without_weights(
    cancer: Any, wrap: Any, execute: Any
) -> None:
    x, y = cancer
    estimator = LinearRegression().fit(x, y.ravel())
    data = {**batches(cancer), "w": np.abs(batches(cancer)["x"][..., :1])}
    rows = np.full((8, 1), 71)
    rows[2] = 4
    rows[3] = 0
    plan = segment(
        "eval",
        call("head", wrap(estimator, shape=(30,)), "x"),
        inputs=(X, Y, SegmentInput("w", (1,), "float32", 0)),
        losses=(
            SegmentLoss("plain", "head", SquaredError(), ("head", "y"), 1.0, 0),
            SegmentLoss("named", "head", SquaredError(), ("head", "y"), 1.0, 0, ("outputs", "targets")),
            SegmentLoss("weighted", "head", SquaredError(), ("head", "y"), 1.0, 0, sample_weight="w"),
        ),
        outputs=("head",),
    )
    (result,) = execute(plan, data, rows=rows)
    assert np.isnan(result.losses[3]).all()
    assert result.outputs["head"][3] is None
    for step in (0, 2):
        n = rows[step, 0]
        live, targets = data["x"][step, :n], data["y"][step, :n]
        errors = (estimator.predict(live)[:, None].astype(np.float64) - targets)[:, 0] ** 2
        np.testing.assert_allclose(result.losses[step, :2], errors.mean(), rtol=1e-6)
        weighted = (errors * data["w"][step, :n, 0]).sum() / n
        np.testing.assert_allclose(result.losses[step, 2], weighted, rtol=1e-6)


def test_a_call_runs_on_its_own_live_rows(cancer: Any, wrap: Any, execute: Any) -> None:
    x, _ = cancer
    pca = PCA(2, svd_solver="full").fit(x)
    model = wrap(pca, shape=(30,))
    plan = segment("eval", call("few", model, "x", rows=1), inputs=(X,), outputs=("few",), n_rows=2)
    (result,) = execute(plan, {"x": x[None]}, rows=np.array([[569, 5]]))
    assert result.outputs["few"][0].tobytes() == pca.transform(x[:5]).tobytes()


def test_merges_join_what_estimators_give(cancer: Any, wrap: Any, execute: Any) -> None:
    x, _ = cancer
    scaler, pca = StandardScaler().fit(x), PCA(2, svd_solver="full").fit(x)
    plan = segment(
        "eval",
        call("scale", wrap(scaler, shape=(30,)), "x"),
        call("pca", wrap(pca, shape=(30,)), "x"),
        call("both", None, "scale", "pca", merge=Concat()),
        outputs=("both",),
    )
    (result,) = execute(plan, whole(cancer))
    expected = np.concatenate([scaler.transform(x), pca.transform(x)], axis=1)
    assert result.outputs["both"][0].tobytes() == expected.tobytes()


def test_native_steps_of_another_program_are_taken_as_they_are(cancer: Any, wrap: Any, execute: Any) -> None:
    x, _ = cancer
    pca = PCA(2, svd_solver="full").fit(x)
    program = get_backend("sklearn").compile(
        segment("eval", call("pca", wrap(pca, shape=(30,)), "x"), inputs=(X,), outputs=("pca",))
    )
    staged = program.stage(Block(values={"x": [x[:9], None]}, rows=np.array([[9], [0]])))
    result = program.run(staged, 0, 2, Controls(seeds=np.arange(2), rates=np.zeros((2, 0))))
    assert result.outputs["pca"][0].tobytes() == pca.transform(x[:9]).tobytes()
    assert result.outputs["pca"][1] is None


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_host_buffers_may_be_overwritten_once_staged(cancer: Any, wrap: Any, mode: Any) -> None:
    x, _ = cancer
    buffer = x[None].copy()
    pca = PCA(2, svd_solver="full").fit(x)
    program = get_backend("sklearn").compile(
        segment(mode, call("pca", wrap(pca, shape=(30,)), "x"), inputs=(X,), outputs=("pca",))
    )
    staged = program.stage(Block(values={"x": buffer}, rows=np.array([[569]])))
    buffer[:] = 0
    result = program.run(staged, 0, 1, Controls(seeds=np.arange(1), rates=np.zeros((1, 0))))
    assert result.outputs["pca"][0].tobytes() == pca.transform(x).tobytes()


def test_an_estimator_that_writes_into_its_batch_is_stopped(cancer: Any, wrap: Any, execute: Any) -> None:
    plan = segment("eval", call("bad", wrap(Overwriting(), shape=(30,)), "x"), inputs=(X,), outputs=("bad",))
    with pytest.raises(ModelError, match="read-only"):
        execute(plan, {"x": cancer[0][None]})


@pytest.mark.parametrize("mode", ["fit", "eval"])
def test_copy_false_does_not_spoil_the_input_of_other_nodes(
    cancer: Any, wrap: Any, execute: Any, mode: Any
) -> None:
    x = cancer[0].copy()
    scaler = StandardScaler(copy=False).fit(x.copy())
    plan = segment(
        mode,
        call("scale", wrap(scaler, shape=(30,)), "x", learns=mode == "fit"),
        call("same", wrap(FunctionTransformer(), shape=(30,)), "x"),
        inputs=(X,),
        outputs=("scale", "same"),
    )
    (result,) = execute(plan, {"x": x[None]})
    expected = StandardScaler().fit(cancer[0]).transform(cancer[0])
    assert result.outputs["scale"][0].tobytes() == expected.tobytes()
    assert result.outputs["same"][0].tobytes() == cancer[0].tobytes()
    assert x.tobytes() == cancer[0].tobytes()


@pytest.mark.parametrize("writeable", [True, False])
def test_a_fit_leaves_the_arrays_flags_as_they_came(
    cancer: Any, wrap: Any, execute: Any, writeable: bool
) -> None:
    seen = []

    class Flags(BaseEstimator):
        def fit(self, inputs: np.ndarray, targets: Any = None) -> Flags:
            seen.append(inputs.flags.writeable)
            return self

        def transform(self, inputs: np.ndarray) -> np.ndarray:
            return inputs

    x = cancer[0].copy()
    x.flags.writeable = writeable
    plan = segment("fit", call("f", wrap(Flags(), shape=(30,)), "x", learns=True), inputs=(X,))
    execute(plan, {"x": x[None]})
    assert seen == [writeable]


def test_the_global_generator_is_seeded_for_a_step_and_put_back(cancer: Any, wrap: Any, execute: Any) -> None:
    def draw(seed: int) -> np.ndarray:
        model = wrap(GlobalDraw(), shape=(30,))
        execute(segment("fit", call("draw", model, "x", learns=True)), whole(cancer), seeds=np.array([seed]))
        return model.native.draw_

    before = np.random.get_state()[1].tobytes()
    np.testing.assert_array_equal(draw(5), draw(5))
    assert draw(5).tolist() != draw(6).tolist()
    assert np.random.get_state()[1].tobytes() == before


def test_the_scope_puts_the_global_generator_back() -> None:
    before = np.random.get_state()[1].tobytes()
    with get_backend("sklearn").scope():
        np.random.rand(100)
    assert np.random.get_state()[1].tobytes() == before


def test_conversion_owns_its_memory(cancer: Any) -> None:
    backend = get_backend("sklearn")
    for array in (backend.to_array(cancer[0]), backend.to_numpy(cancer[0])):
        assert not np.shares_memory(array, cancer[0])
        assert array.tobytes() == cancer[0].tobytes()
    with pytest.raises(BackendError, match="cuda"):
        backend.to_array(cancer[0], device="cuda")


def test_training_what_has_no_partial_fit_is_refused_at_compile(wrap: Any) -> None:
    plan = segment("train", call("pca", wrap(PCA(), shape=(30,)), "x", learns=True))
    with pytest.raises(BackendError, match="partial_fit") as caught:
        get_backend("sklearn").compile(plan)
    assert "pca" in str(caught.value)


def test_a_classifier_without_known_classes_is_refused_at_compile(wrap: Any) -> None:
    plan = segment("train", call("head", wrap(SGDClassifier(), shape=(30,)), "x", learns=True, targets="y"))
    with pytest.raises(BackendError, match="classes") as caught:
        get_backend("sklearn").compile(plan)
    assert "head" in str(caught.value)


def test_an_optimizer_is_refused(wrap: Any) -> None:
    plan = segment(
        "train",
        call("k", wrap(MiniBatchKMeans(), shape=(30,)), "x", learns=True),
        optimizers=(SegmentOptimizer(None, None, ("k",)),),  # type: ignore[arg-type]
    )
    with pytest.raises(BackendError, match="optimizer"):
        get_backend("sklearn").compile(plan)


def test_fitting_one_node_on_two_roles_is_refused(wrap: Any) -> None:
    model = wrap(PCA(2, svd_solver="full"), shape=(30,))
    twice = (
        Call("pca/a", "pca", model, None, ("x",), True, 0),
        Call("pca/b", "pca", model, None, ("y",), True, 0),
    )
    with pytest.raises(BackendError, match="several times"):
        get_backend("sklearn").compile(segment("fit", *twice))


def test_fitting_on_no_rows_is_refused(cancer: Any, wrap: Any, execute: Any) -> None:
    plan = segment("fit", call("pca", wrap(PCA(2, svd_solver="full"), shape=(30,)), "x", learns=True))
    with pytest.raises(ModelError, match="no row"):
        execute(plan, whole(cancer), rows=np.array([[0]]))
