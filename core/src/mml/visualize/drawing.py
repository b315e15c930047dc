"""What a picture of a graph shows: boxes and arrows, before anything is placed or drawn.

It reads a graph and a phase through their public API and imports neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from mml.data import FeatureSetReference
from mml.graph import MergeNode, ModelGraph, ModelNode
from mml.graph.outline import BorderOutline, Outline

Kind = Literal["data", "model", "merge", "sampler", "loss"]
Crossing = Literal["plain", "stop", "convert"]

_EVERY_HEAD = "*"
_SHOWN_COLUMNS = 3
_FROZEN = {"user": "frozen by the user", "fit": "frozen by a FitPhase"}


@dataclass(frozen=True)
class Box:
    """One thing in the picture.

    Parameters
    ----------
    key : str
        Unique in the drawing.
    kind : {"data", "model", "merge", "sampler", "loss"}
    title : str
    lines : tuple of str
        What stands below the title.
    frozen, learning, idle : bool
        A node that keeps its values, one that learns, one that does not run.
    """

    key: str
    kind: Kind
    title: str
    lines: tuple[str, ...] = ()
    frozen: bool = False
    learning: bool = False
    idle: bool = False


@dataclass(frozen=True)
class Arrow:
    """Values that go from one box to another.

    Parameters
    ----------
    source, target : str
        Keys.
    label : str
    crossing : {"plain", "stop", "convert"}
        Whether gradients stop on the way, and whether values are converted.
    """

    source: str
    target: str
    label: str = ""
    crossing: Crossing = "plain"


@dataclass(frozen=True)
class Drawing:
    """A picture as data.

    Parameters
    ----------
    title : str
    boxes : tuple of Box
    arrows : tuple of Arrow
    notes : tuple of str
        What cannot be done, in sentences.
    """

    title: str
    boxes: tuple[Box, ...] = ()
    arrows: tuple[Arrow, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """The kinds of boxes that there are."""
        return tuple(dict.fromkeys(box.kind for box in self.boxes))


def drawing_of(graph: ModelGraph, phase: Any = None) -> Drawing:
    """Return what a picture of a graph shows; with a phase, its losses and samplers, too."""
    outline = graph.outline(phase)
    boxes = [_node(node, outline, phase is not None) for node in graph.nodes.values()]
    read = {head: dict(_data_of(graph, outline, head)) for head in graph.head_nodes}
    data = dict.fromkeys(label for sources in read.values() for label in sources)
    missing = set(outline.missing.values())
    sources = [
        Box(_data_key(label), "data", label, ("does not exist yet",) if label in missing else ())
        for label in data
    ]
    sampled, samplers = _samplers(phase, read)
    title = graph.label if phase is None else f"{graph.label} in {phase.label}"
    return Drawing(
        title,
        boxes=(*sources, *samplers, *boxes, *_losses(outline)),
        arrows=(
            *_data_arrows(read, sampled),
            *_edges(graph, outline),
            *(Arrow(_node_key(on), _loss_key(label)) for label, on, _ in outline.losses),
        ),
        notes=tuple(_notes(outline)),
    )


def _node_key(label: str) -> str:
    return f"node {label}"


def _data_key(label: str) -> str:
    return f"data {label}"


def _loss_key(label: str) -> str:
    return f"loss {label}"


# --- nodes -----------------------------------------------------------------------------------------------


def _node(node: Any, outline: Outline, in_phase: bool) -> Box:
    label = node.label
    steps = [number for number, stage in enumerate(outline.stages, start=1) if label in stage.nodes]
    learning = any(label in stage.learning for stage in outline.stages)
    idle = in_phase and bool(outline.stages) and not steps
    return Box(
        _node_key(label),
        "model" if isinstance(node, ModelNode) else "merge",
        label,
        tuple(_node_lines(node, outline, steps, learning=learning and in_phase, idle=idle)),
        frozen=node.is_frozen,
        learning=learning,
        idle=idle,
    )


def _node_lines(
    node: Any, outline: Outline, steps: Sequence[int], *, learning: bool, idle: bool
) -> Iterator[str]:
    yield node.model_name if isinstance(node, ModelNode) else _merge_name(node)
    inputs, outputs = outline.shapes.get(node.label, (None, None))
    if isinstance(node, ModelNode):
        yield f"{_shape(inputs)} → {_shape(outputs)}"
    else:
        yield f"→ {_shape(outputs)}"
    for number in steps:
        yield f"step {number} on {outline.stages[number - 1].backend}"
    if node.is_frozen:
        yield _FROZEN.get(node.frozen_by, "frozen")
    elif idle:
        yield "does not run"
    elif learning:
        yield "is fitted" if outline.mode == "fit" else "learns"
    if node.label in outline.to_fit and outline.mode != "fit":
        yield "not fitted yet"


def _merge_name(node: MergeNode) -> str:
    return type(node).__name__


def _shape(shape: tuple[int, ...] | Mapping[str, tuple[int, ...]] | None) -> str:
    if isinstance(shape, Mapping):
        return ", ".join(f"{key} {one}" for key, one in shape.items())
    return "?" if shape is None else str(shape)


def _edges(graph: ModelGraph, outline: Outline) -> Iterator[Arrow]:
    borders = {(one.upstream, one.downstream): one for one in outline.borders}
    for label, node in graph.nodes.items():
        for one in node.upstream:
            if not isinstance(one, FeatureSetReference):
                border = borders.get((one.label, label))
                yield Arrow(
                    _node_key(one.label), _node_key(label), _border_label(border), _crossing(border, outline)
                )


def _border_label(border: BorderOutline | None) -> str:
    if border is None or not border.converts:
        return ""
    return " → ".join(border.backends) + (f", {border.dtype}" if border.dtype else "")


def _crossing(border: BorderOutline | None, outline: Outline) -> Crossing:
    if border is None:
        return "plain"
    if border.converts:
        return "convert"
    return "stop" if outline.mode == "train" else "plain"


# --- data ------------------------------------------------------------------------------------------------


def _data_of(graph: ModelGraph, outline: Outline, head: str) -> Iterator[tuple[str, str]]:
    """Yield the FeatureSets that a head reads, with its columns of each."""
    found: dict[str, list[str]] = {}
    for column in outline.columns:
        if column.reader == head and not column.for_loss:
            found.setdefault(column.featureset, []).append(_short(column.column))
    for reference in graph[head].upstream:
        if isinstance(reference, FeatureSetReference) and (not found or outline.missing.get(head)):
            found.setdefault(reference.label, list(reference.features))
    for label, columns in found.items():
        names = list(dict.fromkeys(columns))
        more = [f"{len(names) - _SHOWN_COLUMNS} more"] if len(names) > _SHOWN_COLUMNS + 1 else []
        yield label, ", ".join([*(names[:_SHOWN_COLUMNS] if more else names), *more])


def _short(column: str) -> str:
    """Return a column's name without domain, and without `raw`, which goes without saying."""
    return column.partition(".")[2].removesuffix(".raw")


