"""Layered layouts: boxes never overlap, arrows run to the right, and around boxes."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mml.visualize.layout import arranged


@st.composite
def graphs(draw):
    """Boxes of any size, and arrows from lower to higher numbers."""
    count = draw(st.integers(1, 9))
    keys = [f"b{number}" for number in range(count)]
    side = st.floats(10, 200)
    sizes = {key: (draw(side), draw(side)) for key in keys}
    pairs = list(combinations(keys, 2))
    arrows = draw(st.lists(st.sampled_from(pairs), max_size=14)) if pairs else []
    return sizes, arrows


def overlap(one, other):
    """Whether two rectangles (left, upper, right, lower) share more than a border."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


@settings(max_examples=150)
@given(graphs())
def test_boxes_do_not_overlap_and_arrows_go_to_the_right(graph):
    sizes, arrows = graph
    layout = arranged(sizes, arrows, label_widths=[30.0] * len(arrows))
    assert set(layout.places) == set(sizes)
    boxes = {key: (x, y, x + sizes[key][0], y + sizes[key][1]) for key, (x, y) in layout.places.items()}
    for one, other in combinations(boxes.values(), 2):
        assert not overlap(one, other)
    for left, upper, right, lower in boxes.values():
        assert left >= -1e-6
        assert upper >= -1e-6
        assert right <= layout.size[0] + 1e-6
        assert lower <= layout.size[1] + 1e-6
    for (source, target), way in zip(arrows, layout.ways, strict=True):
        assert way[0][0] == pytest.approx(boxes[source][2])
        assert way[-1][0] == pytest.approx(boxes[target][0])
        assert boxes[source][1] <= way[0][1] <= boxes[source][3]
        assert boxes[target][1] <= way[-1][1] <= boxes[target][3]
        assert [x for x, _ in way] == sorted(x for x, _ in way)


@settings(max_examples=100)
@given(graphs())
def test_where_an_arrow_passes_a_layer_it_runs_through_no_box(graph):
    sizes, arrows = graph
    layout = arranged(sizes, arrows, label_widths=[0.0] * len(arrows))
    boxes = [(x, y, x + sizes[key][0], y + sizes[key][1]) for key, (x, y) in layout.places.items()]
    for way in layout.ways:
        for (x0, y0), (x1, _) in zip(way[1:-1:2], way[2:-1:2], strict=True):
            assert not any(overlap((x0, y0 - 1, x1, y0 + 1), box) for box in boxes)


def test_a_label_finds_room_between_two_layers():
    sizes = {"a": (50.0, 20.0), "b": (50.0, 20.0)}
    layout = arranged(sizes, [("a", "b")], label_widths=[300.0])
    assert layout.places["b"][0] - 50 > 300


def test_arrows_that_need_not_cross_do_not():
    sizes = dict.fromkeys("abcd", (50.0, 20.0))
    layout = arranged(sizes, [("a", "d"), ("b", "c")], label_widths=[0.0, 0.0])
    (first, second) = layout.ways
    assert (first[0][1] - second[0][1]) * (first[-1][1] - second[-1][1]) > 0
