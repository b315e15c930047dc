"""Losses and training: what went wrong elsewhere. Each check passes on MML and fails on a faulty double.

What is checked is a function or a small class; a double answers the same calls on plain arrays. Where a check
needs a framework, it stands in the workspace's own tests.
"""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import mml
from mml.files import state_digest

N_ROWS, WIDTH = 30, 3
RATIOS = {"train": 0.5, "val": 0.3, "test": 0.2}


def columns():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N_ROWS, WIDTH)).astype(np.float32)
    return {"x": x, "y": x @ np.array([[1.0], [-2.0], [0.5]], np.float32)}


def featureset(**more):
    made = mml.FeatureSet.from_dict("rows", {**columns(), **more}, feature_keys="x", target_keys=["y", *more])
    made.split_random(ratios=RATIOS, seed=0)
    return made


def dense(label, upstream, width=1):
    """Return one linear layer of the reference backend."""
    return mml.ModelNode(label, mml.Model("reference/mlp", hidden=[], output_shape=width), upstream)


def train(losses, *, n_epochs=3, **settings):
    sampler = mml.SimpleSampler(batch_size=4, shuffle=True, seed=1)
    return mml.TrainPhase.from_split(
        "train", split="train", sampler=sampler, losses=losses, n_epochs=n_epochs, **settings
    )


def mse():
    return mml.AppliedLoss("mse", on="head")


def weights(made, label):
    """Return weight and bias of a linear node, copied."""
    state = made.graph[label].get_state()["model"]
    return [np.array(state[name]) for name in sorted(state, reverse=True)]


def single(*, optimizer="sgd"):
    """Return an experiment with one linear node in a context of its own."""
    with mml.ExperimentContext().activate():
        head = dense("head", featureset().reference(features="x", targets="y"))
        graph = mml.ModelGraph([head], optimizer=mml.Optimizer(optimizer, lr=0.05))
        made = mml.Experiment("toy", graph)
    made.graph.build(seed=made.initial_seed, context=made.context)
    return made


# --- means -------------------------------------------------------------------------------------------------


def mml_mean_loss(batch_size, loss):
    """Evaluate a callable on every row of a split, in batches; return the phase's loss."""
    made = single()
    applied = mml.AppliedLoss(loss, on="head", label="own")
    phase = mml.EvalPhase.from_split("look", split="train", losses=[applied], batch_size=batch_size)
    results = made.run_phase(phase)
    rows = made.context.get("rows")["train"]
    (weight, bias) = weights(made, "head")
    return results.aggregated_losses()["own"], rows.get_features("x") @ weight + bias, rows.get_targets("y")


def times_the_batch_size(batch_size, loss):
    """The double: what a loss returns is taken for a mean per row and multiplied by the rows of its batch."""
    x, y = columns()["x"], columns()["y"]
    starts = range(0, len(x), batch_size)
    parts = [slice(at, at + batch_size) for at in starts]
    total = sum(loss(x[part, :1], y[part]) * len(x[part]) for part in parts)
    return total / len(starts), x[:, :1], y


def mean_of_batch_means(batch_size, loss):
    """The double: every batch counts alike, however many rows it has."""
    x, y = columns()["x"], columns()["y"]
    parts = [slice(at, at + batch_size) for at in range(0, len(x), batch_size)]
    return float(np.mean([loss(x[part, :1], y[part]) for part in parts])), x[:, :1], y


def mean_of_squares(outputs, targets):
    return np.mean((outputs - targets) ** 2, dtype=np.float64)


def check_that_a_mean_stays_a_mean(evaluate):
    value, outputs, targets = evaluate(5, mean_of_squares)
    expected = float(mean_of_squares(outputs, targets))
    assert value == pytest.approx(expected, rel=1e-5), f"{value / expected:.1f} times the mean"


def check_that_the_batch_size_does_not_matter(evaluate):
    found = {size: evaluate(size, mean_of_squares)[0] for size in (1, 4, 7, N_ROWS)}
    spread = max(found.values()) - min(found.values())
    assert spread <= 1e-6 * max(found.values()), f"the loss depends on the batch size: {found}"


def test_a_loss_that_returns_a_mean_is_not_multiplied():
    """'A loss that returns a mean is multiplied by the batch size.'"""
    check_that_a_mean_stays_a_mean(mml_mean_loss)
    with pytest.raises(AssertionError, match=r"5\.0 times the mean"):
        check_that_a_mean_stays_a_mean(times_the_batch_size)


def test_the_loss_of_an_evaluation_does_not_depend_on_the_batch_size():
    """'Evaluation loss depends on the batch size: a mean of batch means.'"""
    check_that_the_batch_size_does_not_matter(mml_mean_loss)
    with pytest.raises(AssertionError, match="depends on the batch size"):
        check_that_the_batch_size_does_not_matter(mean_of_batch_means)


# --- losses by name ----------------------------------------------------------------------------------------


def mml_named(loss, width, targets):
    """Evaluate a loss by name on a linear node of some width; return it with outputs and targets."""
    with mml.ExperimentContext().activate():
        rows = featureset(z=targets)
        head = dense("head", rows.reference(features="x", targets="z"), width)
        made = mml.Experiment("toy", mml.ModelGraph([head], optimizer="sgd"))
    applied = mml.AppliedLoss(loss, on="head", label="named")
    before = made.run_phase(mml.EvalPhase.from_split("before", split="train", losses=[applied]))
    made.run_phase(train([applied]))
    after = made.run_phase(mml.EvalPhase.from_split("after", split="train", losses=[applied]))
    return (
        before.aggregated_losses()["named"],
        before.stacked_tensors("head").astype(np.float64),
        rows["train"].get_targets("z"),
        after.aggregated_losses()["named"],
    )


