"""`mml plugins --check`: whatever a target does to its interpreter is a row, and the rest is still tried."""

from __future__ import annotations

import pytest

from mml.errors import PluginError
from mml.plugins import check_plugins

DANGEROUS = """
@hookimpl
def mml_plugin(): return PluginInfo("danger", api_version=(1, 1))

@hookimpl
def mml_components():
    for name in ("fine", "aborts", "exits", "vanishes", "hangs", "raises", "also_fine"):
        yield Component("losses", "danger", name, f"danger_{name}:it")
"""

TARGETS = {
    "danger_fine": "it = 1",
    "danger_aborts": "import os; os.abort()",
    "danger_exits": "import sys; sys.exit(4)",
    "danger_vanishes": "import os; os._exit(5)",
    "danger_hangs": "import time; time.sleep(600)",
    "danger_raises": "raise ValueError('bad')",
    "danger_also_fine": "it = 2",
}


def test_every_target_of_a_dangerous_plugin_has_its_row(discover, site):
    site("danger", plugin=DANGEROUS, modules=TARGETS)
    manager = discover()

    rows = check_plugins(["danger"], manager=manager, timeout_s=4)

    problems = {row.component: row.problem for row in rows}
    assert len(rows) == 7
    assert problems["danger/fine"] is None
    assert problems["danger/also_fine"] is None
    assert "SIGABRT" in problems["danger/aborts"]
    assert "SystemExit: 4" in problems["danger/exits"]
    assert "status 5" in problems["danger/vanishes"]
    assert "4 s" in problems["danger/hangs"]
    assert "ValueError: bad" in problems["danger/raises"]
    assert {row.target for row in rows} == {f"{module}:it" for module in TARGETS}


def test_a_plugin_whose_own_module_aborts_is_one_row(discover, site, healthy):
    site("suicide", plugin="import os; os.abort()")
    healthy("good")

    rows = check_plugins(["suicide", "good"], manager=discover())

    assert [(row.plugin, row.component, row.ok) for row in rows] == [
        ("suicide", "", False),
        ("good", "good/square", True),
    ]
    assert "SIGABRT" in rows[0].problem


def test_plugins_in_trouble_have_a_row_with_the_cause(discover, site, healthy, tmp_path, monkeypatch):
    monkeypatch.setenv("MML_PLUGINS_BLOCK", "blocked")
    monkeypatch.setenv("MML_PLUGINS_STRICT", "1")
    site("raises", plugin="raise ValueError('no good')")
    site("blocked", plugin="raise AssertionError('imported')")
    healthy("lacking", extra=', requires=("no_such_framework",)')
    healthy("good")
    # A target that reads a registry must not be blamed for the other plugins, which strictness would do.
    reading = "from mml.plugins import registry; square = registry('scalers').names()"
    (tmp_path / "good_parts.py").write_text(reading, encoding="utf-8")

    rows = check_plugins(["raises", "blocked", "lacking", "good"], manager=discover())

    problems = {row.plugin: row.problem for row in rows}
    assert problems.pop("good") is None
    assert "no good" in problems["raises"]
    assert "blocked" in problems["blocked"]
    assert "no_such_framework" in problems["lacking"]
    assert len(rows) == 4


def test_one_plugin_name_claimed_twice_is_one_row_each(discover, site):
    for distribution in ("mml-one", "mml-two"):
        site("twin", plugin="raise AssertionError('imported')", distribution=distribution)

    rows = check_plugins(["twin"], manager=discover())

    assert [row.ok for row in rows] == [False]
    assert "mml-two" in rows[0].problem


def test_an_unknown_name_is_an_error(discover, healthy):
    healthy("good")

    with pytest.raises(PluginError, match="'good'"):
        check_plugins(["goood"], manager=discover())


def test_rows_are_json(discover, healthy):
    healthy("good")

    (row,) = check_plugins(["good"], manager=discover())

    assert row.to_dict() == {
        "plugin": "good",
        "kind": "losses",
        "component": "good/square",
        "target": "good_parts:square",
        "ok": True,
        "problem": None,
        "seconds": row.seconds,
    }
    assert 0 <= row.seconds < 60
