"""`StackNode`: put upstreams of one shape side by side along a new axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from mml.errors import ShapeError
from mml.graph.nodes.graph_node import Shape
from mml.graph.nodes.merge_node import Strategy, checked_axis
from mml.graph.nodes.padded_merge import PaddedMerge
from mml.protocols import Config


class StackNode(PaddedMerge):
    """Stack the upstreams' outputs along a new axis, one entry an upstream.

    Parameters
    ----------
    label : str
    upstreams : sequence
        Two or more nodes, references or FeatureSets, of one shape a sample.
    axis : int
        Where the new axis stands in the batched result ``(rows, ...)``; 0 is the rows and not allowed.
        Default: right behind the rows, so that k outputs of shape ``(n,)`` give ``(k, n)``.
    targets, tags : int or str
        What is carried on as targets and tags: an axis to join along, ``"first"``, ``"last"``, ``"mean"`` or
        the label of one upstream.
    pad_inputs : bool
        Pad shorter upstreams to the largest size of every axis, at its end.
    pad_mode : {"constant", "edge", "reflect"}
    pad_value : float
        The constant.

    Raises
    ------
    GraphError
        If the axis is that of the rows.

    Examples
    --------
    >>> channels = StackNode("channels", [voltage, current], axis=1)  # doctest: +SKIP
    """

    kind: ClassVar[str] = "stack"

    def __init__(
        self,
        label: str,
        upstreams: Sequence[Any],
        *,
        axis: int = 1,
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
        self.axis = checked_axis("axis", axis, node=label)
        self._register()

    def merged_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        """Return the shape of one sample, the new axis included."""
        shape = self._equal_shape(shapes, doing="stacked")
        # Negative axes count from the end of the result, which has one axis more.
        place = self.axis - 1 if self.axis > 0 else self.axis + len(shape) + 1
        if not 0 <= place <= len(shape):
            raise ShapeError(
                f"There is no place for a new axis {self.axis}.",
                where={"node": self.label},
                expected=f"an axis from 1 to {len(shape) + 1}, or from -1 to {-len(shape) - 1}",
                found=self._named_shapes(shapes),
            )
        return (*shape[:place], len(shapes), *shape[place:])

    def merge(self, ops: Any, arrays: list[Any]) -> Any:
        """Stack arrays of shape ``(rows, ...)``."""
        return ops.stack(self._filled(ops, arrays), self.axis)

    def settings(self) -> Config:
        """Return axis and padding."""
        return {"axis": self.axis, **self._padding()}
