"""The commands: what they print, and with which status they exit."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

from mml.cli.app import app
from mml.errors import ArchiveError
from mml.experiment import Experiment
from mml.files import read_archive

COMMANDS = ("run", "validate", "schema", "plugins", "doctor", "demo", "show", "conformance")


def shell(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "mml", *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path), "MML_PROGRESS": "0", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_commands_are_those_that_work():
    assert {one.name or one.callback.__name__ for one in app.registered_commands} == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(mml, command):
    result = mml(command, "--help")
    assert result.exit_code == 0
    assert f"Example: mml {command}" in result.stdout


def test_help_lists_the_commands_unshortened(mml):
    result = mml("--help")
    assert result.exit_code == 0
    assert all(f"  {command} " in result.stdout for command in COMMANDS)
    assert "..." not in result.stdout.partition("Commands:")[2]


def test_the_version(mml):
    import mml as package

    assert mml("--version").stdout == f"mml {package.__version__}\n"


def test_run_prints_a_table_and_the_digest_of_the_weights(mml, file):
    result = mml("run", file)
    assert result.exit_code == 0
    assert result.stderr == ""
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["phase", "status", "epochs", "loss", "rmse", "time"]
    assert any(line.split()[:3] == ["train", "completed", "3"] for line in lines)
    assert "weights " in lines[-1]
    assert max(map(len, lines)) <= 80


def test_run_prints_json(mml, file):
    report = json.loads(mml("run", file, "--json").stdout)
    assert (report["experiment"], report["status"], report["seed"]) == ("toy", "completed", 0)
    assert len(report["weights"]) == 64
    assert [one["phase"] for one in report["phases"]] == ["train", "test"]
    assert report["phases"][0]["epochs"] == 3
    assert report["phases"][1]["metrics"]["eval_rmse"] > 0
    assert report["saved"] is None


def test_the_seed_is_the_experiments_and_set_replaces_values(mml, file):
    reports = {
        arguments: json.loads(mml("run", file, "--json", *arguments).stdout)
        for arguments in [(), ("--seed", "1"), ("--set", "seed=1"), ("--set", "plan.train.epochs=1")]
    }
    assert reports["--seed", "1"]["seed"] == 1
    assert reports["--seed", "1"]["weights"] == reports["--set", "seed=1"]["weights"]
    assert reports["--seed", "1"]["weights"] != reports[()]["weights"]
    assert reports["--set", "plan.train.epochs=1"]["phases"][0]["epochs"] == 1


def test_two_runs_of_a_seed_have_equal_weights_in_any_process(mml, file):
    here = json.loads(mml("run", file, "--json").stdout)
    there = [json.loads(shell("run", file, "--json", PYTHONHASHSEED=seed).stdout) for seed in ("1", "2")]
    assert {one["weights"] for one in there} == {here["weights"]}
    assert [one["metrics"] for one in there[0]["phases"]] == [one["metrics"] for one in here["phases"]]


def test_save_writes_an_experiment_that_show_describes(mml, file, tmp_path):
    target = tmp_path / "run.mml"
    assert f"Saved as {target}." in mml("run", file, "--save", target).stdout
    with read_archive(target) as archive:
        archive.verify()
    result = mml("show", target)
    assert result.exit_code == 0
    for part in (
        "experiment",
        "toy",
        "head: reference/mlp <- cells",
        "train: train, 3 epochs",
        "completed",
        "state.json",
    ):
        assert part in result.stdout
    shown = json.loads(mml("show", target, "--json").stdout)
    assert shown["kind"] == "experiment"
    assert shown["summary"]["nodes"] == ["head: reference/mlp <- cells"]
    assert shown["members"]["config.json"] > 0


def test_show_describes_a_featureset(mml, tmp_path):
    import mml as package

    data = {"x": [[1.0], [2.0]]}
    package.FeatureSet.from_dict("cells", data, feature_keys="x").save(tmp_path / "cells.mml")
    result = mml("show", tmp_path / "cells.mml")
    assert result.exit_code == 0
    assert "featureset" in result.stdout
    assert "rows: 2" in result.stdout


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 damaged", b"mml: 1"])
def test_show_refuses_what_is_no_archive(mml, tmp_path, content):
    file = tmp_path / "x.mml"
    file.write_bytes(content)
    result = mml("show", file)
    assert result.exit_code == 1
    assert "x.mml" in result.stderr
    assert "Traceback" not in result.stderr


def test_validate_says_that_a_document_is_valid_without_its_data(mml, file):
    (file.parent / "cells.npz").unlink()
    result = mml("validate", file)
    assert result.exit_code == 0
    assert "'toy' is valid" in result.stdout


@pytest.mark.parametrize(
    ("before", "after", "parts"),
    [
        ("epochs: 3", "epoch: 3", ["line 17", "plan[0].epoch", "'epochs'"]),
        ("epochs: 3", "epochs: many", ["line 17", "plan[0].epochs", "a whole number"]),
        ("loss: mse", "loss: mze", ["line 15", "losses.error.loss", "'mse'"]),
        ("batch_size", "batchsize", ["line 17", "plan[0].sampler.simple.batchsize", "'batch_size'"]),
    ],
)
def test_a_bad_document_exits_with_2_and_says_where(mml, file, before, after, parts):
    file.write_text(file.read_text().replace(before, after))
    for command in ("run", "validate"):
        result = mml(command, file)
        assert result.exit_code == 2
        assert result.stdout == ""
        assert "Traceback" not in result.stderr
        assert all(part in result.stderr for part in ["toy.yaml", *parts])


def test_debug_shows_the_traceback_of_an_error(mml, file):
    result = mml("run", file, "--set", "seed=x", "--debug")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert "a whole number" in result.stderr


def test_a_run_that_fails_exits_with_1_and_says_why(mml, file):
    result = mml("run", file, "--set", "graph.optimizer.sgd.lr=1e30")
    assert result.exit_code == 1
    assert "phase 'train'" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [["run"], ["nothing"], ["run", "x.yaml", "--sed", "1"], ["demo", "--seed", "x"], ["run", "no.yaml"]],
)
def test_wrong_usage_exits_with_2(mml, arguments):
    result = mml(*arguments)
    assert result.exit_code == 2
    assert result.stderr


def test_no_command_shows_help_and_exits_with_2(mml):
    result = mml()
    assert result.exit_code == 2
    assert "Commands:" in result.stdout + result.stderr


def test_the_schema_is_json(mml):
    result = mml("schema")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["title"] == "MML experiment"


def test_conformance_without_the_suite_says_how_to_install_it(mml, monkeypatch):
    # None in sys.modules is how Python itself says that a module cannot be had.
    monkeypatch.setitem(sys.modules, "mml_conformance", None)
    result = mml("conformance", "reference")
    assert result.exit_code == 1
    assert "pip install" in result.stderr
    assert "mml-conformance" in result.stderr


def test_conformance_hands_name_and_format_on(mml, monkeypatch):
    import types

    asked = []
    suite = types.SimpleNamespace(run=lambda name, json=False: asked.append((name, json)) or 1)
    monkeypatch.setitem(sys.modules, "mml_conformance", suite)
    assert mml("conformance", "foo", "--json").exit_code == 1
    assert asked == [("foo", True)]


def test_python_m_mml_is_the_command_line():
    result = shell("--version")
    assert result.returncode == 0
    assert result.stdout.startswith("mml ")
    assert shell("run", "nowhere.yaml").returncode == 2


def test_listing_imports_no_framework():
    code = (
        "import sys; sys.argv = ['mml', 'plugins']\n"
        "from mml.cli import main\n"
        "assert 'typer' not in sys.modules and 'rich' not in sys.modules\n"
        "try: main()\nexcept SystemExit: pass\n"
        "from mml.plugins import get_manager\n"
        "needed = [name for one in get_manager().plugins for name in one.requires]\n"
        "print('IMPORTED', [name for name in needed if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "early_stopping" in result.stdout
    assert result.stdout.rpartition("IMPORTED")[2].strip() == "[]"


def test_a_component_of_a_module_beside_the_document(file):
    (file.parent / "own_models.py").write_text(
        "from mml_conformance.reference.models import Mlp\nclass Own(Mlp):\n    pass\n"
    )
    arguments = ("run", file, "--set", "graph.nodes.head.model={own_models.Own: {output_shape: 1}}")
    assert shell(*arguments).returncode == 2
    assert shell(*arguments, "--allow-imports").returncode == 0


def test_ctrl_c_ends_a_run_with_1_and_what_was_trained_is_saved(file):
    target = file.parent / "run.mml"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mml",
            "run",
            str(file),
            "--set",
            "plan.train.epochs=1000000",
            "--save",
            str(target),
        ],
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    timer = threading.Timer(60, process.kill)
    timer.start()
    try:
        for line in process.stderr:
            if "started" in line:
                break
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate()
    finally:
        timer.cancel()
        timer.join()
    assert process.returncode == 1
    assert "Traceback" not in stderr
    assert "stopped" in stdout
    assert target.is_file()


@pytest.mark.parametrize("place", ["nowhere/run.mml", "."])
def test_a_place_that_cannot_be_saved_to_is_refused_before_anything_runs(mml, file, tmp_path, place):
    result = mml("run", file, "--save", tmp_path / place)
    assert result.exit_code == 2
    assert "--save" in result.stderr
    assert "folder" in result.stderr
    assert result.stdout == ""


def test_a_save_that_fails_takes_no_report_with_it(mml, file, tmp_path, monkeypatch):
    def fail(self, path):
        raise ArchiveError("The disk is full.")

    monkeypatch.setattr(Experiment, "save", fail)
    result = mml("run", file, "--save", tmp_path / "run.mml")
    assert result.exit_code == 1
    assert "The disk is full." in result.stderr
    assert "completed" in result.stdout
    assert "Saved as" not in result.stdout
