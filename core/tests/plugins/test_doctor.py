"""`mml doctor` asks every plugin in a process of its own; whatever the plugin does there becomes a row."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from mml.cli.doctor import plugin_health, requirements
from mml.cli.doctor.environment import examine_environment
from mml.plugins import get_manager

INFO = """
@hookimpl
def mml_plugin(): return PluginInfo("{name}", api_version=(1, 1){extra})
"""
BACKEND = """
from mml.backends import Capabilities, HostBackend

class Backend(HostBackend):
    name = "{name}"
    capabilities = Capabilities(gradients=True, devices={devices})
    def wrap(self, source): raise NotImplementedError
    {more}
"""


def asked(discover, *names):
    return {one.name: one for one in plugin_health(names, manager=discover(), timeout_s=60.0)}


def problems(health):
    return {one.name: one.problem for one in health.problems}


def doctor(*arguments, folder, **environment):
    """Run the command with the fake distributions, and with every installed plugin but the doctor's own."""
    others = [one.name for one in get_manager().scan() if one.name != "mml"]
    return subprocess.run(
        [sys.executable, "-m", "mml", "doctor", *map(str, arguments)],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "COLUMNS": "80",
            "MML_PLUGINS_BLOCK": ",".join(others),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_a_plugin_does_to_its_process_is_a_row_and_the_rest_is_still_asked(discover, site, healthy):
    plugin = (
        INFO.format(name="danger", extra=', requires=("danger_aborts", "danger_fine", "danger_exits")')
        + """
@hookimpl
def mml_components():
    yield Component("losses", "danger", "dies", "danger_dies:it")
    yield Component("losses", "danger", "lives", "danger_fine:it")

@hookimpl
def mml_health():
    import time
    time.sleep(600)
"""
    )
    modules = {
        "danger_aborts": "import os; os.abort()",
        "danger_fine": "__version__ = '3.2.1'; it = 1",
        "danger_exits": "import sys; sys.exit(4)",
        "danger_dies": "import os; os._exit(5)",
    }
    site("danger", plugin=plugin, modules=modules)
    healthy("good")

    found = {one.name: one for one in plugin_health(("danger", "good"), manager=discover(), timeout_s=8.0)}

    danger = problems(found["danger"])
    assert sorted(danger) == [
        "danger/dies (losses, danger_dies:it)",
        "danger_aborts",
        "danger_exits",
        "health",
    ]
    assert "SIGABRT" in danger["danger_aborts"]
    assert "SystemExit: 4" in danger["danger_exits"]
    assert "8 s" in danger["health"]
    assert "status 5" in danger["danger/dies (losses, danger_dies:it)"]
    assert [one.value for one in found["danger"].frameworks if one.ok] == ["3.2.1"]
    assert found["danger"].n_components == 1
    assert problems(found["good"]) == {}
    assert (found["good"].state, found["good"].n_components) == ("loaded", 1)


def test_a_plugin_whose_own_module_aborts_is_one_problem(discover, site):
    site("suicide", plugin="import os; os.abort()")
    (problem,) = asked(discover, "suicide")["suicide"].problems
    assert "SIGABRT" in problem.problem


def test_what_is_missing_is_told_with_the_command_that_brings_it(discover, site, healthy):
    extra = ', requires=("there", "no_such_framework"), install="mml[lacking]"'
    healthy("lacking", extra=extra)
    site("there", modules={"there": "__version__ = '1.5'"}, entry="there")

    found = asked(discover, "lacking")["lacking"]

    (problem,) = found.problems
    assert "no_such_framework" in problem.problem
    assert problem.hint == 'pip install "mml[lacking]"'
    assert [(one.name, one.value) for one in found.frameworks] == [("there", "1.5")]
    assert found.state == "missing dependency"


def test_plugins_that_cannot_be_used_are_not_asked(discover, site, monkeypatch):
    for distribution in ("mml-one", "mml-two"):
        site("twin", plugin="raise AssertionError('imported')", distribution=distribution)
    site("old", plugin="@hookimpl\ndef mml_plugin(): return PluginInfo('old', api_version=(0, 0))")
    site("away", plugin="raise AssertionError('imported')")
    monkeypatch.setenv("MML_PLUGINS_BLOCK", "away")

    found = asked(discover, "twin", "old", "away")

    assert "mml-two" in found["twin"].problems[0].problem
    assert "API" in found["old"].problems[0].problem
    assert (found["away"].state, found["away"].problems) == ("blocked", [])


def test_backends_tell_what_they_can_and_every_device_is_tried(discover, site):
    plugin = (
        INFO.format(name="chips", extra="")
        + """
@hookimpl
def mml_components(): return [Component("backends", "chips", "chips", "chips_backend:Backend")]
"""
    )
    lying = (
        "def to_array(self, array, *, device=None):\n"
        "        if device == 'npu': import os; os.abort()\n"
        "        return array + (1 if self.device_name(device) == 'gpu' else 0)"
    )
    source = BACKEND.format(name="chips", devices="('npu', 'cpu', 'gpu')", more=lying)
    site("chips", plugin=plugin, modules={"chips_backend": source})

    found = asked(discover, "chips")["chips"]

    assert found.backends["chips"]["gradients"] is True
    assert found.backends["chips"]["devices"] == ["npu", "cpu", "gpu"]
    assert {one.name: one.value for one in found.findings if one.ok} == {"chips on cpu": "works"}
    broken = problems(found)
    assert broken.pop("chips on gpu") == "Numbers that were sent there came back changed."
    assert "SIGABRT" in broken.pop("chips on npu")
    assert broken == {}


def test_a_backend_that_declares_nothing_is_a_problem(discover, site):
    component = 'Component("backends", "odd", "odd", "odd_backend:Backend")'
    plugin = INFO.format(name="odd", extra="") + f"\n@hookimpl\ndef mml_components(): return [{component}]\n"
    site("odd", plugin=plugin, modules={"odd_backend": "class Backend: pass"})
    assert "capabilities" in problems(asked(discover, "odd")["odd"])["odd"]


def test_components_that_fail_alike_are_one_problem_the_backend_among_them(discover, site):
    plugin = (
        INFO.format(name="chips", extra="")
        + """
@hookimpl
def mml_components():
    yield Component("backends", "chips", "chips", "chips_backend:Backend")
    yield Component("models", "chips", "mlp", "chips_backend:Mlp")
    yield Component("models", "chips", "odd", "chips_odd:Odd")
"""
    )
    site("chips", plugin=plugin, modules={"chips_backend": "import no_such_framework", "chips_odd": "1 / 0"})
    found = {one.name: one for one in asked(discover, "chips")["chips"].problems}
    assert set(found) == {"2 components", "chips/odd (models, chips_odd:Odd)"}
    assert "chips/chips" in found["2 components"].value
    assert "chips/mlp" in found["2 components"].value
    assert "no_such_framework" in found["2 components"].problem


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("return [Finding('threads', '4'), Finding('driver', 'old', 'It is too old.', 'Update it.')]", None),
        ("raise OSError('no driver')", "OSError: no driver"),
        ("return ['threads']", "Finding"),
    ],
)
def test_what_a_plugin_finds_itself_is_shown(discover, site, body, expected):
    plugin = (
        INFO.format(name="own", extra="")
        + f"\nfrom mml.plugins import Finding\n@hookimpl\ndef mml_health():\n    {body}\n"
    )
    site("own", plugin=plugin)

    found = asked(discover, "own")["own"]

    if expected is None:
        assert [(one.name, one.value) for one in found.findings] == [("threads", "4"), ("driver", "old")]
        assert [(one.problem, one.hint) for one in found.problems] == [("It is too old.", "Update it.")]
    else:
        assert expected in problems(found)["health"]


