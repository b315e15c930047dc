"""Documents become the experiments that the same calls in Python make."""

import os
import subprocess
import sys

import numpy as np
import pytest

import mml
from mml.context import ExperimentContext
from mml.documents import ExperimentDocument, load_document
from mml.errors import DocumentError, MMLError
from mml.experiment.progress import ProgressDisplay, RunReport
from mml.files import state_digest


def by_hand(folder, *, seed=0):
    """The document's experiment, as calls."""
    arrays = dict(np.load(folder / "cells.npz"))
    cells = mml.FeatureSet.from_dict("cells", arrays, feature_keys="x", target_keys="y")
    cells.split_random(ratios={"train": 0.5, "val": 0.25, "test": 0.25}, seed=0)
    cells.fit_transform("standard", domain="features", fit_to_split="train")
    model = mml.Model("reference/mlp", hidden=[4], output_shape=1)
    head = mml.ModelNode("head", model, cells.reference(features="x", targets="y"))
    graph = mml.ModelGraph([head], optimizer=mml.Optimizer("sgd", lr=0.1))
    error = mml.AppliedLoss("mse", on="head", label="error")
    validate = mml.EvalPhase.from_split("validate", split="val", losses=[error])
    experiment = mml.Experiment("toy", graph, seed=seed)
    experiment.execution_plan.add_phase(
        mml.TrainPhase.from_split(
            "train",
            split="train",
            sampler=mml.SimpleSampler(batch_size=8, shuffle=True),
            losses=[error],
            n_epochs=3,
            callbacks=[mml.Evaluation(validate), mml.EarlyStopping(patience=2)],
        )
    )
    experiment.execution_plan.add_phase(
        mml.EvalPhase.from_split("test", split="test", losses=[error], metrics=["rmse"])
    )
    return experiment


def outcome(experiment):
    experiment.run()
    return state_digest(experiment.graph.get_state()), [
        one.metrics for one in RunReport.of(experiment).phases
    ]


@pytest.mark.parametrize("seed", [0, 3])
def test_a_document_trains_to_the_bits_of_the_same_calls(file, folder, seed):
    from_file = load_document(file, overrides=[f"seed={seed}"]).build()
    assert outcome(from_file) == outcome(by_hand(folder, seed=seed))


def test_the_plan_is_the_one_that_the_calls_make(file, folder):
    from_file, called = load_document(file).build(), by_hand(folder)
    assert from_file.execution_plan == called.execution_plan


def test_another_seed_gives_other_weights_and_the_same_split(file):
    first, second = (load_document(file, overrides=[f"seed={seed}"]).build() for seed in (0, 1))
    rows = [experiment.featuresets[0]["train"].rows.tolist() for experiment in (first, second)]
    assert rows[0] == rows[1]
    assert outcome(first)[0] != outcome(second)[0]


