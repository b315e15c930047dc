"""The command line with every plugin installed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "examples" / "breast_cancer.yaml"


def mml(*arguments, folder=None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mml", *map(str, arguments)],
        cwd=folder,
        env={**os.environ, "MML_PROGRESS": "0", "COLUMNS": "80"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_plugins_lists_all_that_are_installed_within_80_columns():
    result = mml("plugins")
    assert result.returncode == 0
    assert max(map(len, result.stdout.splitlines())) <= 80
    listed = json.loads(mml("plugins", "--json").stdout)
    assert {"mml", "torch", "sklearn", "reference"} <= {one["name"] for one in listed}
    assert {one["state"] for one in listed} == {"loaded"}


def test_doctor_tells_versions_devices_and_threads_of_every_framework_within_80_columns(tmp_path):
    import sklearn
    import torch

    result = mml("doctor", folder=tmp_path)
    assert (result.returncode, result.stderr) == (0, "")
    assert max(map(len, result.stdout.splitlines())) <= 80
    found = {
        one["name"]: one for one in json.loads(mml("doctor", "--json", folder=tmp_path).stdout)["plugins"]
    }
    versions = {one["name"]: one["value"] for plugin in found.values() for one in plugin["frameworks"]}
    assert versions["torch"] == torch.__version__
    assert versions["sklearn"] == f"{sklearn.__version__} (scikit-learn)"
    threads = {name: [one for one in found[name]["findings"] if one["name"] == "threads"] for name in found}
    assert threads["torch"]
    assert threads["sklearn"]
    works = [one["name"] for one in found["torch"]["findings"] if one["value"] == "works"]
    assert works == [f"torch on {device}" for device in found["torch"]["backends"]["torch"]["devices"]]


def test_validate_accepts_the_example_and_reads_no_data():
    result = mml("validate", DOCUMENT)
    assert (result.returncode, result.stderr) == (0, "")
    assert "'breast-cancer' is valid" in result.stdout


@pytest.mark.parametrize(
    ("assignment", "parts"),
    [
        ("graph.nodes.pca.model={sklearn/PCAA: {}}", ["no model 'sklearn/PCAA'", "'sklearn/PCA'"]),
        ("graph.nodes.pca.model.sklearn/PCA.n_componets=3", ["'n_componets'", "'n_components'"]),
        ("graph.nodes.head.model.torch/mlp.hiden=[3]", ["'hiden'", "'hidden'"]),
        ("graph.nodes.head.model.torch/mlp.hidden=[wide]", ["hidden[0]", "a whole number", "'wide'"]),
        ("data.cells.dataset=sklearn/breast_cancr", ["no dataset", "'sklearn/breast_cancer'"]),
    ],
)
def test_validate_tells_mistakes_in_what_plugins_bring(assignment, parts):
    result = mml("validate", DOCUMENT, "--set", assignment)
    assert result.returncode == 2
    for part in ["breast_cancer.yaml", *parts]:
        assert part in result.stderr


def test_a_mistake_in_the_file_is_told_with_its_line(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(DOCUMENT.read_text().replace("n_components: 10", "n_componets: 10"))
    line = next(n for n, text in enumerate(file.read_text().splitlines(), 1) if "n_componets" in text)
    result = mml("run", file, folder=tmp_path)
    assert result.returncode == 2
    assert f"line {line}, graph.nodes.pca.model.sklearn/PCA.n_componets" in result.stderr


def test_a_phase_that_fails_exits_with_1_and_names_node_and_phase():
    result = mml("run", DOCUMENT, "--set", "graph.nodes.pca.model.sklearn/PCA.n_components=31")
    assert result.returncode == 1
    assert "fit-pca" in result.stderr
    assert "pca" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_schema_holds_the_components_of_the_plugins():
    schema = json.loads(mml("schema").stdout)
    assert "sklearn/PCA" in schema["$defs"]["models"]["anyOf"][0]["enum"]
    assert "torch/mlp" in schema["$defs"]["models"]["anyOf"][0]["enum"]
    assert "breast_cancer" in schema["$defs"]["datasets"]["anyOf"][0]["enum"]


def test_conformance_runs_the_suite():
    result = mml("conformance", "no-such-backend")
    assert result.returncode == 2
    assert "no-such-backend" in result.stderr
