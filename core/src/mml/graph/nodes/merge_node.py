"""`MergeNode`: several upstreams become one array, differentiably, in the backend that consumes it.

A merge is written once over a backend's array operations. What happens to targets and tags at a merge is
chosen per domain: `first` or `last` upstream, a named one, or joining them.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

from mml.backends import InputShape
from mml.errors import GraphError, ShapeError, did_you_mean
from mml.graph.nodes.graph_node import ComputeNode, Shape
from mml.graph.references import Reference, reference_from_config
from mml.protocols import Config

Strategy = int | str
_WORDS = ("first", "last", "mean")


class MergeNode(ComputeNode):
    """Base of the nodes that combine two or more upstreams.

    Parameters
    ----------
    label : str
    upstreams : sequence
        Nodes, references or FeatureSets, two or more.
    targets, tags : int or str
        What the merge carries on as targets and tags: an axis to join along, ``"first"``, ``"last"``,
        ``"mean"``, or the label of one upstream. ``"first"`` is taken for targets only where all upstreams
        carry the same ones.

    Attributes
    ----------
    kind : str
        Its registered name.
    targets_argument, tags_argument : str
        What the constructor calls `targets` and `tags`, for messages.
    """

    min_upstream: ClassVar[int] = 2
    max_upstream: ClassVar[int | None] = None
    changing: ClassVar[tuple[str, ...]] = (
        *ComputeNode.changing,
        "targets",
        "tags",
        "_input_shapes",
        "_output_shape",
    )
    kind: ClassVar[str]
    targets_argument: ClassVar[str] = "targets"
    tags_argument: ClassVar[str] = "tags"

    def __init__(
        self,
        label: str,
        upstreams: Sequence[Any],
        *,
        targets: Strategy = "first",
        tags: Strategy = "first",
        uuid: str | None = None,
    ) -> None:
        super().__init__(label, upstreams, uuid=uuid)
        self.targets = self._checked_strategy("targets", targets)
        self.tags = self._checked_strategy("tags", tags)
        self._input_shapes: tuple[Shape, ...] | None = None
        self._output_shape: Shape | None = None

    @property
    def is_built(self) -> bool:
        """Whether the upstreams' shapes are known."""
        return self._input_shapes is not None

    @property
    def input_shapes(self) -> tuple[Shape, ...] | None:
        """Shapes of one sample of each upstream, None before they are known."""
        return self._input_shapes

    @property
    def output_shape(self) -> Shape | None:
        """Shape of one merged sample."""
        return self._output_shape

    def build(self, input_shapes: Sequence[InputShape], *, seed: int = 0) -> None:  # noqa: ARG002 -- nothing is drawn
        """Check that the shapes can be merged and infer the result's."""
        shapes = tuple(self._array_shape(*one) for one in zip(self.upstream, input_shapes, strict=True))
        self._output_shape = self.merged_shape(shapes)
        self._input_shapes = shapes

    def _array_shape(self, upstream: Reference, shape: InputShape) -> Shape:
        if not isinstance(shape, Mapping):
            return tuple(shape)
        raise ShapeError(
            "A merge takes one array from each upstream, and this one gives its columns by key.",
            where={"node": self.label},
            found=f"{upstream.label!r} with combine='dict'",
            hint="Use combine='concat' in the reference, or a reference for each column.",
        )

    @abstractmethod
    def merged_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        """Return the per-sample shape of the result; raise `ShapeError` where shapes do not fit."""

    @abstractmethod
    def merge(self, ops: Any, arrays: list[Any]) -> Any:
        """Combine arrays of shape ``(rows, ...)``, in the order of the upstreams."""

    def _upstream_changed(self, renamed: Mapping[str, str]) -> None:
        # What is named stays named, by whatever stands in its place.
        targets, tags = (renamed.get(one, one) if isinstance(one, str) else one for one in self._strategies)
        self.targets, self.tags = (
            self._checked_strategy("targets", targets),
            self._checked_strategy("tags", tags),
        )

    @property
    def _strategies(self) -> tuple[Strategy, Strategy]:
        return self.targets, self.tags

    def _checked_strategy(self, domain: str, strategy: Strategy) -> Strategy:
        labels = [one.label for one in self.upstream]
        is_axis = isinstance(strategy, int) and not isinstance(strategy, bool) and strategy != 0
        if is_axis or (isinstance(strategy, str) and strategy in (*_WORDS, *labels)):
            return strategy
        raise GraphError(
            f"The merge does not know how to carry {domain}.",
            where={"node": self.label},
            expected=f"an axis other than the rows', one of {_WORDS}, or one of the upstreams {labels}",
            found=repr(strategy),
            hint=did_you_mean(strategy, [*_WORDS, *labels]) if isinstance(strategy, str) else None,
        )

    def _named_shapes(self, shapes: Sequence[Shape]) -> str:
        return ", ".join(f"{one.label!r} {shape}" for one, shape in zip(self.upstream, shapes, strict=True))

    @abstractmethod
    def settings(self) -> Config:
        """Return what else the constructor takes, by keyword: JSON only."""

    def get_config(self) -> Config:
        """Return label, upstreams, strategies and settings."""
        return {
            "node": self.kind,
            "label": self.label,
            "uuid": self.uuid,
            "upstreams": [one.get_config() for one in self.upstream],
            self.targets_argument: self.targets,
            self.tags_argument: self.tags,
            **self.settings(),
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal node; every key beside label and upstreams is a setting of the constructor."""
        upstreams = [reference_from_config(one) for one in config["upstreams"]]
        settings = {key: value for key, value in config.items() if key not in ("node", "label", "upstreams")}
        return cls(config["label"], upstreams, **settings)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.label!r}, {len(self.upstream)} upstreams -> {self.output_shape})"


def checked_axis(name: str, axis: Any, *, node: str) -> int:
    """Return the number of an axis of batched arrays ``(rows, ...)``.

    Raises
    ------
    GraphError
        If it is none, or that of the rows.
    """
    if isinstance(axis, bool) or not isinstance(axis, int):
        raise GraphError(f"{name} is the number of an axis.", where={"node": node}, found=repr(axis))
    if axis == 0:
        raise GraphError(
            "Axis 0 is the rows: merging there would mix samples.",
            where={"node": node},
            hint=f"Use {name}=1 or -1.",
        )
    return axis
