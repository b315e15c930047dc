"""``mml plugins``: what is installed, and what is wrong with a bad plugin."""

import json
import types

import pytest

from mml.plugins import Component, PluginInfo, get_manager, hookimpl


def module(info, components=()):
    @hookimpl
    def mml_plugin():
        return info

    @hookimpl
    def mml_components():
        return iter(components)

    made = types.ModuleType(f"plugin_of_{info.name}")
    made.mml_plugin, made.mml_components = mml_plugin, mml_components
    return made


@pytest.fixture
def installed():
    """Register plugins of this test only."""
    names = []

    def register(info, components=()):
        get_manager().register_module(
            module(info, components), distribution=f"mml-{info.name}", version="1.2"
        )
        names.append(info.name)

    yield register
    for name in names:
        get_manager().unregister(name)


def test_the_table_names_plugins_versions_and_components_within_80_columns(mml, installed):
    parts = [
        Component("models", "zoo", f"model{number:03}", "nowhere:Model", "A model.") for number in range(100)
    ]
    installed(PluginInfo("zoo", api_version=(1, 1)), parts)
    result = mml("plugins")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    row = next(line.split() for line in lines if line.strip().startswith("zoo "))
    assert row == ["zoo", "mml-zoo", "1.2", "loaded", "100"]
    assert "model000" in result.stdout
    assert "and 92 more" in result.stdout
    assert "early_stopping, evaluation" in result.stdout


def test_a_bad_plugin_is_named_with_cause_and_mend(mml, installed):
    installed(PluginInfo("bad", api_version=(1, 1), requires=("no_such_module",), install="mml[bad]"))
    installed(PluginInfo("future", api_version=(99, 99)))
    result = mml("plugins")
    assert result.exit_code == 0
    assert "missing dependency" in result.stdout
    assert "no_such_module" in result.stdout
    assert 'pip install "mml[bad]"' in result.stdout
    assert "incompatible" in result.stdout


def test_json_holds_everything(mml, installed):
    installed(
        PluginInfo("zoo", api_version=(1, 1)), [Component("models", "zoo", "cat", "nowhere:Cat", "A cat.")]
    )
    listed = json.loads(mml("plugins", "--json").stdout)
    found = next(one for one in listed if one["name"] == "zoo")
    assert found["state"] == "loaded"
    assert found["components"]["models"][0]["name"] == "zoo/cat"
    assert "checks" not in found


def test_check_loads_every_component(mml, monkeypatch):
    from mml.cli import plugins
    from mml.plugins import TargetCheck

    rows = [
        TargetCheck("mml", "losses", "mse", "mml:mse"),
        TargetCheck("reference", "models", "cat", "nowhere:Cat", problem="ModuleNotFoundError: no [nowhere]"),
    ]
    monkeypatch.setattr(plugins, "check_plugins", lambda: rows)
    result = mml("plugins", "--check")
    assert result.exit_code == 1
    assert "reference/cat" in result.stdout
    assert "no [nowhere]" in result.stdout
    assert "1 of 2 components loaded" in result.stdout
    listed = json.loads(mml("plugins", "--check", "--json").stdout)
    assert {one["name"]: [row["ok"] for row in one["checks"]] for one in listed if one["checks"]} == {
        "mml": [True],
        "reference": [False],
    }
