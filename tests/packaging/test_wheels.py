"""What the wheels hold and declare."""

from __future__ import annotations

import tomllib
import zipfile
from email import message_from_bytes
from email.message import Message
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {
    "mml": "core",
    "mml-conformance": "conformance",
    "mml-torch": "plugins/mml-torch",
    "mml-tf": "plugins/mml-tf",
    "mml-keras3": "plugins/mml-keras3",
    "mml-sklearn": "plugins/mml-sklearn",
}
# What a plugin needs to run, as its users would call it.
FRAMEWORKS = {
    "mml-torch": "torch",
    "mml-tf": "tensorflow",
    "mml-keras3": "keras",
    "mml-sklearn": "scikit-learn",
}
# Where an entry point is not called as its distribution: what its components are called.
PLUGINS = {"mml-tf": "tensorflow"}
every_distribution = pytest.mark.parametrize("name", FOLDERS)
every_plugin = pytest.mark.parametrize("name", FRAMEWORKS)


def _names(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


def _read(wheel: Path, ending: str) -> bytes:
    with zipfile.ZipFile(wheel) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith(ending)))


def _metadata(wheel: Path) -> Message:
    return message_from_bytes(_read(wheel, ".dist-info/METADATA"))


def _required(wheel: Path, extra: str = "") -> set[str]:
    requirements = [Requirement(line) for line in _metadata(wheel).get_all("Requires-Dist", [])]
    return {
        one.name
        for one in requirements
        if one.marker is None or (extra and one.marker.evaluate({"extra": extra}))
    }


def test_the_workspace_is_these_distributions(wheels):
    assert set(wheels) == set(FOLDERS)


@every_distribution
def test_a_wheel_holds_its_package_whole_and_nothing_else(wheels, name):
    package = name.replace("-", "_")
    names = _names(wheels[name])
    tops = {entry.partition("/")[0] for entry in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {package}
    assert f"{package}/py.typed" in names
    assert [entry for entry in names if "test" in Path(entry).stem.split("_")] == []
    source = ROOT / FOLDERS[name] / "src"
    modules = {path.relative_to(source).as_posix() for path in source.rglob("*.py")}
    assert {entry for entry in names if entry.endswith(".py")} == modules


@every_distribution
def test_a_wheel_is_pure_and_says_what_it_needs_and_allows(wheels, name):
    metadata = _metadata(wheels[name])
    assert wheels[name].name.endswith("-py3-none-any.whl")
    assert metadata["Name"] == name
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert len(metadata["Summary"]) > 20


def test_core_requires_no_framework_and_few_things_at_all(wheels):
    assert _required(wheels["mml"]) == {
        "numpy", "pyarrow", "pluggy", "msgspec", "pyyaml", "safetensors", "rich", "typer", "packaging",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("extra", "brought"),
    [
        ("torch", {"mml-torch"}),
        ("tf", {"mml-tf"}),
        ("tensorflow", {"mml-tf"}),
        ("keras3", {"mml-keras3"}),
        ("sklearn", {"mml-sklearn"}),
        ("all", {"mml-torch", "mml-sklearn"}),
        ("plots", {"matplotlib"}),
        ("stats", {"scipy"}),
    ],
)
def test_an_extra_of_core_brings_the_plugin_that_it_names(wheels, extra, brought):
    wheel = wheels["mml"]
    assert extra in _metadata(wheel).get_all("Provides-Extra")
    assert _required(wheel, extra) - _required(wheel) == brought


@every_plugin
def test_a_plugin_requires_core_and_its_framework_and_is_found_by_its_entry_point(wheels, name):
    assert {"mml", FRAMEWORKS[name]} <= _required(wheels[name])
    text = _read(wheels[name], ".dist-info/entry_points.txt").decode()
    assert "[mml.plugins]" in text
    plugin = PLUGINS.get(name, name.removeprefix("mml-"))
    assert f"{plugin} = {name.replace('-', '_')}.plugin" in text


def test_all_distributions_carry_one_version(wheels):
    assert len({_metadata(wheel)["Version"] for wheel in wheels.values()}) == 1


@every_distribution
def test_what_is_required_is_pinned_for_the_matrix(wheels, name):
    pinned = {
        line.partition("==")[0].lower()
        for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
        if not line.startswith("#")
    }
    assert {one.lower() for one in _required(wheels[name])} - pinned - set(FOLDERS) == set()


def test_every_group_of_tools_names_tools(wheels):
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["dependency-groups"]
    assert {"test", "lint", "build", "bench", "dev"} <= set(groups)
