"""The array operations against NumPy's own."""

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from mml.backends import NumpyOps
from mml_tf.ops import TensorflowOps

A = np.random.default_rng(0).normal(size=(3, 5, 2))
B = np.random.default_rng(1).normal(size=(3, 5, 2))
P = np.abs(A) + 0.1
CASES: dict[str, Any] = {
    "concat": lambda ops, a, b, p: ops.concat([a, b], 1),
    "stack": lambda ops, a, b, p: ops.stack([a, b], 2),
    "pad constant": lambda ops, a, b, p: ops.pad(a, [(0, 0), (2, 1), (0, 3)], "constant", 7.0),
    "pad edge": lambda ops, a, b, p: ops.pad(a, [(0, 0), (2, 1), (0, 3)], "edge", 0.0),
    "pad reflect": lambda ops, a, b, p: ops.pad(a, [(0, 0), (2, 1), (1, 0)], "reflect", 0.0),
    "where": lambda ops, a, b, p: ops.where(a > 0, a, b),
    "sum": lambda ops, a, b, p: ops.sum(a),
    "sum axes": lambda ops, a, b, p: ops.sum(a, (1, 2)),
    "mean": lambda ops, a, b, p: ops.mean(a),
    "mean axes": lambda ops, a, b, p: ops.mean(a, (0, 2)),
    "max": lambda ops, a, b, p: ops.max(a, 1),
    "max kept": lambda ops, a, b, p: ops.max(a, 1, keepdims=True),
    "maximum": lambda ops, a, b, p: ops.maximum(a, b),
    "maximum number": lambda ops, a, b, p: ops.maximum(a, 0.25),
    "exp": lambda ops, a, b, p: ops.exp(a),
    "log": lambda ops, a, b, p: ops.log(p),
    "log1p": lambda ops, a, b, p: ops.log1p(p),
    "sqrt": lambda ops, a, b, p: ops.sqrt(p),
    "abs": lambda ops, a, b, p: ops.abs(a),
    "reshape": lambda ops, a, b, p: ops.reshape(a, (5, -1)),
    "zeros_like": lambda ops, a, b, p: ops.zeros_like(a),
}


@pytest.mark.parametrize("name", CASES)
def test_each_operation_means_what_numpy_means(name: str) -> None:
    expected = CASES[name](NumpyOps(), A, B, P)
    found = CASES[name](TensorflowOps(), *(tf.constant(one) for one in (A, B, P))).numpy()
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_taking_along_the_last_axis() -> None:
    indices = np.array([2, 0, 1])
    array = A[:, :, 0]
    found = TensorflowOps().take_along_last(tf.constant(array), tf.constant(indices))
    np.testing.assert_array_equal(found.numpy(), NumpyOps().take_along_last(array, indices))


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect"])
def test_padding_passes_gradients(mode: str) -> None:
    array = tf.Variable(A)
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(TensorflowOps().pad(array, [(0, 0), (2, 1), (0, 1)], mode, 0.0))
    # Each padded element counts for the one that it copies.
    expected = {"constant": A.size, "edge": 3 * 8 * 3, "reflect": 3 * 8 * 3}[mode]
    assert float(tf.reduce_sum(tape.gradient(total, array))) == expected


def test_numbers_take_the_dtype_of_the_tensor_beside_them() -> None:
    array = tf.constant(A)
    assert TensorflowOps().maximum(array, 0.1).dtype == tf.float64
    assert TensorflowOps().where(array > 0, 0.5, array).dtype == tf.float64


def test_a_number_of_rows_that_is_not_known_yet_is_none() -> None:
    @tf.function(input_signature=[tf.TensorSpec([None, 2])])
    def flat(array: Any) -> Any:
        return TensorflowOps().reshape(array, (*array.shape, 1))

    assert flat(tf.ones([3, 2])).shape == (3, 2, 1)
