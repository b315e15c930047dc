"""Plugins: how parts are declared, discovered and found by name."""

from mml.plugins.check import check_plugins
from mml.plugins.declarations import API_VERSION, SERVED_VERSIONS, Claim, Finding, PluginInfo
from mml.plugins.install import missing_hint
from mml.plugins.manager import PluginManager, get_manager, registry
from mml.plugins.markers import hookimpl, hookspec
from mml.plugins.report import PluginState, PluginStatus, TargetCheck
from mml.registry import KINDS, Component, Registry

__all__ = [
    "API_VERSION",
    "KINDS",
    "SERVED_VERSIONS",
    "Claim",
    "Component",
    "Finding",
    "PluginInfo",
    "PluginManager",
    "PluginState",
    "PluginStatus",
    "Registry",
    "TargetCheck",
    "check_plugins",
    "get_manager",
    "hookimpl",
    "hookspec",
    "missing_hint",
    "registry",
]
