"""Policies: their names, and the default for scripts, terminals and notebooks."""

from __future__ import annotations

import sys
import types

import pytest

from mml.context import ExperimentContext, ExperimentNode, RegistrationPolicy
from mml.errors import ConfigError, OverwriteWarning, RegistrationError


class Node(ExperimentNode):
    def __init__(self, label):
        super().__init__(label)
        self._register()


def fake_ipython(monkeypatch, shell):
    module = types.ModuleType("IPython")
    module.get_ipython = lambda: shell
    monkeypatch.setitem(sys.modules, "IPython", module)


def instance_of(*names):
    cls = object
    for name in names:
        cls = type(name, (cls,), {})
    return cls()


def test_there_are_four_policies_and_each_is_found_by_name():
    assert {one.name: one.value for one in RegistrationPolicy} == {
        "ERROR": "error",
        "OVERWRITE": "overwrite",
        "OVERWRITE_WARN": "overwrite_warn",
        "NO_REGISTER": "no_register",
    }
    assert RegistrationPolicy("No_Register") is RegistrationPolicy.NO_REGISTER


@pytest.mark.parametrize("value", ["eror", "", None, 3])
def test_an_unknown_policy_is_a_clear_error(value):
    with pytest.raises(ConfigError, match="'error'"):
        RegistrationPolicy(value)


def test_scripts_default_to_error(monkeypatch):
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    context = ExperimentContext()

    assert RegistrationPolicy.default() is context.policy is RegistrationPolicy.ERROR
    with context.activate():
        Node("cells")
        with pytest.raises(RegistrationError):
            Node("cells")
    assert "IPython" not in sys.modules


@pytest.mark.parametrize(
    "names", [["ZMQInteractiveShell"], ["InteractiveShell", "ZMQInteractiveShell", "Shell"]]
)
def test_notebooks_and_what_is_derived_from_them_default_to_a_warning(names, monkeypatch):
    fake_ipython(monkeypatch, instance_of(*names))
    context = ExperimentContext()

    assert RegistrationPolicy.default() is context.policy is RegistrationPolicy.OVERWRITE_WARN
    with context.activate():
        Node("cells")
        with pytest.warns(OverwriteWarning):
            second = Node("cells")
    assert context.get("cells") is second


@pytest.mark.parametrize("shell", [None, instance_of("InteractiveShell", "TerminalInteractiveShell")])
def test_a_terminals_ipython_is_a_script(shell, monkeypatch):
    fake_ipython(monkeypatch, shell)

    assert RegistrationPolicy.default() is RegistrationPolicy.ERROR


def test_a_half_imported_ipython_is_a_script(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))

    assert RegistrationPolicy.default() is RegistrationPolicy.ERROR


def test_an_explicit_policy_goes_before_the_default(monkeypatch):
    fake_ipython(monkeypatch, instance_of("ZMQInteractiveShell"))
    context = ExperimentContext(policy="error")

    assert context.policy is RegistrationPolicy.ERROR
    context.policy = None
    assert context.policy is RegistrationPolicy.OVERWRITE_WARN
