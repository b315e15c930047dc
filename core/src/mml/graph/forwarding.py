"""Running nodes one by one on arrays that a user hands in: the plain way to look at what a graph does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from mml.backends import NumpyOps
from mml.errors import GraphError, ShapeError, did_you_mean
from mml.graph.given_arrays import inputs_of
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
    _check_names(nodes, inputs)
    running = with_ancestors(nodes, wanted)
    values: dict[str, np.ndarray] = {}
    for label, node in nodes.items():
        if label in running:
            arrays = [_source(node, number, inputs, values) for number in range(len(node.upstream))]
            values[label] = _run(node, arrays)
    return {label: values[label] for label in wanted}


def _run(node: ComputeNode, arrays: list[np.ndarray]) -> np.ndarray:
    if isinstance(node, MergeNode):
        return _merged(node, arrays)
    assert isinstance(node, ModelNode)  # a graph holds models and merges only
    _check_width(node, arrays[0])
    dtype = None if node.model is None else node.model.dtype
    return node.forward(_cast(arrays[0], dtype))


def _merged(node: MergeNode, arrays: list[np.ndarray]) -> np.ndarray:
    found = ", ".join(
        f"{one.label!r} {array.shape}" for one, array in zip(node.upstream, arrays, strict=True)
    )
    if len({len(array) for array in arrays}) > 1:
        raise ShapeError(
            "The upstreams of a merge have different numbers of rows.",
            where={"node": node.label},
            found=found,
        )
    try:
        return np.asarray(node.merge(_OPS, arrays))
    except ValueError as cause:
        raise ShapeError("These arrays cannot be merged.", where={"node": node.label}, found=found) from cause


def _cast(array: np.ndarray, dtype: str | None) -> np.ndarray:
    return array.astype(dtype, copy=False) if dtype is not None and array.dtype.kind == "f" else array


def _check_names(nodes: Mapping[str, ComputeNode], inputs: Mapping[str, np.ndarray]) -> None:
    known = inputs_of(nodes)
    if not isinstance(inputs, Mapping):
        raise GraphError(
            "A graph runs forward on arrays.",
            expected="an array with a row for each sample, or a mapping from inputs to arrays",
            found=f"{type(inputs).__name__}: {inputs!r}",
            hint="Take the array out of a view: view.get_features().",
        )
    for name in inputs:
        if name not in known:
            raise GraphError(f"The graph has no input {name!r}.", hint=did_you_mean(str(name), known))


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
    name = _input_name(node, number)
    if name not in inputs:
        raise GraphError(
            "A node that reads data got none.",
            where={"node": node.label},
            expected=f"an input {name!r}",
            found=f"inputs {sorted(inputs)}",
        )
    array = np.asarray(inputs[name])
    if array.dtype.kind not in "biuf" or not array.ndim:
        raise GraphError(
            "An input is an array of numbers with a row for each sample.",
            where={"input": name},
            found=f"{array.dtype} {array.shape}",
        )
    return array


def _input_name(node: ComputeNode, number: int) -> str:
    return node.label if len(node.upstream) == 1 else f"{node.label}[{number}]"