def of_one_column(loss, width, targets):
    """The double: losses are written for one output and one target a row."""
    outputs = np.zeros((len(targets), width))
    per_row = (outputs.reshape(len(targets)) - targets.reshape(len(targets))) ** 2
    return float(per_row.mean()), outputs, targets, 0.0


def check_losses_by_name(evaluate):
    classes = np.arange(N_ROWS) % 3
    several = np.stack([columns()["y"][:, 0], -columns()["x"][:, 1]], axis=1)

    def cross_entropy(outputs, targets):
        exponent = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        chosen = (exponent / exponent.sum(axis=1, keepdims=True))[np.arange(len(targets)), targets.ravel()]
        return -np.log(chosen).mean()

    cases = {
        "cross_entropy": (3, classes, cross_entropy),
        "mse": (2, several, lambda outputs, targets: ((outputs - targets) ** 2).mean()),
        "mae": (2, several, lambda outputs, targets: np.abs(outputs - targets).mean()),
    }
    for loss, (width, targets, by_hand) in cases.items():
        value, outputs, seen, trained = evaluate(loss, width, targets)
        assert value == pytest.approx(by_hand(outputs, seen), rel=1e-5), f"{loss} is another number"
        assert trained < value, f"{loss} is not trained by"


def test_losses_of_several_classes_and_columns_work_by_name():
    """'... multi-class and multi-column losses by name raise ...'"""
    check_losses_by_name(mml_named)
    with pytest.raises(ValueError, match="reshape"):
        check_losses_by_name(of_one_column)


# --- going on in another process ---------------------------------------------------------------------------

IN_MML = """
import sys
import mml
from mml.files import state_digest
loaded = mml.Experiment.load(sys.argv[1])
loaded.run()
print(state_digest(loaded.graph.get_state()))
"""

OUT_OF_A_SET = """
import sys
import numpy as np
names = {f"layer{number}" for number in range(6)}
moments = np.load(sys.argv[1])
print(" ".join(f"{moment:.3f}" for _, moment in sorted(zip(names, moments))))
"""


def check_that_optimizers_go_on_in_any_process(script, path, expected):
    for hash_seed in ("1", "2", "3"):
        ran = subprocess.run(
            [sys.executable, "-c", script, str(path)],
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(sys.path),
                "PYTHONHASHSEED": hash_seed,
                "MML_PROGRESS": "0",
            },
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        assert ran.stdout.strip() == expected, f"other moments under hash seed {hash_seed}"


def test_moments_stay_with_their_parameters_in_another_process(tmp_path):
    """'Resume in a new process puts Adam's moments on the wrong parameters, depending on the hash seed.'"""
    made = single(optimizer="adam")
    made.execution_plan.add_phase(train([mse()]))
    made.run()
    path = made.save(tmp_path / "toy.mml")
    made.run()
    check_that_optimizers_go_on_in_any_process(IN_MML, path, state_digest(made.graph.get_state()))

    moments = np.arange(6) / 8
    np.save(tmp_path / "moments.npy", moments)
    expected = " ".join(f"{moment:.3f}" for moment in moments)
    with pytest.raises(AssertionError, match="other moments"):
        check_that_optimizers_go_on_in_any_process(OUT_OF_A_SET, tmp_path / "moments.npy", expected)


# --- the best epoch ----------------------------------------------------------------------------------------


def mml_stopped_early():
    """Train with a rate that overshoots; return the values of each epoch, the losses, and the last values."""
    with mml.ExperimentContext().activate():
        head = dense("head", featureset().reference(features="x", targets="y"))
        graph = mml.ModelGraph([head], optimizer=mml.Optimizer("sgd", lr=1.0))
        made = mml.Experiment("toy", graph)
    seen = []

    class Watch(mml.Callback):
        def on_epoch_end(self, *, experiment, **_):
            seen.append(b"".join(one.tobytes() for one in weights(experiment, "head")))

    validate = mml.EvalPhase.from_split("validate", split="val", losses=[mse()])
    callbacks = [Watch(), mml.Evaluation(validate), mml.EarlyStopping(patience=4)]
    results = made.run_phase(train([mse()], n_epochs=12, callbacks=callbacks))
    losses = np.asarray(results.metrics().where(name="val_loss").values)
    return seen, losses, b"".join(one.tobytes() for one in weights(made, "head"))


def that_lost_the_best():
    """The double: of all checkpoints the newest two are kept, and the best is no longer among them."""
    losses = np.array([3.0, 1.0, 2.0, 4.0, 5.0])
    seen = [bytes([epoch]) for epoch in range(5)]
    kept = {3: seen[3], 4: seen[4]}
    return seen, losses, kept.get(int(losses.argmin()), seen[-1])


def check_that_the_best_epoch_is_restored(run):
    seen, losses, final = run()
    best = int(losses.argmin())
    assert best < len(losses) - 1, "the last epoch was the best: nothing to restore"
    assert final == seen[best], "the last epoch was kept"


def test_early_stopping_restores_the_best_epoch():
    """'Restoring the best epoch silently keeps the last one when the best checkpoint was evicted.'"""
    check_that_the_best_epoch_is_restored(mml_stopped_early)
    with pytest.raises(AssertionError, match="the last epoch was kept"):
        check_that_the_best_epoch_is_restored(that_lost_the_best)
