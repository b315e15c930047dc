"""Targets that a named loss cannot mean: refused before the first step, with the column and what to do."""

from __future__ import annotations

import numpy as np
import pytest

import mml
from mml.errors import LossError

CLASSES = np.arange(20) % 3


def run(targets, loss, *, split=None, scaler=None, kind=mml.TrainPhase, **routing):
    """Run one phase over a column ``y`` of targets; its first four rows are the split ``first``."""
    with mml.ExperimentContext().activate():
        data = mml.FeatureSet.from_dict(
            "rows",
            {"x": np.ones((len(targets), 3), np.float32), "y": targets, "row": np.arange(len(targets))},
            feature_keys="x",
            target_keys="y",
            tag_keys="row",
        )
        data.split_by_condition({"first": {"row": [0, 1, 2, 3]}}, rest="others")
        if scaler is not None:
            data.fit_transform(scaler, domain="targets", fit_to_split="others")
        node = mml.ModelNode("net", mml.Model("reference/mlp", output_shape=1), data)
        made = mml.Experiment("toy", mml.ModelGraph([node], optimizer=mml.Optimizer("sgd", lr=1e-3)))
        phase = kind.from_split(
            "phase",
            split=split,
            sampler=mml.SimpleSampler(batch_size=5),
            losses=[mml.AppliedLoss(loss, on="net", **routing)],
        )
        return made.run_phase(phase)


@pytest.mark.parametrize("kind", [mml.TrainPhase, mml.EvalPhase])
@pytest.mark.parametrize(
    ("targets", "found"),
    [
        (CLASSES, "values from 0 to 2"),
        (2.0 * (CLASSES == 0) - 1, "values from -1 to 1"),
        (np.array([np.nan, 0, 1, 1.5] * 5), "values from 0 to 1.5"),
    ],
    ids=["classes", "signs", "beside-nan"],
)
def test_targets_of_a_cross_entropy_of_two_classes_lie_between_0_and_1(targets, found, kind):
    with pytest.raises(LossError, match="Targets of 'bce_logits' lie between 0 and 1") as caught:
        run(targets, "bce_logits", kind=kind)
    assert caught.value.found == found
    assert "column 'targets.y.raw'" in caught.value.where
    assert "loss 'net/bce_logits'" in caught.value.where
    assert "cross_entropy" in caught.value.hint


@pytest.mark.parametrize(
    "routing",
    [
        {"inputs": {"targets": "targets.y", "outputs": "outputs"}},
        {"inputs": ["outputs", "tags.row"]},
    ],
)
def test_targets_are_found_wherever_they_come_from(routing):
    with pytest.raises(LossError, match="lie between 0 and 1"):
        run(CLASSES, "bce_logits", **routing)


def test_only_the_rows_of_the_phase_count():
    targets = np.concatenate([[0, 1, 1, 0], np.full(16, 7)])
    assert run(targets, "bce_logits", split="first").status == "completed"
    with pytest.raises(LossError, match="lie between 0 and 1"):
        run(targets, "bce_logits", split="others")


@pytest.mark.parametrize("targets", [CLASSES == 1, (CLASSES == 1).astype(np.float64), CLASSES / 2])
def test_shares_train_whatever_their_type(targets):
    assert run(targets, "bce_logits").status == "completed"


def test_scaled_targets_are_looked_at_as_the_loss_reads_them():
    assert run(CLASSES.astype(np.float32), "bce_logits", scaler="minmax").status == "completed"


def test_other_losses_and_functions_take_any_number():
    def mine(outputs, targets):
        return (outputs - targets).reshape(len(outputs), -1).mean(axis=1)

    assert run(CLASSES, "mse").status == "completed"
    assert run(CLASSES, mine, kind=mml.EvalPhase).status == "completed"


@pytest.mark.parametrize("loss", ["bce_logits", "cross_entropy", "mse"])
def test_text_is_no_target_of_a_named_loss(loss):
    with pytest.raises(LossError, match=r"'targets\.y\.raw' does not hold numbers") as caught:
        run(np.array(["a", "b"] * 10), loss)
    assert "np.unique(labels, return_inverse=True)" in caught.value.hint
    assert f"loss 'net/{loss}'" in caught.value.where
