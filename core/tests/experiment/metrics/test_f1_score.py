"""F1 against precision and recall computed by loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mml.errors import ConfigError
from mml.experiment.metrics import F1Score


def f1(outputs, targets, **settings):
    metric = F1Score(**settings)
    metric.update(outputs, targets)
    return metric.compute()


def oracle(pairs, positive):
    predicted = [one == positive for one, _ in pairs]
    actual = [one == positive for _, one in pairs]
    hits = sum(one and two for one, two in zip(predicted, actual, strict=True))
    if not hits:
        return 0.0
    precision, recall = hits / sum(predicted), hits / sum(actual)
    return 2 * precision * recall / (precision + recall)


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=1))
def test_binary_is_the_f1_of_class_one(pairs):
    predicted, actual = map(np.array, zip(*pairs, strict=True))
    expected = pytest.approx(oracle(pairs, 1))
    assert f1(predicted, actual) == expected
    assert f1(predicted.astype(float), actual, from_logits=False) == expected
    assert f1(2.0 * predicted - 1, actual, from_logits=True) == expected
    assert f1(np.eye(2)[predicted], actual) == expected


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1))
def test_macro_is_the_mean_over_classes_that_appear(pairs):
    predicted, actual = map(np.array, zip(*pairs, strict=True))
    classes = {one for pair in pairs for one in pair}
    expected = pytest.approx(np.mean([oracle(pairs, one) for one in classes]))
    assert f1(predicted, actual, average="macro") == expected
    assert f1(np.eye(5)[predicted], actual, average="macro") == expected


def test_a_nan_score_counts_as_a_miss_only():
    assert f1([np.nan, 1.0], [1, 1], from_logits=True) == pytest.approx(2 / 3)


def test_class_one_that_never_appears_scores_zero():
    assert f1([0, 0], [0, 0]) == 0.0


def test_binary_refuses_further_classes_and_offers_macro():
    with pytest.raises(ConfigError, match="macro"):
        f1([0, 2], [0, 1])
    with pytest.raises(ConfigError, match="from_logits"):
        f1([0.5], [1])
