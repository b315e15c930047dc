"""Benign or malignant? 569 samples that ship with scikit-learn, from scaling to the test split.

The same experiment as a document is breast_cancer.yaml; both end with the same weights, bit for bit.

    python breast_cancer.py [seed]
"""

import sys

from sklearn.datasets import load_breast_cancer

import mml
from mml.experiment.progress import RunReport


def breast_cancer(*, seed: int = 0) -> mml.Experiment:
    """Return the experiment, not yet run."""
    data = load_breast_cancer()
    cells = mml.FeatureSet.from_dict(
        "cells",
        {"x": data.data.astype("float32"), "y": data.target.astype("float32").reshape(-1, 1)},
        feature_keys="x",
        target_keys="y",
    )
    cells.split_random(ratios={"train": 0.6, "val": 0.2, "test": 0.2}, stratify_by="y", seed=0)
    cells.fit_transform("standard", domain="features", fit_to_split="train")

    pca = mml.ModelNode(
        "pca", mml.Model("sklearn/PCA", n_components=10), cells.reference(features="x", targets="y")
    )
    head = mml.ModelNode("head", mml.Model("torch/mlp", hidden=[16], output_shape=1), pca)
    graph = mml.ModelGraph([pca, head], optimizer=mml.Optimizer("adam", lr=0.01))

    bce = mml.AppliedLoss("bce_logits", on="head", label="bce")
    validate = mml.EvalPhase.from_split("validate", split="val", losses=[bce])

    experiment = mml.Experiment("breast-cancer", graph, seed=seed)
    plan = experiment.execution_plan
    # Fitted once on the training split, then frozen.
    plan.add_phase(mml.FitPhase.from_split("fit-pca", split="train", active_nodes=["pca"]))
    plan.add_phase(
        mml.TrainPhase.from_split(
            "train",
            split="train",
            sampler=mml.SimpleSampler(batch_size=32, shuffle=True),
            losses=[bce],
            n_epochs=100,
            callbacks=[mml.Evaluation(validate), mml.EarlyStopping(monitor="val_loss", patience=10)],
        )
    )
    plan.add_phase(
        mml.EvalPhase.from_split("test", split="test", losses=[bce], metrics=["accuracy", "auroc"])
    )
    return experiment


if __name__ == "__main__":
    experiment = breast_cancer(seed=int(sys.argv[1]) if len(sys.argv) > 1 else 0)
    experiment.run()
    print(RunReport.of(experiment))
