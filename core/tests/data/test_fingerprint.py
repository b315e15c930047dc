"""Fingerprints and identities: equal for equal data, different for any difference."""

from __future__ import annotations

import uuid

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mml.context import ExperimentContext
from mml.data import FeatureSet, SampleCollection

from .samples import cells, single

TEXTS = st.lists(st.one_of(st.none(), st.text(max_size=3)), min_size=1, max_size=12).filter(any)


def table_of(columns):
    with ExperimentContext().activate():
        return FeatureSet.from_pyarrow_table("t", pa.table(columns))


@given(hnp.arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 3))), st.data())
def test_chunking_does_not_change_the_fingerprint(values, data):
    cut = data.draw(st.integers(0, len(values)))
    whole = pa.FixedShapeTensorArray.from_numpy_ndarray(values)
    pieces = pa.chunked_array([whole[:cut], whole[cut:]], type=whole.type)

    chunked = table_of({"features.x.raw": pieces})

    assert chunked.fingerprint == table_of({"features.x.raw": whole}).fingerprint
    assert np.array_equal(chunked.sample_uuids, table_of({"features.x.raw": whole}).sample_uuids)


@given(TEXTS, st.data())
def test_the_order_of_a_dictionary_does_not_change_the_fingerprint(texts, data):
    words = data.draw(st.permutations(sorted({text for text in texts if text is not None} | {"unused"})))
    codes = [None if text is None else words.index(text) for text in texts]
    encoded = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int8()), pa.array(words))

    plain = table_of({"tags.x.raw": pa.array(texts, pa.string())})

    assert table_of({"tags.x.raw": encoded}).fingerprint == plain.fingerprint


@given(TEXTS, st.sampled_from([pa.int8(), pa.uint32(), pa.int64()]), st.booleans())
def test_how_text_is_coded_changes_neither_fingerprint_nor_equality(texts, kind, ordered):
    words = [*dict.fromkeys(texts), *texts]  # every word twice, and a null among them where one is missing
    encoded = pa.DictionaryArray.from_arrays(
        pa.array([words.index(text) for text in texts], kind), pa.array(words), ordered=ordered
    )
    plain = table_of({"tags.x.raw": pa.array(texts, pa.string())})

    assert table_of({"tags.x.raw": encoded}) == plain
    assert table_of({"tags.x.raw": pa.chunked_array([encoded[:1], encoded[1:]])}) == plain
    assert table_of({"tags.x.raw": encoded}).get_tags("x").tolist() == texts


def test_a_null_among_the_words_of_a_table_taken_as_it_is_counts_as_a_missing_value():
    of_a_word = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int32()), pa.array(["a", None]))
    of_a_code = pa.DictionaryArray.from_arrays(pa.array([0, None], pa.int32()), pa.array(["a"]))

    assert SampleCollection(pa.table({"tags.x.raw": of_a_word})).fingerprint == (
        SampleCollection(pa.table({"tags.x.raw": of_a_code})).fingerprint
    )


@given(hnp.arrays(np.int16, st.integers(1, 30)), st.data())
def test_any_value_changes_the_fingerprint(values, data):
    changed = values.copy()
    row = data.draw(st.integers(0, len(values) - 1))
    changed[row] ^= 1 << data.draw(st.integers(0, 14))

    assert single(changed).fingerprint != single(values).fingerprint


@given(TEXTS, st.data())
def test_any_text_changes_the_fingerprint(texts, data):
    row = data.draw(st.integers(0, len(texts) - 1))
    changed = [*texts[:row], (texts[row] or "") + "~", *texts[row + 1 :]]

    assert single(changed, "tags").fingerprint != single(texts, "tags").fingerprint


def test_dtype_shape_name_and_order_are_part_of_the_fingerprint():
    x = np.zeros(6, dtype=np.int32)
    prints = {
        table_of({"features.x.raw": x}).fingerprint,
        table_of({"features.y.raw": x}).fingerprint,
        table_of({"targets.x.raw": x}).fingerprint,
        table_of({"features.x.raw": x.astype(np.float32)}).fingerprint,
        table_of({"features.x.raw": x.astype(np.uint32)}).fingerprint,
        table_of(
            {"features.x.raw": pa.FixedShapeTensorArray.from_numpy_ndarray(x.reshape(6, 1))}
        ).fingerprint,
        table_of({"features.x.raw": x[:5]}).fingerprint,
        table_of({"features.x.raw": x, "features.y.raw": x}).fingerprint,
        table_of({"features.y.raw": x, "features.x.raw": x}).fingerprint,
        table_of({"tags.x.raw": pa.array([0, None, 0, 0, 0, 0], pa.int32())}).fingerprint,
        table_of({"tags.x.raw": pa.array([None, 0, 0, 0, 0, 0], pa.int32())}).fingerprint,
        table_of({"tags.x.raw": pa.array([0] * 6, pa.int32())}).fingerprint,
    }

    assert len(prints) == 12


def test_the_fingerprint_of_a_version_never_changes():
    # Stored identities depend on it; a change needs a new version in the hashed header and a migration.
    fs = table_of({"features.x.raw": np.arange(3, dtype=np.float32), "tags.c.raw": ["b", "a", "b"]})

    assert fs.fingerprint == "e8f69e9bfde9092ef036349ed52ef72e74d82e2c9bdb501494f7e8847e174b19"
    assert fs.sample_uuids[2].tobytes().hex() == "67aa1d8e8159814aa45e8ff1545388c2"


def test_identities_are_uuids_one_per_row_and_the_same_for_the_same_data():
    one, two, other = cells(), cells(), cells(seed=1)

    assert one.sample_uuids.shape == (23, 16)
    assert one.sample_uuids.dtype == np.uint8
    assert np.array_equal(one.sample_uuids, two.sample_uuids)
    assert one.view().is_disjoint_with(other.view())
    first = uuid.UUID(bytes=one.sample_uuids[0].tobytes())
    assert (first.version, first.variant) == (8, uuid.RFC_4122)
    many = single(np.zeros(100_000, dtype=np.uint8)).sample_uuids
    assert len(np.unique(many.view("V16"))) == 100_000


def test_ingest_and_access_compute_no_fingerprint(monkeypatch):
    def computed(table):
        pytest.fail("the fingerprint was computed")

    monkeypatch.setattr("mml.data.collection.fingerprint", computed)
    fs = cells()
    fs.split_random(ratios={"train": 0.5, "test": 0.5}, seed=0)
    fs.fit_transform("standard", domain="features", keys="pulse", fit_to_split="train")
    taken = fs["test"].to_featureset("taken")

    assert taken.get_features("pulse").shape == (11, 5)
