"""A graph as a table: 80 columns of text for a terminal, or HTML for a notebook.

Neither colours nor fonts are set, so that it looks right in light and dark themes.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from html import escape

from mml.errors import MMLError
from mml.graph.nodes import ComputeNode, ModelNode
from mml.graph.optimizers.optimizer import Optimizer

_HEADER = ("node", "model", "reads", "output", "parameters", "backend", "device", "frozen")
_WIDTH = 80
# What may be shortened, and how far: names of nodes and models, but no numbers.
_SHRINKING, _LEAST = (0, 1, 2, 5, 6), 6
_NUMBERS = (4,)


def summary_text(nodes: Mapping[str, ComputeNode], *, label: str, optimizer: Optimizer | None) -> str:
    """Return one line a node, columns aligned, and the number of parameters; 80 columns wide at most."""
    rows = [_row(node) for node in nodes.values()]
    widths = _widths(rows)
    lines = [_line(row, widths) for row in (_HEADER, *rows)]
    lines.insert(1, "  ".join("-" * width for width in widths))
    for sentence in _sentences(nodes, label, optimizer):
        lines += textwrap.wrap(sentence, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
    return "\n".join(lines)


def summary_html(nodes: Mapping[str, ComputeNode], *, label: str, optimizer: Optimizer | None) -> str:
    """Return the same as an HTML fragment, nothing shortened and all names escaped."""
    head = "".join(f'<th style="text-align: left">{one}</th>' for one in _HEADER)
    body = "".join(
        "<tr>" + "".join(f'<td style="text-align: left">{escape(cell)}</td>' for cell in _row(node)) + "</tr>"
        for node in nodes.values()
    )
    told = "".join(f"<div>{escape(one)}</div>" for one in _sentences(nodes, label, optimizer))
    return f"<div><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{told}</div>"


def _sentences(nodes: Mapping[str, ComputeNode], label: str, optimizer: Optimizer | None) -> tuple[str, str]:
    total = sum(_parameters(node) for node in nodes.values())
    frozen = sum(_parameters(node) for node in nodes.values() if node.is_frozen)
    built = "" if all(node.is_built for node in nodes.values()) else ", not built everywhere yet"
    return (
        f"{label}: {total:,} parameters{f', {frozen:,} of them frozen' if frozen else ''}{built}",
        f"optimizer: {'none, stage by stage' if optimizer is None else repr(optimizer)}",
    )


def _row(node: ComputeNode) -> tuple[str, ...]:
    shape = "?" if node.output_shape is None else str(tuple(node.output_shape))
    is_model = isinstance(node, ModelNode)
    return (
        node.label,
        _kind(node),
        ", ".join(one.label for one in node.upstream),
        shape,
        f"{_parameters(node):,}" if is_model and node.is_built else "?" if is_model else "-",
        _backend(node),
        (node.device or "-") if isinstance(node, ModelNode) else "-",
        "yes" if node.is_frozen else "no",
    )


def _kind(node: ComputeNode) -> str:
    if not isinstance(node, ModelNode):
        return type(node).__name__
    if node.model is None:
        return node.model_name
    native = getattr(node.model, "native", None) if node.model.is_built else None
    return node.model_name if native is None else type(native).__name__


def _backend(node: ComputeNode) -> str:
    if not isinstance(node, ModelNode):
        return "-"
    try:
        return node.backend
    except MMLError:
        # Its plugin is missing; building says so.
        return "?"


def _parameters(node: ComputeNode) -> int:
    if node.model is None or not node.model.is_built:
        return 0
    return sum(math.prod(one.shape) for one in node.model.variables() if one.role == "param")


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return the widths of the columns, the widest names shortened until a line fits."""
    widths = [max(len(row[number]) for row in (_HEADER, *rows)) for number in range(len(_HEADER))]
    while sum(widths) + 2 * (len(widths) - 1) > _WIDTH:
        widest = max(_SHRINKING, key=lambda number: widths[number])
        if widths[widest] <= _LEAST:
            break
        widths[widest] -= 1
    return widths


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    cells = [
        _shortened(cell, width).rjust(width) if number in _NUMBERS else _shortened(cell, width).ljust(width)
        for number, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()


def _shortened(cell: str, width: int) -> str:
    return cell if len(cell) <= width else f"{cell[: width - 1]}…"
