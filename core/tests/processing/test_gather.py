"""Gathering against fancy indexing: any rows, any dtype, any layout, with and without buffers."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies
from hypothesis.extra import numpy as arrays

import mml
from mml.errors import DataError
from mml.processing import Gatherer
from mml.processing.gather import may_run_ahead

N_ROWS = 60
DTYPES = ("int8", "uint16", "int64", "float16", "float32", "float64", "bool")
SHAPES = ((), (3,), (2, 2), (1, 2, 3))


def made_of(columns, *, n_chunks=1):
    """Return a FeatureSet of tags and features whose table has so many chunks."""
    with mml.ExperimentContext().activate():
        whole = mml.FeatureSet.from_dict(
            "rows",
            {"first": np.arange(len(next(iter(columns.values()))), dtype=np.float32), **columns},
            feature_keys="first",
            tag_keys=list(columns),
        )
        if n_chunks == 1:
            return whole
        table = whole.snapshot().collection.table
        step = -(-len(table) // n_chunks)
        parts = pa.concat_tables([table.slice(start, step) for start in range(0, len(table), step)])
        return mml.FeatureSet.from_pyarrow_table("chunked", parts)


def gatherer_of(data):
    names = {domain: data.schema.select(f"{domain}.*") for domain in ("features", "targets", "tags")}
    return Gatherer(data.snapshot(), names)


def expected(values, rows):
    """Index as NumPy does; a masked row gets a copy of the first live one, or a zero where none is live."""
    live = rows[rows >= 0]
    if not len(live):
        empty = None if values.dtype == object else np.zeros((), dtype=values.dtype)
        return np.full((len(rows), *values.shape[1:]), empty, dtype=values.dtype)
    return values[np.where(rows >= 0, rows, live[0])]


def equal(found, wanted):
    if wanted.dtype.kind in "fO":
        return found.dtype == wanted.dtype and found.tolist() == wanted.tolist()
    return found.dtype == wanted.dtype and np.array_equal(found, wanted)


def columns():
    rng = np.random.default_rng(0)
    made = {
        f"{dtype}_{len(shape)}": rng.integers(0, 2 if dtype == "bool" else 100, (N_ROWS, *shape)).astype(
            dtype
        )
        for dtype in DTYPES
        for shape in SHAPES
        if not (dtype == "bool" and shape)
    }
    words = np.array([f"word {number % 7}" for number in range(N_ROWS)], dtype=object)
    moments = np.datetime64("2020-01-01", "us") + np.arange(N_ROWS).astype("timedelta64[us]")
    return {
        **made,
        "words": words,
        "moments": moments,
        "spans": moments - moments[0],
        "gaps": np.where(np.arange(N_ROWS) % 5 == 0, None, words),
    }


COLUMNS = columns()


@pytest.fixture(scope="module", params=[1, 4, N_ROWS], ids=["whole", "chunks", "row by row"])
def data(request):
    return made_of(COLUMNS, n_chunks=request.param)


some_rows = arrays.arrays(np.int64, strategies.integers(0, 25), elements=strategies.integers(-1, N_ROWS - 1))


@given(rows=some_rows)
def test_values_are_those_of_fancy_indexing(data, rows):
    found = gatherer_of(data).gather(rows)
    for name, values in COLUMNS.items():
        assert equal(found[f"tags.{name}.raw"], expected(values, rows)), name


@given(rows=some_rows, more=strategies.integers(0, 5))
def test_buffers_hold_the_same_values(data, rows, more):
    gatherer = gatherer_of(data)
    buffers = gatherer.allocate(len(rows) + more)
    # What a buffer held before must not shine through.
    gatherer.gather(np.arange(len(rows) + more) % N_ROWS, out=buffers)
    found = gatherer.gather(rows, out=buffers)
    for name, values in COLUMNS.items():
        full = f"tags.{name}.raw"
        assert equal(found[full], expected(values, rows)), name
        assert not len(rows) or np.shares_memory(found[full], buffers[full])


@given(start=strategies.integers(0, N_ROWS), length=strategies.integers(0, N_ROWS))
def test_contiguous_rows_are_the_same_values(data, start, length):
    rows = np.arange(start, min(start + length, N_ROWS))
    found = gatherer_of(data).gather(rows)
    for name, values in COLUMNS.items():
        assert equal(found[f"tags.{name}.raw"], values[rows]), name


@given(
    positions=strategies.lists(strategies.integers(0, N_ROWS - 1), max_size=20),
    step=strategies.integers(1, 3),
)
def test_rows_may_be_given_with_gaps_in_memory(data, positions, step):
    wide = np.full(len(positions) * step, -1, dtype=np.int64)
    wide[::step] = positions
    found = gatherer_of(data).gather(wide[::step])
    assert equal(found["tags.int64_1.raw"], COLUMNS["int64_1"][positions])


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_arrays_of_any_layout_are_gathered_alike(dtype):
    base = np.arange(240).reshape(20, 12).astype(dtype)
    layouts = {
        "plain": base,
        "fortran": np.asfortranarray(base),
        "reversed": base[::-1],
        "strided": base[:, ::2],
    }
    rows = np.array([3, 3, 19, 0, -1])
    with mml.ExperimentContext().activate():
        made = mml.FeatureSet.from_dict("rows", layouts, feature_keys=list(layouts))
    found = gatherer_of(made).gather(rows)
    for name, values in layouts.items():
        assert equal(found[f"features.{name}.raw"], expected(values, rows)), name


def test_contiguous_rows_are_read_only_views_of_the_data():
    made = made_of({"x": np.arange(40.0).reshape(20, 2)})
    block = gatherer_of(made).gather(np.arange(5, 15))["tags.x.raw"]
    assert np.shares_memory(block, made.snapshot().take("tags.x.raw", slice(0, 20)))
    assert not block.flags.writeable


def test_masked_rows_never_show_foreign_values():
    values = np.arange(20.0)
    made = made_of({"x": values})
    gatherer = gatherer_of(made)
    found = gatherer.gather(np.array([-1, 7, -1]))["tags.x.raw"]
    assert found.tolist() == [7.0, 7.0, 7.0]
    buffers = gatherer.allocate(3)
    gatherer.gather(np.array([4, 5, 6]), out=buffers)
    assert gatherer.gather(np.array([-1, -1]), out=buffers)["tags.x.raw"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("rows", [[20], [0, 99], [-2], [5, -7]])
def test_rows_that_do_not_exist_are_refused(rows):
    gatherer = gatherer_of(made_of({"x": np.arange(20.0)}))
    with pytest.raises(DataError, match="no row"):
        gatherer.gather(np.array(rows))


def test_buffers_that_are_too_small_are_refused():
    gatherer = gatherer_of(made_of({"x": np.arange(20.0)}))
    with pytest.raises(DataError, match="too small"):
        gatherer.gather(np.arange(5), out=gatherer.allocate(4))


def test_a_scaled_column_is_the_scaled_rows(monkeypatch):
    values = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    found = []
    for kept_bytes in (0, 1 << 20):
        monkeypatch.setattr("mml.data.source._KEPT_BYTES", kept_bytes)
        with mml.ExperimentContext().activate():
            made = mml.FeatureSet.from_dict("rows", {"x": values}, feature_keys="x")
            made.fit_transform("standard", domain="features")
        rows = np.array([4, 49, 4, 0])
        found.append(gatherer_of(made).gather(rows)["features.x.transformed"])
    mean, std = values.mean(0, dtype=np.float64), values.std(0, dtype=np.float64)
    np.testing.assert_allclose(found[0], (values[rows] - mean) / std, rtol=1e-6, atol=1e-6)
    assert found[0].tobytes() == found[1].tobytes()


class Undeclared:
    """A scaler that does not say that it may run on any thread."""

    def fit(self, values):
        return self

    def transform(self, values):
        return values

    def inverse_transform(self, values):
        return values

    def get_config(self):
        return {}

    def get_state(self):
        return {}

    def set_state(self, state):
        pass


class TestMayRunAhead:
    def source(self, *scalers):
        with mml.ExperimentContext().activate():
            values = {"x": np.arange(12.0).reshape(6, 2)}
            made = mml.FeatureSet.from_dict("rows", values, feature_keys="x")
        for scaler in scalers:
            made.fit_transform(scaler, domain="features")
        return made.snapshot()

    def test_raw_columns(self):
        assert may_run_ahead(self.source(), "features.x.raw")

    @pytest.mark.parametrize("name", ["standard", "minmax", "maxabs", "robust", "negate", "absolute"])
    def test_built_in_scalers(self, name):
        assert may_run_ahead(self.source(name, "minmax"), "features.x.transformed")

    def test_segments_follow_the_scaler_that_they_are_scaled_by(self):
        segmented = mml.Scaler("segmented", boundaries=[1], scaler="standard")
        assert may_run_ahead(self.source(segmented), "features.x.transformed")
        segmented = mml.Scaler("segmented", boundaries=[1], scaler=Undeclared)
        assert not may_run_ahead(self.source(segmented), "features.x.transformed")

    def test_one_scaler_that_does_not_say_so_holds_the_chain_back(self):
        source = self.source("standard", Undeclared)
        assert not may_run_ahead(source, "features.x.transformed")
        assert may_run_ahead(source, "features.x.raw")
