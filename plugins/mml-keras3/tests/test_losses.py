"""Keras' own losses keep their meaning; callables give one value or one a row."""

from typing import Any

import keras
import numpy as np
import pytest

from mml.backends import get_backend
from mml.errors import LossError, ShapeError
from mml_keras3.losses import wrap_loss

ops = keras.ops
RNG = np.random.default_rng(0)
OUT, TARGET = (RNG.normal(size=(7, 3)).astype("float32") for _ in range(2))
SHARE = RNG.uniform(size=(7, 3)).astype("float32")
CLASSES = RNG.integers(0, 3, size=(7, 1))


def wrapped(loss: Any) -> Any:
    return wrap_loss(loss, get_backend("keras3").ops)


def native(array: np.ndarray) -> Any:
    return ops.convert_to_tensor(array)


def value(array: Any) -> np.ndarray:
    return np.asarray(ops.convert_to_numpy(array))


@pytest.mark.parametrize(
    ("loss", "targets"),
    [
        (keras.losses.MeanSquaredError, TARGET),
        (keras.losses.Huber, TARGET),
        (lambda: keras.losses.Huber(delta=0.3), TARGET),
        (lambda: keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.1), SHARE),
        (lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True), CLASSES),
        (keras.losses.CosineSimilarity, TARGET),
    ],
)
def test_a_raw_loss_keeps_its_meaning_and_takes_outputs_first(loss: Any, targets: np.ndarray) -> None:
    made = loss()
    seen = wrapped(made)(native(OUT), native(targets))
    np.testing.assert_allclose(value(seen), value(made(native(targets), native(OUT))), rtol=1e-6)
    rows = wrapped(made)(native(OUT), native(targets), reduction="none")
    assert tuple(rows.shape) == (7,)
    np.testing.assert_allclose(value(rows).mean(), value(seen), rtol=1e-5, atol=1e-6)


def test_a_sum_is_a_sum() -> None:
    summed = wrapped(keras.losses.MeanSquaredError(reduction="sum"))
    assert summed.is_sum
    np.testing.assert_allclose(
        value(summed(native(OUT), native(TARGET))), ((OUT - TARGET) ** 2).mean(1).sum(), rtol=1e-5
    )
    assert not wrapped(keras.losses.MeanSquaredError()).is_sum


def test_names_and_functions_of_keras_get_targets_first_too() -> None:
    seen = wrapped(keras.losses.kl_divergence)(native(SHARE), native(SHARE[::-1].copy()))
    expected = value(keras.losses.kl_divergence(native(SHARE[::-1].copy()), native(SHARE))).mean()
    np.testing.assert_allclose(value(seen), expected, rtol=1e-5)
    by_keyword = wrapped(keras.losses.MeanAbsoluteError())(targets=native(TARGET), outputs=native(OUT))
    np.testing.assert_allclose(value(by_keyword), np.abs(OUT - TARGET).mean(), rtol=1e-5)
    with pytest.raises(LossError, match="outputs and targets"):
        wrapped(keras.losses.MeanAbsoluteError())(native(OUT))


def test_a_raw_elementwise_loss_refuses_to_broadcast() -> None:
    with pytest.raises(ShapeError):
        wrapped(keras.losses.MeanSquaredError())(ops.zeros((7, 1)), ops.zeros((7,)))


def test_callables_give_one_value_or_one_a_row() -> None:
    outputs, targets = native(OUT), native(TARGET)
    by_row = wrapped(lambda x, t: ops.abs(x - t))
    np.testing.assert_allclose(value(by_row(outputs, targets)), np.abs(OUT - TARGET).mean(), rtol=1e-5)
    assert tuple(by_row(outputs, targets, reduction="none").shape) == (7,)

    def reduced(x: Any, t: Any, reduction: str = "mean") -> Any:
        rows = ops.mean(ops.square(x - t), axis=1)
        return rows if reduction == "none" else ops.max(rows)

    rows = ((OUT - TARGET) ** 2).mean(1)
    np.testing.assert_allclose(value(wrapped(reduced)(outputs, targets)), rows.max(), rtol=1e-5)
    np.testing.assert_allclose(value(wrapped(reduced)(outputs, targets, reduction="none")), rows, rtol=1e-5)
    with pytest.raises(LossError, match="one number"):
        wrapped(lambda x, t: ops.mean(x - t))(outputs, targets, reduction="none")
    with pytest.raises(LossError, match="int"):
        wrapped(3)
