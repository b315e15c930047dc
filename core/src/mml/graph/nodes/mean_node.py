"""`MeanNode`: average upstreams of one shape, element by element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from mml.graph.nodes.graph_node import Shape
from mml.graph.nodes.merge_node import Strategy
from mml.graph.nodes.padded_merge import PaddedMerge
from mml.protocols import Config


class MeanNode(PaddedMerge):
    """Average the upstreams' outputs.

    Parameters
    ----------
    label : str
    upstreams : sequence
        Two or more nodes, references or FeatureSets, of one shape a sample; nothing is broadcast.
    targets, tags : int or str
        What is carried on as targets and tags: an axis to join along, ``"first"``, ``"last"``, ``"mean"`` or
        the label of one upstream.
    pad_inputs : bool
        Pad shorter upstreams to the largest size of every axis, at its end. What is padded counts as a value
        of its upstream.
    pad_mode : {"constant", "edge", "reflect"}
    pad_value : float
        The constant.

    Examples
    --------
    >>> vote = MeanNode("vote", [one, two, three], targets="mean")  # doctest: +SKIP
    """

    kind: ClassVar[str] = "mean"

    def __init__(
        self,
        label: str,
        upstreams: Sequence[Any],
        *,
        targets: Strategy = "first",
        tags: Strategy = "first",
        pad_inputs: bool = False,
        pad_mode: str = "constant",
        pad_value: float = 0.0,
        uuid: str | None = None,
    ) -> None:
        super().__init__(
            label,
            upstreams,
            targets=targets,
            tags=tags,
            pad_inputs=pad_inputs,
            pad_mode=pad_mode,
            pad_value=pad_value,
            uuid=uuid,
        )
        self._register()

    def merged_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        """Return the common shape of one sample."""
        return self._equal_shape(shapes, doing="averaged")

    def merge(self, ops: Any, arrays: list[Any]) -> Any:
        """Average arrays of shape ``(rows, ...)``; integers give floating numbers."""
        self._require_numbers(arrays)
        first, *others = self._filled(ops, arrays)
        for array in others:
            first = first + array
        return first / len(arrays)

    def settings(self) -> Config:
        """Return the padding."""
        return self._padding()
