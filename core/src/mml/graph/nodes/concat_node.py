"""`ConcatNode`: join upstreams along one axis of the sample, padding the others where asked to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from mml.errors import ShapeError
from mml.graph.nodes.graph_node import Shape
from mml.graph.nodes.merge_node import Strategy, checked_axis
from mml.graph.nodes.padded_merge import PaddedMerge
from mml.protocols import Config


class ConcatNode(PaddedMerge):
    """Join the upstreams' outputs along an axis.

    Parameters
    ----------
    label : str
    upstreams : sequence
        Two or more nodes, references or FeatureSets.
    concat_axis : int
        Axis of the batched array ``(rows, ...)``; 0 is the rows and not allowed. Default: the last.
    concat_axis_targets, concat_axis_tags : int or str
        What is carried on as targets and tags: an axis, ``"first"``, ``"last"``, ``"mean"`` or the label of
        one upstream.
    pad_inputs : bool
        Pad the other axes to the largest, at their end.
    pad_mode : {"constant", "edge", "reflect"}
    pad_value : float
        The constant.

    Raises
    ------
    GraphError
        If the axis is that of the rows, or the pad mode is unknown.
    """

    kind: ClassVar[str] = "concat"
    targets_argument: ClassVar[str] = "concat_axis_targets"
    tags_argument: ClassVar[str] = "concat_axis_tags"

    def __init__(
        self,
        label: str,
        upstreams: Sequence[Any],
        *,
        concat_axis: int = -1,
        concat_axis_targets: Strategy = "first",
        concat_axis_tags: Strategy = "first",
        pad_inputs: bool = False,
        pad_mode: str = "constant",
        pad_value: float = 0.0,
        uuid: str | None = None,
    ) -> None:
        super().__init__(
            label,
            upstreams,
            targets=concat_axis_targets,
            tags=concat_axis_tags,
            pad_inputs=pad_inputs,
            pad_mode=pad_mode,
            pad_value=pad_value,
            uuid=uuid,
        )
        self.concat_axis = checked_axis("concat_axis", concat_axis, node=label)
        self._register()

    def merged_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        """Return the joined shape of one sample."""
        axis = self._sample_axis(len(shapes[0]))
        doing = f"joined along axis {self.concat_axis}"
        if not 0 <= axis < len(shapes[0]):
            raise ShapeError(
                f"These outputs cannot be {doing}.",
                where={"node": self.label},
                expected="an axis that they have",
                found=self._named_shapes(shapes),
                hint="Choose another concat_axis, or stack them: StackNode(...).",
            )
        shape = list(self._equal_shape(shapes, doing=doing, free=axis))
        shape[axis] = sum(one[axis] for one in shapes)
        return tuple(shape)

    def merge(self, ops: Any, arrays: list[Any]) -> Any:
        """Join arrays of shape ``(rows, ...)``."""
        axis = self._sample_axis(len(arrays[0].shape) - 1) + 1
        return ops.concat(self._filled(ops, arrays, free=axis), axis)

    def _sample_axis(self, rank: int) -> int:
        return self.concat_axis + rank if self.concat_axis < 0 else self.concat_axis - 1

    def settings(self) -> Config:
        """Return axis and padding."""
        return {"concat_axis": self.concat_axis, **self._padding()}