def _data_arrows(
    read: Mapping[str, Mapping[str, str]], sampled: Mapping[tuple[str, str], str]
) -> Iterator[Arrow]:
    made: dict[Arrow, None] = {}
    for head, sources in read.items():
        for label, columns in sources.items():
            sampler = sampled.get((head, label))
            if sampler is None:
                made[Arrow(_data_key(label), _node_key(head), columns)] = None
            else:
                made[Arrow(_data_key(label), sampler)] = None
                made[Arrow(sampler, _node_key(head), columns)] = None
    yield from made


def _samplers(
    phase: Any, read: Mapping[str, Mapping[str, str]]
) -> tuple[dict[tuple[str, str], str], list[Box]]:
    """Return which sampler stands between a FeatureSet and a head, and a box for each."""
    of: dict[tuple[str, str], str] = {}
    boxes: dict[str, Box] = {}
    for number, binding in enumerate(() if phase is None else phase.input_sources):
        for head, sources in read.items():
            for label in sources:
                named = binding.upstream is None or binding.upstream.label == label
                if binding.node not in (_EVERY_HEAD, head) or not named:
                    continue
                key = f"sampler {number} {label}"
                boxes.setdefault(key, _sampler(key, binding))
                of[head, label] = key
    return of, list(boxes.values())


def _sampler(key: str, binding: Any) -> Box:
    split = "all rows" if binding.split is None else binding.split
    if binding.sampler is None:
        return Box(key, "sampler", split, ("in order",))
    settings = {
        name: value for name, value in binding.sampler.get_config().items() if value not in (None, False, [])
    }
    name = type(binding.sampler).__name__
    lines = [f"{key} {value}" for key, value in settings.items() if key in ("batch_size", "shuffle")]
    return Box(key, "sampler", split, (name, *(one.replace(" True", "").replace("_", " ") for one in lines)))


# --- losses and notes ------------------------------------------------------------------------------------


def _losses(outline: Outline) -> Iterator[Box]:
    for label, _, weight in outline.losses:
        columns = dict.fromkeys(
            f"{column.column.removesuffix('.raw')} of {column.featureset}"
            for column in outline.columns
            if column.for_loss and column.reader == label
        )
        yield Box(
            _loss_key(label), "loss", label, (*columns, *([f"weight {weight:g}"] if weight != 1 else []))
        )


def _notes(outline: Outline) -> Iterator[str]:
    for error in outline.refusals:
        where = f" ({error.where})" if error.where else ""
        yield f"Refused{where}: {error.what}"
