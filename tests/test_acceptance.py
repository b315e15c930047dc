"""The whole script of the specification, as it stands, so that no change of the interface breaks it."""

from __future__ import annotations

import os
import subprocess
import sys

SCRIPT = """
import mml
from sklearn.datasets import load_breast_cancer
from sklearn.decomposition import PCA

data = load_breast_cancer()
cells = mml.FeatureSet.from_dict(
    "cells", {"x": data.data.astype("float32"), "y": data.target.astype("float32").reshape(-1, 1)},
    feature_keys="x", target_keys="y",
)
cells.split_random(ratios={"train": 0.6, "val": 0.2, "test": 0.2}, stratify_by="y", seed=0)
cells.fit_transform("standard", domain="features", fit_to_split="train")

pca = mml.ModelNode("pca", PCA(n_components=10), cells.reference(features="x", targets="y"))
head = mml.ModelNode("head", mml.Model("torch/mlp", hidden=[32], output_shape=1), pca)
graph = mml.ModelGraph([pca, head], optimizer=mml.Optimizer("adam", lr=1e-3))

bce = mml.AppliedLoss("bce_logits", on="head")
validate = mml.EvalPhase.from_split("validate", split="val", losses=[bce])
exp = mml.Experiment("breast-cancer", graph, seed=0)
exp.execution_plan.add_phase(mml.FitPhase.from_split("fit-pca", split="train", active_nodes=["pca"]))
exp.execution_plan.add_phase(mml.TrainPhase.from_split(
    "train", split="train", sampler=mml.SimpleSampler(batch_size=32, shuffle=True, seed=0), losses=[bce], n_epochs=100,
    callbacks=[mml.Evaluation(validate, metrics=[mml.EvalLossMetric(loss=bce)]), mml.EarlyStopping(patience=10)],
))
exp.execution_plan.add_phase(mml.EvalPhase.from_split("test", split="test", losses=[bce]))

results = exp.run()
print(results.get_eval_result("test").aggregated_losses())
print(results.get_train_result("train").metrics().where(name="val_loss").to_pandas())
"""  # noqa: E501 -- its lines stand as they are written


def _run(tmp_path, hash_seed):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env={**os.environ, "MML_PROGRESS": "0", "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_specification_s_script_runs_as_it_stands_and_alike_in_every_process(tmp_path):
    first, again = (_run(tmp_path, hash_seed) for hash_seed in ("1", "2"))
    assert first.returncode == 0, first.stderr
    assert first.stdout == again.stdout
    loss = float(first.stdout.partition("'total': ")[2].partition("}")[0])
    assert 0 < loss < 0.15
    assert first.stdout.count("val_loss") >= 10
