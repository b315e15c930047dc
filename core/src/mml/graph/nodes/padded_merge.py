"""`PaddedMerge`: merges that ask for equal shapes, and may fill up the smaller ones until they are.

What fills a gap is a constant, the last entry, or a reflection, at the end of each axis. How the equal arrays
become one is left to the nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mml.errors import GraphError, ShapeError
from mml.graph.nodes.graph_node import Shape
from mml.graph.nodes.merge_node import MergeNode, Strategy
from mml.protocols import Config

_PAD_MODES = ("constant", "edge", "reflect")


class PaddedMerge(MergeNode):
    """Base of the merges of equal shapes.

    Parameters
    ----------
    label : str
    upstreams : sequence
        Two or more nodes, references or FeatureSets.
    targets, tags : int or str
        See `MergeNode`.
    pad_inputs : bool
        Pad the axes that have to be equal to the largest, at their end.
    pad_mode : {"constant", "edge", "reflect"}
    pad_value : float
        The constant.

    Raises
    ------
    GraphError
        If the padding is none.
    """

    def __init__(
        self,
        label: str,
        upstreams: Sequence[Any],
        *,
        targets: Strategy,
        tags: Strategy,
        pad_inputs: bool,
        pad_mode: str,
        pad_value: float,
        uuid: str | None,
    ) -> None:
        super().__init__(label, upstreams, targets=targets, tags=tags, uuid=uuid)
        if not isinstance(pad_inputs, bool):
            raise GraphError("pad_inputs is True or False.", where={"node": label}, found=repr(pad_inputs))
        if pad_mode not in _PAD_MODES:
            raise GraphError(
                "Unknown pad_mode.",
                where={"node": label},
                expected=f"one of {_PAD_MODES}",
                found=repr(pad_mode),
            )
        if isinstance(pad_value, bool) or not isinstance(pad_value, int | float):
            raise GraphError("pad_value is a number.", where={"node": label}, found=repr(pad_value))
        self.pad_inputs = pad_inputs
        self.pad_mode = pad_mode
        self.pad_value = pad_value

    def _equal_shape(self, shapes: Sequence[Shape], *, doing: str, free: int | None = None) -> Shape:
        """Return the shape that all upstreams have after padding, but for the axis `free` of a sample.

        Raises
        ------
        ShapeError
            If they have none, or there is too little to reflect.
        """
        others = {_without(shape, free) for shape in shapes}
        same_rank = len({len(shape) for shape in shapes}) == 1
        if not same_rank or (len(others) != 1 and not self.pad_inputs):
            raise ShapeError(
                f"These outputs cannot be {doing}.",
                where={"node": self.label},
                expected="equal shapes" if free is None else "equal shapes on every other axis",
                found=self._named_shapes(shapes),
                hint="Put a node before the merge that reshapes one of them."
                if not same_rank
                else "Set pad_inputs=True to pad the shorter ones, or give the nodes equal output shapes.",
            )
        largest = tuple(max(sizes) for sizes in zip(*shapes, strict=True))
        self._check_reflection(shapes, largest, free)
        return largest

    def _check_reflection(self, shapes: Sequence[Shape], largest: Shape, free: int | None) -> None:
        """Refuse to pad by more than there is to reflect: backends differ in what they make of that."""
        for shape in shapes if self.pad_mode == "reflect" else ():
            for number, size in enumerate(shape):
                if number != free and largest[number] - size >= size:
                    raise ShapeError(
                        "There is too little to reflect.",
                        where={"node": self.label},
                        expected="padding by less than the size",
                        found=self._named_shapes(shapes),
                        hint="Use pad_mode='edge' or 'constant'.",
                    )

    def _filled(self, ops: Any, arrays: list[Any], *, free: int | None = None) -> list[Any]:
        """Return the arrays ``(rows, ...)`` padded to one shape, but for the array's axis `free`."""
        if not self.pad_inputs:
            return arrays
        largest = [max(sizes) for sizes in zip(*(tuple(array.shape) for array in arrays), strict=True)]
        padded = []
        for array in arrays:
            widths = [
                (0, 0 if number in (0, free) else largest[number] - size)
                for number, size in enumerate(array.shape)
            ]
            needed = any(after for _, after in widths)
            padded.append(ops.pad(array, widths, self.pad_mode, self.pad_value) if needed else array)
        return padded

    def _padding(self) -> Config:
        return {"pad_inputs": self.pad_inputs, "pad_mode": self.pad_mode, "pad_value": self.pad_value}

    def _require_numbers(self, arrays: list[Any]) -> None:
        """Refuse truth values, which backends add up in ways of their own."""
        # By its name, because each backend has a dtype of its own.
        truths = [
            reference.label
            for reference, array in zip(self.upstream, arrays, strict=True)
            if "bool" in str(array.dtype)
        ]
        if truths:
            raise GraphError(
                "Truth values cannot be added.",
                where={"node": self.label},
                found=f"booleans from {', '.join(map(repr, truths))}",
                hint="Ingest them as integers.",
            )


def _without(shape: Shape, axis: int | None) -> Shape:
    return shape if axis is None else shape[:axis] + shape[axis + 1 :]
