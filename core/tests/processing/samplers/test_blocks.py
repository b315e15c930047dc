"""Batches that are cut from blocks: equal to those read one by one, whatever the sampler and the cursor."""

from __future__ import annotations

import numpy as np
import pytest

import mml
from mml.processing import Gatherer
from mml.processing.samplers import Epoch
from mml.processing.samplers.blocks import batches_of

N_ROWS = 100


def data():
    rng = np.random.default_rng(0)
    columns = {
        "x": rng.normal(size=(N_ROWS, 3)).astype(np.float32),
        "y": rng.normal(size=N_ROWS),
        "word": np.array([f"w{number % 7}" for number in range(N_ROWS)], dtype=object),
    }
    return mml.FeatureSet.from_dict("rows", columns, feature_keys="x", target_keys="y", tag_keys="word")


def content(batch):
    return [
        (
            name,
            {
                key: array.tolist()
                for key, array in (samples.features | samples.targets | samples.tags).items()
            },
            samples.mask.tolist(),
            samples.sample_uuids.tobytes(),
        )
        for name, samples in batch.roles.items()
    ]


@pytest.mark.parametrize("batch_size", [1, 7, 64, N_ROWS])
@pytest.mark.parametrize("shuffle", [False, True])
def test_iterating_yields_what_reading_one_by_one_does(batch_size, shuffle):
    made = data()
    made.fit_transform("standard", domain="features")
    sampler = mml.SimpleSampler(batch_size=batch_size, shuffle=shuffle).bind(made.view(), seed=0)
    single = [content(sampler.materialize(view)) for view in sampler.epoch(0)]
    assert [content(batch) for batch in sampler] == single


@pytest.mark.parametrize("start", [0, 1, 5, 33, 34])
def test_iterating_goes_on_at_the_cursor(start):
    sampler = mml.SimpleSampler(batch_size=3, shuffle=True).bind(data().view(), seed=0)
    # Behind the last batch of an epoch is the first of the next one.
    epoch, first = (0, start) if start < 34 else (1, 0)
    single = [content(sampler.materialize(view)) for view in sampler.epoch(epoch)]
    sampler.set_state({**sampler.get_state(), "batch": start})
    assert len(sampler) == len(single) - first
    cursors, found = [], []
    for batch in sampler:
        state = sampler.get_state()
        cursors.append((state["epoch"], state["batch"]))
        found.append(content(batch))
    assert found == single[first:]
    assert cursors == [*((epoch, number) for number in range(first + 1, len(single))), (epoch + 1, 0)]


def test_masked_rows_hold_copies_of_their_own_batch():
    made = data()
    order = np.array([5, -1, -1, 8, 9, 3, -1, -1, 4])
    epoch = Epoch({"left": order, "right": order[::-1].copy()}, np.array([0, 2, 4, 6, 8, 9]))
    names = {"features": made.schema.select("features.*")}
    gatherers = {"default": Gatherer(made.snapshot(), names)}
    found = [content(batch) for batch in batches_of(epoch, gatherers)]
    assert found == [content(mml.Batch.from_view(view, gatherers)) for view in epoch]
    first = found[0][0][1]["x"]
    assert first[0] == first[1]


def test_batches_of_different_sizes_keep_their_borders():
    made = data()
    epoch = Epoch({"default": np.arange(99, -1, -1)}, np.array([0, 1, 1, 40, 42, 100]))
    gatherers = {"default": Gatherer(made.snapshot(), {"features": made.schema.select("features.*")})}
    assert [len(batch) for batch in batches_of(epoch, gatherers)] == [1, 0, 39, 2, 58]
    assert [len(batch) for batch in batches_of(epoch, gatherers, start=3)] == [2, 58]


def test_an_epoch_without_batches_yields_none():
    made = data()
    epoch = Epoch({"default": np.zeros(0, dtype=np.int64)}, np.array([0]))
    gatherers = {"default": Gatherer(made.snapshot(), {"features": made.schema.select("features.*")})}
    assert list(batches_of(epoch, gatherers)) == []
