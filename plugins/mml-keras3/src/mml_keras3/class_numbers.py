"""Class numbers are looked at on the host: inside a program, one that is no class would pick another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mml.backends import Block, CanonicalLoss, Segment
from mml.errors import LossError
from mml.graph.losses import canonical

OVER_CLASSES = (canonical.cross_entropy, canonical.nll)
"""The canonical losses whose targets are numbers of classes."""


def targets_of(segment: Segment) -> list[tuple[str, str, int, int]]:
    """Return loss, input, column of counts and number of classes of the targets that are class numbers."""
    widths = {call.key: call.model.output_shape for call in segment.calls if call.model is not None}
    widths |= {one.name: one.shape for one in segment.inputs}
    columns = {one.name: one.rows for one in segment.inputs}
    found = []
    for loss in segment.losses:
        named = _named(loss.arguments, loss.keywords)
        is_over_classes = isinstance(loss.function, CanonicalLoss) and loss.function.formula in OVER_CLASSES
        width, targets = widths.get(named.get("outputs", "")), named.get("targets", "")
        if is_over_classes and width and len(width) == 1 and targets in columns:
            found.append((loss.label, targets, columns[targets], width[0]))
    return found


def check(targets: Sequence[tuple[str, str, int, int]], block: Block) -> None:
    """Refuse a block with a live target that is the number of no class.

    Raises
    ------
    LossError
        With the loss, the range allowed and the one found.
    """
    for label, name, column, n_classes in targets:
        values = block.values[name]
        if isinstance(values, list) or values.dtype.kind not in "iu":
            continue
        capacity = np.arange(values.shape[1])
        live = values[capacity < block.rows[:, column, None]]
        if live.size and not (live.min() >= 0 and live.max() < n_classes):
            raise LossError(
                "A target is the number of no class.",
                where={"loss": label},
                expected=f"0 to {n_classes - 1}, for outputs of {n_classes} class{'es' * (n_classes != 1)}",
                found=f"targets from {live.min()} to {live.max()}",
                hint="Set the model's output_shape to the number of classes, or number the classes from 0.",
            )


def _named(arguments: Sequence[str], keywords: Sequence[str]) -> Mapping[str, str]:
    return dict(zip(keywords or ("outputs", "targets"), arguments, strict=False))
