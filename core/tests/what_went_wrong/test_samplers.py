"""What went wrong with samplers elsewhere; each check passes on MML and fails on a double with the defect."""

from __future__ import annotations

import numpy as np
import pytest

import mml
from mml.data import ColumnSource

N_ROWS, BATCH_SIZE = 60, 7


def cells():
    with mml.ExperimentContext().activate():
        made = mml.FeatureSet.from_dict(
            "cells",
            {"x": np.arange(N_ROWS, dtype=np.float32), "cell": np.arange(N_ROWS) % 5},
            feature_keys="x",
            tag_keys="cell",
        )
    made.split_random(ratios={"train": 0.8, "val": 0.2}, seed=0)
    return made


def shuffled():
    """Return MML's sampler over a split."""
    return mml.SimpleSampler(batch_size=BATCH_SIZE, shuffle=True, seed=0).bind(cells()["train"])


def values(batches):
    return [batch.features["x"].tolist() for batch in batches]


class Double:
    """A sampler that does as MML's does; the doubles below each spoil one thing."""

    def __init__(self, bound):
        self.bound = bound

    def __iter__(self):
        return iter(self.bound)

    def get_state(self):
        return self.bound.get_state()

    def set_state(self, state):
        self.bound.set_state(state)


# --- one order for all epochs ------------------------------------------------------------------------------


def check_epochs_have_orders_of_their_own(bound):
    epochs = [[value for batch in values(bound) for value in batch] for _ in range(5)]
    assert all(sorted(one) == sorted(epochs[0]) for one in epochs)
    assert len({tuple(one) for one in epochs}) == len(epochs)


class ShuffledOnce(Double):
    """Repeats the order of the first epoch."""

    def __iter__(self):
        first = self.bound.epoch(0)
        return iter([self.bound.materialize(view) for view in first])


def test_every_epoch_has_an_order_of_its_own():
    """`shuffle=True` shuffles once; every epoch repeats the same order."""
    check_epochs_have_orders_of_their_own(shuffled())
    with pytest.raises(AssertionError):
        check_epochs_have_orders_of_their_own(ShuffledOnce(shuffled()))


def check_partners_change(bound):
    epochs = [
        {
            (float(anchor), float(pair))
            for batch in bound
            for anchor, pair in zip(batch["anchor"].features["x"], batch["pair"].features["x"], strict=True)
        }
        for _ in range(4)
    ]
    assert len({frozenset(one) for one in epochs}) == len(epochs)


@pytest.mark.parametrize("shuffle", [True, False])
def test_every_epoch_has_partners_of_its_own(shuffle):
    """`shuffle=True` shuffles once; every epoch repeats the same order. So it would be for pairs."""

    def paired():
        sampler = mml.PairedSampler(
            batch_size=BATCH_SIZE, conditions={"cell": "similar"}, shuffle=shuffle, seed=0
        )
        return sampler.bind(cells()["train"])

    check_partners_change(paired())
    with pytest.raises(AssertionError):
        check_partners_change(ShuffledOnce(paired()))


# --- everything read at once -------------------------------------------------------------------------------


def check_rows_are_read_when_they_are_used(bind, monkeypatch):
    """Take two batches and look how many values were read for them."""
    read = []
    take = ColumnSource.take

    def counted(self, name, rows, *arguments, **settings):
        found = take(self, name, rows, *arguments, **settings)
        read.append(len(found))
        return found

    with monkeypatch.context() as patched:
        patched.setattr(ColumnSource, "take", counted)
        bound = bind(large_set())
        assert read == []
        batches = iter(bound)
        next(batches)
        # Ahead of the batch that was asked for, no more than a block of batches is read.
        assert sum(read) < N_LARGE // 10


N_LARGE = 50_000


def large_set():
    data = {"x": np.zeros((N_LARGE, 64), np.float32)}
    with mml.ExperimentContext().activate():
        return mml.FeatureSet.from_dict("large", data, feature_keys="x")


def bind(data):
    return mml.SimpleSampler(batch_size=32, shuffle=True, seed=0).bind(data)


class ReadAtOnce(Double):
    """Holds every batch of an epoch before the first one is asked for."""

    def __init__(self, bound):
        super().__init__(bound)
        self.batches = [bound.materialize(view) for view in bound.epoch(0)]


def test_batches_are_rows_until_they_are_read(monkeypatch):
    """... the whole split is materialised before the first epoch."""
    check_rows_are_read_when_they_are_used(bind, monkeypatch)
    with pytest.raises(AssertionError):
        check_rows_are_read_when_they_are_used(lambda data: ReadAtOnce(bind(data)), monkeypatch)


# --- nothing to resume in the middle -----------------------------------------------------------------------


def check_it_goes_on_in_the_middle(make):
    whole = make()
    straight = values(whole) + values(whole)
    stopped = make()
    batches = iter(stopped)
    taken = values([next(batches) for _ in range(3)])
    resumed = make()
    resumed.set_state(stopped.get_state())
    assert taken + values(resumed) + values(resumed) == straight


class OfWholeEpochs(Double):
    """Remembers the epoch, and not how far it came in it."""

    def get_state(self):
        return {**self.bound.get_state(), "batch": 0}


def test_an_epoch_goes_on_where_it_stopped():
    """... random state is not saved; nothing resumes inside a phase."""
    check_it_goes_on_in_the_middle(shuffled)
    with pytest.raises(AssertionError):
        check_it_goes_on_in_the_middle(lambda: OfWholeEpochs(shuffled()))
