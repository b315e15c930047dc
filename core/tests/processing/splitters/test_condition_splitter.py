"""ConditionSplitter: each row in one split, and conditions that can be written down."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import ConfigError, DataError, MMLError, SplitError
from mml.processing import ConditionSplitter


@pytest.fixture
def fs():
    with ExperimentContext().activate():
        return FeatureSet.from_dict(
            "cells",
            {"v": np.arange(10.0), "cell": list("aabbccddee")},
            feature_keys="v",
            tag_keys="cell",
        )


def test_rows_go_where_their_columns_say(fs):
    parts = fs.split_by_condition(
        {"train": {"cell": {"a", "b"}}, "val": {"cell": "c", "v": lambda v: v > 0}}, rest="test"
    )

    assert {name: view.rows.tolist() for name, view in parts.items()} == {
        "train": [0, 1, 2, 3],
        "val": [4, 5],
        "test": [6, 7, 8, 9],
    }


def test_a_view_is_divided_by_its_own_rows(fs):
    parts = fs.take([9, 1, 4]).split_by_condition({"low": pc.field("v") < 5}, rest="high")

    assert parts["low"].rows.tolist() == [1, 4]
    assert parts["high"].rows.tolist() == [9]


def test_rows_of_two_splits_or_of_none_are_refused(fs):
    with pytest.raises(SplitError, match=r"1 rows belong to both 'x' and 'y'") as caught:
        fs.split_by_condition({"x": {"v": {0.0, 5.0}}, "y": {"v": {5.0, 6.0}}}, rest="z")
    assert "row 5" in str(caught.value)
    with pytest.raises(SplitError, match="8 of 10 rows fulfil no condition") as caught:
        fs.split_by_condition({"x": {"cell": "a"}})
    assert "rest=" in str(caught.value)
    assert dict(fs.splits) == {}


def test_a_condition_that_nothing_fulfils_makes_an_empty_split_and_is_refused(fs):
    with pytest.raises(SplitError, match="'x' would be empty"):
        fs.split_by_condition({"x": {"cell": "q"}}, rest="z")


@pytest.mark.parametrize("conditions", [{}, 3, None, ["a"]])
def test_conditions_are_a_mapping(conditions):
    with pytest.raises(SplitError, match="mapping"):
        ConditionSplitter(conditions)


def test_the_rest_has_a_name_of_its_own():
    with pytest.raises(SplitError, match="'x'"):
        ConditionSplitter({"x": {"cell": "a"}}, rest="x")


def test_values_and_sets_can_be_written_down(fs):
    splitter = ConditionSplitter(
        {"x": {"cell": {"b", "a"}, "v": np.float64(1.0)}, "y": {"cell": ["c"]}}, rest="z"
    )
    config = json.loads(json.dumps(splitter.get_config()))
    again = ConditionSplitter.from_config(config)

    assert again.get_config() == splitter.get_config()
    expected = {name: rows.tolist() for name, rows in splitter.split(fs.view()).items()}
    assert {name: rows.tolist() for name, rows in again.split(fs.view()).items()} == expected
    assert config["conditions"]["x"]["cell"] == {"one_of": ["a", "b"]}


@pytest.mark.parametrize(
    "condition",
    [
        datetime(2024, 5, 1, 12, 30),
        datetime(2024, 5, 1, 12, 30, tzinfo=UTC),
        date(2024, 5, 1),
        np.datetime64("2024-05-01T12:30:00.123456789"),
        np.array(["2024-05-01", "2024-05-02"], "datetime64[D]"),
        {date(2024, 5, 1), date(2024, 5, 2)},
        timedelta(seconds=90),
        np.timedelta64(5, "ms"),
        pd.Timestamp("2024-05-01T00:00:00.000000001"),
        float("inf"),
        {float("nan"), 1.5, 2},
        [None, "a"],
        np.arange(3),
        range(3),
        True,
    ],
)
def test_every_value_that_json_lacks_can_be_written_down(condition):
    splitter = ConditionSplitter({"x": {"v": condition}}, rest="y")
    config = json.loads(json.dumps(splitter.get_config(), allow_nan=False))
    again = ConditionSplitter.from_config(config)

    assert again == splitter
    assert again.get_config() == config
    assert again != ConditionSplitter({"x": {"v": "other"}}, rest="y")


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (datetime(2024, 5, 1, 0, 0, 2), [2]),
        ({np.datetime64("2024-05-01T00:00:03"), np.datetime64("NaT")}, [3, 9]),
        ("2024-05-01", [0]),
        (None, [9]),
    ],
)
def test_times_mean_the_same_after_a_config(condition, expected):
    times = np.datetime64("2024-05-01", "s") + np.arange(10)
    times[9] = np.datetime64("NaT")
    with ExperimentContext().activate():
        fs = FeatureSet.from_dict("days", {"v": np.arange(10.0), "t": times}, feature_keys="v", tag_keys="t")
    splitter = ConditionSplitter({"x": {"t": condition}}, rest="y")
    again = ConditionSplitter.from_config(json.loads(json.dumps(splitter.get_config())))

    assert splitter.split(fs.view())["x"].tolist() == expected
    assert again.split(fs.view())["x"].tolist() == expected


def test_lambdas_and_expressions_are_equal_only_to_themselves():
    splitter = same = ConditionSplitter({"x": pc.field("v") > 1})

    assert splitter == same
    assert splitter != ConditionSplitter({"x": pc.field("v") > 1})
    assert splitter != 3


@pytest.mark.parametrize(
    "conditions",
    [
        {"x": 3},
        {"x": {"v": {"time": "noon", "unit": "s"}}},
        {"x": {"v": {"duration": "long", "unit": "s"}}},
        {"x": {"v": {"float": "much"}}},
        {"x": {"v": {"like": 3}}},
        {"x": {"v": {"one_of": 3}}},
        {"x": {"v": {"function": "no/function"}}},
    ],
)
def test_a_config_that_means_nothing_is_refused(conditions):
    with pytest.raises(MMLError):
        ConditionSplitter.from_config({"splitter": "mml/condition", "conditions": conditions})


def test_rows_that_stand_in_a_view_twice_go_to_one_split(fs):
    parts = ConditionSplitter({"x": {"cell": "a"}}, rest="y").split(fs.take([0, 5, 0]))

    assert {name: rows.tolist() for name, rows in parts.items()} == {"x": [0, 2], "y": [1]}


def test_the_split_whose_condition_is_wrong_is_named(fs):
    with pytest.raises(DataError, match="cannot be compared") as caught:
        fs.split_by_condition({"x": {"cell": "a"}, "young": {"cell": 3}}, rest="z")

    assert "split 'young'" in str(caught.value)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=4, max_size=40), st.integers(1, 4))
def test_conditions_divide_every_row_once(values, bound):
    with ExperimentContext().activate():
        fs = FeatureSet.from_dict("rows", {"v": np.array(values)}, feature_keys="v")
    splitter = ConditionSplitter({"x": {"v": set(range(bound))}, "y": {"v": lambda v: v == bound}}, rest="z")
    parts = splitter.split(fs.view())

    assert sorted(np.concatenate(list(parts.values())).tolist()) == list(range(len(values)))
    assert [values[row] for row in parts["x"]] == [one for one in values if one < bound]
    assert {values[row] for row in parts["y"]} <= {bound}


@pytest.mark.parametrize("condition", [lambda v: v > 1, object(), {(1, 2)}])
def test_what_cannot_be_written_down_says_so(condition):
    with pytest.raises(ConfigError):
        ConditionSplitter({"x": {"v": condition}}).get_config()
    with pytest.raises(ConfigError, match="expression"):
        ConditionSplitter({"x": pc.field("v") > 1}).get_config()


def test_a_named_function_can_be_written_down(fs):
    splitter = ConditionSplitter({"x": {"v": np.signbit}}, rest="y")

    assert ConditionSplitter.from_config(splitter.get_config()).conditions == {"x": {"v": np.signbit}}
    with pytest.raises(ConfigError):
        ConditionSplitter.from_config({"conditions": 3})
