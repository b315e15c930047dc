"""The JSON Schema of experiment documents, with the components of the installed plugins by name."""

from __future__ import annotations

from typing import Any

import msgspec

from mml.documents.format import SETTINGS, STRUCTS, DocumentSpec
from mml.errors import MMLError
from mml.plugins import registry
from mml.registry import Component, noun

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_KINDS = (
    "callbacks",
    "datasets",
    "losses",
    "merge_nodes",
    "metrics",
    "models",
    "optimizers",
    "samplers",
    "scalers",
    "splitters",
)


def json_schema() -> dict[str, Any]:
    """Return the schema that editors check and complete documents with.

    Names of components are those of the plugins that are installed where this runs; no framework is imported.
    """
    _, structs = msgspec.json.schema_components(STRUCTS, ref_template="#/$defs/{name}")
    root = structs.pop(DocumentSpec.__name__)
    return {
        "$schema": DIALECT,
        **root,
        "title": "MML experiment",
        "$defs": {**structs, **{kind: _components(kind) for kind in _KINDS}},
    }


def _components(kind: str) -> dict[str, Any]:
    """Return what stands for a component: its name, or a mapping from its name to its settings."""
    names: dict[str, Component] = {}
    for component in registry(kind):
        names[component.qualified] = component
        if _is_short_name(kind, component):
            names[component.name] = component
    ordered = dict(sorted(names.items()))
    return {
        "description": f"A {noun(kind)}: its name, or `name: {{settings}}`.",
        "anyOf": [
            {"enum": list(ordered)},
            {
                "type": "object",
                "properties": {name: _settings(component) for name, component in ordered.items()},
                "additionalProperties": False,
                "minProperties": 1,
                "maxProperties": 1,
            },
        ],
    }


def _settings(component: Component) -> dict[str, Any]:
    known = SETTINGS.get((component.kind, component.qualified))
    if known is not None:
        return {"$ref": f"#/$defs/{known.__name__}"}
    return {"type": ["object", "null"], "description": component.help}


def _is_short_name(kind: str, component: Component) -> bool:
    """Return whether the short name means this component, wherever no backend decides."""
    try:
        return registry(kind).resolve(component.name, allow_import=False) == component
    except MMLError:
        # Several claim it, or it cannot be served here.
        return False
