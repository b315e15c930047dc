"""Merges: shapes, padding, and what becomes of targets, tags and rows where branches meet."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mml
from mml.errors import GraphError, LossError, ShapeError

from . import toy


def source(*shapes, n_rows=4):
    rng = np.random.default_rng(0)
    return mml.FeatureSet.from_dict(
        "shapes",
        {
            f"c{number}": rng.normal(size=(n_rows, *shape)).astype(np.float32)
            for number, shape in enumerate(shapes)
        },
        feature_keys=[f"c{number}" for number in range(len(shapes))],
    )


def merged(shapes, **settings):
    rows = source(*shapes)
    node = mml.ConcatNode(
        "both", [rows.reference(features=f"c{number}") for number in range(len(shapes))], **settings
    )
    graph = mml.ModelGraph([node]).build()
    arrays = [rows.get_features(f"c{number}", fmt="numpy") for number in range(len(shapes))]
    inputs = {f"both[{number}]": array for number, array in enumerate(arrays)}
    return node, graph.forward(inputs)["both"], arrays


@pytest.mark.parametrize("axis", [-1, -2, 1, 2])
def test_joining_is_numpys_and_the_shape_was_known_before(axis):
    shapes = [(2, 3), (2, 3), (2, 3)]
    node, found, arrays = merged(shapes, concat_axis=axis)
    expected = np.concatenate(arrays, axis=axis)
    assert node.output_shape == expected.shape[1:]
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=40)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=2, max_size=3),
    axis=st.sampled_from([-1, 1, -2, 2]),
    mode=st.sampled_from(["constant", "edge"]),
)
def test_padding_fills_the_end_of_the_other_axes(shapes, axis, mode):
    with mml.ExperimentContext().activate():
        node, found, arrays = merged(shapes, concat_axis=axis, pad_inputs=True, pad_mode=mode, pad_value=2.5)
    other = 2 if axis in (1, -2) else 1
    size = max(array.shape[other] for array in arrays)
    padded = []
    for array in arrays:
        last = np.take(array, [-1], axis=other)
        filling = [last if mode == "edge" else np.full_like(last, 2.5)] * (size - array.shape[other])
        padded.append(np.concatenate([array, *filling], axis=other))
    expected = np.concatenate(padded, axis=axis)
    assert node.output_shape == found.shape[1:] == expected.shape[1:]
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("shapes", "settings"),
    [
        ([(2, 3), (3, 3)], {"concat_axis": -1}),
        ([(2, 3), (3,)], {}),
        ([(2, 3), (2, 3)], {"concat_axis": 3}),
        ([(2, 3), (2, 3)], {"concat_axis": -3}),
        ([(5, 3), (2, 3)], {"pad_inputs": True, "pad_mode": "reflect"}),
    ],
)
def test_shapes_that_cannot_be_joined_are_refused_at_build_naming_the_merge(shapes, settings):
    with pytest.raises(ShapeError) as caught:
        merged(shapes, **settings)
    assert "'both'" in str(caught.value)
    assert str(shapes[0]) in str(caught.value)
    assert str(shapes[1]) in str(caught.value)


def test_reflection_pads_as_numpy_does():
    _, found, arrays = merged([(3, 2), (2, 2)], pad_inputs=True, pad_mode="reflect")
    padded = np.pad(arrays[1], ((0, 0), (0, 1), (0, 0)), mode="reflect")
    np.testing.assert_array_equal(found, np.concatenate([arrays[0], padded], axis=-1))


@pytest.mark.parametrize(
    "settings",
    [
        {"concat_axis": 0},
        {"concat_axis": "last"},
        {"concat_axis": 1.0},
        {"concat_axis": True},
        {"pad_mode": "wrap"},
        {"concat_axis_targets": "nobody"},
        {"concat_axis_targets": 0},
        {"concat_axis_tags": 0},
        {"concat_axis_targets": True},
        {"concat_axis_targets": None},
        {"pad_value": "x"},
    ],
)
def test_bad_settings_are_refused_at_once(settings):
    rows = toy.data()
    with pytest.raises(GraphError) as caught:
        mml.ConcatNode("both", [toy.dense("a", rows), toy.dense("b", rows)], **settings)
    assert "'both'" in str(caught.value)


def test_a_misspelt_upstream_is_answered_with_the_near_one():
    rows = toy.data()
    with pytest.raises(GraphError, match="how to carry targets") as caught:
        mml.ConcatNode(
            "both", [toy.dense("left", rows), toy.dense("right", rows)], concat_axis_targets="rihgt"
        )
    assert caught.value.hint == "Did you mean 'right'?"


def two_branches(strategy=None, *, targets=("y", "y"), sets=None, tags=(), tag_strategy="first"):
    one, other = sets or [toy.data()] * 2
    a = toy.dense("a", toy.reference(one, targets=targets[0], tags=tags))
    b = toy.dense("b", toy.reference(other, features="u", targets=targets[1], tags=tags))
    settings = {} if strategy is None else {"concat_axis_targets": strategy}
    both = mml.ConcatNode("both", [a, b], concat_axis_tags=tag_strategy, **settings)
    width = 1 if targets == ("y", "y") and strategy != -1 else 2
    return mml.ModelGraph([a, b, both, toy.dense("head", both, width)], optimizer="sgd")


def recorded_targets(graph, rows, *, losses=True):
    applied = (mml.AppliedLoss("mse", on="head"),) if losses else ()
    execution = graph.prepare(toy.request(graph, "eval", losses=applied, record=("head",)))
    (result,) = toy.run(execution, [rows])
    (one,) = [one for one in result.outputs[0] if one.node == "head"]
    if losses:
        expected = np.mean((one.outputs.astype(np.float64) - one.targets) ** 2)
        np.testing.assert_allclose(result.losses()[0, 0], expected, rtol=1e-5)
    return one


def test_first_is_taken_unasked_where_all_upstreams_carry_the_same():
    rows = toy.data()
    one = recorded_targets(two_branches(sets=[rows, rows]), [5, 1, 2])
    np.testing.assert_array_equal(one.targets, toy.column(rows, "y")[[5, 1, 2]].astype(np.float32))


@pytest.mark.parametrize(
    ("kind", "named"), [("other columns", "a"), ("other data", "a"), ("none in one", "b")]
)
def test_first_is_refused_where_it_would_drop_targets_unasked(kind, named):
    rows = toy.data()
    graph = {
        "other columns": lambda: two_branches(targets=("y", "z"), sets=[rows, rows]),
        "other data": lambda: two_branches(sets=[rows, toy.data(seed=1)]),
        "none in one": lambda: two_branches(targets=((), "y"), sets=[rows, rows]),
    }[kind]()
    with pytest.raises(GraphError, match="different targets") as caught:
        graph.prepare(toy.request(graph, losses=(mml.AppliedLoss("mse", on="head"),)))
    assert "'both'" in str(caught.value)
    assert f"concat_axis_targets={named!r}" in caught.value.hint


@pytest.mark.parametrize(("strategy", "key"), [("a", "y"), ("b", "z"), ("last", "z")])
def test_a_named_upstream_or_the_last_one_gives_the_targets(strategy, key):
    rows = toy.data()
    graph = two_branches(strategy, targets=("y", "z"), sets=[rows, rows])
    one = recorded_targets(graph, [5, 1], losses=key == "z")
    np.testing.assert_array_equal(one.targets, toy.column(rows, key)[[5, 1]].astype(np.float32))


def test_targets_are_joined_along_an_axis_or_averaged():
    rows, others = toy.data(), toy.data(seed=1)
    with toy.fresh(rows, others):
        one = recorded_targets(two_branches(-1, sets=[rows, others]), {"a": [5, 1], "b": [2, 3]})
    ya, yb = toy.column(rows, "y")[[5, 1]], toy.column(others, "y")[[2, 3]]
    np.testing.assert_allclose(one.targets, np.concatenate([ya, yb], axis=1), rtol=1e-6)
    with toy.fresh(rows, others):
        one = recorded_targets(two_branches("mean", sets=[rows, others]), {"a": [5, -1, 1], "b": [2, 7, 3]})
    np.testing.assert_allclose(one.targets, (ya + yb) / 2, rtol=1e-6)


def test_the_mean_of_whole_numbers_is_not_cut():
    numbers = np.array([[0], [1], [4]])
    sets = [
        mml.FeatureSet.from_dict(
            f"s{number}", {"x": np.ones((3, 2)), "y": column}, feature_keys="x", target_keys="y"
        )
        for number, column in enumerate((numbers, numbers + 1))
    ]
    both = mml.ConcatNode("both", [one.reference() for one in sets], concat_axis_targets="mean")
    graph = mml.ModelGraph([both])
    execution = graph.prepare(toy.request(graph, "eval", record=("both",)))
    (result,) = toy.run(execution, [[0, 1, 2]])
    assert result.outputs[0][0].targets.ravel().tolist() == [0.5, 1.5, 4.5]


def test_targets_that_do_not_fit_each_other_are_refused_naming_the_shapes():
    rows = toy.data()
    graph = two_branches("mean", targets=("y", "z"), sets=[rows, rows])
    execution = graph.prepare(toy.request(graph, "eval", record=("head",)))
    with pytest.raises(ShapeError, match="do not fit"):
        toy.run(execution, [[1, 2]])


def test_a_column_of_either_upstream_is_found_behind_a_merge():
    rows, others = toy.data(), toy.data(seed=1, extra=np.arange(toy.N_ROWS, dtype=np.float32))
    graph = two_branches("a", sets=[rows, others], tags=())
    loss = mml.AppliedLoss(
        lambda o, t: t.reshape(-1) + 0 * o[:, 0], on="head", inputs=["outputs", "tags.extra"]
    )
    execution = graph.prepare(toy.request(graph, "eval", losses=(loss,)))
    (result,) = toy.run(execution, [{"a": [1, 2], "b": [4, 6]}])
    assert result.losses()[0, 0] == 5.0


def test_a_column_that_several_upstreams_have_is_refused():
    graph = two_branches("a", sets=[toy.data(), toy.data(seed=1)])
    loss = mml.AppliedLoss("mse", on="head", inputs=["outputs", "features.x"])
    with pytest.raises(LossError, match="Several upstreams"):
        graph.prepare(toy.request(graph, "eval", losses=(loss,)))


@pytest.mark.parametrize(("strategy", "chosen"), [("first", 0), ("b", 1), ("last", 1)])
def test_tags_are_those_of_the_chosen_upstream(strategy, chosen):
    sets = [toy.data(), toy.data(seed=1)]
    graph = two_branches("a", sets=sets, tags="w", tag_strategy=strategy)
    loss = mml.AppliedLoss("mse", on="head", sample_weight="tags.w")
    execution = graph.prepare(toy.request(graph, "eval", losses=(loss,), record=("head",)))
    rows = {"a": [1, 2, 3], "b": [6, 5, 4]}
    (result,) = toy.run(execution, [rows])
    (one,) = result.outputs[0]
    w = toy.column(sets[chosen], "w")[rows["ab"[chosen]]]
    expected = np.sum(w * np.mean((one.outputs - one.targets) ** 2, axis=1)) / 3
    np.testing.assert_allclose(result.losses()[0, 0], expected, rtol=1e-5)


def test_uuids_follow_the_upstream_that_gives_the_targets():
    rows, others = toy.data(), toy.data(seed=1)
    one = recorded_targets(two_branches("b", sets=[rows, others]), {"a": [5, 1], "b": [2, 3]})
    np.testing.assert_array_equal(one.sample_uuids, others.snapshot().uuids(np.array([2, 3])))


def test_columns_that_only_a_merge_reads_take_the_dtype_of_the_model_below():
    rows = mml.FeatureSet.from_dict(
        "d",
        {"x": np.ones((4, 2)), "u": np.ones((4, 3)), "y": np.ones((4, 1))},
        feature_keys=["x", "u"],
        target_keys="y",
    )
    both = mml.ConcatNode("both", [toy.reference(rows), toy.reference(rows, features="u")])
    graph = mml.ModelGraph([both, toy.dense("head", both)], optimizer="sgd")
    execution = graph.prepare(
        toy.request(graph, losses=(mml.AppliedLoss("mse", on="head"),), record=("both",))
    )
    (result,) = toy.run(execution, [[0, 1]])
    assert result.outputs[0][0].outputs.dtype == np.float32
    assert [one.dtype for one in execution.plan.segments[0].segment.inputs] == ["float32"] * 3


def test_a_wholly_masked_upstream_stops_the_merge_and_all_below():
    rows, others = toy.data(), toy.data(seed=1)
    graph = two_branches("a", sets=[rows, others])
    graph.build(seed=0)
    before = graph.get_state()["nodes"]["head"]["model"]
    losses = (mml.AppliedLoss("mse", on="head"), mml.AppliedLoss("mse", on="a"))
    execution = graph.prepare(toy.request(graph, losses=losses, record=("a", "b", "head")))
    (result,) = toy.run(execution, [{"a": [5, 1], "b": [-1, -1]}])
    assert [one.node for one in result.outputs[0]] == ["a"]
    after = graph.get_state()["nodes"]["head"]["model"]
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    assert {
        name.partition("/")[0] for name, slots in graph.optimizer.get_state().items() if slots["step"]
    } == {"a"}


@pytest.mark.parametrize("upstreams", ["a", 3])
def test_upstreams_are_a_list(upstreams):
    with pytest.raises(GraphError, match="as a list") as caught:
        mml.ConcatNode("both", upstreams)
    assert "node 'both'" in caught.value.where
