"""Components: their names, and what loading a target may meet."""

from __future__ import annotations

import collections
import dataclasses
import sys

import pytest

from mml.errors import PluginError, RegistrationError, UnknownComponentError
from mml.registry import Component, Registry


def test_a_component_is_frozen_hashable_and_equal_by_value():
    one, two = (Component("losses", "good", "mse", "a.b:c") for _ in range(2))

    assert one == two
    assert len({one, two}) == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.name = "mae"


def test_declaring_imports_nothing_and_loading_imports_the_attribute():
    part = Component("losses", "good", "nested", "collections.abc:Mapping.get")

    assert part.qualified == "good/nested"
    assert part.load() is collections.abc.Mapping.get
    assert Component("losses", "good", "lazy", "no_such_module_at_all:x").name == "lazy"


def test_an_object_may_be_its_own_target():
    thing = []  # not hashable, and the component still is

    part = Component("losses", "user", "thing", thing)

    assert part.load() is thing
    assert isinstance(hash(part), int)


@pytest.mark.parametrize("name", ["", "a/b", " a", "a b", "1a", "a\n", None, 3])
def test_a_name_that_could_not_be_written_is_refused(name):
    with pytest.raises(RegistrationError):
        Component("losses", "good", name, "a:b")


@pytest.mark.parametrize("target", ["", "a", "a.b.c", ":b", "a:", "a b:c", "a:b:c", "a:b()"])
def test_a_target_that_is_no_place_to_import_from_is_refused(target):
    with pytest.raises(RegistrationError, match="module:attribute"):
        Component("losses", "good", "x", target)


@pytest.mark.parametrize(
    ("target", "cause"),
    [("no_such_module_at_all:x", ModuleNotFoundError), ("collections:no_such", AttributeError)],
)
def test_a_failed_load_names_plugin_target_and_cause(target, cause):
    with pytest.raises(PluginError) as caught:
        Component("losses", "good", "x", target).load()

    assert isinstance(caught.value.__cause__, cause)
    for words in ("good/x", target, cause.__name__, "'good'"):
        assert words in str(caught.value)


def test_a_dotted_path_reaches_attributes_submodules_and_nested_classes():
    registry = Registry("losses")

    assert registry.load("collections.abc.Mapping") is collections.abc.Mapping
    assert registry.load("collections.abc.Mapping.get") is collections.abc.Mapping.get
    assert registry.load("xml.etree.ElementTree.Element").__name__ == "Element"


def test_a_dotted_path_to_nowhere_names_near_misses_and_chains():
    with pytest.raises(UnknownComponentError, match="'OrderedDict'") as caught:
        Registry("losses").load("collections.OrderdDict")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    with pytest.raises(UnknownComponentError, match="no_such_package"):
        Registry("losses").load("no_such_package.thing")


@pytest.mark.parametrize("code", ["raise ValueError('bad')", "import sys; sys.exit(2)"])
def test_a_dotted_path_whose_module_fails_is_a_plugin_error(code, tmp_path, monkeypatch):
    (tmp_path / "failing_user_module.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))

    with pytest.raises(PluginError, match="failing_user_module") as caught:
        Registry("losses").load("failing_user_module.loss")
    assert isinstance(caught.value.__cause__, ValueError | SystemExit)


def test_a_path_through_a_submodule_whose_name_its_package_deleted_is_found(tmp_path, monkeypatch):
    package = tmp_path / "hiding_package"
    package.mkdir()
    (package / "inner.py").write_text("class Found: ...")
    (package / "__init__.py").write_text("from hiding_package import inner\nFound = inner.Found\ndel inner")
    monkeypatch.syspath_prepend(tmp_path)
    path = "hiding_package.inner.Found"
    found = Component("models", "", path, path).load()
    assert found.__qualname__ == "Found"
    for name in ("hiding_package", "hiding_package.inner"):
        sys.modules.pop(name)