def test_another_process_and_hash_seed_train_to_the_same_bits(file):
    code = (
        "import sys; from mml.documents import load_document; from mml.files import state_digest\n"
        "experiment = load_document(sys.argv[1]).build(); experiment.run()\n"
        "print(state_digest(experiment.graph.get_state()))"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code, str(file)],
            env={**os.environ, "PYTHONHASHSEED": seed, "MML_PROGRESS": "0", "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert found == {outcome(load_document(file).build())[0]}


def test_building_leaves_the_active_context_alone(file):
    experiment = load_document(file).build()
    assert not len(ExperimentContext.active())
    assert [one.label for one in experiment.featuresets] == ["cells"]


def test_one_document_builds_many_experiments(file):
    document = load_document(file)
    assert outcome(document.build()) == outcome(document.build())


def test_a_progress_display_is_handed_on(file):
    display = ProgressDisplay()
    assert load_document(file).build(progress=display).progress is display


def test_groups_merges_inputs_and_node_settings(folder):
    text = """
mml: 1
label: two-branches
data:
  cells: {file: cells.npz, features: x, targets: y}
graph:
  label: net
  nodes:
    out: {model: {reference/mlp: {output_shape: 1}}, from: joined, optimizer: {sgd: {lr: 0.1}}}
    joined: {merge: {concat: {concat_axis: -1}}, from: [left, right]}
    left: {model: {reference/mlp: {hidden: [2], output_shape: 2}}, from: cells, frozen: true}
    right: {model: {reference/mlp: {output_shape: 3}}, from: {data: cells}, optimizer: sgd}
losses:
  error: {loss: {huber: {delta: 0.5}}, on: out, weight: 2, inputs: [outputs, targets.y]}
plan:
  - group: first
    plan:
      - train: train
        inputs:
          - {node: left, sampler: {simple: {batch_size: 8}}}
          - {node: right, sampler: {simple: {batch_size: 8}}}
        losses: [error]
        nodes: [out]
        epochs: 2
        result_recording: last
  - {eval: test, split: null, losses: [error], metrics: [{rmse: {node: out, name: distance}}, mae]}
"""
    experiment = ExperimentDocument.from_text(text, folder=folder).build()
    before = experiment.graph.build(seed=experiment.initial_seed, context=experiment.context)[
        "left"
    ].get_state()
    results = experiment.run()
    assert list(results) == ["first", "test"]
    assert results["first"]["train"].n_epochs == 2
    assert experiment.graph.label == "net"
    assert experiment.graph["joined"].output_shape == (5,)
    assert experiment.graph["left"].is_frozen
    np.testing.assert_equal(experiment.graph["left"].get_state(), before)
    metrics = results.get_eval_result("test").metric_store
    assert {"eval_loss", "distance", "eval_mae"} <= set(metrics.names())
    assert metrics.latest("eval_loss") == 2 * metrics.latest("eval_loss/error")


def test_evaluations_take_metrics_and_losses_by_name(file):
    overrides = [
        "plan.train.callbacks.0={evaluation: {phase: validate, every_n_epochs: 2, "
        "metrics: [{eval_loss: {loss: error, name: held_out}}, {mae: {node: head}}]}}",
        "plan.train.callbacks.1.early_stopping.monitor=held_out",
    ]
    results = load_document(file, overrides=overrides).build().run()
    names = results.get_train_result("train").metric_store.names()
    assert {"held_out", "val_mae"} <= set(names)
    assert len(results.get_train_result("train").metrics().where(name="held_out")) == 1


def test_a_split_of_a_split(file):
    extra = "data.cells.splits.0={splitter: {random: {ratios: {train: 0.75, test: 0.25}, seed: 0}}}"
    text = file.read_text().replace(
        "    transforms:",
        "      - {splitter: {random: {ratios: {fit: 0.8, val: 0.2}, seed: 1}}, of: train}\n    transforms:",
    )
    document = ExperimentDocument.from_text(text, folder=file.parent, overrides=[extra])
    data = document.build().featuresets[0]
    assert set(data.splits) == {"train", "test", "fit", "val"}
    assert set(data["fit"].rows) | set(data["val"].rows) == set(data["train"].rows)


def test_data_of_a_registered_dataset(text):
    registry = mml.registry("datasets")

    @registry.register("blobs")
    def blobs(*, n: int = 20):
        x = np.linspace(0, 1, 3 * n, dtype="float32").reshape(n, 3)
        return {"data": {"x": x, "y": x[:, :1]}, "feature_keys": "x", "target_keys": "y"}

    try:
        source = "    file: cells.npz\n    features: x\n    targets: y\n"
        text = text.replace(source, "    dataset: {user/blobs: {n: 40}}\n")
        experiment = ExperimentDocument.from_text(text).build()
        assert len(experiment.featuresets[0]) == 40
        with pytest.raises(DocumentError, match="'n'"):
            ExperimentDocument.from_text(text.replace("n: 40", "rows: 40")).build()
    finally:
        registry.remove("user/blobs")


def test_a_dataset_that_raises_is_named_and_chained(text):
    registry = mml.registry("datasets")

    @registry.register("broken")
    def broken():
        raise OSError("the disk is gone")

    try:
        source = "    file: cells.npz\n    features: x\n    targets: y\n"
        document = ExperimentDocument.from_text(text.replace(source, "    dataset: user/broken\n"))
        with pytest.raises(DocumentError, match="the disk is gone") as caught:
            document.build()
    finally:
        registry.remove("user/broken")
    assert "data.cells.dataset" in str(caught.value)
    assert isinstance(caught.value.__cause__, OSError)


def test_a_column_that_does_not_exist_is_told_at_its_node(file):
    document = load_document(file, overrides=["graph.nodes.head.from.features=z"])
    with pytest.raises(DocumentError, match="no column 'z'") as caught:
        document.build()
    assert "graph.nodes.head.from" in str(caught.value)


def test_an_empty_split_is_told_at_its_splitter(file):
    ratios = "data.cells.splits.0.splitter.random.ratios={train: 0.5, val: 0.499, test: 0.001}"
    with pytest.raises(DocumentError, match="'test' would be empty") as caught:
        load_document(file, overrides=[ratios]).build()
    assert "data.cells.splits[0].splitter.random" in str(caught.value)


def test_two_steps_of_one_label_are_told_at_the_second(file):
    with pytest.raises(DocumentError, match="already has a member 'train'") as caught:
        load_document(file, overrides=["plan.test.eval=train"]).build()
    assert "plan[1]" in str(caught.value)


def test_what_a_run_raises_is_no_mistake_of_the_document(file):
    document = load_document(file, overrides=["graph.optimizer={sgd: {lr: 1e30}}"])
    with pytest.raises(MMLError) as caught:
        document.build().run()
    assert not isinstance(caught.value, DocumentError)


@pytest.mark.parametrize("name", ["nowhere.yaml", "."])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    with pytest.raises(DocumentError, match="cannot be read") as caught:
        load_document(tmp_path / name)
    assert str(tmp_path) in str(caught.value)
