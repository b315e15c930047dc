"""`SumNode`: add up upstreams of one shape, element by element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from mml.graph.nodes.graph_node import Shape
from mml.graph.nodes.merge_node import Strategy
from mml.graph.nodes.padded_merge import PaddedMerge
from mml.protocols import Config


class SumNode(PaddedMerge):
    """Add up the upstreams' outputs.

    Parameters
    ----------
    label : str
    upstreams : sequence
        Two or more nodes, references or FeatureSets, of one shape a sample; nothing is broadcast.
    targets, tags : int or str
        What is carried on as targets and tags: an axis to join along, ``"first"``, ``"last"``, ``"mean"`` or
        the label of one upstream.
    pad_inputs : bool
        Pad shorter upstreams to the largest size of every axis, at its end. With the constant 0, what is
        missing adds nothing.
    pad_mode : {"constant", "edge", "reflect"}
    pad_value : float
        The constant.

    Examples
    --------
    >>> both = SumNode("both", [encoder, shortcut])  # doctest: +SKIP
    """

    kind: ClassVar[str] = "sum"

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
        return self._equal_shape(shapes, doing="added")

    def merge(self, ops: Any, arrays: list[Any]) -> Any:
        """Add arrays of shape ``(rows, ...)``, in the order of the upstreams."""
        self._require_numbers(arrays)
        first, *others = self._filled(ops, arrays)
        for array in others:
            first = first + array
        return first

    def settings(self) -> Config:
        """Return the padding."""
        return self._padding()
