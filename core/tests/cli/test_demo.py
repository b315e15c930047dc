"""``mml demo`` where the plugins that it needs are not installed."""

from importlib import resources

import yaml

from mml.plugins import PluginManager


def test_missing_plugins_are_named_with_one_command_that_brings_them(mml, monkeypatch):
    monkeypatch.setattr("mml.plugins.manager._MANAGER", PluginManager(path=[]))
    result = mml("demo")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert 'pip install "mml[sklearn,torch]"' in result.stderr
    assert "Traceback" not in result.stderr


def test_the_document_is_part_of_the_package():
    document = yaml.safe_load((resources.files("mml.cli") / "demo.yaml").read_text())
    assert document["label"] == "breast-cancer"
