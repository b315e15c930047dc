"""Live rows first: an order in which every lane keeps its rows and lanes that meet stand side by side."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from mml.errors import DataError
from mml.graph.row_order import connected, live_first, stacked

PAIRS = [("a", "default"), ("b", "default"), ("c", "default")]


@st.composite
def lanes(draw, *, count, equal_capacity=False):
    """Rows of some lanes over some steps; a row number tells lane and place."""
    n_steps = draw(st.integers(1, 3))
    capacities = (
        [draw(st.integers(1, 6))] * count
        if equal_capacity
        else draw(st.lists(st.integers(1, 6), min_size=count, max_size=count))
    )
    rows = {}
    for number, (pair, capacity) in enumerate(zip(PAIRS, capacities, strict=False)):
        live = np.array(
            draw(st.lists(st.booleans(), min_size=n_steps * capacity, max_size=n_steps * capacity))
        )
        places = np.tile(np.arange(capacity), (n_steps, 1)) + 100 * number
        rows[pair] = np.where(live.reshape(n_steps, capacity), places, -1)
    return rows


@given(lanes(count=1))
def test_one_lane_keeps_the_order_of_its_live_rows(rows):
    ordered = live_first(rows)
    (pair,) = rows
    for before, after, count in zip(
        rows[pair], ordered.rows[pair], ordered.shared(frozenset(rows)), strict=True
    ):
        live = before[before >= 0]
        assert after[: len(live)].tolist() == live.tolist()
        assert (after[len(live) :] == -1).all()
        assert count == len(live)


@given(lanes(count=2))
def test_two_lanes_share_a_prefix_and_lose_nothing(rows):
    ordered = live_first(rows)
    shared = ordered.shared(frozenset(rows))
    first, second = (ordered.rows[pair] for pair in rows)
    for step in range(len(first)):
        alive = [set((one[step][one[step] >= 0] % 100).tolist()) for one in rows.values()]
        for pair in rows:
            found = ordered.rows[pair][step]
            assert sorted(found[found >= 0]) == sorted(rows[pair][step][rows[pair][step] >= 0])
            assert (np.diff((found >= 0).astype(int)) <= 0).all()
        count = shared[step]
        assert count == len(alive[0] & alive[1])
        assert (first[step, :count] % 100 == second[step, :count] % 100).all()
        assert set((first[step, :count] % 100).tolist()) == alive[0] & alive[1]


@given(lanes(count=3), st.sampled_from([(0, 1), (1, 2), (0, 2), (0, 1, 2)]))
def test_what_three_lanes_share_is_right_or_refused(rows, chosen):
    pairs = frozenset(PAIRS[number] for number in chosen)
    ordered = live_first(rows)
    capacity = min(rows[pair].shape[1] for pair in pairs)
    alive = np.logical_and.reduce([rows[pair][:, :capacity] >= 0 for pair in pairs])
    try:
        shared = ordered.shared(pairs)
    except DataError:
        assert len(chosen) < 3, "what all lanes share always stands first"
        return
    assert shared.tolist() == alive.sum(axis=1).tolist()
    for step, count in enumerate(shared):
        found = [(ordered.rows[pair][step, :count] % 100).tolist() for pair in sorted(pairs)]
        assert all(one == found[0] for one in found)


@given(lanes(count=3, equal_capacity=True))
def test_tails_never_cross(rows):
    """Lanes of unequal length, padded at the end, as ZIP makes them, serve every merge."""
    lengths = {pair: (indices >= 0).sum(axis=1) for pair, indices in rows.items()}
    tails = {
        pair: np.where(np.arange(indices.shape[1]) < lengths[pair][:, None], 7, -1)
        for pair, indices in rows.items()
    }
    ordered = live_first(tails)
    for chosen in ([0, 1], [1, 2], [0, 2], [0, 1, 2]):
        pairs = frozenset(PAIRS[number] for number in chosen)
        expected = np.minimum.reduce([lengths[pair] for pair in pairs])
        assert ordered.shared(pairs).tolist() == expected.tolist()


def test_without_masks_nothing_moves():
    rows = {PAIRS[0]: np.array([[5, 3, 9]]), PAIRS[1]: np.array([[1, 2]])}
    ordered = live_first(rows)
    assert all(ordered.rows[pair] is rows[pair] for pair in rows)
    assert ordered.shared(frozenset(PAIRS[:1])).tolist() == [3]
    assert ordered.shared(frozenset(PAIRS[:2])).tolist() == [2]


@given(st.lists(st.frozensets(st.sampled_from(PAIRS), min_size=1)))
def test_lanes_are_grouped_by_where_they_meet(sets):
    groups = connected(PAIRS, sets)
    assert sorted(pair for group in groups for pair in group) == sorted(PAIRS)
    of = {pair: number for number, group in enumerate(groups) for pair in group}
    assert all(len({of[pair] for pair in one}) == 1 for one in sets)
    touching = [one for one in sets if len(one) > 1]
    assume(not touching)
    assert len(groups) == len(PAIRS)


def test_short_steps_are_filled():
    assert stacked([np.array([1, 2]), np.array([3])]).tolist() == [[1, 2], [3, -1]]
