"""Networks and estimators in one graph: three pipelines on data that ships with scikit-learn.

    python mixed_backends.py [seed] [network]

Each part learns in a phase of its own, because gradients stop where values cross from one backend to another;
`graph.explain()` says where that is. `network` names a multilayer perceptron, torch/mlp by default; another
backend's makes the same graphs.
"""

import sys

from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

import mml
from mml.experiment.progress import RunReport

NETWORK = "torch/mlp"


def reduced(*, seed: int = 0, network: str = NETWORK) -> mml.Experiment:
    """Return PCA -> network: the principal components of cell nuclei, and a network that classifies them."""
    data = load_breast_cancer()
    cells = mml.FeatureSet.from_dict(
        "cells",
        {"x": data.data.astype("float32"), "y": data.target.astype("float32").reshape(-1, 1)},
        feature_keys="x",
        target_keys="y",
    )
    cells.split_random(ratios={"train": 0.7, "test": 0.3}, stratify_by="y", seed=0)
    cells.fit_transform("standard", domain="features", fit_to_split="train")

    pca = mml.ModelNode("pca", mml.Model("sklearn/PCA", n_components=8), cells)
    net = mml.ModelNode("net", mml.Model(network, hidden=[16], output_shape=1), pca)
    experiment = mml.Experiment(
        "reduced", mml.ModelGraph([pca, net], optimizer=mml.Optimizer("adam", lr=0.01)), seed=seed
    )
    loss = mml.AppliedLoss("bce_logits", on="net", label="bce")
    plan = experiment.execution_plan
    plan.add_phase(mml.FitPhase.from_split("fit", split="train"))
    plan.add_phase(training("train", [loss], n_epochs=20))
    plan.add_phase(mml.EvalPhase.from_split("test", split="test", losses=[loss], metrics=["accuracy"]))
    return experiment


def encoded(*, seed: int = 0, network: str = NETWORK) -> mml.Experiment:
    """Return network -> forest: a network learns to tell digits, a forest decides on its output."""
    data = load_digits()
    digits = mml.FeatureSet.from_dict(
        "digits",
        {"x": (data.data / 16).astype("float32"), "y": data.target},
        feature_keys="x",
        target_keys="y",
    )
    digits.split_random(ratios={"train": 0.7, "test": 0.3}, stratify_by="y", seed=0)

    encoder = mml.ModelNode("encoder", mml.Model(network, hidden=[48], output_shape=16), digits)
    teacher = mml.ModelNode("teacher", mml.Model(network, hidden=[], output_shape=10), encoder)
    forest = mml.ModelNode("forest", mml.Model("sklearn/RandomForestClassifier", n_estimators=100), encoder)
    experiment = mml.Experiment(
        "encoded",
        mml.ModelGraph([encoder, teacher, forest], optimizer=mml.Optimizer("adam", lr=0.005)),
        seed=seed,
    )
    loss = mml.AppliedLoss("cross_entropy", on="teacher", label="ce")
    plan = experiment.execution_plan
    # Encoder and teacher learn in one backward pass; the forest is fitted on what the encoder then gives.
    plan.add_phase(training("train", [loss], n_epochs=10))
    plan.add_phase(mml.FitPhase.from_split("fit", split="train", active_nodes=["forest"]))
    plan.add_phase(
        mml.EvalPhase.from_split("test", split="test", active_nodes=["forest"], metrics=["accuracy"])
    )
    return experiment


def stacked(*, seed: int = 0, network: str = NETWORK) -> mml.Experiment:
    """Return two networks -> merge -> ridge: each sees half of the measures, and a ridge weighs both."""
    data = load_diabetes(scaled=False)
    patients = mml.FeatureSet.from_dict(
        "patients",
        {
            "body": data.data[:, :4].astype("float32"),
            "blood": data.data[:, 4:].astype("float32"),
            "y": data.target.astype("float32").reshape(-1, 1),
        },
        feature_keys=["body", "blood"],
        target_keys="y",
    )
    patients.split_random(ratios={"train": 0.7, "test": 0.3}, seed=0)
    patients.fit_transform("standard", domain="features", fit_to_split="train")
    patients.fit_transform("standard", domain="targets", fit_to_split="train")

    halves = [
        mml.ModelNode(
            f"{key}-net",
            mml.Model(network, hidden=[8], output_shape=1),
            patients.reference(features=key, targets="y"),
            optimizer=mml.Optimizer("adam", lr=0.01),
        )
        for key in ("body", "blood")
    ]
    both = mml.ConcatNode("both", halves)
    ridge = mml.ModelNode("ridge", mml.Model("sklearn/Ridge", alpha=1.0), both)
    # Without an optimizer of the graph each network is a stage of its own, stepped by its own optimizer.
    experiment = mml.Experiment("stacked", mml.ModelGraph([*halves, both, ridge]), seed=seed)
    losses = [mml.AppliedLoss("mse", on=one.label) for one in halves]
    plan = experiment.execution_plan
    plan.add_phase(training("train", losses, n_epochs=10))
    plan.add_phase(mml.FitPhase.from_split("fit", split="train"))
    plan.add_phase(mml.EvalPhase.from_split("test", split="test", active_nodes=["ridge"], metrics=["r2"]))
    return experiment


def training(label: str, losses: list[mml.AppliedLoss], *, n_epochs: int) -> mml.TrainPhase:
    """Return a TrainPhase in shuffled batches of 32."""
    batches = mml.SimpleSampler(batch_size=32, shuffle=True)
    return mml.TrainPhase.from_split(label, split="train", sampler=batches, losses=losses, n_epochs=n_epochs)


if __name__ == "__main__":
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0
    network = sys.argv[2] if len(sys.argv) > 2 else NETWORK
    for pipeline in (reduced, encoded, stacked):
        experiment = pipeline(seed=seed, network=network)
        print(f"{experiment.label}: {pipeline.__doc__}")
        print(experiment.graph.explain())
        experiment.run()
        print(f"{RunReport.of(experiment)}\n")
