"""The main job: three ways to the same experiment, equal to the bit, and good on the test split."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mml
from mml.cli.demo import DOCUMENT, demo_document
from mml.documents import load_document
from mml.experiment.progress import ProgressDisplay, RunReport
from mml.files import state_digest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def run(*arguments, folder, seed) -> subprocess.CompletedProcess[str]:
    """Run Python in a process of its own, under a hash seed of its own."""
    environment = {**os.environ, "PYTHONHASHSEED": seed, "MML_PROGRESS": "0"}
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )


def outcome(experiment) -> dict:
    """Run and report, without what depends on the clock."""
    experiment.progress = ProgressDisplay()
    experiment.run()
    return timeless(RunReport.of(experiment).to_dict())


def timeless(report: dict) -> dict:
    phases = [{key: value for key, value in one.items() if key != "seconds"} for one in report["phases"]]
    return {**{key: report[key] for key in ("experiment", "status", "seed", "weights")}, "phases": phases}


def script():
    spec = importlib.util.spec_from_file_location("breast_cancer_example", EXAMPLES / "breast_cancer.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_demo_is_the_example():
    assert DOCUMENT.read_bytes() == (EXAMPLES / "breast_cancer.yaml").read_bytes()


def test_demo_document_and_script_end_with_the_same_bits_in_any_process(tmp_path):
    demo = json.loads(run("-m", "mml", "demo", "--json", folder=tmp_path, seed="1").stdout)
    file = EXAMPLES / "breast_cancer.yaml"
    document = json.loads(run("-m", "mml", "run", file, "--json", folder=tmp_path, seed="2").stdout)
    printed = run(EXAMPLES / "breast_cancer.py", folder=tmp_path, seed="3").stdout
    assert timeless(demo) == timeless(document) == outcome(script().breast_cancer())
    assert f"weights {demo['weights'][:12]}" in printed
    assert f"{demo['phases'][-1]['metrics']['eval_accuracy']:.4f}" in printed


@pytest.mark.parametrize("seed", range(10))
def test_the_test_accuracy_is_at_least_95_percent_for_each_of_ten_seeds(seed):
    report = outcome(demo_document(seed=seed).build())
    fit, train, test = report["phases"]
    assert test["metrics"]["eval_accuracy"] >= 0.95
    assert test["metrics"]["eval_auroc"] >= 0.95
    assert (fit["status"], test["status"]) == ("completed", "completed")
    # Early stopping ends the phase before its hundred epochs.
    assert (train["status"], train["epochs"] < 100) == ("stopped", True)


def test_another_seed_changes_the_weights_and_not_the_split():
    first, second = demo_document(seed=1).build(), load_document(EXAMPLES / "breast_cancer.yaml").build()
    rows = [one.featuresets[0]["test"].rows.tolist() for one in (first, second)]
    assert rows[0] == rows[1]
    assert outcome(first)["weights"] != outcome(second)["weights"]


def test_scaler_and_pca_saw_the_training_split_only():
    experiment = demo_document().build()
    data = experiment.featuresets[0]
    train = data["train"].get_features("x", rep="raw")
    scaled = data["train"].get_features("x")
    assert abs(scaled.mean(0)).max() < 1e-4
    assert abs(scaled.std(0) - 1).max() < 1e-4
    assert len(train) == round(0.6 * len(data))
    experiment.progress = ProgressDisplay()
    experiment.run()
    estimator = experiment.graph["pca"].model.native
    assert estimator.n_samples_ == len(train)
    assert experiment.graph["pca"].is_frozen


def test_the_demo_prints_a_table_saves_the_run_and_says_what_to_try_next(tmp_path):
    printed = run("-m", "mml", "demo", "--seed", "3", folder=tmp_path, seed="0").stdout
    head = printed.splitlines()[0].split()
    assert head == ["phase", "status", "epochs", "loss", "val_loss", "accuracy", "auroc", "time"]
    assert max(map(len, printed.splitlines()[:6])) <= 80
    assert "Saved as breast-cancer-3.mml" in printed
    assert "mml show breast-cancer-3.mml" in printed
    assert "mml demo --seed 4" in printed
    loaded = mml.Experiment.load(tmp_path / "breast-cancer-3.mml")
    assert f"weights {state_digest(loaded.graph.get_state())[:12]}" in printed
    assert loaded.last_run.status == "completed"


def test_the_demo_saves_where_it_is_told_to(tmp_path):
    target = tmp_path / "elsewhere.mml"
    run("-m", "mml", "demo", "--save", target, folder=tmp_path, seed="0")
    assert [one.name for one in tmp_path.iterdir()] == ["elsewhere.mml"]
