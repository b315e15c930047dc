"""The canonical losses over embeddings of several roles: what belongs together is near, the rest is far.

Written over a backend's array operations as the other canonical losses; each gives one value a row.
"""

from __future__ import annotations

from typing import Any

from mml.backends.losses import require_equal_shapes
from mml.backends.ops import ArrayOps
from mml.errors import ShapeError
from mml.graph.losses.canonical import norm, require_positive


def triplet(ops: ArrayOps, anchor: Any, positive: Any, negative: Any, *, margin: float = 1.0) -> Any:
    """Triplet margin loss max(0, ‖a - p‖ - ‖a - n‖ + margin).

    Parameters
    ----------
    ops : ArrayOps
    anchor, positive, negative : native array, shape (rows, ...), equal shapes, floating
        Embeddings, such as ``inputs=["outputs.anchor", "outputs.positive", "outputs.negative"]``.
    margin : float
        Positive. At the kink itself the slope is half of that on the losing side.

    Returns
    -------
    native array, shape (rows,)

    References
    ----------
    Schroff, Kalenichenko and Philbin, "FaceNet: a unified embedding for face recognition and clustering",
    2015; with distances in place of their squares, as Balntas et al., "Learning local feature descriptors
    with triplets and shallow convolutional neural networks", 2016.
    """
    require_positive("triplet", "margin", margin)
    require_equal_shapes(anchor, positive)
    require_equal_shapes(anchor, negative)
    excess = _distance(ops, anchor, positive) - _distance(ops, anchor, negative) + float(margin)
    return 0.5 * (excess + ops.abs(excess))


def contrastive(
    ops: ArrayOps, outputs: Any, others: Any, same: Any, other: Any = None, *, margin: float = 1.0
) -> Any:
    """Contrastive loss: d²/2 where two rows belong together, max(0, margin - d)²/2 where they do not.

    Parameters
    ----------
    ops : ArrayOps
    outputs, others : native array, shape (rows, ...), equal shapes, floating
        Embeddings of both roles; d is their Euclidean distance.
    same : native array, shape (rows,) or (rows, 1)
        Not zero where both belong together; with `other`, the labels of `outputs`.
    other : native array, optional
        The labels of `others`: equal labels belong together, such as
        ``inputs=["outputs.anchor", "outputs.pair", "targets.anchor", "targets.pair"]``.
    margin : float
        Positive.

    Returns
    -------
    native array, shape (rows,)

    References
    ----------
    Hadsell, Chopra and LeCun, "Dimensionality reduction by learning an invariant mapping", 2006. Their Y is
    0 where both belong together.
    """
    require_positive("contrastive", "margin", margin)
    require_equal_shapes(outputs, others)
    together = _column(ops, same, outputs) != 0 if other is None else _equal(ops, same, other, outputs)
    distance = _distance(ops, outputs, others)
    lacking = float(margin) - distance
    pushed = 0.5 * (lacking + ops.abs(lacking))
    return ops.where(together, 0.5 * distance * distance, 0.5 * pushed * pushed)


def _equal(ops: ArrayOps, labels: Any, others: Any, outputs: Any) -> Any:
    return _column(ops, labels, outputs) == _column(ops, others, outputs)


def _column(ops: ArrayOps, labels: Any, outputs: Any) -> Any:
    n_rows, shape = outputs.shape[0], tuple(labels.shape)
    if len(shape) > 2 or shape[1:] not in ((), (1,)):
        raise ShapeError(
            "contrastive takes one label a row.",
            expected="labels of shape (rows,) or (rows, 1)",
            found=f"shape {shape}",
            hint="Name one column, such as 'targets.anchor.y'.",
        )
    return labels if len(shape) == 1 else ops.reshape(labels, (n_rows,))


def _distance(ops: ArrayOps, one: Any, other: Any) -> Any:
    difference = one - other
    return norm(ops, difference, tuple(range(1, len(difference.shape))))