def test_versions_are_held_against_what_a_distribution_requires(discover, healthy, tmp_path):
    healthy("picky")
    metadata = tmp_path / "mml_picky-1.0.dist-info" / "METADATA"
    needs = ("numpy<1", "no-such-thing>=2", "numpy>=1", "other>9; python_version < '3'", "x; extra == 'y'")
    metadata.write_text(metadata.read_text() + "".join(f"Requires-Dist: {one}\n" for one in needs))

    found = asked(discover, "picky")["picky"].problems

    assert sorted((one.name, one.hint) for one in found) == [
        ("no-such-thing", 'pip install "no-such-thing>=2"'),
        ("numpy", 'pip install "numpy<1"'),
    ]
    assert all("mml-picky needs" in one.problem for one in found)


def test_a_requirement_is_met_by_whatever_brings_its_module(discover, site, healthy, tmp_path):
    healthy("picky")
    site(
        "framework-cpu",
        modules={"framework": "", "other": ""},
        distribution="framework-cpu",
        version="2.5",
        point="-",
    )
    (tmp_path / "framework_cpu-2.5.dist-info" / "top_level.txt").write_text("framework\nother\n")
    metadata = tmp_path / "mml_picky-1.0.dist-info" / "METADATA"
    needs = "".join(f"Requires-Dist: {one}\n" for one in ("framework>=2", "other>=3"))
    metadata.write_text(metadata.read_text() + needs)
    requirements._distributions.cache_clear()

    found = problems(asked(discover, "picky")["picky"])

    requirements._distributions.cache_clear()
    assert list(found) == ["other"]
    assert "2.5 is installed" in found["other"]


