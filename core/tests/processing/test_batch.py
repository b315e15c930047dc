"""Batches, batch views and gathering: roles, masks, one conversion, and no foreign values."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mml.backends import Capabilities
from mml.backends.numpy_backend import NumpyBackend
from mml.context import ExperimentContext
from mml.data import FeatureSet
from mml.errors import BackendError, ColumnError, DataError, SamplerError
from mml.plugins import registry
from mml.processing import Batch, BatchView, Gatherer, RoleData, SampleData, SimpleSampler


def made(n_rows=31):
    rng = np.random.default_rng(0)
    with ExperimentContext().activate():
        fs = FeatureSet.from_dict(
            "cells",
            {
                "x": rng.normal(size=(n_rows, 3)).astype(np.float32),
                "v": rng.normal(size=n_rows),
                "y": rng.normal(size=(n_rows, 1)).astype(np.float32),
                "c": [f"c{row}" for row in range(n_rows)],
                "b": np.arange(n_rows) % 2 == 0,
            },
            feature_keys=["x", "v"],
            target_keys="y",
            tag_keys=["c", "b"],
        )
    fs.fit_transform("standard", domain="features", keys="x")
    return fs


FS = made()


def gatherer(fs=FS):
    return Gatherer(fs.snapshot(), fs.reference(tags="*").columns(fs))


def test_a_view_knows_its_live_rows():
    view = BatchView({"anchor": np.array([3, -1, 5]), "pair": np.array([2, 1, -1])})

    assert view.mask.tolist() == [True, False, False]
    assert (view.n_rows, view.n_live, len(view)) == (3, 1, 3)
    assert view.roles == ("anchor", "pair")
    assert BatchView.masked(4).n_live == 0
    assert BatchView.masked(4, roles=["a", "b"]).roles == ("a", "b")
    assert BatchView.masked(2) == BatchView({"default": np.array([-1, -1])})


@given(st.lists(st.integers(0, 30), max_size=40))
def test_gathering_is_indexing(rows):
    block = gatherer().gather(np.array(rows, dtype=np.int64))

    assert list(block) == [
        "features.x.transformed",
        "features.v.raw",
        "targets.y.raw",
        "tags.c.raw",
        "tags.b.raw",
    ]
    assert block["features.x.transformed"].tobytes() == FS.get_features("x")[rows].tobytes()
    assert block["features.v.raw"].tolist() == FS.get_features("v")[rows].tolist()
    assert block["tags.c.raw"].tolist() == [f"c{row}" for row in rows]
    assert block["tags.b.raw"].tolist() == [row % 2 == 0 for row in rows]


@given(st.lists(st.integers(0, 30), max_size=20), st.lists(st.integers(0, 30), max_size=20))
def test_buffers_are_reused_and_hold_the_same_values(first, second):
    reader = gatherer()
    buffers = reader.allocate(20)
    for rows in (first, second):
        block = reader.gather(np.array(rows, dtype=np.int64), out=buffers)
        fresh = reader.gather(np.array(rows, dtype=np.int64))
        for name, values in block.items():
            assert values.dtype == fresh[name].dtype
            assert values.tolist() == fresh[name].tolist()
            assert not rows or np.shares_memory(values, buffers[name])


def test_contiguous_rows_are_a_slice_of_the_data():
    block = gatherer().gather(np.arange(4, 9))

    assert np.shares_memory(block["features.v.raw"], FS.get_features("v"))
    assert not np.shares_memory(gatherer().gather(np.array([4, 6]))["features.v.raw"], FS.get_features("v"))


def test_masked_rows_hold_a_copy_of_a_live_one_and_nothing_else():
    block = gatherer().gather(np.array([-1, 7, -1, 3]))
    assert block["features.v.raw"].tolist() == FS.get_features("v")[[7, 7, 7, 3]].tolist()
    empty = gatherer().gather(np.full(4, -1))
    assert not empty["features.x.transformed"].any()
    assert empty["features.x.transformed"].shape == (4, 3)
    assert empty["tags.c.raw"].tolist() == [None] * 4
    assert gatherer().gather(np.array([], dtype=np.int64))["features.v.raw"].shape == (0,)
    buffers = gatherer().allocate(4)
    gatherer().gather(np.arange(4), out=buffers)
    assert not gatherer().gather(np.full(4, -1), out=buffers)["features.v.raw"].any()


def test_rows_and_buffers_that_do_not_fit_are_refused():
    with pytest.raises(DataError, match="no row 31"):
        gatherer().gather(np.array([0, 31]))
    with pytest.raises(DataError, match="no row -2"):
        gatherer().gather(np.array([0, -2]))
    with pytest.raises(DataError, match="too small"):
        gatherer().gather(np.arange(5), out=gatherer().allocate(4))
    with pytest.raises(ColumnError):
        Gatherer(FS.snapshot(), {"features": ("features.q.raw",)})


def test_a_batch_of_one_role_reads_like_a_container():
    batch = Batch.from_view(BatchView({"default": np.array([5, -1, 2])}), gatherer())

    assert set(batch.features) == {"x", "v"}
    assert batch.targets["y"].shape == (3, 1)
    assert batch.tags["c"].tolist() == ["c5", "c5", "c2"]
    assert batch.mask.tolist() == [True, False, True]
    assert batch["default"].n_live == 2
    assert batch.sample_uuids[0].tolist() == FS.sample_uuids[5].tolist()
    assert not batch.sample_uuids[1].any()
    assert batch["default"].features["x"].tobytes() == FS.get_features("x")[[5, 5, 2]].tobytes()


def test_a_batch_of_several_roles_asks_for_one():
    view = BatchView({"anchor": np.array([1, 2]), "pair": np.array([3, 4])})
    batch = Batch.from_view(view, gatherer())

    assert isinstance(batch.roles, RoleData)
    assert list(batch.roles) == ["anchor", "pair"]
    assert batch["pair"].tags["c"].tolist() == ["c3", "c4"]
    with pytest.raises(SamplerError, match="several roles"):
        _ = batch.features
    with pytest.raises(SamplerError, match="Did you mean 'anchor'"):
        batch["ancor"]


class Counting(NumpyBackend):
    """A backend that counts its conversions."""

    capabilities = Capabilities(devices=("cpu", "b"))
    calls: list[tuple[str, str | None]] = []  # noqa: RUF012 - reset by the test

    def to_array(self, array, *, device=None):
        self.calls.append((str(array.dtype), device))
        return array.copy()


def test_a_batch_is_converted_once_per_backend_and_device():
    backends = registry("backends")
    backends.register("counting")(Counting)
    Counting.calls = []
    try:
        batch = next(iter(SimpleSampler(batch_size=4).bind(FS.view())))
        there = batch.to("counting")
        assert batch.to("counting") is there
        assert len(Counting.calls) == 3
        assert batch.to("counting", "cpu") is there
        assert batch.stream().to("counting") is there
        assert batch["default"].to("counting", "cpu") is there["default"]
        assert len(Counting.calls) == 3
        assert batch.to("counting", device="b") is not there
        assert {device for _, device in Counting.calls} == {None, "b"}
        assert there.tags["c"] is batch.tags["c"]
        assert np.array_equal(there.sample_uuids, batch.sample_uuids)
    finally:
        backends.remove("counting")


def test_identities_may_be_given_instead_of_computed():
    uuids = np.ones((2, 16), dtype=np.uint8)
    data = SampleData(
        {"x": np.ones(2)}, targets={}, tags={}, mask=np.array([True, False]), sample_uuids=uuids
    )

    assert data.sample_uuids is uuids
    assert (data.n_rows, data.n_live, len(data)) == (2, 1, 2)


@pytest.mark.parametrize("first", ["whole", "stream"])
def test_a_stream_of_a_batch_is_not_converted_again(first):
    backends = registry("backends")
    backends.register("counting")(Counting)
    Counting.calls = []
    try:
        rows = {"default": np.array([1, 2])}
        batch = Batch.from_view(BatchView.of_streams({"p": rows, "q": rows}), gatherer())
        ways = {
            "whole": lambda: batch.to("counting").stream("p"),
            "stream": lambda: batch.stream("p").to("counting"),
        }
        found = ways.pop(first)(), *(way() for way in ways.values())
        # Two streams of three columns each.
        assert len(Counting.calls) == 6
        assert found[0].features["x"] is found[1].features["x"]
    finally:
        backends.remove("counting")


def test_what_was_converted_is_freed_with_its_batch():
    batch = Batch.from_view(BatchView({"default": np.array([1, 2])}), gatherer())
    there = weakref.ref(batch.to("numpy").features["x"])
    part = batch.part(slice(0, 1))
    part.to("numpy")
    gc.disable()
    try:
        del batch, part
        assert there() is None
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("backend", "device", "match"),
    [
        ("numpy", [1], "A device is named"),
        ("numpy", 0, "A device is named"),
        (["numpy"], None, "A backend is named"),
        (None, None, "A backend is named"),
        ("numpy", "nowhere", "no device 'nowhere'"),
    ],
)
def test_places_that_are_none_are_refused(backend, device, match):
    batch = Batch.from_view(BatchView({"default": np.array([1])}), gatherer())
    for one in (batch, batch["default"]):
        with pytest.raises(BackendError, match=match) as caught:
            one.to(backend, device)
        assert caught.value.where is None


def test_a_column_that_no_backend_holds_is_named():
    with ExperimentContext().activate():
        data = {"x": [1.0, 2.0], "word": ["a", "b"], "day": np.array(["2024-01-01"] * 2, dtype="M8[s]")}
        fs = FeatureSet.from_dict("rows", data, feature_keys=["x", "word"], target_keys="day")
    words = next(iter(SimpleSampler(batch_size=2).bind(fs)))
    with pytest.raises(BackendError, match="Strings do not enter") as caught:
        words.to("numpy")
    assert "column 'features.word'" in caught.value.where
    assert "tag" in caught.value.hint
    days = next(iter(SimpleSampler(batch_size=2).bind(fs.view().select(["x", "day"]))))
    with pytest.raises(BackendError) as caught:
        days.to("numpy")
    assert "column 'targets.day'" in caught.value.where


def samples(n_rows=2, **columns):
    given = {"features": {"x": np.ones(n_rows)}, "targets": {}, "tags": {}, **columns}
    return SampleData(
        given.pop("features"),
        mask=given.pop("mask", np.ones(n_rows, dtype=bool)),
        sample_uuids=np.ones((n_rows, 16), dtype=np.uint8),
        **given,
    )


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: BatchView({}), "by role"),
        (lambda: BatchView([0, 1]), "by role"),
        (lambda: BatchView({3: np.array([0])}), "by role"),
        (lambda: BatchView.of_streams({}), "by stream"),
        (lambda: BatchView.of_streams({"p": {}}), "by role"),
        (lambda: BatchView({"default": np.array([True, False])}), "integers"),
        (lambda: BatchView({"default": np.array([0.0, 1.0])}), "integers"),
        (lambda: BatchView({"default": np.array([[0, 1]])}), "flat"),
        (lambda: BatchView({"default": 3}), "flat"),
        (lambda: BatchView({"default": [[0], [1, 2]]}), "flat"),
        (lambda: BatchView({"default": None}), "flat"),
        (lambda: BatchView({"a": np.array([0]), "b": np.array([0, 1])}), "as many in every role"),
        (
            lambda: BatchView.of_streams({"p": {"a": np.array([0])}, "q": {"a": np.array([0, 1])}}),
            "as many in every role",
        ),
        (lambda: Batch({}), "by role"),
        (lambda: Batch(None), "by role"),
        (lambda: Batch({"default": np.ones(3)}), "holds samples"),
        (lambda: Batch({"a": samples(2), "b": samples(3)}), "as many in every role"),
        (lambda: Batch.of_streams({}), "by stream"),
        (
            lambda: Batch.of_streams({"p": {"a": samples(2)}, "q": {"a": samples(3)}}),
            "as many in every role",
        ),
        (lambda: RoleData({}), "by role"),
        (lambda: samples(2, features={"x": np.ones(3)}), "other rows than its mask"),
        (lambda: samples(2, tags={"x": np.ones(1)}), "other rows than its mask"),
        (lambda: samples(2, mask=np.array([1, 0])), "truth values"),
        (lambda: samples(2, mask=[True, False]), "truth values"),
    ],
)
def test_what_is_no_batch_is_refused(make, match):
    with pytest.raises(SamplerError, match=match):
        make()


def test_rows_may_be_any_integers():
    for rows in ([4, 0, -1], np.array([4, 0, -1], dtype=np.int8), (4, 0, -1)):
        view = BatchView({"default": rows})
        assert view.rows["default"].dtype == np.int64
        assert view == BatchView({"default": np.array([4, 0, -1])})
    assert BatchView({"default": []}).n_rows == 0
    batch = SimpleSampler(batch_size=2).bind(FS.view()).materialize(BatchView({"default": [5, 2]}))
    assert batch.tags["c"].tolist() == ["c5", "c2"]
