"""From objects back to names: what a configuration may hold, and what it must refuse."""

from __future__ import annotations

import collections
import functools
import json.decoder
import sys
import types

import pytest

from mml.errors import ConfigError
from mml.registry import Component, Registry


def module_level(x):
    return x


@pytest.fixture
def losses():
    return Registry("losses")


def test_registered_objects_have_their_qualified_name(losses):
    losses.register("mine")(module_level)
    losses.add(Component("losses", "alpha", "decoder", "json:JSONDecoder"))

    assert losses.name_of(module_level) == "user/mine"
    # The target names a re-export; the class itself says json.decoder.
    assert losses.name_of(json.decoder.JSONDecoder) == "alpha/decoder"


def test_a_plugins_name_goes_before_a_users(losses):
    losses.register("dict")(collections.OrderedDict)
    losses.add(Component("losses", "zeta", "dict", "collections:OrderedDict"))

    assert losses.name_of(collections.OrderedDict) == "zeta/dict"


def test_others_have_their_dotted_path_and_it_leads_back(losses):
    for obj in (json.dumps, json.decoder.JSONDecoder, collections.OrderedDict):
        assert losses.load(losses.name_of(obj)) is obj


def test_naming_an_object_imports_no_other_package(losses):
    losses.add(Component("losses", "heavy", "dumps", "a_heavy_framework:dumps"))

    assert losses.name_of(json.dumps) == "json.dumps"
    assert "a_heavy_framework" not in sys.modules


def test_what_no_name_brings_back_is_refused_with_the_mend(losses):
    def local(x):
        return x

    script = types.FunctionType(local.__code__, {"__name__": "__main__"}, "of_a_script")
    script.__qualname__ = "of_a_script"
    for obj in (lambda x: x, local, script, functools.partial(module_level, 1), object()):
        with pytest.raises(ConfigError, match=r"registry\('losses'\)\.register"):
            losses.name_of(obj)


def test_a_name_that_now_means_another_object_is_refused(losses, monkeypatch):
    module = types.ModuleType("a_reloaded_module")
    monkeypatch.setitem(sys.modules, "a_reloaded_module", module)
    old = type("Loss", (), {"__module__": "a_reloaded_module"})
    module.Loss = type("Loss", (), {"__module__": "a_reloaded_module"})

    assert losses.name_of(module.Loss) == "a_reloaded_module.Loss"
    with pytest.raises(ConfigError, match="another object"):
        losses.name_of(old)


def test_registering_makes_a_lambda_and_a_scripts_function_nameable(losses):
    square = losses.register("square")(lambda x: x * x)

    assert losses.name_of(square) == "user/square"
