"""Scalers of another library, as objects or classes: a plugin claims them, and core knows none of it."""

from __future__ import annotations

import types

import numpy as np
import pytest

from mml.errors import PluginError, ScalerError
from mml.plugins import Claim, Component, PluginInfo, get_manager, hookimpl
from mml.processing import Scaler

from .scaled import divided


class Foreign:
    """What a library has that knows nothing of MML."""

    def __init__(self, shift=1.0):
        self.shift = shift


class Wrapper:
    """The plugin's scaler around it."""

    def __init__(self, shift):
        self.shift = shift

    @classmethod
    def factory_for(cls, target):
        if isinstance(target, type):
            return lambda **kwargs: cls(target(**kwargs).shift)
        shift = target.shift
        return lambda: cls(shift)

    def fit(self, values):
        return self

    def transform(self, values):
        return values + np.float32(self.shift)

    def inverse_transform(self, values):
        return values - np.float32(self.shift)

    def get_config(self):
        return {"scaler": "foreign/wrapper", "shift": self.shift}

    @classmethod
    def from_config(cls, config):
        return cls(config["shift"])

    def get_state(self):
        return {}

    def set_state(self, state):
        return None


@pytest.fixture
def foreign():
    module = types.ModuleType("plugin_foreign")
    path = f"{__name__}.Foreign"

    @hookimpl
    def mml_plugin():
        return PluginInfo("foreign", api_version=(1, 1))

    @hookimpl
    def mml_components():
        return [Component("scalers", "foreign", "wrapper", Wrapper)]

    @hookimpl
    def mml_claims():
        return [Claim(path, "foreign", kind="scalers", wrapper="foreign/wrapper")]

    module.mml_plugin, module.mml_components, module.mml_claims = mml_plugin, mml_components, mml_claims
    status = get_manager().register_module(module)
    assert status.healthy, status.cause
    yield
    get_manager().unregister("foreign")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Foreign(3.0),
        lambda: Scaler(Foreign(3.0)),
        lambda: Scaler(Foreign, shift=3.0),
        lambda: Scaler("foreign/wrapper", shift=3.0),
    ],
)
@pytest.mark.usefixtures("foreign")
def test_what_a_plugin_claims_as_a_scaler_is_wrapped(make):
    fs = divided()
    fs.fit_transform(make(), domain="features", keys="pulse", fit_to_split="train")

    assert fs.scaler_records[0].get_config()["scaler"] == {"scaler": "foreign/wrapper", "shift": 3.0}
    np.testing.assert_array_equal(fs.get_features("pulse"), fs.get_features("pulse", "raw") + np.float32(3))


@pytest.mark.usefixtures("foreign")
def test_a_wrapped_object_is_copied_when_it_is_declared():
    given = Foreign(3.0)
    declared = Scaler(given)
    given.shift = 9.0

    assert declared.fit_transform(np.zeros(1, np.float32)).tolist() == [3.0]


@pytest.mark.usefixtures("foreign")
def test_a_claim_as_a_scaler_is_none_as_a_model():
    assert get_manager().claim_for(Foreign) is None
    assert get_manager().claim_for(Foreign, kind="scalers").wrapper == "foreign/wrapper"


def test_without_its_plugin_it_is_no_scaler():
    with pytest.raises(ScalerError, match="is no scaler"):
        divided().fit_transform(Foreign(), domain="features", fit_to_split="train")


@pytest.mark.parametrize("settings", [{"kind": "scalers"}, {"wrapper": "foreign/wrapper"}])
def test_a_claim_names_a_wrapper_for_everything_but_models(settings):
    with pytest.raises(PluginError, match="not complete"):
        Claim("foreign.Thing", "foreign", **settings)
