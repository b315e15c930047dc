"""The two forms of a loss: formulas over array operations, and callables that a user brings."""

from __future__ import annotations

import numpy as np
import pytest

from mml.backends import (
    CallableLoss,
    CanonicalLoss,
    NumpyOps,
    SegmentLoss,
    loss_on_rows,
    require_equal_shapes,
)
from mml.errors import LossError, ShapeError

OPS = NumpyOps()
P = np.array([[1.0, 2.0], [3.0, 5.0], [0.0, 9.0]])
T = np.array([[1.0, 0.0], [2.0, 1.0], [0.0, 8.0]])
W = np.array([[2.0], [0.0], [1.0]])


def squares(ops, outputs, targets, scale=1.0):
    return scale * ops.mean((outputs - targets) * (outputs - targets), (1,))


PER_ROW = ((P - T) ** 2).mean(axis=1)


@pytest.mark.parametrize(
    "loss",
    [
        CanonicalLoss(squares, OPS, {"scale": 1.0}),
        CallableLoss(lambda outputs, targets: (outputs - targets) ** 2, OPS),
        CallableLoss(lambda outputs, targets: ((outputs - targets) ** 2).mean(axis=1), OPS),
    ],
)
def test_a_mean_over_rows_or_one_value_a_row(loss):
    np.testing.assert_allclose(loss(P, T), PER_ROW.mean())
    np.testing.assert_allclose(loss(P, T, reduction="none"), PER_ROW)
    np.testing.assert_allclose(loss(outputs=P, targets=T), PER_ROW.mean())


def segment_loss(**settings):
    return SegmentLoss("l", "n", CanonicalLoss(squares, OPS, {}), ("o", "t"), 5.0, 0, **settings)


def test_on_rows_the_first_live_ones_count():
    values = {"o": P, "t": T, "w": W}
    np.testing.assert_allclose(loss_on_rows(segment_loss(), values, 2), PER_ROW[:2].mean())
    weighted = loss_on_rows(segment_loss(sample_weight="w"), values, 3)
    np.testing.assert_allclose(weighted, (PER_ROW * W[:, 0]).sum() / 3)
    named = segment_loss(keywords=("targets", "outputs"))
    np.testing.assert_allclose(loss_on_rows(named, {"o": T, "t": P}, 3), PER_ROW.mean())


@pytest.mark.parametrize(
    ("function", "match"),
    [
        (lambda o, t: 3, "not an array"),
        (lambda o, t: np.zeros(2), "neither"),
        (lambda o, t: o @ t, "ValueError"),
    ],
)
def test_callables_are_held_to_their_shape(function, match):
    with pytest.raises(LossError, match=match):
        CallableLoss(function, OPS)(P, T)


def test_one_number_has_no_rows():
    loss = CallableLoss(lambda o, t: np.mean(o - t), OPS)
    np.testing.assert_allclose(loss(P, T), (P - T).mean())
    with pytest.raises(LossError, match="weighted"):
        loss(P, T, reduction="none")


def test_shapes_that_would_broadcast_are_refused():
    require_equal_shapes(P, T)
    with pytest.raises(ShapeError) as caught:
        require_equal_shapes(np.zeros(3), np.zeros((3, 1)))
    assert "(3,)" in str(caught.value)
    assert "(3, 1)" in str(caught.value)
