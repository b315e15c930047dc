"""`ConcatNode`: join upstreams along one axis of the sample, padding the others where asked to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from mml.errors import GraphError, ShapeError
from mml.graph.nodes.graph_node import Shape
from mml.graph.nodes.merge_node import MergeNode, Strategy
from mml.protocols import Config

_PAD_MODES = ("constant", "edge", "reflect")


class ConcatNode(MergeNode):
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
        super().__init__(label, upstreams, targets=concat_axis_targets, tags=concat_axis_tags, uuid=uuid)
        if isinstance(concat_axis, bool) or not isinstance(concat_axis, int):
            raise GraphError(
                "concat_axis is the number of an axis.", where={"node": label}, found=repr(concat_axis)
            )
        if concat_axis == 0:
            raise GraphError(
                "Axis 0 is the rows: joining there would mix samples.",
                where={"node": label},
                hint="Use concat_axis=1 or -1.",
            )
        if pad_mode not in _PAD_MODES:
            raise GraphError(
                "Unknown pad_mode.",
                where={"node": label},
                expected=f"one of {_PAD_MODES}",
                found=repr(pad_mode),
            )
        if isinstance(pad_value, bool) or not isinstance(pad_value, int | float):
            raise GraphError("pad_value is a number.", where={"node": label}, found=repr(pad_value))
        self.concat_axis = concat_axis
        self.pad_inputs = pad_inputs
        self.pad_mode = pad_mode
        self.pad_value = pad_value
        self._register()

    def merged_shape(self, shapes: tuple[Shape, ...]) -> Shape:
        """Return the joined shape of one sample."""
        ranks = {len(shape) for shape in shapes}
        axis = self._sample_axis(len(shapes[0]))
        others = [shape[:axis] + shape[axis + 1 :] for shape in shapes]
        if (
            len(ranks) != 1
            or not 0 <= axis < len(shapes[0])
            or (not self.pad_inputs and len(set(others)) != 1)
        ):
            raise ShapeError(
                f"These outputs cannot be joined along axis {self.concat_axis}.",
                where={"node": self.label},
                expected="equal shapes on every other axis",
                found=self._named_shapes(shapes),
                hint="Set pad_inputs=True to pad the shorter ones, or choose another concat_axis.",
            )
        largest = [max(sizes) for sizes in zip(*shapes, strict=True)]
        self._check_reflection(shapes, largest, axis)
        largest[axis] = sum(shape[axis] for shape in shapes)
        return tuple(largest)

    def _check_reflection(self, shapes: tuple[Shape, ...], largest: Sequence[int], axis: int) -> None:
        """Refuse to pad by more than there is to reflect: backends differ in what they make of that."""
        for shape in shapes if self.pad_mode == "reflect" else ():
            for number, size in enumerate(shape):
                if number != axis and largest[number] - size >= size:
                    raise ShapeError(
                        "There is too little to reflect.",
                        where={"node": self.label},
                        expected="padding by less than the size",
                        found=self._named_shapes(shapes),
                        hint="Use pad_mode='edge' or 'constant'.",
                    )

    def merge(self, ops: Any, arrays: list[Any]) -> Any:
        """Join arrays of shape ``(rows, ...)``."""
        axis = self._sample_axis(len(arrays[0].shape) - 1) + 1
        if self.pad_inputs:
            arrays = self._padded(ops, arrays, axis)
        return ops.concat(arrays, axis)

    def _padded(self, ops: Any, arrays: list[Any], axis: int) -> list[Any]:
        largest = [max(sizes) for sizes in zip(*(tuple(array.shape) for array in arrays), strict=True)]
        padded = []
        for array in arrays:
            widths = [
                (0, 0 if number == axis else largest[number] - size)
                for number, size in enumerate(array.shape)
            ]
            needed = any(after for _, after in widths)
            padded.append(ops.pad(array, widths, self.pad_mode, self.pad_value) if needed else array)
        return padded

    def _sample_axis(self, rank: int) -> int:
        return self.concat_axis + rank if self.concat_axis < 0 else self.concat_axis - 1

    def get_config(self) -> Config:
        """Return label, upstreams, axis and padding."""
        return {
            **self._base_config(),
            "concat_axis": self.concat_axis,
            "concat_axis_targets": self.targets,
            "concat_axis_tags": self.tags,
            "pad_inputs": self.pad_inputs,
            "pad_mode": self.pad_mode,
            "pad_value": self.pad_value,
        }

    @classmethod
    def from_config(cls, config: Config) -> ConcatNode:
        """Build an equal node."""
        settings = {key: value for key, value in config.items() if key not in ("node", "label", "upstreams")}
        return cls(config["label"], cls._upstreams_from(config), **settings)
