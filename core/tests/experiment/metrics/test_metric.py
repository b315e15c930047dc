"""What every metric promises, held against each of them."""

import itertools
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mml.errors import ConfigError, DataError, MMLError, ResultError, ShapeError, StateError
from mml.experiment.metrics import (
    AUROC,
    Accuracy,
    F1Score,
    MeanAbsoluteError,
    Metric,
    R2Score,
    RootMeanSquaredError,
)
from mml.files.state_codec import flatten_state, unflatten_state
from mml.protocols import Configurable, Stateful

METRICS = [
    Accuracy(from_logits=False),
    Accuracy(from_logits=True, threshold=0.25),
    F1Score(from_logits=False),
    F1Score(average="macro", from_logits=True),
    AUROC(),
    MeanAbsoluteError(),
    RootMeanSquaredError(),
    R2Score(),
]
every_metric = pytest.mark.parametrize("metric", METRICS, ids=repr)

# Scores are coarse so that ties are common, and every class appears so that all metrics are defined.
ROWS = st.lists(
    st.tuples(st.integers(0, 8).map(lambda one: one / 8), st.integers(0, 1), st.integers(0, 3)),
    min_size=2,
    max_size=30,
).map(lambda rows: [(0.5, 0, 1), (0.25, 1, 2), *rows])


def columns(rows):
    scores, targets, weights = zip(*rows, strict=True)
    return np.array(scores), np.array(targets), np.array(weights, dtype=np.float64)


def gathered(metric, rows):
    mine = metric.fresh()
    scores, targets, weights = columns(rows)
    mine.update(scores, targets, weights=weights)
    return mine


@every_metric
@given(rows=ROWS, cuts=st.lists(st.integers(0, 32), max_size=4))
def test_merged_parts_equal_one_pass(metric, rows, cuts):
    whole = gathered(metric, rows).compute()
    edges = [0, *sorted(min(cut, len(rows)) for cut in cuts), len(rows)]
    by_batch, merged = metric.fresh(), metric.fresh()
    for start, end in itertools.pairwise(edges):
        part = metric.fresh()
        if end > start:
            scores, targets, weights = columns(rows[start:end])
            by_batch.update(scores, targets, weights=weights)
            part.update(scores, targets, weights=weights)
        merged.merge(part)
    assert by_batch.compute() == pytest.approx(whole, rel=1e-12, abs=1e-12)
    assert merged.compute() == pytest.approx(whole, rel=1e-12, abs=1e-12)


@every_metric
@given(rows=ROWS)
def test_a_whole_weight_is_that_many_equal_rows(metric, rows):
    repeated = [(score, target, 1) for score, target, weight in rows for _ in range(weight)]
    expected = gathered(metric, repeated).compute()
    assert gathered(metric, rows).compute() == pytest.approx(expected, rel=1e-12, abs=1e-12)


@every_metric
@given(rows=ROWS)
def test_a_row_of_weight_zero_may_hold_anything(metric, rows):
    live = [row for row in rows if row[2]]
    scores, targets, weights = columns([*live, (math.nan, 0, 0)])
    mine = metric.fresh()
    mine.update(scores, np.where(weights > 0, targets, np.nan), weights=weights)
    assert mine.compute() == gathered(metric, live).compute()


@every_metric
@given(rows=ROWS)
def test_one_column_equals_none(metric, rows):
    scores, targets, weights = columns(rows)
    mine = metric.fresh()
    mine.update(scores[:, None].astype(np.float32), targets[:, None], weights=weights[:, None])
    assert mine.compute() == gathered(metric, rows).compute()


@every_metric
def test_config_is_json_and_builds_an_equal_metric(metric):
    assert isinstance(metric, Configurable)
    config = json.loads(json.dumps(metric.get_config()))
    assert config["metric"] == f"mml/{metric.name}"
    other = type(metric).from_config(config)
    assert other == metric
    assert hash(other) == hash(metric)
    assert repr(other) == repr(metric)
    with pytest.raises(ConfigError, match="no setting 'treshold'"):
        type(metric).from_config({**config, "treshold": 0.5})


def test_metrics_of_different_settings_differ():
    assert all((one == two) == (one is two) for one in METRICS for two in METRICS)
    assert METRICS[0] != "accuracy"


@every_metric
@given(rows=ROWS)
def test_state_comes_back_bit_for_bit(metric, rows):
    assert isinstance(metric, Stateful)
    mine, other = gathered(metric, rows), metric.fresh()
    other.set_state(unflatten_state(*flatten_state(mine.get_state())))
    assert other.compute() == mine.compute()
    more = columns([(0.75, 1, 1)])
    for one in (mine, other):
        one.update(*more[:2], weights=more[2])
    assert other.compute() == mine.compute()


