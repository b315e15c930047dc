"""Whole experiments on Keras: classes by name, in files, merged branches, stages, roles."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import mml
from mml.backends import get_backend
from mml.errors import MMLError
from mml.files import state_digest

ops = keras.ops
ROLES = ("anchor", "positive", "negative")


def _rows(n: int = 53) -> mml.FeatureSet:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 5)).astype(np.float32)
    data = {"x": x, "y": (x[:, :1] + 0.3 * x[:, 1:2] > 0).astype(np.float32)}
    return mml.FeatureSet.from_dict("rows", data, feature_keys="x", target_keys="y")


def _phase(loss: Any, *, on: str = "net", n_epochs: int = 2, **more: Any) -> mml.TrainPhase:
    return mml.TrainPhase.from_split(
        "train",
        split=more.pop("split", None),
        sampler=mml.SimpleSampler(batch_size=7, shuffle=True),
        losses=[mml.AppliedLoss(loss, on=on)],
        n_epochs=n_epochs,
        **more,
    )


def _experiment() -> mml.Experiment:
    node = mml.ModelNode("net", mml.Model(keras.layers.Dense, units=1, output_shape=1), _rows())
    graph = mml.ModelGraph([node], optimizer=mml.Optimizer(keras.optimizers.Adam, lr=0.01))
    made = mml.Experiment("classes", graph, seed=3)
    made.execution_plan.add_phase(_phase(keras.losses.BinaryCrossentropy))
    return made


def _digest(made: mml.Experiment) -> str:
    return state_digest(made.graph.get_state())


def test_classes_of_keras_come_back_from_a_file_and_go_on_alike(tmp_path):
    made = _experiment()
    made.run()
    loaded = mml.Experiment.load(made.save(tmp_path / "classes.mml"))
    assert _digest(loaded) == _digest(made)
    made.run()
    loaded.run()
    assert _digest(loaded) == _digest(made)


def test_an_experiment_learns_and_stops_early_from_scaled_data_to_a_test_score():
    rows = _rows(200)
    rows.split_random(ratios={"train": 0.6, "val": 0.2, "test": 0.2}, stratify_by="y", seed=0)
    rows.fit_transform("standard", domain="features", fit_to_split="train")
    reference = rows.reference(features="x", targets="y")
    left = mml.ModelNode("left", mml.Model("keras3/mlp", hidden=[6], output_shape=4, dropout=0.1), reference)
    right = mml.ModelNode("right", mml.Model("keras3/mlp", hidden=[], output_shape=3), reference)
    both = mml.ConcatNode("both", [left, right])
    head = mml.ModelNode("head", mml.Model("keras3/mlp", hidden=[8], output_shape=1), both)
    graph = mml.ModelGraph(
        [left, right, both, head], optimizer=mml.Optimizer("adam", lr=0.02, schedule="cosine")
    )
    bce = mml.AppliedLoss("bce_logits", on="head")
    validate = mml.EvalPhase.from_split("validate", split="val", losses=[bce])
    made = mml.Experiment("cells", graph, seed=0)
    made.execution_plan.add_phase(
        mml.TrainPhase.from_split(
            "train",
            split="train",
            sampler=mml.SimpleSampler(batch_size=16, shuffle=True, seed=0),
            losses=[bce],
            n_epochs=30,
            callbacks=[
                mml.Evaluation(validate, metrics=[mml.EvalLossMetric(loss=bce)]),
                mml.EarlyStopping(patience=10),
            ],
        )
    )
    made.execution_plan.add_phase(mml.EvalPhase.from_split("test", split="test", losses=[bce]))
    results = made.run()
    losses = results.get_train_result("train").metrics().where(name="train_loss").values
    assert losses[-1] < 0.3 * losses[0]
    assert float(results.get_eval_result("test").aggregated_losses()["head/bce_logits"]) < 0.35


def test_stages_learn_one_after_the_other_and_gradients_stop_between():
    rows = _rows()
    first = mml.ModelNode(
        "first",
        mml.Model("keras3/mlp", hidden=[4], output_shape=1),
        rows,
        optimizer=mml.Optimizer("sgd", lr=0.1),
    )
    second = mml.ModelNode(
        "second",
        mml.Model("keras3/mlp", hidden=[3], output_shape=1),
        first,
        optimizer=mml.Optimizer("adam", lr=0.01),
    )
    graph = mml.ModelGraph([first, second])
    made = mml.Experiment("stages", graph, seed=1)
    phase = mml.TrainPhase.from_split(
        "train",
        split=None,
        sampler=mml.SimpleSampler(batch_size=7),
        losses=[mml.AppliedLoss("bce_logits", on="first"), mml.AppliedLoss("bce_logits", on="second")],
        n_epochs=2,
    )
    made.run_phase(phase)
    with mml.ExperimentContext().activate():
        rows = _rows()
        alone = mml.ModelNode(
            "first",
            mml.Model("keras3/mlp", hidden=[4], output_shape=1),
            rows,
            optimizer=mml.Optimizer("sgd", lr=0.1),
        )
        other = mml.Experiment("stages", mml.ModelGraph([alone]), seed=1)
        other.run_phase(
            mml.TrainPhase.from_split(
                "train",
                split=None,
                sampler=mml.SimpleSampler(batch_size=7),
                losses=[mml.AppliedLoss("bce_logits", on="first")],
                n_epochs=2,
            )
        )
    for name, value in alone.model.get_state().items():
        np.testing.assert_array_equal(first.model.get_state()[name], value)


def _triplet(anchor, positive, negative):
    near = ops.sum((anchor - positive) ** 2, axis=1)
    far = ops.sum((anchor - negative) ** 2, axis=1)
    return ops.maximum(near - far + 1.0, 0.0)


def test_a_function_of_three_roles_learns_the_cells_apart():
    rng = np.random.default_rng(0)
    cell = np.arange(60) % 5
    x = (np.eye(5, 6)[cell] + 0.4 * rng.normal(size=(60, 6))).astype(np.float32)
    data = mml.FeatureSet.from_dict("rows", {"x": x, "cell": cell}, feature_keys="x", tag_keys="cell")
    node = mml.ModelNode("net", mml.Model("keras3/mlp", hidden=[16], output_shape=3), data)
    graph = mml.ModelGraph([node], optimizer=mml.Optimizer("adam", lr=0.01))
    phase = mml.TrainPhase.from_split(
        "train",
        split=None,
        sampler=mml.TripletSampler(batch_size=16, by="cell", shuffle=True),
        losses=[
            mml.AppliedLoss(_triplet, on="net", inputs=[f"outputs.{role}" for role in ROLES], label="triplet")
        ],
        n_epochs=40,
    )
    losses = (
        mml.Experiment("triplets", graph, seed=1).run_phase(phase).metrics().where(name="train_loss").values
    )
    assert losses[-1] < 0.5 * losses[0]


def test_a_graph_is_handed_to_the_compiler_where_that_is_asked_for():
    node = mml.ModelNode("net", mml.Model("keras3/mlp", hidden=[4], output_shape=1), _rows())
    graph = mml.ModelGraph([node], optimizer=mml.Optimizer("adam", lr=0.01), jit_compile=True)
    made = mml.Experiment("compiled", graph, seed=3)
    if not get_backend("keras3").capabilities.compiler:
        with pytest.raises(MMLError, match="jit_compile"):
            made.run_phase(_phase("bce_logits"))
        return
    losses = made.run_phase(_phase("bce_logits")).metrics().where(name="train_loss").values
    assert losses[-1] < losses[0]


def test_an_object_of_another_framework_is_refused_by_name():
    class Foreign:
        pass

    with pytest.raises(MMLError, match="Foreign"):
        mml.ModelNode("net", Foreign(), _rows())


def test_an_optimizer_for_another_backend_is_refused_with_both_names():
    node = mml.ModelNode("net", mml.Model("keras3/mlp", hidden=[4], output_shape=1), _rows())
    graph = mml.ModelGraph([node], optimizer=mml.Optimizer("adam", backend="reference"))
    made = mml.Experiment("foreign", graph)
    with pytest.raises(MMLError, match=r"(?s)reference.*keras3"):
        made.run_phase(_phase("mse"))
