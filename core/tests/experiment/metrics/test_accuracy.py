"""Accuracy against counting by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mml.errors import ConfigError, DataError
from mml.experiment.metrics import Accuracy


def share(outputs, targets, **settings):
    metric = Accuracy(**settings)
    metric.update(outputs, targets)
    return metric.compute()


@given(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=1), st.floats(0.01, 0.99))
def test_a_probability_above_the_threshold_is_class_one(rows, threshold):
    probabilities, targets = map(list, zip(*rows, strict=True))
    right = sum((one > threshold) == bool(target) for one, target in rows)
    assert share(probabilities, targets, from_logits=False, threshold=threshold) == pytest.approx(
        right / len(rows)
    )


@given(st.lists(st.tuples(st.floats(-30, 30), st.integers(0, 1)), min_size=1))
def test_a_positive_logit_is_class_one(rows):
    logits, targets = map(list, zip(*rows, strict=True))
    right = sum((one > 0) == bool(target) for one, target in rows)
    assert share(logits, targets, from_logits=True) == pytest.approx(right / len(rows))


def test_a_threshold_is_a_probability_for_logits_too():
    logits = np.log(np.array([0.2, 0.3]) / np.array([0.8, 0.7]))
    assert share(logits, [0, 1], from_logits=True, threshold=0.25) == 1.0


@given(st.integers(2, 5), st.integers(0, 2**32 - 1))
def test_the_highest_score_wins_and_the_first_of_equal_ones(n_classes, seed):
    rng = np.random.default_rng(seed)
    scores, targets = rng.integers(0, 4, (20, n_classes)), rng.integers(0, n_classes, 20)
    right = sum(
        max(range(n_classes), key=lambda one: row[one]) == target
        for row, target in zip(scores, targets, strict=True)
    )
    assert share(scores, targets) == share(scores.astype(np.float32), targets[:, None]) == right / 20
    assert share(scores, np.eye(n_classes)[targets]) == right / 20


def test_integer_outputs_are_labels_of_any_class():
    assert share(np.array([7, 2, 2, 5]), np.array([7.0, 2.0, 3.0, 5.0])) == 0.75
    assert share(np.array([True, False]), [1, 1]) == 0.5


def test_a_score_that_is_nan_is_never_right():
    assert share([np.nan, np.nan, 1.0], [0, 1, 1], from_logits=True) == pytest.approx(1 / 3)
    assert share([[np.nan, 0.0], [0.0, 1.0]], [0, 1]) == 0.5


def test_one_float_score_needs_to_be_explained():
    with pytest.raises(ConfigError, match="from_logits=True for logits"):
        share([0.5], [1])


@pytest.mark.parametrize(
    ("outputs", "targets", "message"),
    [
        ([2.5, -1.0], [1, 0], "outside 0 to 1"),
        ([0.5], [2], "class 2"),
        ([0.5], [0.5], "not a class index"),
        ([0.5], [np.inf], "not a class index"),
        ([[0.1, 0.2, 0.7]], [3], "0 to 2"),
        ([[0.1, 0.2, 0.7]], [-1], "class -1"),
        ([[0.1, 0.9]], [[0.5, 0.5]], "one-hot"),
    ],
)
def test_bad_targets_and_probabilities_are_data_errors(outputs, targets, message):
    with pytest.raises(DataError, match=message):
        share(outputs, targets, from_logits=False)
