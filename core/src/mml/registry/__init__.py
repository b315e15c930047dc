"""Components and the registries that find them by name."""

from mml.registry.component import Component, describe
from mml.registry.kinds import CORE, KINDS, USER, noun
from mml.registry.registry import Registry
from mml.registry.source import Absence, ComponentSource
from mml.registry.trust import reading_file

__all__ = [
    "CORE",
    "KINDS",
    "USER",
    "Absence",
    "Component",
    "ComponentSource",
    "Registry",
    "describe",
    "noun",
    "reading_file",
]
