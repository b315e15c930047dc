"""The canonical losses against formulas in float64 that are written differently, and their slopes."""

import math

import numpy as np
import pytest

from mml.backends import NumpyOps
from mml.errors import LossError, ShapeError
from mml.graph.losses import canonical

OPS = NumpyOps()
ROWS, WIDTH, CLASSES = 7, 3, 5


def rng():
    return np.random.default_rng(11)


def softmax(x):
    powers = np.exp(x - x.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def sample(kind):
    """Return outputs and targets that suit a loss."""
    draw = rng()
    plain, other = draw.normal(size=(ROWS, WIDTH)) * 2, draw.normal(size=(ROWS, WIDTH))
    classes, numbers = draw.normal(size=(ROWS, CLASSES)) * 3, draw.integers(0, CLASSES, size=ROWS)
    return {
        "plain": (plain, other),
        "probabilities": (sigmoid(plain), (other > 0).astype(float)),
        "logits": (plain, (other > 0).astype(float)),
        "signs": (plain, np.sign(other)),
        "classes": (classes, numbers[:, None]),
        "log_probabilities": (np.log(softmax(classes)), numbers),
        "distributions": (np.log(softmax(classes)), softmax(draw.normal(size=(ROWS, CLASSES)))),
        "normal": (draw.normal(size=(ROWS, 2 * WIDTH)), other),
    }[kind]


def huber_oracle(o, t, delta):
    d = np.abs(o - t)
    return np.where(d <= delta, d**2 / 2, delta * (d - delta / 2)).mean(axis=1)


def normal_oracle(o, t):
    mean, variance = o[:, :WIDTH], np.exp(o[:, WIDTH:])
    density = np.exp(-((t - mean) ** 2) / (2 * variance)) / np.sqrt(2 * np.pi * variance)
    return -np.log(density).mean(axis=1)


CASES = [
    ("mse", "plain", {}, lambda o, t: np.square(o - t).sum(axis=1) / WIDTH),
    ("mae", "plain", {}, lambda o, t: np.abs(o - t).mean(axis=1)),
    ("huber", "plain", {}, lambda o, t: huber_oracle(o, t, 1.0)),
    ("huber", "plain", {"delta": 0.3}, lambda o, t: huber_oracle(o, t, 0.3)),
    ("log_cosh", "plain", {}, lambda o, t: np.log(np.cosh(o - t)).mean(axis=1)),
    ("bce", "probabilities", {}, lambda p, t: -np.log(np.where(t == 1, p, 1 - p)).mean(axis=1)),
    ("bce_logits", "logits", {}, lambda x, t: -np.log(sigmoid(np.where(t == 1, x, -x))).mean(axis=1)),
    ("cross_entropy", "classes", {}, lambda x, t: -np.log(softmax(x)[np.arange(ROWS), t[:, 0]])),
    ("nll", "log_probabilities", {}, lambda x, t: -x[np.arange(ROWS), t]),
    ("kl_div", "distributions", {}, lambda x, t: (t * np.log(t / np.exp(x))).sum(axis=1)),
    (
        "cosine",
        "plain",
        {},
        lambda o, t: 1 - (o * t).sum(axis=1) / np.linalg.norm(o, axis=1) / np.linalg.norm(t, axis=1),
    ),
    ("hinge", "signs", {}, lambda x, t: np.clip(1 - x * t, 0, None).mean(axis=1)),
    ("gaussian_nll", "normal", {"full": True}, normal_oracle),
    ("gaussian_nll", "normal", {}, lambda o, t: normal_oracle(o, t) - 0.5 * math.log(2 * math.pi)),
]


@pytest.mark.parametrize(("name", "kind", "settings", "oracle"), CASES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_one_value_a_row_agrees_with_the_oracle(name, kind, settings, oracle, dtype):
    tolerance = {"float64": 1e-12, "float32": 2e-6}[dtype]
    outputs, targets = sample(kind)
    expected = oracle(outputs, targets)
    small = targets.astype(dtype) if targets.dtype.kind == "f" else targets
    seen = getattr(canonical, name)(OPS, outputs.astype(dtype), small, **settings)
    assert seen.shape == (ROWS,)
    assert seen.dtype == dtype
    np.testing.assert_allclose(seen, expected, rtol=tolerance, atol=tolerance)


def test_a_row_of_one_number_or_of_a_matrix_is_averaged_over_its_elements():
    draw = rng()
    flat, cube = draw.normal(size=(2, 4)), draw.normal(size=(2, 4, 2, 3))
    np.testing.assert_array_equal(canonical.mae(OPS, flat[0], flat[1]), np.abs(flat[0] - flat[1]))
    expected = np.abs(cube[0] - cube[1]).reshape(4, 6).mean(axis=1)
    np.testing.assert_allclose(canonical.mae(OPS, cube[0], cube[1]), expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_of_two_hundred_are_exact(dtype):
    logits = np.array([[200.0], [-200.0], [200.0], [-200.0], [0.0]], dtype)
    targets = np.array([[1.0], [0.0], [0.0], [1.0], [1.0]], dtype)
    np.testing.assert_allclose(
        canonical.bce_logits(OPS, logits, targets), [0, 0, 200, 200, math.log(2)], rtol=1e-6, atol=1e-80
    )
    classes = np.array([[200.0, -200.0], [200.0, -200.0]], dtype)
    np.testing.assert_allclose(canonical.cross_entropy(OPS, classes, np.array([0, 1])), [0, 400])


def test_a_right_logit_keeps_its_small_loss():
    value = canonical.bce_logits(OPS, np.array([[20.0]], "float32"), np.array([[1.0]], "float32"))
    np.testing.assert_allclose(value, [math.log1p(math.exp(-20.0))], rtol=1e-5)


def test_a_saturated_wrong_logit_has_slope_one():
    step = 1e-3
    for logit, target, slope in [(200.0, 0.0, 1.0), (-200.0, 1.0, -1.0)]:
        either = np.array([[logit + step], [logit - step]])
        up, down = canonical.bce_logits(OPS, either, np.full((2, 1), target))
        assert (up - down) / (2 * step) == pytest.approx(slope, rel=1e-6)


def test_probabilities_of_exactly_zero_and_one_stay_finite_and_are_not_clipped():
    outputs = np.array([[0.0], [1.0], [1.0], [0.0], [1e-30]], "float32")
    targets = np.array([[1.0], [0.0], [1.0], [0.0], [1.0]], "float32")
    seen = canonical.bce(OPS, outputs, targets)
    np.testing.assert_allclose(seen, [85.195, 85.195, 0, 0, -math.log(1e-30)], rtol=1e-5)


def test_zero_targets_and_zero_rows_give_no_nan():
    log_probabilities = np.log(np.array([[0.5, 0.5]]))
    assert canonical.kl_div(OPS, log_probabilities, np.array([[1.0, 0.0]])) == pytest.approx(math.log(2))
    assert canonical.cosine(OPS, np.zeros((1, 3)), np.ones((1, 3))) == pytest.approx(1.0)


def test_a_far_error_does_not_overflow_huber():
    far = canonical.huber(OPS, np.array([[1e30]], "float32"), np.zeros((1, 1), "float32"))
    np.testing.assert_allclose(far, [1e30], rtol=1e-6)


def test_the_variance_may_come_from_another_node():
    outputs, targets = sample("normal")
    apart = canonical.gaussian_nll(OPS, outputs[:, :WIDTH], targets, outputs[:, WIDTH:])
    np.testing.assert_array_equal(apart, canonical.gaussian_nll(OPS, outputs, targets))


@pytest.mark.parametrize(
    "name", ["mse", "mae", "huber", "log_cosh", "bce", "bce_logits", "kl_div", "cosine", "hinge"]
)
def test_shapes_that_would_broadcast_are_refused(name):
    with pytest.raises(ShapeError, match=r"\(7, 1\)"):
        getattr(canonical, name)(OPS, np.zeros((7, 1)), np.zeros(7))


@pytest.mark.parametrize("name", ["cross_entropy", "nll"])
def test_class_losses_refuse_what_is_no_class_number(name):
    formula = getattr(canonical, name)
    with pytest.raises(ShapeError, match="classes"):
        formula(OPS, np.zeros((7, 5)), np.zeros((7, 5), int))
    with pytest.raises(ShapeError, match="classes"):
        formula(OPS, np.zeros(7), np.zeros(7, int))
    with pytest.raises(LossError, match="float64"):
        formula(OPS, np.zeros((7, 5)), np.zeros(7))


@pytest.mark.parametrize("number", [-1, 5])
def test_class_numbers_outside_the_classes_are_refused(number):
    with pytest.raises(LossError, match="from 0 to 4"):
        canonical.nll(OPS, np.zeros((1, 5)), np.array([number]))


def test_bad_settings_name_argument_and_range():
    with pytest.raises(LossError, match="delta a number above 0"):
        canonical.huber(OPS, np.zeros((1, 1)), np.zeros((1, 1)), delta=0)
    with pytest.raises(ShapeError, match="2k"):
        canonical.gaussian_nll(OPS, np.zeros((4, 3)), np.zeros((4, 1)))
    with pytest.raises(ShapeError, match="features"):
        canonical.cosine(OPS, np.zeros(4), np.zeros(4))
