"""ConditionSplitter: each row in one split, and conditions that can be written down."""

from __future__ import annotations

import json

import numpy as np
import pyarrow.compute as pc
import pytest

from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import ConfigError, SplitError
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
