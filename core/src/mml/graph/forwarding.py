"""Running nodes one by one on arrays that a user hands in: the plain way to look at what a graph does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from mml.backends import NumpyOps
from mml.errors import GraphError, ShapeError, did_you_mean
from mml.graph.nodes import ComputeNode, MergeNode, ModelNode
from mml.graph.references import ModelIOReference
from mml.graph.topology import with_ancestors

_OPS = NumpyOps()


def forward_arrays(
    nodes: Mapping[str, ComputeNode],
    inputs: Mapping[str, np.ndarray],
    active: Iterable[str] | None,
) -> dict[str, np.ndarray]:
    """Return the outputs of the active nodes, by label."""
    wanted = list(nodes) if active is None else list(active)
    for label in wanted:
        if label not in nodes:
            raise GraphError(f"The graph has no node {label!r}.", hint=did_you_mean(label, nodes))
    running = with_ancestors(nodes, wanted)
    values: dict[str, np.ndarray] = {}
    for label, node in nodes.items():
        if label in running:
            arrays = [_source(node, number, inputs, values) for number in range(len(node.upstream))]
            values[label] = _run(node, arrays)
    return {label: values[label] for label in wanted}


def _run(node: ComputeNode, arrays: list[np.ndarray]) -> np.ndarray:
    if isinstance(node, MergeNode):
        return np.asarray(node.merge(_OPS, arrays))
    assert isinstance(node, ModelNode)  # a graph holds models and merges only
    _check_width(node, arrays[0])
    return node.forward(arrays[0])


def _check_width(node: ModelNode, array: np.ndarray) -> None:
    if node.input_shape is not None and array.shape[1:] != tuple(node.input_shape):
        raise ShapeError(
            "The input does not have the shape that the node was built for.",
            where={"node": node.label, "upstream": node.upstream[0].label},
            expected=f"(rows, {', '.join(map(str, node.input_shape))})",
            found=str(array.shape),
        )


def _source(
    node: ComputeNode, number: int, inputs: Mapping[str, np.ndarray], values: Mapping[str, np.ndarray]
) -> np.ndarray:
    reference = node.upstream[number]
    if isinstance(reference, ModelIOReference):
        return values[reference.label]
    name = node.label if len(node.upstream) == 1 else f"{node.label}[{number}]"
    if name not in inputs:
        raise GraphError(
            "A node that reads data got none.",
            where={"node": node.label},
            expected=f"an input {name!r}",
            found=f"inputs {sorted(inputs)}",
        )
    array = np.asarray(inputs[name])
    dtype = None if node.model is None else node.model.dtype
    return array.astype(dtype, copy=False) if dtype is not None and array.dtype.kind == "f" else array
