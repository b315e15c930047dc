"""Named losses against float64 formulas and differences; raw ones keep their meaning."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from mml.backends import get_backend
from mml.errors import LossError, ModelError, ShapeError
from mml.graph.losses.loss import Loss
from mml.plugins import registry
from mml_tf import keras_objects, losses
from mml_tf.ops import TensorflowOps

RNG = np.random.default_rng(0)
OUT, TARGET = RNG.normal(size=(7, 3)) * 2, RNG.normal(size=(7, 3)) * 2
PROBABILITY, SHARE = RNG.uniform(0.01, 0.99, size=(7, 3)), RNG.uniform(size=(7, 3))
CLASSES = RNG.integers(0, 3, size=(7, 1))
SIGNS = np.sign(TARGET)
TINY = 1e-37


def named(name: str, **settings: Any) -> Any:
    return Loss(name, **settings).resolve(get_backend("tensorflow"))


def log_softmax(x: np.ndarray) -> np.ndarray:
    shifted = x - x.max(1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(1, keepdims=True))


def huber(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    d = np.abs(x - t)
    return np.where(d <= 0.7, d**2 / 2, 0.7 * (d - 0.35)).mean(1)


def cosine(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    return 1 - (x * t).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(t, axis=1)


def gaussian(x: np.ndarray, t: np.ndarray) -> np.ndarray:
    mean, log_variance = x[:, :1], x[:, 1:]
    return (0.5 * (log_variance + (t - mean) ** 2 * np.exp(-log_variance))).mean(1)


CASES: dict[str, tuple[dict[str, Any], np.ndarray, np.ndarray, Any]] = {
    "mse": ({}, OUT, TARGET, lambda x, t: ((x - t) ** 2).mean(1)),
    "mae": ({}, OUT, TARGET, lambda x, t: np.abs(x - t).mean(1)),
    "huber": ({"delta": 0.7}, OUT, TARGET, huber),
    "log_cosh": ({}, OUT, TARGET, lambda x, t: np.log(np.cosh(x - t)).mean(1)),
    "bce": ({}, PROBABILITY, SHARE, lambda x, t: -(t * np.log(x) + (1 - t) * np.log(1 - x)).mean(1)),
    "bce_logits": (
        {},
        OUT,
        SHARE,
        lambda x, t: (np.maximum(x, 0) - x * t + np.log1p(np.exp(-np.abs(x)))).mean(1),
    ),
    "cross_entropy": ({}, OUT, CLASSES, lambda x, t: -np.take_along_axis(log_softmax(x), t, 1)[:, 0]),
    "nll": ({}, OUT, CLASSES, lambda x, t: -np.take_along_axis(x, t, 1)[:, 0]),
    "kl_div": ({}, np.log(PROBABILITY), SHARE, lambda x, t: (t * (np.log(t) - x)).sum(1)),
    "cosine": ({}, OUT, TARGET, cosine),
    "hinge": ({}, OUT, SIGNS, lambda x, t: np.maximum(0, 1 - t * x).mean(1)),
    "gaussian_nll": ({}, OUT[:, :2], TARGET[:, :1], gaussian),
}


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("reduction", ["mean", "none"])
def test_values_and_slopes_agree_with_the_formula(name: str, reduction: str, graph: bool) -> None:
    settings, outputs, targets, formula = CASES[name]
    weights = RNG.uniform(0.5, 2.0, size=7) if reduction == "none" else np.full(7, 1 / 7)
    loss = named(name, **settings)

    def both(outputs: Any, targets: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(outputs)
            result = loss(outputs, targets, reduction=reduction)
            total = result if reduction == "mean" else tf.reduce_sum(result * weights)
        return result, tape.gradient(total, outputs)

    if graph:
        both = tf.function(
            both,
            input_signature=[
                tf.TensorSpec([None, *outputs.shape[1:]], tf.float64),
                tf.TensorSpec([None, *targets.shape[1:]], tf.as_dtype(targets.dtype)),
            ],
        )
    result, slope = both(tf.constant(outputs), tf.constant(targets))
    expected = formula(outputs, targets)
    np.testing.assert_allclose(result, expected.mean() if reduction == "mean" else expected, rtol=1e-11)
    slopes = np.zeros_like(outputs)
    for index in np.ndindex(*outputs.shape):
        moved = [outputs.copy(), outputs.copy()]
        moved[0][index] += 1e-6
        moved[1][index] -= 1e-6
        above, below = (float((formula(one, targets) * weights).sum()) for one in moved)
        slopes[index] = (above - below) / 2e-6
    np.testing.assert_allclose(slope, slopes, rtol=1e-5, atol=1e-8)


def test_every_loss_that_core_names_is_there_for_this_backend() -> None:
    names = {one.name for one in registry("losses") if one.plugin == "mml"}
    assert set(CASES) <= names
    for name in names:
        assert callable(named(name))


@pytest.mark.parametrize("name", ["mse", "mae", "huber", "bce", "bce_logits"])
def test_shapes_that_would_broadcast_are_refused(name: str) -> None:
    for outputs, targets in (((7,), (7, 1)), ((7, 1), (7,)), ((7, 3), (7, 1))):
        with pytest.raises(ShapeError, match=r"\(7"):
            named(name)(tf.fill(outputs, 0.5), tf.fill(targets, 0.5))


@pytest.mark.parametrize("name", ["mse", "mae", "bce_logits"])
def test_whole_number_targets_and_rows_of_any_rank_are_taken(name: str) -> None:
    loss = named(name)
    targets = tf.constant([[[1], [0]], [[0], [1]], [[1], [1]]])
    outputs = tf.reshape(tf.linspace(0.1, 0.9, 6), [3, 2, 1])
    rows = loss(outputs, targets, reduction="none")
    assert rows.shape == (3,)
    whole = loss(outputs, tf.cast(targets, tf.float32))
    np.testing.assert_allclose(tf.reduce_mean(rows), whole, rtol=1e-6)
    flat = loss(tf.reshape(outputs, [-1]), tf.reshape(targets, [-1]), reduction="none")
    assert flat.shape == (6,)


@pytest.mark.parametrize("logit", [-200.0, 200.0])
def test_logits_of_any_size_keep_value_and_slope(logit: float) -> None:
    outputs, wide = tf.Variable([[logit]]), tf.Variable([[logit, 0.0, -logit]])
    with tf.GradientTape(persistent=True) as tape:
        value = named("bce_logits")(outputs.read_value(), tf.constant([[0.0 if logit > 0 else 1.0]]))
        classes = named("cross_entropy")(wide.read_value(), tf.constant([0 if logit < 0 else 2]))
    assert np.abs(tape.gradient(value, outputs)).tolist() == [[1.0]]
    assert float(classes) == 400.0
    assert float(tf.reduce_max(tf.abs(tape.gradient(classes, wide)))) == 1.0


def test_class_numbers_come_in_any_integer_dtype_and_nothing_else() -> None:
    loss, outputs = named("cross_entropy"), tf.constant(OUT[:5])
    numbers = tf.constant([0, 1, 2, 1, 0])
    expected = loss(outputs, numbers).numpy()
    for dtype in (tf.int8, tf.uint8, tf.int32, tf.int64):
        assert loss(outputs, tf.reshape(tf.cast(numbers, dtype), [5, 1])).numpy() == expected
    with pytest.raises(LossError, match="integer"):
        loss(outputs, tf.cast(numbers, tf.float32))
    for targets in (numbers[:4], tf.tile(numbers[:, None], [1, 3])):
        with pytest.raises(ShapeError, match="classes"):
            loss(outputs, targets)


def wrapped(loss: Any) -> Any:
    return losses.wrap_loss(loss, TensorflowOps())


def test_a_loss_of_keras_keeps_its_meaning() -> None:
    outputs, targets = tf.constant(OUT, tf.float32), tf.constant(TARGET, tf.float32)
    keras = tf.keras.losses
    summed = wrapped(keras.MeanSquaredError(reduction="sum"))
    assert summed.is_sum
    np.testing.assert_allclose(summed(outputs, targets), ((OUT - TARGET) ** 2).mean(1).sum(), rtol=1e-5)
    log_cosh = wrapped(keras.LogCosh)
    np.testing.assert_allclose(log_cosh(outputs, targets), keras.LogCosh()(targets, outputs), rtol=1e-6)
    rows = log_cosh(outputs, targets, reduction="none")
    np.testing.assert_allclose(rows, np.log(np.cosh(OUT - TARGET)).mean(1), rtol=1e-4)
    raw = keras.SparseCategoricalCrossentropy(from_logits=True)
    expected = -np.take_along_axis(log_softmax(OUT), CLASSES, 1).mean()
    np.testing.assert_allclose(wrapped(raw)(outputs, tf.constant(CLASSES)), expected, rtol=1e-5)
    # An asymmetric loss tells whether outputs and targets stand where Keras wants them.
    divergence = wrapped(keras.KLDivergence())
    first, second = (tf.constant(one / one.sum(1, keepdims=True), tf.float32) for one in (PROBABILITY, SHARE))
    expected = float((second * np.log(second / first)).numpy().sum(1).mean())
    np.testing.assert_allclose(divergence(first, second), expected, rtol=1e-4)


def test_functions_that_name_their_arguments_as_the_framework_does_get_them_by_name() -> None:
    outputs, targets = tf.constant(OUT), tf.constant(SHARE)
    sigmoid = wrapped(tf.nn.sigmoid_cross_entropy_with_logits)
    expected = named("bce_logits")(outputs, targets)
    np.testing.assert_allclose(sigmoid(outputs, targets), expected, rtol=1e-12)
    classes = wrapped(tf.nn.sparse_softmax_cross_entropy_with_logits)(outputs, tf.constant(CLASSES))
    np.testing.assert_allclose(classes, named("cross_entropy")(outputs, tf.constant(CLASSES)), rtol=1e-12)
    poisson = wrapped(lambda y_true, y_pred: tf.reduce_mean(y_pred - y_true * tf.math.log(y_pred), axis=-1))
    first = PROBABILITY - SHARE * np.log(PROBABILITY)
    found = poisson(tf.constant(PROBABILITY), targets, reduction="none")
    np.testing.assert_allclose(found, first.mean(1), rtol=1e-12)


def test_callables_give_one_value_or_one_a_row() -> None:
    outputs, targets = tf.constant(OUT), tf.constant(TARGET)
    by_row = wrapped(lambda x, t: tf.abs(x - t))
    np.testing.assert_allclose(by_row(outputs, targets), np.abs(OUT - TARGET).mean(), rtol=1e-12)
    assert by_row(outputs, targets, reduction="none").shape == (7,)

    def asked(x: Any, t: Any, *, reduction: str = "mean") -> Any:
        values = (x - t) ** 2
        return tf.reduce_mean(values) if reduction == "mean" else tf.reduce_mean(values, axis=1)

    rows = wrapped(asked)(outputs, targets, reduction="none")
    np.testing.assert_allclose(rows, ((OUT - TARGET) ** 2).mean(1), rtol=1e-12)
    with pytest.raises(LossError, match="one number"):
        wrapped(lambda x, t: tf.reduce_mean(tf.abs(x - t)))(outputs, targets, reduction="none")
    with pytest.raises(LossError):
        wrapped(3)


def test_conditions_over_tensors_become_part_of_the_program(lab: Any) -> None:
    def loss(outputs: Any, targets: Any) -> Any:
        error = tf.reduce_mean((outputs - targets) ** 2)
        if error > 1e3:
            error = tf.sqrt(error)
        return error

    from mml.graph.optimizers.canonical import Sgd

    x, y = lab.data(3)
    values = [
        lab.train(lab.wrapped(lab.net()), Sgd(), x, y, loss=one) for one in (wrapped(loss), named("mse"))
    ]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-5)


def test_a_loss_that_wants_values_is_told_what_to_use(lab: Any) -> None:
    from mml.graph.optimizers.canonical import Sgd

    x, y = lab.data(1)
    loss = wrapped(lambda outputs, targets: np.mean((outputs.numpy() - targets.numpy()) ** 2))
    with pytest.raises(LossError, match=r"(?s)numpy.*net/loss.*`context`"):
        lab.train(lab.wrapped(lab.net()), Sgd(), x, y, loss=loss)


def test_losses_of_keras_on_another_engine_are_refused_by_name(monkeypatch: Any) -> None:
    monkeypatch.setattr(tf.keras.config, "backend", lambda: "jax")
    assert keras_objects.is_loss(tf.keras.losses.LogCosh())
    with pytest.raises(ModelError, match=r"(?s)KERAS_BACKEND=tensorflow.*LogCosh.*'jax'"):
        wrapped(tf.keras.losses.LogCosh())
