"""Which graphs are valid, in which order they run, what shapes they infer, and what comes out of them."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mml
from mml.errors import ConfigError, GraphError, ModelError, PluginError, RegistrationError, ShapeError

from . import toy


def test_a_cycle_is_named_node_by_node():
    rows = toy.data()
    a = toy.dense("a", rows)
    b = toy.dense("b", a)
    c = toy.dense("c", b)
    outside = toy.dense("outside", c)
    a.rewire([c])
    with pytest.raises(GraphError, match="cycle") as caught:
        mml.ModelGraph([a, b, c, outside], label="round")
    found = caught.value.found.split(" -> ")
    assert found[0] == found[-1]
    assert set(found) == {"a", "b", "c"}
    assert "round" in str(caught.value)


def test_a_dangling_reference_names_reader_target_and_near_misses():
    rows = toy.data()
    encoder, other = toy.dense("encoder", rows), toy.dense("encoder2", rows)
    head = toy.dense("head", encoder)
    with pytest.raises(GraphError) as caught:
        mml.ModelGraph([other, head])
    message = str(caught.value)
    assert "'head' reads from 'encoder'" in message
    assert "Did you mean 'encoder2'?" in message


def test_another_node_of_the_same_label_is_not_the_one_that_was_referred_to():
    rows = toy.data()
    head = toy.dense("head", toy.dense("a", rows))
    with mml.ExperimentContext().activate():
        twin = toy.dense("a", toy.reference(rows))
    with pytest.raises(GraphError, match="another node called 'a'"):
        mml.ModelGraph([twin, head])


def test_two_nodes_of_one_label_are_refused():
    rows = toy.data()
    a = toy.dense("a", rows)
    with mml.ExperimentContext().activate():
        twin = toy.dense("a", toy.reference(rows))
    with pytest.raises(GraphError, match="Two nodes of the graph are called 'a'"):
        mml.ModelGraph([a, twin])
    with pytest.raises(RegistrationError):
        toy.dense("a", rows)


def test_a_refused_node_leaves_its_label_free():
    rows = toy.data()
    with pytest.raises(GraphError):
        mml.ConcatNode("a", [rows])
    with pytest.raises(PluginError):
        mml.ModelNode("a", mml.Model("reference/mlp"), rows, optimizer="adamm")
    with pytest.raises(GraphError):
        mml.ModelGraph([], label="a")
    assert toy.dense("a", rows).label == "a"


@pytest.mark.parametrize("label", ["a/b", "", " ", 3, None])
def test_a_label_is_printable_text_without_a_slash(label):
    rows = toy.data()
    with pytest.raises((GraphError, ConfigError), match="label"):
        toy.dense(label, rows)


def test_limits_on_connections():
    rows = toy.data()
    a = toy.dense("a", rows)
    with pytest.raises(GraphError, match="at least 2"):
        mml.ConcatNode("c", [a])
    with pytest.raises(GraphError, match="reads from 1 upstream"):
        a.rewire([rows, rows])
    assert len(a.upstream) == 1
    with pytest.raises(GraphError, match="upstream is another node or a reference"):
        toy.dense("d", 3)
    with pytest.raises(GraphError, match="upstream is another node or a reference"):
        toy.dense("d", [a])


@pytest.mark.parametrize("nodes", [[], [3], ["a"], 3, None])
def test_a_graph_consists_of_nodes(nodes):
    with pytest.raises(GraphError):
        mml.ModelGraph(nodes)


@pytest.mark.parametrize("optimizer", [3, mml.Loss("mse"), object()])
def test_an_optimizer_is_a_name_a_class_or_an_optimizer(optimizer):
    rows = toy.data()
    with pytest.raises(mml.MMLError, match="optimizer"):
        toy.dense("a", rows, optimizer=optimizer)
    with pytest.raises(mml.MMLError, match="optimizer"):
        mml.ModelGraph([toy.dense("a", rows)], optimizer=optimizer)


@settings(max_examples=40)
@given(st.data())
def test_the_order_is_topological_and_complete_whatever_the_order_given(data):
    count = data.draw(st.integers(1, 9))
    with mml.ExperimentContext().activate():
        rows = toy.data(n_rows=3)
        nodes = []
        for number in range(count):
            ups = data.draw(st.lists(st.sampled_from([rows, *nodes]), min_size=1, max_size=3, unique_by=id))
            label = f"n{number}"
            if len(ups) == 1:
                nodes.append(toy.foreign(label, ups[0]))
            else:
                nodes.append(mml.ConcatNode(label, ups))
        graph = mml.ModelGraph(data.draw(st.permutations(nodes)))
        order = list(graph.nodes)
        assert sorted(order) == sorted(node.label for node in nodes)
        for node in nodes:
            for up in node.upstream:
                if isinstance(up, mml.ModelIOReference):
                    assert order.index(up.label) < order.index(node.label)
        read = {one.label for node in nodes for one in node.upstream}
        assert set(graph.tail_nodes) == {node.label for node in nodes} - read
        assert set(graph.head_nodes) == {
            node.label
            for node in nodes
            if any(not isinstance(one, mml.ModelIOReference) for one in node.upstream)
        }


def test_nodes_know_who_reads_from_them():
    rows = toy.data()
    a = toy.dense("a", rows)
    b, c = toy.dense("b", a), toy.dense("c", a)
    graph = mml.ModelGraph([c, b, a])
    assert [one.label for one in a.downstream] == ["c", "b"] or [one.label for one in a.downstream] == [
        "b",
        "c",
    ]
    assert b.downstream == c.downstream == ()
    assert "a" in graph
    assert graph["a"] is a
    with pytest.raises(GraphError, match="has no node 'aa'") as caught:
        graph["aa"]
    assert "'a'" in str(caught.value)


# --- building --------------------------------------------------------------------------------------------


def test_shapes_are_inferred_without_data_and_initial_values_depend_on_seed_and_label_alone():
    rows = toy.data()
    a = toy.dense("a", rows.reference(features="x"), 4, hidden=[5])
    b = toy.dense("b", rows.reference(features="u"), 2)
    both = mml.ConcatNode("both", [a, b])
    graph = mml.ModelGraph([toy.dense("head", both), both, b, a])
    assert not graph.is_built
    assert graph.build(seed=7) is graph
    assert graph.is_built
    assert both.output_shape == (6,)
    assert graph["head"].input_shape == (6,)
    with toy.fresh(rows):
        alone = mml.ModelGraph([toy.dense("a", rows.reference(features="x"), 4, hidden=[5])]).build(seed=7)
    with toy.fresh(rows):
        other = mml.ModelGraph([toy.dense("z", rows.reference(features="x"), 4, hidden=[5])]).build(seed=7)
    mine, same, renamed = toy.values(graph, "a"), toy.values(alone, "a"), toy.values(other, "z")
    assert all(mine[name].tobytes() == same[name].tobytes() for name in mine)
    assert any(not np.array_equal(mine[name], renamed[name]) for name in mine)


def test_building_again_changes_nothing():
    rows = toy.data()
    graph = mml.ModelGraph([toy.dense("a", rows.reference(features="x"))]).build(seed=1)
    before = toy.values(graph, "a")
    graph.build(seed=2)
    after = toy.values(graph, "a")
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    graph.reset(seed=2)
    assert any(not np.array_equal(before[name], toy.values(graph, "a")[name]) for name in before)
    graph.reset(seed=1)
    assert all(before[name].tobytes() == toy.values(graph, "a")[name].tobytes() for name in before)


def test_shapes_that_do_not_fit_name_both_nodes():
    rows = toy.data()
    a = toy.foreign("a", rows.reference(features="x"))
    head = toy.dense("head", a, input_shape=7)
    with pytest.raises(ShapeError) as caught:
        mml.ModelGraph([a, head]).build()
    assert "'head'" in str(caught.value)
    assert "'a'" in str(caught.value)


def test_a_model_built_for_another_width_names_both():
    rows = toy.data()
    node = toy.dense("node", rows.reference(features="x"))
    mml.ModelGraph([node]).build()
    node.rewire([rows.reference(features="u")])
    with pytest.raises(ShapeError, match="built for another input") as caught:
        mml.ModelGraph([node], label="other").build()
    assert "'node'" in str(caught.value)
    assert repr(rows.label) in str(caught.value)


def test_a_featureset_that_does_not_exist_yet_is_named_until_it_does():
    toy.data(label="lader")
    here = toy.dense("here", mml.FeatureSetReference("lader", features="x", targets="y"))
    a = toy.dense("a", mml.FeatureSetReference("later", features="x", targets="y"))
    b = toy.dense("b", mml.FeatureSetReference("latest", features="u", targets="y"))
    graph = mml.ModelGraph([here, a, b], label="early")
    for missing, expected in (
        ("later", "'a' reads 'later'; 'b' reads 'latest'"),
        ("latest", "'b' reads 'latest'"),
    ):
        with pytest.raises(
            RegistrationError, match=f"The FeatureSet '{missing}' does not exist yet"
        ) as caught:
            graph.build()
        assert caught.value.found == expected
        assert "graph 'early'" in str(caught.value)
        assert f"node '{expected[1]}'" in str(caught.value)
        assert "Did you mean 'la" in caught.value.hint
        assert not any(node.is_built for node in graph.nodes.values())
        toy.data(label=missing)
    assert graph.build().is_built


@pytest.mark.parametrize(
    ("features", "shape"), [("x", (3,)), (["x", "x2"], (2, 3)), ("s", (1,)), (["s", "t"], (2,))]
)
def test_columns_become_one_input(features, shape):
    x = np.zeros((4, 3), np.float32)
    rows = mml.FeatureSet.from_dict(
        "d", {"x": x, "x2": x, "s": x[:, 0], "t": x[:, 1]}, feature_keys=["x", "x2", "s", "t"]
    )
    graph = mml.ModelGraph([toy.dense("a", rows.reference(features=features))]).build()
    assert graph["a"].input_shape == shape


def test_columns_of_different_shapes_need_a_choice():
    rows = toy.data()
    graph = mml.ModelGraph([toy.dense("a", rows.reference(features=["x", "u"]))])
    with pytest.raises(ShapeError) as caught:
        graph.build()
    assert "combine" in str(caught.value)
    assert "'a'" in str(caught.value)
    assert graph.plan is not None


def test_an_unknown_model_or_argument_lists_near_misses_and_names_the_node():
    rows = toy.data()
    wrong = mml.ModelGraph([mml.ModelNode("a", mml.Model("reference/mlpp"), toy.reference(rows))])
    with pytest.raises(PluginError, match="Did you mean 'reference/mlp'") as caught:
        wrong.build()
    assert "'a'" in str(caught.value)
    node = mml.ModelNode("c", mml.Model("reference/mlp", hiden=[3]), toy.reference(rows))
    with pytest.raises(ModelError, match="hiden") as caught:
        mml.ModelGraph([node], label="other").build()
    assert "'hidden'" in str(caught.value)
    assert "'c'" in str(caught.value)


METADATA = """Metadata-Version: 2.1
Name: mml
Version: 9.9
Provides-Extra: alpha
Requires-Dist: mml-alpha; extra == "alpha"
"""
MISSING = """
import mml, numpy as np
rows = mml.FeatureSet.from_dict("rows", {"x": np.ones((3, 2))}, feature_keys="x")
graph = mml.ModelGraph([mml.ModelNode("encoder", mml.Model("alpha/mlp"), rows)])
try:
    graph.build()
