"""Merges of equal shapes: what they compute, that gradients pass through them, and what they refuse."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mml
from mml.errors import GraphError, ShapeError
from mml.graph.nodes.registry import node_from_config

from . import toy

SUM, MEAN, STACK = mml.SumNode, mml.MeanNode, mml.StackNode
ALL = [SUM, MEAN, STACK]


def source(*shapes, n_rows=4, dtype=np.float32):
    rng = np.random.default_rng(0)
    columns = {
        f"c{number}": (10 * rng.normal(size=(n_rows, *shape))).astype(dtype)
        for number, shape in enumerate(shapes)
    }
    return mml.FeatureSet.from_dict("shapes", columns, feature_keys=list(columns))


def merged(kind, shapes, *, dtype=np.float32, **settings):
    """Return the node, what forward gives, and the arrays that went in."""
    rows = source(*shapes, dtype=dtype)
    node = kind("both", [rows.reference(features=f"c{number}") for number in range(len(shapes))], **settings)
    graph = mml.ModelGraph([node]).build()
    arrays = [rows.get_features(f"c{number}", fmt="numpy") for number in range(len(shapes))]
    inputs = {f"both[{number}]": array for number, array in enumerate(arrays)}
    return node, graph.forward(inputs)["both"], arrays


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 1, 4)])
@pytest.mark.parametrize(
    ("kind", "numpys"), [(SUM, np.sum), (MEAN, np.mean), (STACK, lambda a, axis: np.stack(a, axis=1))]
)
def test_it_is_numpys_and_the_shape_was_known_before(kind, numpys, shape):
    node, found, arrays = merged(kind, [shape] * 3)
    expected = numpys(np.stack(arrays).astype(np.float64), axis=0)
    assert node.output_shape == found.shape[1:] == expected.shape[1:]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=4e-6)
    assert found.dtype == np.float32


@pytest.mark.parametrize("axis", [1, 2, 3, -1, -2, -3])
def test_the_new_axis_stands_where_it_is_asked_for(axis):
    node, found, arrays = merged(STACK, [(2, 5), (2, 5)], axis=axis)
    expected = np.stack(arrays, axis=axis)
    assert node.output_shape == expected.shape[1:]
    np.testing.assert_array_equal(found, expected)


@settings(max_examples=40)
@given(
    kind=st.sampled_from(ALL),
    shapes=st.lists(st.tuples(st.integers(1, 4), st.integers(1, 4)), min_size=2, max_size=3),
    mode=st.sampled_from(["constant", "edge"]),
)
def test_padding_fills_the_end_of_every_axis(kind, shapes, mode):
    with mml.ExperimentContext().activate():
        node, found, arrays = merged(kind, shapes, pad_inputs=True, pad_mode=mode, pad_value=2.5)
    largest = np.max(shapes, axis=0)
    padded = []
    for array in arrays:
        widths = [(0, 0), *((0, most - size) for most, size in zip(largest, array.shape[1:], strict=True))]
        filling = {"constant_values": 2.5} if mode == "constant" else {}
        padded.append(np.pad(array.astype(np.float64), widths, mode=mode, **filling))
    expected = {
        SUM: lambda: sum(padded),
        MEAN: lambda: sum(padded) / len(padded),
        STACK: lambda: np.stack(padded, axis=1),
    }[kind]()
    assert node.output_shape == found.shape[1:] == expected.shape[1:]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(
    ("shapes", "settings", "match"),
    [
        ([(3,), (2,)], {}, "pad_inputs=True"),
        ([(1,), (3,)], {}, "pad_inputs=True"),
        ([(3,), (3, 1)], {}, "reshapes"),
        ([(3,), (3, 1)], {"pad_inputs": True}, "reshapes"),
        ([(5,), (2,)], {"pad_inputs": True, "pad_mode": "reflect"}, "'edge'"),
    ],
)
def test_shapes_that_do_not_fit_are_refused_at_build_with_the_mend(kind, shapes, settings, match):
    with pytest.raises(ShapeError) as caught:
        merged(kind, shapes, **settings)
    message = str(caught.value)
    assert "node 'both'" in message
    assert "graph 'model-graph'" in message
    assert all(str(shape) in message for shape in shapes)
    assert match in caught.value.hint


@pytest.mark.parametrize("axis", [4, -4, 9])
def test_an_axis_beyond_the_result_is_refused(axis):
    with pytest.raises(ShapeError, match="no place") as caught:
        merged(STACK, [(2, 3), (2, 3)], axis=axis)
    assert caught.value.expected == "an axis from 1 to 3, or from -1 to -3"


@pytest.mark.parametrize(
    "settings",
    [
        {"axis": 0},
        {"axis": "last"},
        {"axis": True},
        {"pad_inputs": "yes"},
        {"pad_mode": "wrap"},
        {"pad_value": "x"},
        {"targets": "nobody"},
        {"targets": 0},
        {"tags": None},
    ],
)
def test_bad_settings_are_refused_at_once(settings):
    rows = toy.data()
    branches = [toy.dense("a", rows), toy.dense("b", rows)]
    for kind in [STACK] if "axis" in settings else ALL:
        with pytest.raises(GraphError) as caught:
            kind("both", branches, **settings)
        assert "'both'" in str(caught.value)
    assert STACK("both", branches).axis == 1, "the refused nodes left the label free"


def test_integers_are_added_whole_and_averaged_in_fractions():
    with mml.ExperimentContext().activate():
        _, found, (one, other) = merged(SUM, [(3,), (3,)], dtype=np.int32)
    assert found.dtype.kind == "i"
    np.testing.assert_array_equal(found, one + other)
    with mml.ExperimentContext().activate():
        _, found, (one, other) = merged(MEAN, [(3,), (3,)], dtype=np.int32)
    np.testing.assert_array_equal(found, (one + other) / 2)


@pytest.mark.parametrize("kind", [SUM, MEAN])
def test_truth_values_are_not_added(kind):
    with pytest.raises(GraphError, match="Truth values") as caught:
        merged(kind, [(3,), (3,)], dtype=bool)
    assert "'both'" in str(caught.value)
    assert "integers" in caught.value.hint


# --- gradients -------------------------------------------------------------------------------------------


def joined(kind, arrays):
    """The merge in float64."""
    if kind is STACK:
        return np.stack(arrays, axis=1)
    return sum(arrays) / (len(arrays) if kind is MEAN else 1)


def loss_of(kind, values, x, y):
    """The squared error of two dense branches, merged, and a dense head, in float64."""
    branches = [x @ values[f"{b}/layers.0.weight"] + values[f"{b}/layers.0.bias"] for b in ("a", "b")]
    flat = joined(kind, branches).reshape(len(x), -1)
    return np.mean((flat @ values["head/layers.0.weight"] + values["head/layers.0.bias"] - y) ** 2)


def all_values(graph):
    return {
        f"{label}/{name}": value.astype(np.float64)
        for label in ("a", "b", "head")
        for name, value in toy.values(graph, label).items()
    }


@pytest.mark.parametrize("kind", ALL)
def test_gradients_pass_through_it_as_finite_differences_say(kind):
    rows, batch, rate, tiny = toy.data(), [3, 8, 1, 12, 20], 0.1, 1e-5
    a, b = toy.dense("a", toy.reference(rows), 2), toy.dense("b", toy.reference(rows), 2)
    both = kind("both", [a, b])
    graph = mml.ModelGraph([a, b, both, toy.dense("head", both)], optimizer=mml.Optimizer("sgd", lr=rate))
    execution = graph.prepare(toy.request(graph, losses=(mml.AppliedLoss("mse", on="head"),)))
    before, x, y = all_values(graph), toy.column(rows, "x")[batch], toy.column(rows, "y")[batch]
    slopes = {name: np.zeros_like(value) for name, value in before.items()}
    for name, value in before.items():
        for place in np.ndindex(value.shape):
            kept = value[place]
            value[place] = kept + tiny
            up = loss_of(kind, before, x, y)
            value[place] = kept - tiny
            slopes[name][place] = (up - loss_of(kind, before, x, y)) / (2 * tiny)
            value[place] = kept

    (result,) = toy.run(execution, [batch])

    np.testing.assert_allclose(result.losses()[0, 0], loss_of(kind, before, x, y), rtol=1e-5)
    for name, value in all_values(graph).items():
        np.testing.assert_allclose(value, before[name] - rate * slopes[name], atol=2e-6, err_msg=name)
    assert any(np.abs(slopes[f"a/{part}"]).max() > 1e-3 for part in ("layers.0.weight", "layers.0.bias"))


# --- targets and tags ------------------------------------------------------------------------------------


def branches(kind, rows, **settings):
    a = toy.dense("a", toy.reference(rows, targets="y"))
    b = toy.dense("b", toy.reference(rows, features="u", targets="z"))
    both = kind("both", [a, b], **settings)
    return mml.ModelGraph([a, b, both])


def recorded_targets(graph, rows):
    execution = graph.prepare(toy.request(graph, "eval", record=("both",)))
    (result,) = toy.run(execution, [rows])
    return result.outputs[0][0].targets


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize(("strategy", "key"), [("a", "y"), ("b", "z"), ("last", "z")])
def test_one_upstream_gives_the_targets(kind, strategy, key):
    rows = toy.data()
    found = recorded_targets(branches(kind, rows, targets=strategy), [5, 1])
    np.testing.assert_array_equal(found, toy.column(rows, key)[[5, 1]].astype(np.float32))


@pytest.mark.parametrize("kind", ALL)
def test_targets_are_joined_along_an_axis(kind):
    rows = toy.data()
    found = recorded_targets(branches(kind, rows, targets=-1), [5, 1])
    expected = np.concatenate([toy.column(rows, "y"), toy.column(rows, "z")], axis=1)[[5, 1]]
    np.testing.assert_array_equal(found, expected.astype(np.float32))


@pytest.mark.parametrize("kind", ALL)
def test_dropping_targets_unasked_is_refused_in_the_words_of_the_node(kind):
    graph = branches(kind, toy.data())
    with pytest.raises(GraphError, match="different targets") as caught:
        graph.prepare(toy.request(graph, "eval", record=("both",)))
    assert " targets='a'" in str(caught.value)


# --- configurations --------------------------------------------------------------------------------------

padding = st.fixed_dictionaries(
    {},
    optional={
        "targets": st.sampled_from(["first", "last", "mean", "a", -1, 2]),
        "tags": st.sampled_from(["first", "b", 1]),
        "pad_inputs": st.booleans(),
        "pad_mode": st.sampled_from(["constant", "edge", "reflect"]),
        "pad_value": st.floats(-9, 9),
    },
)


@settings(max_examples=60)
@given(kind=st.sampled_from(ALL), settings=padding, axis=st.sampled_from([-2, -1, 1, 2]))
def test_it_builds_again_equal_by_its_kind(kind, settings, axis):
    settings = {**settings, "axis": axis} if kind is STACK else settings
    rows = mml.FeatureSetReference("rows")
    with mml.ExperimentContext().activate():
        node = kind("both", [toy.dense("a", rows), toy.dense("b", rows)], **settings)
    config = json.loads(json.dumps(node.get_config()))
    with mml.ExperimentContext().activate():
        again = node_from_config(config)
    assert type(again) is kind
    assert again == node
    for name, value in settings.items():
        assert getattr(again, name) == value


@pytest.mark.parametrize(("name", "kind"), [("sum", SUM), ("mean", MEAN), ("stack", STACK)])
def test_it_is_registered_with_a_line_of_help(name, kind):
    component = mml.registry("merge_nodes").resolve(name)
    assert component.qualified == f"mml/{name}"
    assert component.load() is kind
    assert component.help.endswith(".")