@every_metric
def test_an_empty_state_comes_back(metric):
    other = gathered(metric, [(0.5, 0, 1), (0.25, 1, 2)])
    other.set_state(metric.fresh().get_state())
    with pytest.raises(ResultError, match="no rows"):
        other.compute()


@every_metric
def test_a_damaged_state_is_refused_and_changes_nothing(metric):
    mine = gathered(metric, [(0.5, 0, 1), (0.25, 1, 2)])
    before = mine.compute()
    for key in mine.get_state():
        for damaged in ("text", np.zeros((2, 2)), np.zeros(5)):
            with pytest.raises(StateError, match="state"):
                mine.set_state({**mine.get_state(), key: damaged})
    assert mine.compute() == before


@every_metric
def test_nothing_gathered_is_an_error(metric):
    with pytest.raises(ResultError, match=metric.name):
        metric.fresh().compute()
    masked = gathered(metric, [(0.5, 0, 0), (0.25, 1, 0)])
    with pytest.raises(ResultError, match=metric.name):
        masked.compute()


@every_metric
@pytest.mark.parametrize(
    ("outputs", "targets", "weights", "error"),
    [
        (np.zeros(3), np.zeros(2), None, ShapeError),
        (np.zeros((3, 1)), np.zeros((3, 4)), None, ShapeError),
        (np.zeros((3, 2, 2)), np.zeros(3), None, ShapeError),
        (np.zeros((3, 0)), np.zeros((3, 0)), None, ShapeError),
        (np.float64(1.0), np.zeros(1), None, ShapeError),
        (np.array(["a", "b"]), np.zeros(2), None, DataError),
        (np.zeros(2), np.array([None, 1]), None, DataError),
        (np.zeros(2), np.zeros(2), np.zeros(3), ShapeError),
        (np.zeros(2), np.zeros(2), np.array([1.0, -1.0]), DataError),
        (np.zeros(2), np.zeros(2), np.array([1.0, np.nan]), DataError),
    ],
)
def test_what_does_not_fit_is_an_mml_error_naming_the_metric(metric, outputs, targets, weights, error):
    mine = metric.fresh()
    with pytest.raises(error, match=f"metric '{metric.name}'"):
        mine.update(outputs, targets, weights=weights)
    with pytest.raises(ResultError):
        mine.compute()


@every_metric
def test_merging_with_other_settings_is_refused(metric):
    other = Accuracy(from_logits=False, threshold=0.125)
    with pytest.raises(ConfigError, match="equal settings"):
        metric.fresh().merge(other)


def test_logits_are_asked_for_where_they_matter():
    for metric in (Accuracy(), F1Score(), AUROC()):
        assert metric.needs_logits
        told = metric.with_logits(True)
        assert told.from_logits is True
        assert not told.needs_logits
        assert metric.from_logits is None
    assert not MeanAbsoluteError().needs_logits
    assert MeanAbsoluteError().with_logits(True) == MeanAbsoluteError()
    assert F1Score(average="macro").with_logits(False).average == "macro"


def test_a_copy_told_about_logits_is_empty():
    metric = gathered(AUROC(), [(0.5, 0, 1), (0.25, 1, 2)])
    with pytest.raises(ResultError):
        metric.with_logits(True).compute()


@pytest.mark.parametrize(
    "build",
    [
        lambda: Accuracy(threshold=1.5),
        lambda: Accuracy(threshold="half"),
        lambda: F1Score(average="micro"),
        lambda: AUROC(from_logits="yes"),
    ],
)
def test_settings_out_of_range_are_refused(build):
    with pytest.raises(ConfigError):
        build()


class WorstError(Metric):
    """A metric of a user."""

    name = "worst"
    mode = "min"

    def __init__(self, *, power=1):
        self.power = power
        self._worst = 0.0

    def settings(self):
        return {"power": self.power}

    def update(self, outputs, targets, *, weights=None):
        self._worst = max(self._worst, float(np.abs(np.subtract(outputs, targets)).max()) ** self.power)

    def merge(self, other):
        self._worst = max(self._worst, other._worst)

    def compute(self):
        return self._worst

    def get_state(self):
        return {"worst": self._worst}

    def set_state(self, state):
        self._worst = state["worst"]


def test_a_users_metric_gets_its_name_and_equality_from_the_base():
    metric = WorstError(power=2)
    metric.update([1.0, 5.0], [1.0, 2.0])
    assert metric.compute() == 9.0
    assert metric == metric.fresh()
    assert not metric.needs_logits
    config = metric.get_config()
    assert config["power"] == 2
    assert config["metric"].endswith("WorstError")
    assert WorstError.from_config(config) == metric
    assert issubclass(ShapeError, MMLError)