except mml.errors.PluginError as error:
    print(error)
"""


def test_a_node_whose_plugin_is_not_installed_says_what_to_install(tmp_path):
    info = tmp_path / "mml-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(METADATA, encoding="utf-8")
    source = str(Path(mml.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), source])}
    done = subprocess.run(
        [sys.executable, "-c", MISSING], env=environment, capture_output=True, text=True, check=True
    )
    assert 'pip install "mml[alpha]"' in done.stdout
    assert "node 'encoder'" in done.stdout


# --- forward ---------------------------------------------------------------------------------------------


def test_forward_is_numpys_own():
    rows = toy.data()
    a = toy.dense("a", rows.reference(features="x"), 4, hidden=[5])
    b = toy.foreign("b", rows.reference(features="u"), np.exp)
    both = mml.ConcatNode("both", [b, a])
    graph = mml.ModelGraph([a, b, both, toy.dense("head", both)]).build(seed=3)
    rng = np.random.default_rng(0)
    x, u = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    p, q = toy.values(graph, "a"), toy.values(graph, "head")
    hidden = np.maximum(x @ p["layers.0.weight"] + p["layers.0.bias"], 0)
    out = hidden @ p["layers.1.weight"] + p["layers.1.bias"]
    joined = np.concatenate([np.exp(u), out], axis=1)
    expected = joined @ q["layers.0.weight"] + q["layers.0.bias"]

    found = graph.forward({"a": x, "b": u})

    assert list(found) == list(graph.nodes)
    np.testing.assert_allclose(found["both"], joined, rtol=1e-5)
    np.testing.assert_allclose(found["head"], expected, rtol=1e-4)
    assert list(graph.forward({"b": u}, active_nodes=["b"])) == ["b"]
    assert list(graph.forward({"b": u}, active_nodes="b")) == ["b"]
    assert list(graph.forward({"b": u}, active_nodes=b)) == ["b"]
    assert list(graph.forward({"a": x, "b": u}, active_nodes=["both", b])) == ["both", "b"]
    assert list(graph.forward({"a": x, "b": u}, active_nodes=["head"])) == ["head"]


def test_a_lone_array_goes_into_a_lone_head():
    rows = toy.data()
    graph = mml.ModelGraph([toy.foreign("a", rows.reference(features="x"))]).build()
    x = np.ones((2, 3))
    np.testing.assert_array_equal(graph.forward(x)["a"], np.tanh(x))
    two = mml.ModelGraph(
        [toy.foreign("b", rows.reference(features="x")), toy.foreign("c", rows.reference(features="x"))],
        label="two",
    ).build()
    with pytest.raises(GraphError, match="several heads"):
        two.forward(x)


@pytest.mark.parametrize(
    ("inputs", "match"),
    [
        ({}, "got none"),
        ({"a": np.zeros((4, 2))}, "shape"),
        ({"a": np.zeros(3)}, "shape"),
        ({"a": np.zeros((4, 3)), "typo": np.zeros(3)}, "typo"),
        ({"a": np.zeros((4, 3)), "b": np.zeros((5, 3))}, "rows"),
        ({"a": np.array([["x"] * 3]), "b": np.zeros((1, 3))}, "number"),
    ],
)
def test_bad_inputs_to_forward_are_refused_by_name(inputs, match):
    rows = toy.data()
    a, b = toy.dense("a", rows.reference(features="x"), 2), toy.dense("b", rows.reference(features="x"), 2)
    both = mml.ConcatNode("both", [a, b])
    graph = mml.ModelGraph([a, b, both]).build()
    with pytest.raises(GraphError, match=match):
        graph.forward({"b": np.zeros((4, 3)), **inputs})


def test_forward_of_an_unknown_or_unbuilt_node_is_refused():
    rows = toy.data()
    graph = mml.ModelGraph([toy.dense("alpha", rows.reference(features="x"))])
    with pytest.raises(GraphError, match="'alpha'"):
        graph.forward(np.zeros((2, 3)), active_nodes=["alfa"])
    with pytest.raises(ModelError, match=r"graph.build\(\)"):
        graph.forward(np.zeros((2, 3)))


def test_freezing_is_told_by_node():
    rows = toy.data()
    a = toy.dense("a", rows.reference(features="x"))
    both = mml.ConcatNode("both", [a, rows.reference(features="u")])
    graph = mml.ModelGraph([a, both, toy.dense("head", both)])
    graph.freeze(["a"])
    assert [node.is_frozen for node in graph.nodes.values()] == [True, False, False]
    graph.build()
    assert a.model.is_frozen
    graph.freeze()
    assert graph["head"].is_frozen
    graph.unfreeze()
    assert not any(node.is_frozen for node in graph.nodes.values())
    assert not a.model.is_frozen
    graph.freeze("head")
    assert [node.is_frozen for node in graph.nodes.values()] == [False, False, True]
    graph.unfreeze(graph["head"])
    graph.freeze([a])
    assert [node.is_frozen for node in graph.nodes.values()] == [True, False, False]
    with pytest.raises(GraphError, match="no node 'heads'"):
        graph.freeze(["heads"])
    for wrong in (3, [3]):
        with pytest.raises(GraphError, match="by label") as caught:
            graph.freeze(wrong)
        assert caught.value.found == repr(wrong)


@pytest.mark.parametrize("wrong", [3, "x", [[1.0, 2.0, 3.0]]])
def test_inputs_that_are_no_arrays_are_refused(wrong):
    graph = mml.ModelGraph([toy.dense("head", toy.data().reference(features="x"))]).build()
    with pytest.raises(GraphError, match="runs forward on arrays") as caught:
        graph.forward(wrong)
    assert type(wrong).__name__ in caught.value.found


def test_the_summary_shows_every_node():
    rows = toy.data()
    a = toy.dense("a", rows.reference(features="x"), 4)
    graph = mml.ModelGraph([a, toy.dense("head", a)], optimizer="adam").build()
    graph.freeze(["a"])
    text = graph.summary()
    line = {part.split()[0]: part for part in text.splitlines() if part.strip()}
    assert "(4,)" in line["a"]
    assert "16" in line["a"]
    assert line["a"].rstrip().endswith("yes")
    assert line["head"].rstrip().endswith("no")
    assert "21 parameters" in text


def test_building_a_function_that_warns_at_zero_is_silent():
    rows = toy.data()
    graph = mml.ModelGraph([toy.foreign("a", rows.reference(features="x"), np.log)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph.build()
    assert graph["a"].output_shape == (3,)
