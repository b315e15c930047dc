"""Losses that read columns of a FeatureSet outside the batch: matched by sample, whatever the order."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

import mml
from mml.errors import LossError, MMLError, RegistrationError

from . import toy


def watched(seen):
    def loss(outputs, other):
        seen.append(np.array(other))
        return (outputs - other.reshape(len(other), -1)[:, :1]) ** 2

    return loss


@pytest.fixture
def made():
    with mml.ExperimentContext().activate():
        yield toy.experiment(phases=[])


def notes(made, *, order=None, label="notes"):
    """Return a set of the same samples with a column of their own, in another order."""
    rows = made.context.get("rows")
    order = np.random.default_rng(3).permutation(len(rows)) if order is None else order
    table = rows.take(order).to_featureset("moved").to_arrow()
    kept = table.select(["sample_uuids.uuid.raw"]).append_column(
        "targets.z.raw", [np.asarray(order, "float32")]
    )
    with made.context.activate():
        return mml.FeatureSet.from_pyarrow_table(label, kept)


def evaluated(made, loss, inputs, **settings):
    applied = mml.AppliedLoss(loss, on="head", inputs=inputs, label="watched", **settings)
    return made.run_phase(toy.validation(losses=[applied], batch_size=3))


def test_each_row_reads_its_own_sample(made):
    other, seen = notes(made), []
    # The column holds the row numbers of the samples in the set that the batches come from.
    evaluated(made, watched(seen), ["outputs", other.reference(features=(), targets="z")])
    rows = made.context.get("rows")["val"].rows
    np.testing.assert_array_equal(np.concatenate(seen).ravel(), rows.astype("float32"))


def test_training_reads_them_in_the_order_of_the_batches(made):
    other = notes(made)
    same = mml.AppliedLoss("mse", on="head", inputs=["outputs", other.reference(features=(), targets="z")])
    results = made.run_phase(toy.training(losses=[same], n_epochs=2, result_recording="all"))
    rows = results.batches("trunk").where(epoch=1)
    outputs = results.tensors("head").where(epoch=1)
    expected = [
        np.mean((out.ravel() - taken) ** 2) for out, taken in zip(outputs.values, rows.values, strict=True)
    ]
    np.testing.assert_allclose(results.losses("head").where(epoch=1).values, expected, rtol=1e-5)


def test_weights_and_configurations_come_along(made):
    reference = notes(made).reference(features=(), targets="z")
    applied = mml.AppliedLoss("mse", on="head", inputs={"outputs": "outputs", "targets": reference})
    again = mml.AppliedLoss.from_config(applied.get_config())
    assert again == applied
    assert again.get_config() == applied.get_config()


def test_the_same_samples_need_no_search(made):
    rows, seen = made.context.get("rows"), []
    evaluated(made, watched(seen), ["outputs", rows.reference(features=(), targets="y")])
    np.testing.assert_array_equal(np.concatenate(seen), rows["val"].get_targets("y"))


def test_a_sample_that_is_not_there_is_an_error_before_the_first_step(made):
    rows, seen = made.context.get("rows"), []
    missing = int(rows["val"].rows[1])
    other = notes(made, order=np.delete(np.arange(len(rows)), missing))
    with pytest.raises(LossError, match=rf"1 of \d+ rows have no sample in 'notes'(.|\n)*row {missing}\b"):
        evaluated(made, watched(seen), ["outputs", other.reference(features=(), targets="z")])
    assert seen == []
    # Rows that the phase does not draw may be missing.
    made.run_phase(
        toy.validation(
            split="test",
            losses=[
                mml.AppliedLoss(
                    "mse", on="head", inputs=["outputs", other.reference(features=(), targets="z")]
                )
            ],
        )
    )


@pytest.mark.parametrize(
    ("reference", "error", "message"),
    [
        (mml.FeatureSetReference("nots", features=(), targets="z"), RegistrationError, "nots"),
        (mml.FeatureSetReference("notes", features=(), targets="w"), MMLError, "'w'"),
        (mml.FeatureSetReference("notes", features=(), targets=()), LossError, "no column"),
        (mml.FeatureSetReference("rows"), LossError, "columns of one domain"),
    ],
)
def test_a_reference_that_leads_nowhere_names_the_loss(made, reference, error, message):
    notes(made)
    with pytest.raises(error, match=message) as raised:
        evaluated(made, "mse", ["outputs", reference])
    assert "loss 'watched'" in str(raised.value)


def test_several_roles_do_not_tell_whose_sample_is_meant(made):
    other = notes(made)
    reads = ["outputs.anchor", other.reference(features=(), targets="z")]
    applied = mml.AppliedLoss("mse", on="head", inputs=reads)
    phase = mml.EvalPhase.from_split(
        "pairs",
        split="val",
        sampler=mml.PairedSampler(batch_size=4, conditions={"y": {"tolerance": 10.0}}),
        losses=[applied],
    )
    with pytest.raises(LossError, match="which role's samples"):
        made.run_phase(phase)


def elsewhere(other):
    return mml.AppliedLoss(
        "mse", on="head", inputs=["outputs", other.reference(features=(), targets="y")], label="elsewhere"
    )


def beside(*, phases):
    """Return an experiment, and a set of the same samples that its graph does not read."""
    made = toy.experiment(phases=phases)
    rows = made.context.get("rows")
    return made, rows.take(np.random.default_rng(0).permutation(len(rows))).to_featureset("beside")


@pytest.mark.parametrize("known", ["before", "after"])
def test_a_set_that_only_a_loss_reads_is_found_where_the_script_made_it(known):
    made, other = beside(phases=[])
    if known == "before":
        # A FeatureSet may stand in several contexts.
        made.context.register(other)
    results = made.run_phase(toy.training(losses=[toy.mse(), elsewhere(other)]))
    latest = results.metric_store.latest
    assert latest("train_loss/elsewhere") == pytest.approx(latest("train_loss/head/mse"), rel=1e-6)
    assert made.preview_phase(toy.validation(losses=[elsewhere(other)])).status == "completed"


def test_so_is_one_that_an_evaluation_during_training_reads():
    made, other = beside(phases=[])
    watched = mml.Evaluation(toy.validation(losses=[elsewhere(other)]))
    results = made.run_phase(toy.training(callbacks=[watched]))
    plain = made.run_phase(toy.validation())
    assert results.metric_store.latest("val_loss") == pytest.approx(
        plain.aggregated_losses()["head/mse"], rel=1e-6
    )


def test_it_is_saved_with_the_experiment(tmp_path):
    made, other = beside(phases=[])
    made.execution_plan.add_phase(toy.validation(losses=[elsewhere(other)]))
    path = made.save(tmp_path / "toy.mml")
    expected = made.run().get_eval_result("validate").aggregated_losses()
    with mml.ExperimentContext().activate():
        loaded = mml.Experiment.load(path)
    assert {one.label for one in loaded.featuresets} == {"rows", "beside"}
    assert loaded.run().get_eval_result("validate").aggregated_losses() == expected


LOOP = """
import numpy as np
import mml
x = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
for seed in range(2):
    rows = mml.FeatureSet.from_dict("rows", {"x": x, "y": x[:, :1]}, feature_keys="x", target_keys="y")
    other = rows.take(slice(None, None, -1)).to_featureset("other")
    head = mml.ModelNode("head", mml.Model("reference/mlp", output_shape=1), rows)
    made = mml.Experiment("loop", mml.ModelGraph([head]), seed=seed)
    loss = mml.AppliedLoss("mse", on="head", inputs=["outputs", other.reference(features=(), targets="y")])
    made.run_phase(mml.EvalPhase.from_split("look", split=None, losses=[loss]))
print("done")
"""


def test_a_loop_over_seeds_may_make_it_anew():
    ran = subprocess.run(
        [sys.executable, "-c", LOOP],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "MML_PROGRESS": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "done\n"