@pytest.mark.parametrize("value", ["many", "0", "-1", "4,x"])
def test_a_number_of_threads_that_is_none_is_a_problem(tmp_path, monkeypatch, value):
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    (found,) = [one for one in examine_environment(tmp_path) if not one.ok]
    assert (found.name, found.value) == ("OMP_NUM_THREADS", value)


def test_the_environment_tells_versions_threads_and_the_folder(tmp_path, monkeypatch):
    import numpy as np

    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    found = {one.name: one.value for one in examine_environment(tmp_path)}
    assert found["python"].startswith("{}.{}.".format(*sys.version_info))
    assert found["numpy"] == np.__version__
    assert found["OMP_NUM_THREADS"] == "3"
    assert found["MKL_NUM_THREADS"].startswith("not set")
    assert found["run folder"].startswith(f"{tmp_path} (writable")


def test_a_folder_that_cannot_be_written_to_is_a_problem(tmp_path):
    (found,) = [one for one in examine_environment(tmp_path / "nowhere") if not one.ok]
    assert found.name == "run folder"
    assert "--folder" in found.hint


def test_nothing_is_left_in_the_folder(tmp_path):
    assert list(examine_environment(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_the_command_is_0_where_all_is_well_and_fits_80_columns(tmp_path):
    ran = doctor(folder=tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert max(map(len, ran.stdout.splitlines())) <= 80
    assert "backend numpy" in ran.stdout
    assert ran.stdout.splitlines()[-1] == "Healthy: nothing is broken."


def test_the_command_is_1_where_something_is_broken_and_says_what_mends_it(tmp_path, healthy):
    long = "a_framework_whose_name_is_so_long_that_no_line_of_eighty_columns_would_hold_it_beside_another"
    healthy("lacking", extra=f', requires=("{long}",), install="mml[lacking]"')
    ran = doctor(folder=tmp_path)
    assert ran.returncode == 1
    assert max(map(len, ran.stdout.splitlines())) <= 80
    assert 'pip install "mml[lacking]"' in ran.stdout
    assert ran.stdout.splitlines()[-1] == "1 thing is broken: see lacking above."


def test_json_holds_everything(tmp_path, healthy):
    healthy("lacking", extra=', requires=("no_such_framework",), install="mml[lacking]"')
    ran = doctor("--json", "--folder", tmp_path / "nowhere", folder=tmp_path)
    found = json.loads(ran.stdout)
    assert (ran.returncode, found["healthy"]) == (1, False)
    assert {one["plugin"] for one in found["problems"]} == {None, "lacking"}
    healthy = {one["name"]: one["healthy"] for one in found["plugins"]}
    assert (healthy["mml"], healthy["lacking"]) == (True, False)
    assert found["plugins"][0]["backends"]["numpy"]["devices"] == ["cpu"]
    assert all(set(one) == {"extra", "lacks", "install"} for one in found["missing"])


def test_extras_that_are_not_installed_are_told_without_being_broken(monkeypatch):
    known = {
        "zoo": {"no-such-zoo"},
        "aviary": {"no-such-zoo"},
        "np": {"numpy"},
        "all": {"no-such-zoo", "numpy"},
    }
    monkeypatch.setattr(requirements, "extras", lambda: {k: frozenset(v) for k, v in known.items()})
    (missing,) = requirements.missing_extras()
    assert missing.to_dict() == {
        "extra": "zoo",
        "lacks": ["no-such-zoo"],
        "install": 'pip install "mml[zoo]"',
    }
