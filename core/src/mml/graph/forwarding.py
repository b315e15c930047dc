"""Running nodes one by one on arrays that a user hands in: the plain way to look at what a graph does."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

from mml.backends import InputShape, NumpyOps
from mml.errors import GraphError, ShapeError, did_you_mean
from mml.graph.given_arrays import inputs_of
from mml.graph.nodes import ComputeNode, MergeNode, ModelNode
from mml.graph.references import ModelIOReference
from mml.graph.topology import with_ancestors

Array: TypeAlias = np.ndarray | dict[str, np.ndarray]

_OPS = NumpyOps()


def forward_arrays(
    nodes: Mapping[str, ComputeNode],
    inputs: Mapping[str, Any],
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


def _run(node: ComputeNode, inputs: list[Array]) -> np.ndarray:
    if isinstance(node, MergeNode):
        return _merged(node, [one for one in inputs if isinstance(one, np.ndarray)])
    assert isinstance(node, ModelNode)  # a graph holds models and merges only
    _check_width(node, inputs[0])
    dtype = None if node.model is None else node.model.dtype
    if isinstance(inputs[0], np.ndarray):
        return node.forward(_cast(inputs[0], dtype))
    return node.forward({key: _cast(one, dtype) for key, one in inputs[0].items()})


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


def _check_names(nodes: Mapping[str, ComputeNode], inputs: Mapping[str, Any]) -> None:
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


def _check_width(node: ModelNode, inputs: Array) -> None:
    if node.input_shape is None:
        return
    if isinstance(inputs, np.ndarray):
        found: InputShape = inputs.shape[1:]
    else:
        found = {key: one.shape[1:] for key, one in inputs.items()}
    if found != node.input_shape:
        raise ShapeError(
            "The input does not have the shape that the node was built for.",
            where={"node": node.label, "upstream": node.upstream[0].label},
            expected=_told(node.input_shape),
            found=_told(found),
        )


def _told(shape: InputShape) -> str:
    if isinstance(shape, Mapping):
        return f"a mapping with {', '.join(f'{key!r} {_told(one)}' for key, one in shape.items())}"
    return f"(rows, {', '.join(map(str, shape))})"


def _source(
    node: ComputeNode, number: int, inputs: Mapping[str, Any], values: Mapping[str, np.ndarray]
) -> Array:
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
    given = inputs[name]
    if isinstance(given, Mapping):
        return {str(key): _array(one, name=f"{name}.{key}") for key, one in given.items()}
    return _array(given, name=name)


def _array(given: Any, *, name: str) -> np.ndarray:
    array = np.asarray(given)
    if array.dtype.kind not in "biuf" or not array.ndim:
        raise GraphError(
            "An input is an array of numbers with a row for each sample.",
            where={"input": name},
            found=f"{array.dtype} {array.shape}",
        )
    return array


def _input_name(node: ComputeNode, number: int) -> str:
    return node.label if len(node.upstream) == 1 else f"{node.label}[{number}]"
