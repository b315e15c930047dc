"""The manager apart from discovery: claims, modules registered by hand, and the process-wide one."""

from __future__ import annotations

import json
import types

import pytest

from mml.errors import PluginError, RegistrationError, UnknownComponentError
from mml.plugins import (
    KINDS,
    Claim,
    Component,
    PluginInfo,
    PluginManager,
    PluginState,
    get_manager,
    hookimpl,
    registry,
)


def plugin_module(name, *, components=(), claims=(), requires=()):
    module = types.ModuleType(f"plugin_{name}")

    @hookimpl
    def mml_plugin():
        return PluginInfo(name, api_version=(1, 1), requires=requires)

    @hookimpl
    def mml_components():
        return components

    @hookimpl
    def mml_claims():
        return claims

    module.mml_plugin, module.mml_components, module.mml_claims = mml_plugin, mml_components, mml_claims
    return module


class Base:
    pass


class Middle(Base):
    pass


class Leaf(Middle):
    pass


def path_of(cls):
    return f"{cls.__module__}.{cls.__qualname__}"


@pytest.fixture
def manager():
    return PluginManager(path=[])


def test_the_first_claimed_class_of_the_mro_wins_whatever_the_priority(manager):
    manager.register_module(plugin_module("wide", claims=[Claim(path_of(Base), "wide", priority=9)]))
    manager.register_module(plugin_module("narrow", claims=[Claim(path_of(Middle), "narrow")]))

    assert manager.claim_for(Leaf).backend == "narrow"
    assert manager.claim_for(Middle).backend == "narrow"
    assert manager.claim_for(Base).backend == "wide"
    assert manager.claim_for(int) is None


def test_among_claims_on_one_class_the_highest_priority_wins(manager):
    manager.register_module(plugin_module("low", claims=[Claim(path_of(Base), "low", priority=-1)]))
    manager.register_module(plugin_module("high", claims=[Claim(path_of(Base), "high")]))

    assert manager.claim_for(Leaf) == Claim(path_of(Base), "high")


def test_a_plugin_that_cannot_serve_yields_to_one_that_can(manager):
    lacking = plugin_module(
        "lacking", claims=[Claim(path_of(Base), "lacking", priority=9)], requires=("no_such",)
    )
    manager.register_module(lacking)
    assert manager.claim_for(Leaf).backend == "lacking"

    manager.register_module(plugin_module("able", claims=[Claim(path_of(Base), "able")]))
    assert manager.claim_for(Leaf).backend == "able"


def test_equal_claims_of_two_plugins_are_an_error_that_names_both(manager):
    for name in ("one", "two"):
        manager.register_module(
            plugin_module(name, claims=[Claim(path_of(Base), name)]), distribution=f"mml-{name}", version="2"
        )

    with pytest.raises(PluginError, match=r"(?s)Base.*mml-one 2.*mml-two 2"):
        manager.claim_for(Leaf)


def test_a_registered_module_serves_until_it_is_unregistered(manager):
    module = plugin_module(
        "hand",
        components=[Component("losses", "hand", "absolute", "builtins:abs")],
        claims=[Claim(path_of(Base), "hand")],
    )

    status = manager.register_module(module, distribution="by-hand", version="0.1")

    assert (status.state, status.origin) == (PluginState.LOADED, "by-hand 0.1")
    assert manager.registry("losses").load("absolute") is abs
    assert manager.claim_for(Base) is not None
    manager.unregister("hand")
    assert "absolute" not in manager.registry("losses")
    assert manager.claim_for(Base) is None
    assert [row.name for row in manager.plugins] == ["mml"]
    manager.register_module(module)
    assert manager.registry("losses").load("hand/absolute") is abs


@pytest.mark.parametrize("name", ["hand", "mml", "user"])
def test_a_taken_plugin_name_is_refused(manager, name):
    manager.register_module(plugin_module("hand"))

    with pytest.raises(RegistrationError, match=name):
        manager.register_module(plugin_module(name))


