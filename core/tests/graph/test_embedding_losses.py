"""Losses over embeddings of several roles, against loops in float64, and their slopes against differences."""

import numpy as np
import pytest

from mml.backends import NumpyOps
from mml.errors import LossError, ShapeError
from mml.graph.losses.embedding import contrastive, triplet
from mml.graph.losses.loss import Loss

OPS = NumpyOps()
ROWS, WIDTH = 11, 3


def embeddings(number):
    draw = np.random.default_rng(5)
    return [draw.normal(size=(ROWS, WIDTH)) for _ in range(number)]


def distance(one, other):
    return sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5


@pytest.mark.parametrize("margin", [0.25, 1.0])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 3e-6)])
def test_triplet_agrees_with_a_loop(margin, dtype, tolerance):
    anchor, positive, negative = embeddings(3)
    expected = [
        max(0.0, distance(a, p) - distance(a, n) + margin)
        for a, p, n in zip(anchor, positive, negative, strict=True)
    ]
    assert 0.0 in expected
    seen = triplet(OPS, *(one.astype(dtype) for one in (anchor, positive, negative)), margin=margin)
    assert (seen.shape, seen.dtype) == ((ROWS,), dtype)
    np.testing.assert_allclose(seen, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("margin", [0.5, 2.0])
@pytest.mark.parametrize("shape", [(ROWS,), (ROWS, 1)])
def test_contrastive_agrees_with_a_loop(margin, shape):
    outputs, others = embeddings(2)
    labels = np.random.default_rng(1).integers(0, 3, size=(2, ROWS))
    same = labels[0] == labels[1]
    assert 0 < same.sum() < ROWS
    expected = []
    for one, other, together in zip(outputs, others, same, strict=True):
        d = distance(one, other)
        expected.append(d**2 / 2 if together else max(0.0, margin - d) ** 2 / 2)
    by_labels = contrastive(OPS, outputs, others, *(one.reshape(shape) for one in labels), margin=margin)
    for given in (same, same.astype(int), same.astype("float32")):
        seen = contrastive(OPS, outputs, others, given.reshape(shape), margin=margin)
        np.testing.assert_allclose(seen, expected, rtol=1e-12, atol=1e-12)
        np.testing.assert_array_equal(seen, by_labels)


def test_equal_embeddings_have_a_finite_value():
    (rows,) = embeddings(1)
    np.testing.assert_allclose(triplet(OPS, rows, rows, rows), np.ones(ROWS))
    np.testing.assert_allclose(contrastive(OPS, rows, rows, np.ones(ROWS)), np.zeros(ROWS), atol=1e-15)
    np.testing.assert_allclose(contrastive(OPS, rows, rows, np.zeros(ROWS)), np.full(ROWS, 0.5), rtol=1e-7)


def test_shapes_and_settings_are_held_to_what_they_mean():
    one, other = embeddings(2)
    with pytest.raises(ShapeError, match=r"\(11, 1\)"):
        triplet(OPS, one, other, other[:, :1])
    with pytest.raises(ShapeError, match="one label a row"):
        contrastive(OPS, one, other, np.zeros((ROWS, 2)))
    for loss in (
        lambda **named: triplet(OPS, one, one, other, **named),
        lambda **named: contrastive(OPS, one, other, np.ones(ROWS), **named),
    ):
        for margin in (0, -1.0, float("nan"), True, "1"):
            with pytest.raises(LossError, match="margin a number above 0"):
                loss(margin=margin)


def test_what_is_read_from_a_stream_is_no_setting():
    from mml.backends import get_backend

    backend = get_backend("numpy")
    for name, reads in (("triplet", "negative"), ("contrastive", "same"), ("gaussian_nll", "log_variance")):
        with pytest.raises(LossError, match=f"no setting '{reads}'"):
            Loss(name, **{reads: 1}).resolve(backend)
