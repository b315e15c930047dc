"""The array operations agree with NumPy's, and differentiate as the canonical formulas need."""

from typing import Any

import numpy as np
import pytest

from mml.backends import NumpyOps, get_backend
from mml.graph.losses import canonical

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(4, 3)).astype("float32"), RNG.normal(size=(4, 3)).astype("float32")

CASES: dict[str, Any] = {
    "concat": lambda ops, x, y: ops.concat([x, y], 1),
    "stack": lambda ops, x, y: ops.stack([x, y], 1),
    "pad constant": lambda ops, x, y: ops.pad(x, [(0, 0), (2, 1)], "constant", 7.0),
    "pad edge": lambda ops, x, y: ops.pad(x, [(0, 0), (2, 1)], "edge", 0.0),
    "pad reflect": lambda ops, x, y: ops.pad(x, [(1, 0), (2, 1)], "reflect", 0.0),
    "where": lambda ops, x, y: ops.where(x > 0, x, y),
    "sum": lambda ops, x, y: ops.sum(x),
    "sum over axes": lambda ops, x, y: ops.sum(x, (0,)),
    "mean": lambda ops, x, y: ops.mean(x),
    "mean over axes": lambda ops, x, y: ops.mean(x, (1,)),
    "max": lambda ops, x, y: ops.max(x, 1),
    "max kept": lambda ops, x, y: ops.max(x, 1, keepdims=True),
    "maximum": lambda ops, x, y: ops.maximum(x, y),
    "maximum of a number": lambda ops, x, y: ops.maximum(x, 0.25),
    "exp": lambda ops, x, y: ops.exp(x),
    "log": lambda ops, x, y: ops.log(x * x + 1.0),
    "log1p": lambda ops, x, y: ops.log1p(x * x),
    "sqrt": lambda ops, x, y: ops.sqrt(x * x),
    "abs": lambda ops, x, y: ops.abs(x),
    "reshape": lambda ops, x, y: ops.reshape(x, (2, 6)),
    "zeros_like": lambda ops, x, y: ops.zeros_like(x),
}


@pytest.mark.parametrize("name", CASES)
def test_an_operation_is_numpys(name: str) -> None:
    backend = get_backend("keras3")
    seen = backend.to_numpy(CASES[name](backend.ops, backend.to_array(X), backend.to_array(Y)))
    expected = CASES[name](NumpyOps(), X, Y)
    assert (seen.shape, seen.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_allclose(seen, expected, rtol=1e-5, atol=1e-6)


def test_elements_are_taken_along_the_last_axis() -> None:
    backend = get_backend("keras3")
    for dtype in ("int8", "int32", "int64"):
        classes = np.array([2, 0, 1, 2]).astype(dtype)
        seen = backend.to_numpy(backend.ops.take_along_last(backend.to_array(X), backend.to_array(classes)))
        np.testing.assert_array_equal(seen, X[np.arange(4), classes])


@pytest.mark.parametrize(
    "name", ["mse", "mae", "huber", "log_cosh", "bce_logits", "cosine", "hinge", "gaussian_nll"]
)
def test_a_canonical_loss_gives_the_values_of_numpy(name: str) -> None:
    backend, formula = get_backend("keras3"), getattr(canonical, name)
    outputs, targets = (X, Y[:, :1]) if name == "gaussian_nll" else (X, Y)
    outputs = np.concatenate([X, X], 1)[:, :2] if name == "gaussian_nll" else outputs
    seen = backend.to_numpy(formula(backend.ops, backend.to_array(outputs), backend.to_array(targets)))
    expected = formula(NumpyOps(), outputs.astype("float64"), targets.astype("float64"))
    np.testing.assert_allclose(seen, expected, rtol=1e-5, atol=1e-6)