def test_a_bad_module_is_reported_not_raised(manager):
    status = manager.register_module(types.ModuleType("empty_module"))

    assert status.state is PluginState.BROKEN
    assert "mml_plugin" in status.cause


def test_status_is_json(manager):
    manager.register_module(
        plugin_module(
            "hand", components=[Component("losses", "hand", "absolute", "builtins:abs", "Sign off.")]
        )
    )

    written = json.loads(json.dumps(manager.status("hand").to_dict()))

    assert written["name"] == "hand"
    assert written["state"] == "loaded"
    assert written["api_version"] == [1, 1]
    assert written["components"] == {
        "losses": [{"name": "hand/absolute", "target": "builtins:abs", "help": "Sign off.", "backend": None}]
    }


def test_the_users_choice_stands_before_a_plugin_of_that_name_comes(manager):
    losses = manager.registry("losses")
    losses.add(Component("losses", "hand", "absolute", len))

    manager.register_module(
        plugin_module("hand", components=[Component("losses", "hand", "absolute", "builtins:abs")])
    )

    assert losses.load("hand/absolute") is len


def test_every_kind_has_a_registry_of_that_kind(manager):
    assert {kind: manager.registry(kind).kind for kind in KINDS} == {kind: kind for kind in KINDS}


def test_the_process_has_one_manager():
    assert get_manager() is get_manager()
    assert registry("losses") is get_manager().registry("losses")


def test_core_stands_first_and_declares_its_own_through_the_same_door():
    first = get_manager().plugins[0]

    assert (first.name, first.distribution, first.state) == ("mml", "mml", PluginState.LOADED)
    declared = {kind: {one.name for one in parts} for kind, parts in first.components.items()}
    assert declared["scalers"] >= {"standard", "minmax"}
    assert declared["losses"] >= {"mse", "mae", "bce_logits", "bce", "cross_entropy", "huber"}
    assert declared["optimizers"] >= {"sgd", "adam", "adamw", "rmsprop", "adagrad"}
    assert declared["metrics"] >= {"accuracy", "auroc", "f1", "mae", "rmse", "r2", "eval_loss"}
    assert all(one.help for parts in first.components.values() for one in parts)


def test_every_component_of_core_loads():
    components = [one for kind in get_manager().status("mml").components.values() for one in kind]

    loaded = {one.qualified: _outcome(one) for one in components}

    assert {name: found for name, found in loaded.items() if not callable(found)} == {}
    assert all(registry(one.kind).load(one.qualified) is one.load() for one in components)


def _outcome(component):
    try:
        return component.load()
    except PluginError as error:
        return error.found


def test_a_name_of_a_plugin_that_is_not_installed_says_so(manager):
    for name, backend in (("nobody/mse", None), ("no_such_loss", "nobody")):
        with pytest.raises(UnknownComponentError, match=r"(?s)no plugin 'nobody' is installed.*mml plugins"):
            manager.registry("losses").resolve(name, backend=backend)


def test_a_user_may_not_take_a_plugins_name_by_accident(manager):
    manager.register_module(
        plugin_module("hand", components=[Component("losses", "hand", "absolute", "builtins:abs")])
    )
    losses = manager.registry("losses")

    with pytest.raises(RegistrationError, match="hand/absolute"):
        losses.register("absolute", plugin="hand")(len)
    losses.register("absolute", plugin="hand", overwrite=True)(len)
    losses.register("size", plugin="hand")(len)

    assert losses.load("hand/absolute") is losses.load("hand/size") is len


def test_registering_costs_no_discovery_and_reading_does_it():
    manager = PluginManager(path=[])
    manager.registry("losses").register("mine")(abs)

    assert [row.state for row in manager.scan()] == [PluginState.DISCOVERED]
    assert "mine" in manager.registry("losses")
    assert [row.state for row in manager.scan()] == [PluginState.LOADED]
