"""What holds for any FeatureSet of any types: views, selections, fingerprints, configs and files."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mml.context import ExperimentContext
from mml.data import FeatureSet

DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="="),
    hnp.unsigned_integer_dtypes(endianness="="),
    hnp.floating_dtypes(endianness="=", sizes=(16, 32, 64)),
)
TIMES = st.sampled_from(
    ["datetime64[D]", "datetime64[s]", "datetime64[ms]", "datetime64[us]", "datetime64[ns]"]
)
ZONES = st.sampled_from([None, "UTC", "Europe/Paris"])
SHAPES = st.lists(st.integers(1, 3), max_size=3).map(tuple)


@st.composite
def featuresets(draw, min_rows=1, max_rows=12):
    """Return a FeatureSet with features of any rank, and tags of text, times, truth and nulls."""
    n_rows = draw(st.integers(min_rows, max_rows))
    data = {
        key: draw(hnp.arrays(draw(DTYPES), (n_rows, *draw(SHAPES))))
        for key in "abc"[: draw(st.integers(1, 3))]
    }
    days = draw(hnp.arrays(np.int32, n_rows)).astype(np.int64)
    tags = {
        "text": draw(st.lists(st.text(max_size=2), min_size=n_rows, max_size=n_rows)),
        "maybe": pa.array(
            draw(st.lists(st.none() | st.booleans(), min_size=n_rows, max_size=n_rows)), pa.bool_()
        ),
        "time": (days % 100_000).astype(draw(TIMES)),
        "zoned": pa.array(days, pa.timestamp("us", draw(ZONES))),
    }
    chosen = draw(st.lists(st.sampled_from(list(tags)), unique=True))
    with ExperimentContext().activate():
        return FeatureSet.from_dict("any", {**data, **tags}, feature_keys=list(data), tag_keys=chosen)


def bits(one):
    """Return all values of a FeatureSet or view: bytes of numbers, lists of text and of truth with nulls."""
    values = one.get_data(fmt="dict_numpy").items()
    listed = (object, bool)
    return {name: one.tolist() if one.dtype in listed else one.tobytes() for name, one in values}


def again(fs, **contents):
    with ExperimentContext().activate():
        return FeatureSet.from_pyarrow_table(fs.label, **contents)


@settings(max_examples=60)
@given(featuresets(), st.data())
def test_views_of_views_equal_one_view(fs, data):
    view, rows = fs.view(), np.arange(len(fs))
    for _ in range(3):
        if not len(rows):
            break
        positions = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10) | st.slices(len(rows)))
        view, rows = view.take(positions), rows[positions]

    assert view.rows.tolist() == rows.tolist()
    assert bits(view) == bits(fs.take(rows.tolist()))
    assert np.array_equal(view.sample_uuids, fs.sample_uuids[rows])


@settings(max_examples=60)
@given(featuresets(), st.data())
def test_selecting_rows_and_columns_commutes(fs, data):
    rows = data.draw(st.lists(st.integers(0, len(fs) - 1), max_size=10))
    names = data.draw(st.lists(st.sampled_from(fs.schema.names), unique=True))
    one, two = fs.take(rows).select(names), fs.select(names).take(rows)

    assert one.columns == two.columns
    assert bits(one) == bits(two)
    made_one, made_two = one.get_data(fmt="arrow"), two.get_data(fmt="arrow")
    assert made_one.schema == made_two.schema


@settings(max_examples=60)
@given(featuresets(min_rows=2), st.data())
def test_the_fingerprint_is_that_of_the_values_however_they_are_chunked(fs, data):
    cut = data.draw(st.integers(0, len(fs)))
    table = fs.get_data(fmt="arrow")
    chunked = again(fs, table=pa.concat_tables([table.slice(0, cut), table.slice(cut)]))

    assert chunked.fingerprint == fs.fingerprint
    assert np.array_equal(chunked.sample_uuids, fs.sample_uuids)
    assert bits(chunked) == bits(fs)


@settings(max_examples=60)
@given(featuresets(min_rows=2), st.data())
def test_the_fingerprint_is_changed_by_any_bit_name_order_or_type(fs, data):
    table = fs.get_data(fmt="arrow")
    name = data.draw(st.sampled_from([one for one in table.column_names if one.startswith("features")]))
    values = fs.get_data(name)[name].copy()
    flat = values.reshape(-1).view(np.uint8)
    place = data.draw(st.integers(0, len(flat) - 1))
    flat[place] = not flat[place] if values.dtype == bool else flat[place] ^ 1 << data.draw(st.integers(0, 7))
    keys = [one.split(".")[1] for one in table.column_names]
    given = {key: table.column(one) for key, one in zip(keys, table.column_names, strict=True)}
    key = name.split(".")[1]

    def fingerprint(columns):
        with ExperimentContext().activate():
            return FeatureSet.from_dict("any", columns, feature_keys=list(columns)[:1]).fingerprint

    before = fingerprint({key: given[key]})
    others = [
        fingerprint({key: values}),
        fingerprint({f"{key}x": given[key]}),
        fingerprint({key: fs.get_data(name)[name][:-1]}),
        fingerprint({key: fs.get_data(name)[name][..., None]}),
    ]
    assert len({before, *others}) == 5


@settings(max_examples=30)
@given(featuresets(min_rows=4), st.integers(0, 3))
def test_structure_state_and_files_round_trip(tmp_path_factory, fs, seed):
    fs.split_random(ratios={"train": 0.5, "test": 0.5}, seed=seed)
    path = tmp_path_factory.mktemp("saved") / "any.mml"
    fs.save(path)
    with ExperimentContext().activate():
        loaded = FeatureSet.load(path)
    with ExperimentContext().activate():
        structure = FeatureSet.from_config(json.loads(json.dumps(fs.get_config())))
    before = bits(fs)
    fs.set_state(fs.get_state())

    assert structure.get_config() == fs.get_config()
    assert [spec.describe() for spec in structure.schema] == [spec.describe() for spec in fs.schema]
    assert loaded == fs
    assert bits(loaded) == bits(fs) == before
    assert loaded.schema == fs.schema
    assert {name: view.rows.tolist() for name, view in loaded.splits.items()} == {
        name: view.rows.tolist() for name, view in fs.splits.items()
    }


@settings(max_examples=40)
@given(featuresets(), st.data())
def test_what_was_extracted_copied_or_mapped_is_what_was_taken(tmp_path_factory, fs, data):
    rows = data.draw(st.lists(st.integers(0, len(fs) - 1), min_size=1, max_size=10))
    view = fs.take(rows)
    with ExperimentContext().activate():
        made = view.to_featureset("made")
        twin = made.copy("twin")
    table = view.to_arrow()
    if len(set(rows)) < len(rows):
        table = table.drop_columns(table.column_names[-1:])  # repeated samples repeat their UUIDs
    path = tmp_path_factory.mktemp("mapped") / "any.arrow"
    with pa.ipc.new_file(str(path), table.schema) as writer:
        writer.write_table(table)
    with ExperimentContext().activate():
        mapped = FeatureSet.from_ipc("mapped", path)

    assert bits(made) == bits(view) == bits(twin) == bits(mapped)
    assert np.array_equal(made.sample_uuids, fs.sample_uuids[rows])
    assert made.fingerprint == mapped.fingerprint


@given(st.integers(1, 30), st.data())
def test_set_operations_are_those_of_sets_of_rows(n_rows, data):
    with ExperimentContext().activate():
        fs = FeatureSet.from_dict("any", {"x": np.arange(n_rows)}, feature_keys="x")
    some = st.lists(st.integers(0, n_rows - 1), max_size=40)
    left, right = data.draw(some), data.draw(some)
    one, two = fs.take(left), fs.take(right)

    assert one.take_union(two).rows.tolist() == list(dict.fromkeys([*left, *right]))
    assert one.take_intersection(two).rows.tolist() == [row for row in left if row in right]
    assert one.take_difference(two).rows.tolist() == [row for row in left if row not in right]
    assert one.is_disjoint_with(two) == (not set(left) & set(right))
    assert one.take_difference(fs).rows.tolist() == []
    assert one.take_union(fs).n_samples == n_rows
