"""Which optimizer steps which of a stage's learning nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from mml.backends import SegmentOptimizer, get_backend
from mml.errors import MMLError, OptimizerError
from mml.graph.nodes import ComputeNode, ModelNode
from mml.graph.optimizers.optimizer import Optimizer

Stepped = tuple[tuple[Optimizer, SegmentOptimizer], ...]


def choose_optimizers(
    nodes: Mapping[str, ComputeNode], learning: Iterable[str], *, graph: Optimizer | None, backend: str
) -> Stepped:
    """Return each optimizer with the nodes that it steps: a node's own, else the graph's.

    Raises
    ------
    OptimizerError
        If a node has none, one does not fit the backend, or two accumulate differently.
    """
    grouped: list[tuple[Optimizer, list[str]]] = []
    for label in learning:
        optimizer = _optimizer_of(nodes[label], graph)
        try:
            optimizer.resolve(get_backend(backend))
        except MMLError as error:
            raise error.located({"node": label}) from error.__cause__
        labels = next((labels for known, labels in grouped if known is optimizer), None)
        if labels is None:
            grouped.append((optimizer, [label]))
        else:
            labels.append(label)
    _check_windows(grouped)
    _check_precision(grouped, backend)
    return tuple((one, _handed_over(one, labels, backend)) for one, labels in grouped)


def check_steppable(
    nodes: Mapping[str, ComputeNode], learning: Iterable[str], *, by_gradient: Callable[[str], bool]
) -> None:
    """Refuse an optimizer of a node that learns without gradients: it would do nothing, unnoticed.

    Raises
    ------
    OptimizerError
    """
    for label in learning:
        node = nodes[label]
        if isinstance(node, ModelNode) and node.optimizer is not None and not by_gradient(label):
            raise OptimizerError(
                "This node learns batch by batch without gradients, and takes no optimizer.",
                where={"node": label},
                found=f"optimizer={node.optimizer!r}",
                hint="Leave it out; what steps the model is among the model's own arguments.",
            )


def check_idle(nodes: Mapping[str, ComputeNode], idle: Iterable[str]) -> None:
    """Refuse an optimizer of a node that has nothing for it to step.

    Parameters
    ----------
    nodes : mapping of str to ComputeNode
    idle : iterable of str
        Labels of the nodes that run in a training step and do not learn. A node whose gradients a user turned
        off has parameters all the same, and may keep its optimizer.

    Raises
    ------
    OptimizerError
    """
    for label in idle:
        node = nodes[label]
        if not isinstance(node, ModelNode) or node.optimizer is None or not node.is_built:
            continue
        by_gradient = get_backend(node.backend).capabilities.gradients
        variables = () if node.model is None else node.model.variables()
        if not by_gradient or not any(one.role == "param" for one in variables):
            raise OptimizerError(
                "A node has an optimizer and nothing that it could step.",
                where={"node": label},
                found="a model without parameters"
                if by_gradient
                else f"a model of {node.backend!r}, which computes no gradients",
                hint="Leave its optimizer out.",
            )


def _optimizer_of(node: ComputeNode, graph: Optimizer | None) -> Optimizer:
    optimizer = (node.optimizer if isinstance(node, ModelNode) else None) or graph
    if optimizer is None:
        raise OptimizerError(
            "A node that learns has no optimizer.",
            where={"node": node.label},
            hint="Give the graph one, ModelGraph(..., optimizer='adam'), or the node, "
            "ModelNode(..., optimizer='adam'); or freeze the node.",
        )
    return optimizer


def _check_windows(grouped: list[tuple[Optimizer, list[str]]]) -> None:
    # A loss is scaled by the rows of its window, and one backward pass serves all optimizers of a stage.
    if len({one.accumulate for one, _ in grouped}) > 1:
        raise OptimizerError(
            "Optimizers that share one backward pass accumulate over different numbers of steps.",
            found="; ".join(f"{', '.join(labels)}: {one.accumulate}" for one, labels in grouped),
            hint="Give them the same `accumulate`, or train the nodes in stages, without a graph optimizer.",
        )


def _check_precision(grouped: list[tuple[Optimizer, list[str]]], backend: str) -> None:
    able = get_backend(backend).capabilities.precisions
    for optimizer, labels in grouped:
        if optimizer.precision not in able:
            raise OptimizerError(
                f"The backend {backend!r} does not train in {optimizer.precision} here.",
                where={"nodes": ", ".join(labels)},
                expected=f"one of {able}",
                hint="Leave `precision` out.",
            )
    if len({one.precision for one, _ in grouped}) > 1:
        raise OptimizerError(
            "Optimizers that share one backward pass ask for different precisions.",
            found="; ".join(f"{', '.join(labels)}: {one.precision}" for one, labels in grouped),
            hint="Give them the same `precision`, or train the nodes in stages, without a graph optimizer.",
        )


def _handed_over(optimizer: Optimizer, labels: list[str], backend: str) -> SegmentOptimizer:
    return SegmentOptimizer(
        rule=optimizer.resolve(get_backend(backend)),
        slots=optimizer,
        nodes=tuple(labels),
        clip_norm=optimizer.clip_norm,
        clip_value=optimizer.clip_value,
    )
