"""`RunReport`: the table and the data of a run."""

import json

import numpy as np
import pytest

import mml
from mml.errors import ExperimentError
from mml.experiment.progress import ProgressDisplay, RunReport
from mml.files import state_digest


def experiment(*, lr=0.1):
    x = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
    cells = mml.FeatureSet.from_dict("cells", {"x": x, "y": x[:, :1]}, feature_keys="x", target_keys="y")
    cells.split_random(ratios={"train": 0.5, "test": 0.5}, seed=0)
    head = mml.ModelNode("head", mml.Model("reference/mlp", output_shape=1), cells)
    graph = mml.ModelGraph([head], optimizer=mml.Optimizer("sgd", lr=lr))
    made = mml.Experiment("toy", graph, seed=4, progress=ProgressDisplay())
    loss = mml.AppliedLoss("mse", on="head", label="error")
    group = made.execution_plan.add_group("first")
    sampler = mml.SimpleSampler(batch_size=8)
    group.add_phase(
        mml.TrainPhase.from_split("train", split="train", sampler=sampler, losses=[loss], n_epochs=3)
    )
    made.execution_plan.add_phase(
        mml.EvalPhase.from_split("test", split="test", losses=[loss], metrics=["rmse"])
    )
    return made


def test_it_reports_phases_by_path_with_their_metrics():
    made = experiment()
    results = made.run()
    report = RunReport.of(made)
    assert (report.label, report.seed, report.status) == ("toy", 4, "completed")
    assert [(one.path, one.epochs) for one in report.phases] == [("first/train", 3), ("test", None)]
    assert report.phases[1].metrics["eval_loss"] == results.get_eval_result().aggregated_losses()["total"]
    assert report.weights == state_digest(made.graph.get_state())


def test_the_table_is_aligned_and_fits_80_columns():
    made = experiment()
    made.run()
    report = RunReport.of(made)
    lines = str(report).splitlines()
    assert lines[0].split() == ["phase", "status", "epochs", "loss", "rmse", "time"]
    assert lines[2].startswith("first/train  completed")
    assert lines[0].index("rmse") + 4 == lines[3].index(f"{report.phases[1].metrics['eval_rmse']:.4f}") + 6
    assert lines[-1].endswith(f"weights {report.weights[:12]}")
    assert max(map(len, lines)) <= 80


def test_the_data_is_json():
    made = experiment()
    made.run()
    found = json.loads(json.dumps(RunReport.of(made).to_dict()))
    assert [one["phase"] for one in found["phases"]] == ["first/train", "test"]
    assert found["phases"][0]["metrics"]["train_loss/error"] > 0


def test_small_numbers_stay_readable():
    made = experiment(lr=1e-6)
    results = made.run()
    results.get_eval_result().metric_store.log("eval_tiny", 1.25e-7, epoch=0)
    assert "1.2e-07" in str(RunReport.of(made))


def test_the_latest_run_is_reported_also_where_it_failed():
    made = experiment(lr=1e30)
    with pytest.raises(mml.MMLError):
        made.run()
    report = RunReport.of(made)
    assert report.status == "failed"
    assert [one.status for one in report.phases] == ["failed"]
    assert "failed" in str(report)


def test_there_is_nothing_to_report_before_the_first_run():
    with pytest.raises(ExperimentError, match="Nothing was run"):
        RunReport.of(experiment())
