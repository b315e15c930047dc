"""MAE, RMSE and R² against float64 NumPy."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mml.errors import ResultError, ShapeError
from mml.experiment.metrics import MeanAbsoluteError, R2Score, RootMeanSquaredError

SEEDS = st.integers(0, 2**32 - 1)


def value(metric, outputs, targets, weights=None, *, batch=None):
    for start in range(0, len(outputs), batch or len(outputs)):
        rows = slice(start, start + (batch or len(outputs)))
        metric.update(outputs[rows], targets[rows], weights=None if weights is None else weights[rows])
    return metric.compute()


@given(
    SEEDS,
    st.sampled_from([(17,), (17, 1), (17, 3), (17, 2, 4)]),
    st.integers(1, 17),
    st.sampled_from([0, 1e6]),
)
def test_errors_and_explained_variance(seed, shape, batch, offset):
    rng = np.random.default_rng(seed)
    targets = rng.normal(offset, 3.0, shape)
    outputs = targets + rng.normal(0, 1.0, shape)
    weights = rng.random(17) + 0.1
    row_weights = weights.reshape(-1, *(1 for _ in shape[1:]))
    average = lambda array: np.average(array.reshape(17, -1).mean(axis=1), weights=weights)
    close = {"rel": 1e-9}
    assert value(MeanAbsoluteError(), outputs, targets, weights, batch=batch) == pytest.approx(
        average(np.abs(outputs - targets)), **close
    )
    assert value(RootMeanSquaredError(), outputs, targets, weights, batch=batch) == pytest.approx(
        math.sqrt(average((outputs - targets) ** 2)), **close
    )
    centre = np.average(targets, axis=0, weights=weights)
    residual = (row_weights * (outputs - targets) ** 2).sum(axis=0)
    expected = np.mean(1 - residual / (row_weights * (targets - centre) ** 2).sum(axis=0))
    assert value(R2Score(), outputs, targets, weights, batch=batch) == pytest.approx(expected, rel=1e-7)


def test_float32_is_added_up_in_float64():
    n = 200_000
    targets = np.zeros(n, dtype=np.float32)
    outputs = np.full(n, 0.1, dtype=np.float32)
    expected = float(np.float32(0.1))
    assert value(MeanAbsoluteError(), outputs, targets, batch=64) == pytest.approx(expected, rel=1e-12)
    assert value(RootMeanSquaredError(), outputs, targets, batch=64) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_constant_targets_are_explained_fully_or_not_at_all(batch):
    targets = np.full(7, 0.1)
    assert value(R2Score(), targets.copy(), targets, batch=batch) == 1.0
    assert value(R2Score(), targets + 1e-3, targets, batch=batch) == 0.0


def test_one_row_has_no_variance():
    with pytest.raises(ResultError, match="two rows"):
        value(R2Score(), [1.0], [1.0])


@pytest.mark.parametrize("metric", [MeanAbsoluteError(), RootMeanSquaredError(), R2Score()], ids=repr)
def test_nan_is_not_hidden(metric):
    assert math.isnan(value(metric, [1.0, math.nan], [1.0, 2.0]))


@pytest.mark.parametrize("metric", [MeanAbsoluteError(), RootMeanSquaredError(), R2Score()], ids=repr)
def test_nothing_is_broadcast(metric):
    with pytest.raises(ShapeError, match=r"outputs \(4, 2\), targets \(4, 1\)"):
        metric.update(np.zeros((4, 2)), np.zeros((4, 1)))


def test_batches_of_r2_keep_their_width():
    metric = R2Score()
    metric.update(np.zeros((4, 2)), np.zeros((4, 2)))
    with pytest.raises(ShapeError, match="number of columns"):
        metric.update(np.zeros((4, 3)), np.zeros((4, 3)))
