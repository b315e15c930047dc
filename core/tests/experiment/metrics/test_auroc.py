"""AUROC against comparing every positive row with every negative one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mml.errors import ConfigError, DataError, ResultError, ShapeError
from mml.experiment.metrics import AUROC

SEEDS = st.integers(0, 2**32 - 1)


def area(scores, targets, *, weights=None, from_logits=None):
    metric = AUROC(from_logits=from_logits)
    metric.update(scores, targets, weights=weights)
    return metric.compute()


def pairwise(scores, is_positive, weights=None):
    weights = np.ones(len(scores)) if weights is None else weights
    won = whole = 0.0
    for i in np.flatnonzero(is_positive):
        for j in np.flatnonzero(~is_positive):
            weight = weights[i] * weights[j]
            won += weight * ((scores[i] > scores[j]) + 0.5 * (scores[i] == scores[j]))
            whole += weight
    return won / whole


@given(SEEDS, st.integers(1, 6))
def test_two_classes_with_ties_and_weights(seed, n_values):
    rng = np.random.default_rng(seed)
    n = 25
    scores = rng.integers(0, n_values, n) / n_values
    targets = np.r_[0, 1, rng.integers(0, 2, n - 2)]
    weights = rng.random(n) + 0.1
    assert area(scores, targets) == pytest.approx(pairwise(scores, targets == 1), rel=1e-14)
    expected = pytest.approx(pairwise(scores, targets == 1, weights), rel=1e-12)
    assert area(scores, targets, weights=weights) == expected
    assert (
        area(np.stack([1 - scores, scores], axis=1), targets, weights=weights, from_logits=False) == expected
    )


@given(SEEDS)
def test_two_logits_rank_as_their_softmax(seed):
    rng = np.random.default_rng(seed)
    logits = rng.integers(-4, 5, (20, 2)).astype(np.float64)
    targets = np.r_[0, 1, rng.integers(0, 2, 18)]
    expected = pairwise(logits[:, 1] - logits[:, 0], targets == 1)
    assert area(logits, targets, from_logits=True) == pytest.approx(expected, rel=1e-14)


@given(SEEDS, st.booleans())
def test_several_classes_are_the_mean_of_one_against_the_rest(seed, from_logits):
    rng = np.random.default_rng(seed)
    scores = rng.random((24, 3)) * (10 if from_logits else 1)
    targets = np.r_[0, 1, 2, rng.integers(0, 3, 21)]
    ranked = scores
    if from_logits:
        ranked = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    expected = np.mean([pairwise(ranked[:, one], targets == one) for one in range(3)])
    assert area(scores, targets, from_logits=from_logits) == pytest.approx(expected, rel=1e-12)
    assert area(scores, np.eye(3)[targets], from_logits=from_logits) == pytest.approx(expected, rel=1e-12)


def test_one_score_per_row_ranks_alike_whatever_it_is():
    targets = np.array([0, 0, 1, 1])
    probabilities = np.array([0.1, 0.4, 0.35, 0.8])
    logits = np.log(probabilities / (1 - probabilities))
    assert (
        area(probabilities, targets)
        == area(logits, targets)
        == area(logits, targets, from_logits=True)
        == 0.75
    )


def test_integer_scores_are_scores_and_not_labels():
    assert area(np.array([3, 1, 2, 5]), np.array([0, 0, 1, 1])) == 0.75
    with pytest.raises(DataError, match="class 2"):
        area(np.array([3, 1]), np.array([0, 2]))


def test_huge_logits_do_not_overflow():
    scores = np.array([[1e4, 0.0, 0.0], [0.0, 1e4, 0.0], [0.0, 0.0, 1e4]])
    assert area(scores, [0, 1, 2], from_logits=True) == 1.0


def test_a_nan_score_makes_the_area_nan():
    assert np.isnan(area([np.nan, 0.5], [0, 1]))


@pytest.mark.parametrize(("targets", "message"), [([0, 0], "no row"), ([1, 1], "every row")])
def test_a_single_class_has_no_area(targets, message):
    with pytest.raises(ResultError, match=message):
        area([0.1, 0.2], targets)


def test_scores_per_class_need_to_be_explained():
    with pytest.raises(ConfigError, match="from_logits"):
        area(np.zeros((2, 3)), [0, 1])


def test_the_number_of_classes_stays():
    metric = AUROC(from_logits=False)
    metric.update(np.full((2, 3), 0.3), [0, 1])
    with pytest.raises(ShapeError, match="number of classes"):
        metric.update(np.full((2, 4), 0.2), [0, 1])


def test_probabilities_per_class_explain_themselves():
    rng = np.random.default_rng(3)
    scores, targets = rng.dirichlet(np.ones(3), size=40).astype(np.float32), rng.integers(0, 3, size=40)
    assert area(scores, targets) == area(scores, targets, from_logits=False)


def test_two_columns_rank_alike_as_logits_and_as_probabilities():
    rng = np.random.default_rng(4)
    logits, targets = rng.normal(size=(40, 2)), rng.integers(0, 2, size=40)
    assert area(logits, targets) == area(logits, targets, from_logits=True)
    positive = rng.integers(0, 9, size=40) / 8
    scores = np.stack([1 - positive, positive], axis=1)
    assert area(scores, targets) == area(scores, targets, from_logits=False)
