"""What a field of a document means beyond its type: a component, a name from elsewhere, one of several forms.

The reader, the JSON Schema and the builder all read the same marks, so that they cannot disagree.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, TypeAlias

import msgspec

from mml.documents.mistakes import Path


@dataclass(frozen=True)
class ComponentOf:
    """The field names a component: ``name``, or ``name: {settings}``, the call ``name(**settings)``."""

    kind: str


@dataclass(frozen=True)
class NameOf:
    """The field names something that the document defines in a section.

    Parameters
    ----------
    section : str
        ``data``, ``nodes``, ``losses``, ``evaluations``, ``splits``, or ``upstreams``: nodes and data.
    """

    section: str


@dataclass(frozen=True)
class OneOf:
    """The field takes one of several forms, told apart by the key that each one requires.

    Parameters
    ----------
    forms : dict of str to Struct class
        Key → form.
    """

    forms: dict[str, type[msgspec.Struct]] = field(hash=False)


@dataclass(frozen=True)
class ComponentUse:
    """A component as a document uses it.

    Parameters
    ----------
    kind, name : str
        Its kind, and its name as written.
    settings : dict
        Keyword arguments.
    path : tuple
        Where the name stands.
    """

    kind: str
    name: str
    settings: dict[str, Any]
    path: Path


def marked(mark: ComponentOf | NameOf | OneOf, ref: str | None = None) -> msgspec.Meta:
    """Return the annotation that carries a mark, and what stands for it in the JSON Schema."""
    if isinstance(mark, OneOf):
        schema: dict[str, Any] = {
            "anyOf": [{"$ref": f"#/$defs/{one.__name__}"} for one in dict.fromkeys(mark.forms.values())]
        }
    elif isinstance(mark, ComponentOf):
        schema = {"$ref": f"#/$defs/{mark.kind}"}
    else:
        schema = {"description": ref or f"A name from `{mark.section}`."}
    return msgspec.Meta(extra={"mark": mark}, extra_json_schema=schema)


# For the type checker these are what the reader makes of them; msgspec sees the mark.
ModelUse: TypeAlias = Annotated[Any, marked(ComponentOf("models"))]
MergeUse: TypeAlias = Annotated[Any, marked(ComponentOf("merge_nodes"))]
OptimizerUse: TypeAlias = Annotated[Any, marked(ComponentOf("optimizers"))]
LossUse: TypeAlias = Annotated[Any, marked(ComponentOf("losses"))]
DatasetUse: TypeAlias = Annotated[Any, marked(ComponentOf("datasets"))]
ScalerUse: TypeAlias = Annotated[Any, marked(ComponentOf("scalers"))]
SplitterUse: TypeAlias = Annotated[Any, marked(ComponentOf("splitters"))]
SamplerUse: TypeAlias = Annotated[Any, marked(ComponentOf("samplers"))]
CallbackUse: TypeAlias = Annotated[Any, marked(ComponentOf("callbacks"))]
MetricUse: TypeAlias = Annotated[Any, marked(ComponentOf("metrics"))]

DataName: TypeAlias = Annotated[str, marked(NameOf("data"))]
NodeName: TypeAlias = Annotated[str, marked(NameOf("nodes"))]
UpstreamName: TypeAlias = Annotated[str, marked(NameOf("upstreams"), "A node, or data with all its columns.")]
LossName: TypeAlias = Annotated[str, marked(NameOf("losses"))]
EvaluationName: TypeAlias = Annotated[str, marked(NameOf("evaluations"))]
SplitName: TypeAlias = Annotated[str, marked(NameOf("splits"), "A split of the data; null for all rows.")]
