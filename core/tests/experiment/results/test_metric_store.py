"""MetricStore: what is logged is found by name, epoch and batch."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mml.errors import ResultError, StateError
from mml.experiment.results import MetricStore

LOGS = st.lists(
    st.tuples(
        st.sampled_from(["train_loss", "val_loss", "lr/graph"]),
        st.floats(allow_nan=True, allow_infinity=True),
        st.integers(0, 4),
        st.one_of(st.none(), st.integers(0, 3)),
    ),
    max_size=30,
)


def filled(logs):
    store = MetricStore()
    for name, value, epoch, batch in logs:
        store.log(name, value, epoch=epoch, batch=batch)
    return store


def bits(value):
    return np.float64(value).tobytes()


@given(LOGS)
def test_the_last_value_logged_at_a_place_is_the_one_kept(logs):
    store = filled(logs)
    for level in ("epoch", "batch"):
        expected = {
            (name, epoch, batch): value
            for name, value, epoch, batch in logs
            if (batch is None) == (level == "epoch")
        }
        series = store.series(level)
        assert series.axes == (("name", "epoch") if level == "epoch" else ("name", "epoch", "batch"))
        found = {(one["name"], one["epoch"], one.get("batch")): value for one, value in series}
        assert {place: bits(value) for place, value in found.items()} == {
            place: bits(value) for place, value in expected.items()
        }


@given(LOGS)
def test_latest_is_what_was_logged_last_at_either_level(logs):
    store = filled(logs)
    expected = {name: value for name, value, _, _ in logs}
    assert store.names() == list(dict.fromkeys(name for name, *_ in logs))
    for name, value in expected.items():
        assert name in store
        assert bits(store.latest(name)) == bits(value)


@given(LOGS)
def test_state_comes_back_bit_for_bit(logs):
    store, other = filled(logs), MetricStore()
    other.set_state(store.get_state())
    assert other.names() == store.names()
    for level in ("epoch", "batch"):
        assert other.series(level) == store.series(level)
        assert other.series(level).values.tobytes() == store.series(level).values.tobytes()
    other.log("new", 1.0, epoch=0)
    assert "new" not in store


def test_a_series_read_before_sees_nothing_of_what_is_logged_later():
    store = filled([("a", 1.0, 0, None)])
    before = store.series()
    store.log("a", 2.0, epoch=1)
    assert len(before) == 1
    assert len(store.series()) == 2


def test_scalars_of_other_libraries_are_numbers():
    store = MetricStore()
    store.log("a", np.array(0.5, dtype=np.float32), epoch=0)
    assert store.latest("a") == 0.5


@pytest.mark.parametrize("value", ["0.5x", None, [1.0, 2.0], 1j])
def test_what_is_no_number_is_refused_by_name(value):
    store = MetricStore()
    with pytest.raises(ResultError, match="'accuracy'"):
        store.log("accuracy", value, epoch=0)
    assert store.names() == []
    assert len(store.series()) == 0


def test_an_unknown_name_or_level_names_what_exists():
    store = filled([("val_loss", math.pi, 0, None)])
    with pytest.raises(ResultError, match="Did you mean 'val_loss'"):
        store.latest("val_los")
    with pytest.raises(ResultError, match="'epoch' or 'batch'"):
        store.series("step")


@pytest.mark.parametrize(
    "damage",
    [
        lambda state: state.pop("epoch"),
        lambda state: state["epoch"].pop("value"),
        lambda state: state["epoch"].update(value=np.zeros(3)),
        lambda state: state["epoch"].update(name=np.array([5], dtype=np.int32)),
        lambda state: state.update(latest_values=np.zeros(1, dtype=np.float32)),
        lambda state: state.update(latest_names=[3]),
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(damage):
    store = filled([("a", 1.0, 0, None)])
    state = filled([("b", 2.0, 0, None)]).get_state()
    damage(state)
    with pytest.raises(StateError):
        store.set_state(state)
    assert store.names() == ["a"]
    assert store.series().select() == [1.0]
