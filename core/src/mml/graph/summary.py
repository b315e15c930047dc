"""A graph as a table that reads well in a terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from mml.graph.nodes import ComputeNode, ModelNode

if TYPE_CHECKING:
    from mml.graph.model_graph import ModelGraph

_HEADER = ("node", "kind", "reads", "output", "parameters", "backend", "frozen")


def summary_text(graph: ModelGraph) -> str:
    """Return one line a node, columns aligned, and the number of parameters."""
    rows = [_row(node) for node in graph.nodes.values()]
    widths = [max(len(row[number]) for row in (_HEADER, *rows)) for number in range(len(_HEADER))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (_HEADER, *rows)
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    total = sum(_parameters(node) for node in graph.nodes.values())
    optimizer = "none, stage by stage" if graph.optimizer is None else repr(graph.optimizer)
    lines.append(f"{graph.label}: {total:,} parameters, optimizer {optimizer}")
    return "\n".join(lines)


def _row(node: ComputeNode) -> tuple[str, ...]:
    shape = "?" if node.output_shape is None else str(tuple(node.output_shape))
    kind = type(node.model).__name__ if node.model is not None else type(node).__name__
    native = getattr(node.model, "native", None)
    if native is not None:
        kind = type(native).__name__
    return (
        node.label,
        kind,
        ", ".join(one.label for one in node.upstream),
        shape,
        f"{_parameters(node):,}",
        node.backend if isinstance(node, ModelNode) else "-",
        "yes" if node.is_frozen else "no",
    )


def _parameters(node: ComputeNode) -> int:
    if node.model is None or not node.model.is_built:
        return 0
    return sum(math.prod(one.shape) for one in node.model.variables() if one.role == "param")
