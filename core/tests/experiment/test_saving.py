"""Experiments in files: what is loaded is what was saved, to the bit, and damage is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

import mml
from mml.errors import ArchiveError, ConfigError, MMLError
from mml.files import write_archive

from .toy import digest, experiment, in_own_context, training, validation


@pytest.fixture
def trained():
    phases = [training(callbacks=[mml.Evaluation(validation())]), validation("test", "test")]
    made = in_own_context(experiment, seed=5, dropout=0.2, phases=phases)
    made.run()
    return made


def test_structure_values_data_and_history_come_back(trained, tmp_path):
    path = trained.save(tmp_path / "toy.mml")
    loaded = mml.Experiment.load(path)
    assert loaded == trained
    assert digest(loaded) == digest(trained)
    assert loaded.featuresets[0] == trained.featuresets[0]
    assert len(loaded.history) == 1
    mine, theirs = (one.last_run.results["train"].metrics() for one in (trained, loaded))
    assert mine == theirs


def test_a_loaded_experiment_goes_on_as_the_saved_one(trained, tmp_path):
    loaded = mml.Experiment.load(trained.save(tmp_path / "toy.mml"))
    trained.run()
    loaded.run()
    assert digest(loaded) == digest(trained)


def test_another_process_goes_on_too(trained, tmp_path):
    path = trained.save(tmp_path / "toy.mml")
    trained.run()
    code = (
        "import sys, json, mml; from mml.files import state_digest\n"
        "made = mml.Experiment.load(sys.argv[1]); made.run()\n"
        "print(json.dumps(state_digest(made.graph.get_state())))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env={**os.environ, "PYTHONHASHSEED": "123", "MML_PROGRESS": "0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(found.stdout) == digest(trained)


def test_loading_registers_nothing_outside(trained, tmp_path):
    path = trained.save(tmp_path / "toy.mml")
    context = mml.ExperimentContext.active()
    before = context.labels()
    mml.Experiment.load(path)
    assert context.labels() == before


def test_a_failed_run_is_saved_with_its_cause(tmp_path):
    made = in_own_context(experiment, phases=[training("bad", losses=[mml.AppliedLoss("mse", on="nowhere")])])
    with pytest.raises(MMLError):
        made.run()
    loaded = mml.Experiment.load(made.save(tmp_path / "failed.mml"))
    assert loaded.last_run.status == "failed"
    assert "nowhere" in str(loaded.last_run.failure)


def test_a_damaged_file_is_refused_and_the_earlier_one_stays(trained, tmp_path):
    path = trained.save(tmp_path / "toy.mml")
    whole = path.read_bytes()
    for cut in np.linspace(0, len(whole) - 1, 23, dtype=int):
        path.write_bytes(whole[:cut])
        with pytest.raises(ArchiveError):
            mml.Experiment.load(path)


def test_a_file_of_another_kind_is_refused(trained, tmp_path):
    trained.featuresets[0].save(tmp_path / "data.mml")
    with pytest.raises(ArchiveError, match="experiment"):
        mml.Experiment.load(tmp_path / "data.mml")


class TestHostileFiles:
    """A file that names code gets none of it run, nor imported."""

    def saved(self, trained, tmp_path, change):
        config = trained.get_config()
        change(config)
        path = tmp_path / "hostile.mml"
        members = trained.featuresets[0].archive_members(prefix="featuresets/0/")
        write_archive(
            path,
            kind="experiment",
            members={
                "config": {"experiment": config, "featuresets": ["featuresets/0/"]},
                "state": trained.get_state(),
                **members,
            },
        )
        return path

    @pytest.mark.parametrize(
        "model",
        [
            {"model": "os.system", "backend": "reference", "kwargs": {"command": "touch evil"}},
            {"model": "subprocess.Popen", "backend": "reference", "kwargs": {"args": ["touch", "evil"]}},
            {"model": "antigravity.fly", "backend": "numpy", "kwargs": {}},
        ],
    )
    def test_models(self, trained, tmp_path, model, monkeypatch):
        monkeypatch.chdir(tmp_path)
        path = self.saved(trained, tmp_path, lambda config: config["graph"]["nodes"][0].update(model=model))
        with pytest.raises(ConfigError, match="runs no code"):
            mml.Experiment.load(path)
        assert not (tmp_path / "evil").exists()
        assert "antigravity" not in sys.modules

    def test_losses_and_callbacks(self, trained, tmp_path):
        def change(config):
            config["execution_plan"]["phases"][0]["losses"][0]["loss"]["loss"] = "os.remove"

        with pytest.raises(ConfigError, match=r"os\.remove"):
            mml.Experiment.load(self.saved(trained, tmp_path, change))

        def change_callback(config):
            config["execution_plan"]["phases"][0]["callbacks"] = [
                {"callback": "subprocess.Popen", "args": "ls"}
            ]

        with pytest.raises(ConfigError, match=r"subprocess\.Popen"):
            mml.Experiment.load(self.saved(trained, tmp_path, change_callback))

    def test_what_the_reader_trusts_is_loaded(self, trained, tmp_path):
        def change(config):
            config["execution_plan"]["phases"][0]["losses"][0]["loss"]["loss"] = "math.hypot"

        loaded = mml.Experiment.load(self.saved(trained, tmp_path, change), trusted=["math"])
        assert loaded.execution_plan["train"].losses[0].loss.loss == "math.hypot"
