"""Core stands alone: these tests hold where `tox run -e core` installed it without any framework.

They are kept apart from `core/tests`, which run in every environment.
"""

from __future__ import annotations

import importlib.util
from importlib import metadata

import pytest

from mml.plugins import get_manager

FRAMEWORKS = ("torch", "tensorflow", "keras", "jax", "sklearn", "skops", "lightning", "skorch")


@pytest.mark.parametrize("name", [*FRAMEWORKS, "mml_torch", "mml_tf", "mml_keras3", "mml_sklearn"])
def test_no_framework_and_no_plugin_is_importable_here(name):
    assert importlib.util.find_spec(name) is None, f"{name} is installed: run this with `tox run -e core`"


def test_the_only_distributions_of_the_workspace_here_are_core_and_the_conformance_suite():
    names = {distribution.name for distribution in metadata.distributions()}
    assert {name for name in names if name.startswith("mml")} == {"mml", "mml-conformance"}


def test_the_plugins_here_are_cores_own_and_the_suites_reference_and_both_are_well():
    assert [(status.name, str(status.state)) for status in get_manager().plugins] == [
        ("mml", "loaded"),
        ("reference", "loaded"),
    ]
