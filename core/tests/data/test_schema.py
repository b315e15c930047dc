"""Column names and the one way in which selections mean columns."""

from __future__ import annotations

import time

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mml.data import ColumnName, ColumnSpec, Schema
from mml.errors import ColumnError, DataError

KEYS = st.text(st.characters(codec="utf-8", exclude_characters=".*"), min_size=1).filter(lambda s: s.strip())


def schema(*names):
    return Schema(ColumnSpec(ColumnName.parse(one), np.dtype("f4"), (), pa.float32()) for one in names)


BATTERY = schema(
    "features.voltage.raw",
    "features.voltage.transformed",
    "features.current.raw",
    "targets.soh.raw",
    "targets.current.raw",
    "tags.cell.raw",
)


@given(KEYS, KEYS)
def test_a_full_name_reads_back_as_its_parts(key, representation):
    name = ColumnName("features", key, representation)

    assert ColumnName.parse(str(name)) == name


@pytest.mark.parametrize(
    "bad", ["x", "features.x", "a.b.c.d", "inputs.x.raw", "features..raw", "features.a*.raw"]
)
def test_a_name_that_is_none_is_refused(bad):
    with pytest.raises(ColumnError):
        ColumnName.parse(bad)


@pytest.mark.parametrize(
    ("selection", "options", "expected"),
    [
        ("voltage", {}, ["features.voltage.transformed"]),
        ("voltage", {"rep": "raw"}, ["features.voltage.raw"]),
        ("voltage.raw", {}, ["features.voltage.raw"]),
        ("features.voltage", {}, ["features.voltage.transformed"]),
        ("features.voltage.raw", {"rep": "transformed"}, ["features.voltage.raw"]),
        ("current", {"domain": "targets"}, ["targets.current.raw"]),
        (["soh", "voltage", "soh"], {}, ["targets.soh.raw", "features.voltage.transformed"]),
        ("*", {"domain": "features"}, ["features.voltage.transformed", "features.current.raw"]),
        ("*", {"domain": "features", "rep": "raw"}, ["features.voltage.raw", "features.current.raw"]),
        ("*.raw", {"domain": "features"}, ["features.voltage.raw", "features.current.raw"]),
        ("targets.*", {}, ["targets.soh.raw", "targets.current.raw"]),
        ("*urr*", {}, ["features.current.raw", "targets.current.raw"]),
        ([], {}, []),
        (("tags.*", "*"), {"domain": "tags"}, ["tags.cell.raw"]),
    ],
)
def test_short_names_lists_and_patterns_mean_columns(selection, options, expected):
    assert list(BATTERY.select(selection, **options)) == expected


def test_a_pattern_keeps_the_order_of_the_keys_whatever_is_transformed():
    table = schema("features.a.raw", "features.b.raw", "features.c.raw", "features.a.transformed")

    assert table.select("*") == ("features.a.transformed", "features.b.raw", "features.c.raw")
    assert table.select(["c", "a"]) == ("features.c.raw", "features.a.transformed")


def test_a_pattern_for_a_whole_empty_domain_selects_nothing():
    assert BATTERY.only(["features.current.raw"]).select("*", domain="targets") == ()


def test_an_unknown_name_lists_the_near_misses():
    with pytest.raises(ColumnError, match=r"no column 'voltag'.*\n.*Did you mean 'voltage'"):
        BATTERY.select("voltag")
    with pytest.raises(ColumnError, match=r"Did you mean 'features\.current'"):
        BATTERY.select("features.curent")


def test_a_name_that_fits_several_columns_is_refused():
    with pytest.raises(ColumnError, match="fits several") as caught:
        BATTERY.select("current")

    assert "features.current.raw" in str(caught.value)
    assert "targets.current.raw" in str(caught.value)


def test_a_name_of_another_domain_is_found_there():
    with pytest.raises(ColumnError, match=r"among the features.*\n.*targets\.soh\.raw"):
        BATTERY.select("soh", domain="features")


def test_a_missing_representation_is_named():
    with pytest.raises(ColumnError, match="no representation 'transformed'"):
        BATTERY.select("current", domain="features", rep="transformed")
    with pytest.raises(ColumnError, match="no representation 'transformed'"):
        BATTERY.select("*", domain="targets", rep="transformed")


def test_representations_that_exist_are_listed_once():
    with pytest.raises(ColumnError) as caught:
        BATTERY.select("*", domain="targets", rep="scaled")

    assert caught.value.found == "'raw'"


@pytest.mark.parametrize("kind", [set, frozenset])
def test_a_set_is_refused_because_its_order_changes_with_the_process(kind):
    with pytest.raises(ColumnError, match="no order") as caught:
        BATTERY.select(kind(["soh", "cell"]))

    assert "Pass a list" in caught.value.hint
    assert BATTERY.select({"soh": 1, "cell": 2}.keys()) == ("targets.soh.raw", "tags.cell.raw")


@pytest.mark.parametrize("pattern", ["sample_uuids.*", "sample_uuids.uuid", "sample_uuids.uuid.raw"])
def test_identities_are_no_columns_and_are_found_elsewhere(pattern):
    with pytest.raises(ColumnError, match="no column") as caught:
        BATTERY.select(pattern)

    assert ".sample_uuids" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cell", "Did you mean 'tags.cell.raw'?"),
        ("features.voltage", "Did you mean 'features.voltage.raw', 'features.voltage.transformed'?"),
        ("targets.sohh.raw", "Did you mean 'targets.soh.raw'"),
        (3, "Available:"),
        (["cell"], "Available:"),
    ],
)
def test_a_schema_is_indexed_by_full_names(name, hint):
    with pytest.raises(ColumnError, match="no column") as caught:
        BATTERY[name]

    assert caught.value.hint.startswith(hint)
    assert "full name" in caught.value.expected


def test_many_columns_of_a_wide_table_are_found_in_one_pass():
    names = [f"gene{number}" for number in range(20_000)]
    table = schema(*(f"features.{name}.raw" for name in names))
    start = time.process_time()
    found = table.select(names[::-1], domain="features")

    # Some 0.1 s; looking at each column for each name takes 7 s.
    assert time.process_time() - start < 2
    assert found == table.names[::-1]


@pytest.mark.parametrize("bad", [3, [3], None, "nothing*", "*.scaled"])
def test_a_selection_that_means_nothing_is_refused(bad):
    with pytest.raises(ColumnError):
        BATTERY.select(bad)


def test_a_column_stands_in_a_schema_once():
    with pytest.raises(DataError, match="twice"):
        schema("features.x.raw", "features.x.raw")


@given(st.lists(KEYS, min_size=1, max_size=6, unique=True), st.data())
def test_every_form_of_a_name_means_the_same_column(keys, data):
    table = schema(*(str(ColumnName("features", key)) for key in keys))
    key = data.draw(st.sampled_from(keys))
    full = f"features.{key}.raw"

    assert table.select(full) == table.select(key) == table.select(f"features.{key}") == (full,)
    assert table.select(f"{key}.raw") == (full,)
    assert table.select("*") == table.names
