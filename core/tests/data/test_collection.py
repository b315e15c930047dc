"""SampleCollection and ColumnSource: stored columns, identities, chunks, blocks of scaled columns."""

from __future__ import annotations

import uuid

import numpy as np
import pyarrow as pa
import pytest

from mml.data import SampleCollection
from mml.errors import ColumnError, DataError
from mml.processing import MinMaxScaler, Scaler, StandardScaler

from .samples import arrays, cells, single


def chunked():
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(20, dtype=np.float32).reshape(10, 2))
    words = [pa.array(list("aab")).dictionary_encode(), pa.array(list("cbacbac")).dictionary_encode()]
    return pa.table(
        {
            "features.x.raw": pa.chunked_array([tensors[:3], tensors[3:]]),
            "features.n.raw": pa.chunked_array([[0, 1, 2], list(range(3, 10))], pa.int8()),
            "tags.b.raw": pa.chunked_array([[True, False, True], [False] * 7]),
            "tags.c.raw": pa.chunked_array(words),
        }
    )


def test_chunks_read_as_one_column():
    collection = SampleCollection.from_table(chunked())
    rows = np.array([9, 2, 3])

    assert collection.column("features.x.raw").take(rows).tolist() == [[18, 19], [4, 5], [6, 7]]
    assert collection.column("features.n.raw").take(rows).tolist() == [9, 2, 3]
    assert collection.column("tags.b.raw").take(rows).tolist() == [False, True, False]
    assert collection.column("tags.c.raw").take(slice(0, 10)).tolist() == list("aabcbacbac")


def test_rows_are_taken_as_they_are_stored():
    collection = SampleCollection.from_table(chunked())
    taken = collection.take(np.array([9, 2, 2]), ["features.x.raw", "tags.c.raw"])

    assert taken.schema.names == ("features.x.raw", "tags.c.raw")
    assert taken.table.column("tags.c.raw").to_pylist() == ["c", "b", "b"]
    assert np.array_equal(taken.uuids(slice(0, 3)), collection.uuids(np.array([9, 2, 2])))


def test_a_collection_says_what_it_holds_and_hands_out_identities_read_only():
    collection = SampleCollection.from_table(chunked())
    moved = SampleCollection(chunked(), uuids=np.zeros((10, 16), dtype=np.uint8))

    assert repr(collection) == "SampleCollection(10 samples, 4 columns)"
    assert len(collection) == 10
    with pytest.raises(ValueError, match="read-only"):
        moved.uuids(slice(0, 3))[0] = 1


def test_collections_are_equal_by_values_and_identities():
    one, two = SampleCollection.from_table(chunked()), SampleCollection.from_table(chunked().combine_chunks())
    moved = SampleCollection(chunked(), uuids=np.zeros((10, 16), dtype=np.uint8))

    assert one == two
    assert hash(one) == hash(two)
    assert one != moved
    assert one != SampleCollection.from_table(chunked().slice(1))
    assert SampleCollection.from_table(one.to_table()) == one
    assert SampleCollection.from_table(moved.to_table(), unique=False) == moved


def test_identities_may_come_in_arrows_own_type():
    own = [uuid.UUID(int=number).bytes for number in range(10)]
    column = pa.chunked_array([pa.array(own[:4], pa.uuid()), pa.array(own[4:], pa.uuid())])
    collection = SampleCollection.from_table(chunked().append_column("sample_uuids.id.raw", column))

    assert [row.tobytes() for row in collection.uuids(slice(0, 10))] == own
    with pytest.raises(DataError, match="one column of sample UUIDs"):
        SampleCollection.from_table(
            chunked()
            .append_column("sample_uuids.id.raw", column)
            .append_column("sample_uuids.more.raw", column)
        )


def test_what_is_no_table_is_refused():
    with pytest.raises(DataError, match=r"pyarrow\.Table"):
        SampleCollection.from_table({"features.x.raw": [1]})
    with pytest.raises(ColumnError, match="full column name"):
        SampleCollection.from_table(pa.table({"x": [1]}))
    with pytest.raises(DataError, match="does not store"):
        SampleCollection(pa.table({"features.x.raw": pa.array([b"a"])}))


def test_a_snapshot_takes_slices_arrays_and_buffers():
    source = cells().snapshot()
    expected = arrays()["image"]
    rows = np.array([3, 0, 22, 3])
    out = np.empty((4, 2, 3))

    assert np.array_equal(source.take("features.image.raw", slice(4, 8)), expected[4:8])
    assert np.array_equal(source.take("features.image.raw", rows), expected[rows])
    assert source.take("features.image.raw", rows, out) is out
    assert np.array_equal(out, expected[rows])
    assert source.take("features.image.raw", slice(4, 8), out) is out
    assert np.array_equal(out, expected[4:8])
    with pytest.raises(ColumnError, match="no column"):
        source.spec("features.image.transformed")


@pytest.mark.parametrize(
    "scaler",
    [
        "standard",
        "mml/standard",
        StandardScaler,
        StandardScaler(),
        Scaler("standard"),
        Scaler(StandardScaler()),
    ],
)
def test_scalers_come_by_name_class_instance_and_declaration(scaler):
    fs = cells()
    fs.fit_transform(scaler, domain="features", keys=["pulse", "image"])
    image = arrays()["image"]

    np.testing.assert_allclose(fs.get_features("image"), (image - image.mean(0)) / image.std(0), atol=1e-12)
    assert fs.scaler_records[0].config == {"scaler": "mml/standard", "with_mean": True, "with_std": True}


def test_settings_of_a_declared_scaler_count():
    fs = cells()
    fs.fit_transform(Scaler("minmax", feature_range=(-1, 1)), domain="targets")
    own = MinMaxScaler((0, 2))
    fs.fit_transform(own, domain="targets")

    assert (fs.get_targets().min(), fs.get_targets().max()) == (0, 2)
    assert own.get_state() == {}


def test_integers_are_scaled_to_floats_and_their_raw_column_stays():
    fs = single(np.array([1, 2, 3], dtype=np.int16))
    fs.fit_transform("minmax", domain="features")

    assert fs.get_features().dtype == np.float32
    assert fs.get_features().tolist() == [0, 0.5, 1]
    assert fs.snapshot().spec("features.x.transformed").dtype == np.float32
    assert fs.get_features("x", "raw").dtype == np.int16


def test_a_table_in_other_types_than_those_stored_is_sent_through_ingest():
    narrow = pa.DictionaryArray.from_arrays(pa.array([0, 1], pa.int8()), ["a", "b"])
    table = pa.table({"tags.x.raw": narrow})
    with pytest.raises(DataError, match="does not store") as caught:
        SampleCollection(table)

    assert "from_table" in caught.value.hint
    assert SampleCollection.from_table(table) == SampleCollection.from_table(
        pa.table({"tags.x.raw": ["a", "b"]})
    )
