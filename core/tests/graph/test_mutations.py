"""Changing the nodes of a graph: each change leaves a valid graph, or the graph exactly as it was."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mml
from mml.errors import GraphError, MMLError, RegistrationError, ShapeError
from mml.files import state_digest
from mml.graph.execution import signature
from mml_conformance.reference import Mlp

from . import toy
from .second_backend import second_backend


def chain(rows, *, optimizer="sgd", build=True):
    """a (3 -> 4), b (4 -> 4), c (4 -> 1), one behind the other."""
    a = toy.dense("a", toy.reference(rows), 4)
    b = toy.dense("b", a, 4)
    graph = mml.ModelGraph([a, b, toy.dense("c", b)], optimizer=optimizer)
    return graph.build(seed=5) if build else graph


def edges(graph):
    return {(one.label, label) for label, node in graph.nodes.items() for one in node.upstream}


def train(graph, on="c", batches=([0, 1, 2], [3, 4])):
    execution = graph.prepare(toy.request(graph, losses=(mml.AppliedLoss("mse", on=on),)))
    return toy.losses_of(toy.run(execution, batches))


# --- what each one does ----------------------------------------------------------------------------------


def test_a_node_is_added_built_and_trained():
    rows = toy.data()
    graph = chain(rows)
    head = toy.dense("head", graph["a"], 2)
    assert graph.add_node(head) is graph
    assert list(graph.nodes) == ["a", "b", "head", "c"]
    assert graph.tail_nodes == ("head", "c")
    assert head.is_built
    assert head.input_shape == (4,)
    assert "head" in [one.label for one in graph["a"].downstream]
    with toy.fresh(rows):
        alone = mml.ModelGraph([toy.dense("a", toy.reference(rows), 4)], label="other")
        twin = toy.dense("head", alone["a"], 2)
        fresh = mml.ModelGraph([alone["a"], twin], label="another").build(seed=5)
    mine, theirs = toy.values(graph, "head"), toy.values(fresh, "head")
    assert all(mine[name].tobytes() == theirs[name].tobytes() for name in mine), "its stream is its label's"


def test_a_removed_nodes_readers_read_what_it_read():
    rows = toy.data()
    graph = chain(rows)
    d = toy.dense("d", graph["b"], 2)
    graph.add_node(d).remove_node("b")
    assert edges(graph) == {(rows.label, "a"), ("a", "c"), ("a", "d")}
    assert "b" not in graph
    assert [one.label for one in graph["a"].downstream] == ["c", "d"]
    assert graph.forward(np.ones((2, 3)))["c"].shape == (2, 1)


def test_the_readers_of_a_removed_head_read_its_data():
    rows = toy.data()
    a = toy.foreign("a", toy.reference(rows))
    b = toy.dense("b", a)
    graph = mml.ModelGraph([a, b]).build()
    graph.remove_node(a)
    assert graph.head_nodes == ("b",)
    assert graph["b"].upstream == (toy.reference(rows),)


def test_a_merge_goes_into_the_merge_that_reads_it():
    rows = toy.data()
    a, b, c = (toy.dense(label, toy.reference(rows), 2) for label in "abc")
    inner = mml.SumNode("inner", [a, b])
    outer = mml.SumNode("outer", [inner, c], targets="c")
    graph = mml.ModelGraph([a, b, c, inner, outer]).build()
    graph.remove_node("inner")
    assert [one.label for one in outer.upstream] == ["a", "b", "c"]
    assert outer.targets == "c"


def test_a_name_that_a_merge_goes_by_follows():
    rows = toy.data()
    graph = chain(rows)
    other = toy.dense("other", toy.reference(rows, targets="z"), 4)
    both = mml.SumNode("both", [graph["b"], other], targets="b", tags="other")
    graph.add_node(other).add_node(both)
    graph.remove_node("b")
    assert (both.targets, both.tags) == ("a", "other")
    graph.insert_node_between(toy.dense("wide", graph["a"], 4), "a", both)
    assert (both.targets, both.tags) == ("wide", "other")
    with toy.fresh(rows):
        assert mml.ModelGraph.from_config(graph.get_config()) == graph


def test_a_replaced_nodes_readers_read_the_new_one_wherever_that_was_wired():
    rows = toy.data()
    graph = chain(rows)
    new = toy.dense("new", toy.reference(rows), 4)
    graph.replace_node("b", new)
    assert edges(graph) == {(rows.label, "a"), ("a", "new"), ("new", "c")}
    assert new.input_shape == (4,)
    assert train(graph).shape == (2, 1)


def test_a_node_of_the_same_label_takes_the_place_and_the_label():
    rows = toy.data()
    graph = chain(rows)
    train(graph)
    old = graph["c"]
    with toy.fresh(rows):
        new = toy.dense("c", toy.reference(rows))
    graph.replace_node("c", new)
    assert graph["c"] is new
    assert graph["c"] is not old
    context = mml.ExperimentContext.active()
    assert context.get("c") is new
    assert context.find(old.uuid) is None
    assert not [name for name in graph.optimizer.get_state() if name.startswith("c/")]


def test_a_merge_replaces_with_the_wiring_it_was_made_with():
    rows = toy.data()
    graph = chain(rows)
    both = mml.SumNode("both", [graph["a"], toy.dense("other", graph["a"], 4)])
    graph.add_node(mml.ExperimentContext.active().get("other"))
    graph.replace_node("b", both)
    assert edges(graph) == {
        (rows.label, "a"),
        ("a", "other"),
        ("a", "both"),
        ("other", "both"),
        ("both", "c"),
    }
    with pytest.raises(GraphError, match="'lone' reads one upstream") as caught:
        graph.replace_node("both", toy.dense("lone", graph["a"], 4))
    assert "'a', 'other'" in caught.value.found


def test_a_node_is_put_between_before_and_after():
    rows = toy.data()
    graph = chain(rows)
    anywhere = toy.reference(rows)
    graph.insert_node_between(toy.dense("ab", anywhere, 4), "a", "b")
    graph.insert_node_before(toy.dense("xa", anywhere, 3), downstream="a")
    graph.add_node(toy.dense("d", graph["b"], 1))
    graph.insert_node_after(toy.dense("bb", anywhere, 4), upstream=graph["b"])
    graph.insert_node_after(toy.dense("e", anywhere, 2), "d")
    assert edges(graph) == {
        (rows.label, "xa"),
        ("xa", "a"),
        ("a", "ab"),
        ("ab", "b"),
        ("b", "bb"),
        ("bb", "c"),
        ("bb", "d"),
        ("d", "e"),
    }
    assert graph.is_built
    assert graph.forward(np.ones((2, 3)))["e"].shape == (2, 2)


def test_a_node_goes_between_data_and_the_merge_that_reads_it():
    rows = toy.data()
    first, second = toy.reference(rows), toy.reference(rows, features="u")
    both = mml.ConcatNode("both", [first, second])
    graph = mml.ModelGraph([both, toy.dense("head", both)]).build()
    with pytest.raises(GraphError, match="several times"):
        graph.insert_node_between(toy.dense("u", first, 2), rows, "both")
    graph.insert_node_between(toy.dense("v", first, 2), second, "both")
    assert [one.label for one in both.upstream] == [rows.label, "v"]
    assert graph["v"].input_shape == (2,)


def test_a_merge_is_put_where_it_reads_and_keeps_its_other_upstreams():
    rows = toy.data()
    graph = chain(rows)
    skip = mml.SumNode("skip", [graph["b"], graph["a"]])
    graph.insert_node_between(skip, "b", "c")
    assert edges(graph) == {(rows.label, "a"), ("a", "b"), ("b", "skip"), ("a", "skip"), ("skip", "c")}
    stray = mml.SumNode("stray", [graph["a"], graph["skip"]])
    with pytest.raises(GraphError, match="none of them is the place") as caught:
        graph.insert_node_after(stray, "c")
    assert caught.value.found == "'a', 'skip'"


# --- what is refused -------------------------------------------------------------------------------------


def whole(graph):
    """Everything that a refused change must leave as it was."""
    context = mml.ExperimentContext.active()
    return (
        json.dumps(graph.get_config()),
        state_digest(graph.get_state()),
        list(graph.nodes.values()),
        [(node.upstream, node.downstream, node.is_built, node.output_shape) for node in graph.nodes.values()],
        [one.uuid for one in context.nodes()],
        list(graph._programs),
    )


REFUSED = [
    (lambda g, rows: g.add_node(toy.dense("d", mml.ModelIOReference("z", "0" * 32))), "not in the graph"),
    (lambda g, rows: g.add_node(g["a"]), "already"),
    (lambda g, rows: g.add_node("a"), "compute nodes"),
    (lambda g, rows: g.add_node(None), "compute nodes"),
    (lambda g, rows: g.remove_node("bb"), "Did you mean 'b'"),
    (lambda g, rows: g.remove_node(3), "no node 3"),
    (lambda g, rows: g.replace_node("b", g["b"]), "itself"),
    (lambda g, rows: g.replace_node("b", g["c"]), "already"),
    (lambda g, rows: g.replace_node("x", toy.dense("d", rows)), "no node 'x'"),
    (lambda g, rows: g.insert_node_between(toy.dense("d", rows), "a", "c"), "does not read 'a'"),
    (lambda g, rows: g.insert_node_between(toy.dense("d", rows), "a", "a"), "does not read 'a'"),
    (lambda g, rows: g.insert_node_after(toy.dense("d", rows), "cc"), "no node 'cc'"),
    (lambda g, rows: g.insert_node_after(mml.SumNode("d", [g["c"], rows]), "a"), "none of them"),
    (lambda g, rows: g.insert_node_after(mml.SumNode("d", [g["a"], g["c"]]), "a"), "cycle"),
    (lambda g, rows: g.insert_node_between(toy.dense("d", rows, 7), "a", "b"), "built for another input"),
    (lambda g, rows: g.replace_node("a", toy.dense("d", rows, 7)), "built for another input"),
    (lambda g, rows: g.insert_node_after(toy.dense("d", rows, 4, hiden=[1]), "a"), "hidden"),
    (lambda g, rows: g.insert_node_after(toy.dense("d", rows, 4, input_shape=9), "a"), "shape"),
    (lambda g, rows: g.insert_node_before(toy.dense("d", rows, 3), ["a"]), "no node"),
]


@pytest.mark.parametrize(("change", "match"), REFUSED, ids=range(len(REFUSED)))
def test_a_refused_change_names_graph_and_reason_and_changes_nothing(change, match):
    rows = toy.data()
    graph = chain(rows)
    train(graph)
    context = mml.ExperimentContext.active()
    before = whole(graph)
    before_labels = set(context.labels())
    with pytest.raises(MMLError) as caught:
        change(graph, toy.reference(rows))
    assert match in str(caught.value)
    assert "graph 'model-graph'" in str(caught.value)
    for label in set(context.labels()) - before_labels:
        context.remove(label)  # the node that was made for the change
    assert whole(graph) == before
    assert train(graph).shape == (2, 1)


def test_removing_says_why_where_readers_cannot_be_re_routed():
    rows = toy.data()
    a, b = toy.dense("a", toy.reference(rows), 2), toy.dense("b", toy.reference(rows), 2)
    both = mml.SumNode("both", [a, b])
    head = toy.dense("head", both)
    graph = mml.ModelGraph([a, b, both, head]).build()
    with pytest.raises(GraphError, match="'both' cannot be removed, because 'head' reads it") as caught:
        graph.remove_node("both")
    assert "'a', 'b'" in caught.value.what
    assert caught.value.expected == "1 upstream of 'head'"
    skip = mml.SumNode("skip", [both, a], targets="both")
    graph.add_node(skip)
    graph.remove_node("head")
    with pytest.raises(GraphError, match="cannot be removed") as caught:
        graph.remove_node("both")
    assert caught.value.found == "'skip' would read the same twice"
    outer = mml.SumNode("outer", [both, toy.dense("c", toy.reference(rows), 2)], targets="both")
    graph.remove_node("skip").add_node(mml.ExperimentContext.active().get("c")).add_node(outer)
    with pytest.raises(GraphError, match="cannot be removed") as caught:
        graph.remove_node("both")
    assert "carries on targets or tags of 'both'" in caught.value.found


def test_the_last_node_stays():
    graph = mml.ModelGraph([toy.dense("a", toy.data())])
    with pytest.raises(GraphError, match="last node"):
        graph.remove_node("a")


def test_before_a_merge_the_branch_has_to_be_named():
    rows = toy.data()
    graph = chain(rows)
    both = mml.SumNode("both", [graph["a"], graph["b"]])
    graph.add_node(both)
    with pytest.raises(GraphError, match="several upstreams") as caught:
        graph.insert_node_before(toy.dense("d", toy.reference(rows), 4), "both")
    assert "insert_node_between" in caught.value.hint
    graph.insert_node_between(toy.dense("d2", toy.reference(rows), 4), "a", "both")
    assert [one.label for one in both.upstream] == ["d2", "b"]


def test_another_node_of_a_known_label_is_not_taken_for_it():
    rows = toy.data()
    graph = chain(rows)
    with toy.fresh(rows):
        twin = toy.dense("a", toy.reference(rows), 4)
    with pytest.raises(GraphError, match="another node"):
        graph.remove_node(twin)
    with pytest.raises(GraphError, match="another node called 'a'") as caught:
        graph.add_node(twin)
    assert "replace_node" in caught.value.hint


def test_a_label_that_the_graphs_context_has_is_refused_and_nothing_changes():
    rows = toy.data()
    graph = chain(rows)
    before = whole(graph)
    with mml.ExperimentContext().activate():
        namesake = toy.dense(rows.label, toy.reference(rows))
    with pytest.raises(RegistrationError, match="already taken"):
        graph.add_node(namesake)
    assert whole(graph) == before
    with pytest.raises(RegistrationError, match="already taken"):
        graph.replace_node("c", namesake)
    assert whole(graph) == before


# --- widths ----------------------------------------------------------------------------------------------


def test_a_model_that_gets_another_width_is_refused_or_made_anew_where_that_is_allowed():
    rows = toy.data()
    graph = chain(rows)
    train(graph)
    before, kept = whole(graph), toy.values(graph, "a")
    wide = toy.dense("wide", toy.reference(rows), 7)
    mml.ExperimentContext.active().remove("wide")
    with pytest.raises(ShapeError, match="built for another input") as caught:
        graph.insert_node_after(wide, "a")
    assert "node 'b'" in str(caught.value)
    assert "rebuild=True" in caught.value.hint
    assert whole(graph) == before
    assert not wide.is_built
    graph.insert_node_after(wide, "a", rebuild=True)
    assert graph["b"].input_shape == (7,)
    assert all(kept[name].tobytes() == toy.values(graph, "a")[name].tobytes() for name in kept)
    moved = {name.partition("/")[0] for name in graph.optimizer.get_state()}
    assert moved == {"a", "c"}, "the slots of what was made anew are gone, the others stay"
    assert train(graph).shape == (2, 1)


def test_a_function_has_no_values_to_lose_and_takes_any_width():
    rows = toy.data()
    a = toy.dense("a", toy.reference(rows), 2)
    graph = mml.ModelGraph([a, toy.foreign("f", a)]).build()
    graph.replace_node("a", toy.dense("wide", toy.reference(rows), 5))
    assert graph["f"].output_shape == (5,)


def test_a_ready_made_model_keeps_its_width():
    rows = toy.data()
    a = toy.dense("a", toy.reference(rows), 4)
    b = mml.ModelNode("b", Mlp(input_shape=4, output_shape=1), a)
    graph = mml.ModelGraph([a, b]).build()
    kept = toy.values(graph, "b")
    with pytest.raises(ShapeError) as caught:
        graph.insert_node_after(toy.dense("wide", toy.reference(rows), 7), "a", rebuild=True)
    assert "ready-made" in caught.value.hint
    assert all(kept[name].tobytes() == toy.values(graph, "b")[name].tobytes() for name in kept)


def test_merges_follow_new_widths_and_what_reads_them_is_held_to_it():
    rows = toy.data()
    a, b = toy.dense("a", toy.reference(rows), 2), toy.dense("b", toy.reference(rows), 3)
    both = mml.ConcatNode("both", [a, b])
    graph = mml.ModelGraph([a, b, both]).build()
    graph.replace_node("b", toy.dense("wide", toy.reference(rows), 5))
    assert both.output_shape == (7,)
    graph.add_node(toy.dense("head", both))
    with pytest.raises(ShapeError) as caught:
        graph.replace_node("wide", toy.dense("wider", toy.reference(rows), 6))
    assert "node 'head'" in str(caught.value)
    assert both.output_shape == (7,)


def test_a_graph_that_is_not_built_is_changed_unbuilt():
    rows = toy.data()
    graph = chain(rows, build=False)
    graph.insert_node_after(toy.dense("wide", toy.reference(rows), 9), "a")
    assert not any(node.is_built for node in graph.nodes.values())
    graph.build()
    assert graph["b"].input_shape == (9,)


def test_a_node_on_data_that_does_not_exist_yet_waits_for_it():
    rows = toy.data()
    graph = chain(rows)
    later = toy.dense("later", mml.FeatureSetReference("not yet", features="x", targets="y"), 4)
    graph.add_node(later)
    assert not later.is_built
    assert graph["c"].is_built
    toy.data(label="not yet")
    assert graph.build().is_built


def test_columns_that_a_new_node_reads_have_to_exist():
    rows = toy.data()
    graph = chain(rows)
    before = whole(graph)
    node = toy.dense("odd", mml.FeatureSetReference(rows.label, features="xx"))
    mml.ExperimentContext.active().remove("odd")
    with pytest.raises(MMLError, match="xx") as caught:
        graph.add_node(node)
    assert "node 'odd'" in str(caught.value)
    assert whole(graph) == before


# --- what stays ------------------------------------------------------------------------------------------


def test_slots_and_programs_of_untouched_nodes_are_kept():
    with second_backend() as second:
        rows = toy.data()
        nodes = [
            mml.ModelNode(
                label, mml.Model("second/mlp", output_shape=1), toy.reference(rows), optimizer="adam"
            )
            for label in ("left", "right")
        ]
        graph = mml.ModelGraph(nodes)
        losses = tuple(mml.AppliedLoss("mse", on=label) for label in ("left", "right"))
        toy.run(graph.prepare(toy.request(graph, losses=losses)), [[0, 1, 2]])
        assert second.compiled == 2
        slots = copy.deepcopy(graph["left"].optimizer.get_state())
        graph.insert_node_after(toy.foreign("post", toy.reference(rows)), "right")
        toy.run(graph.prepare(toy.request(graph, losses=losses)), [[3, 4, 5]])
        assert second.compiled == 2, "what a change does not touch runs its old programs"
        graph.replace_node("right", mml.ModelNode("new", mml.Model("second/mlp", output_shape=1), rows))
        graph["new"].optimizer = mml.Optimizer("adam")
        losses = (losses[0], mml.AppliedLoss("mse", on="new"))
        toy.run(graph.prepare(toy.request(graph, losses=losses)), [[6, 7, 8]])
        assert second.compiled == 3
        assert graph["left"].optimizer.get_state().keys() == slots.keys()
        assert all(one["step"] == 3 for one in graph["left"].optimizer.get_state().values())
        assert all(one["step"] == 1 for one in graph["new"].optimizer.get_state().values())
        graph.remove_node("new")
        running = {call.node for segment, _ in graph._programs.values() for call in segment.calls}
        assert running == {"left"}
        assert all(key == signature(segment) for key, (segment, _) in graph._programs.items())


def test_training_goes_on_as_if_the_graph_had_been_made_so():
    rows = toy.data()
    long = chain(rows, optimizer=mml.Optimizer("adam", lr=0.01))
    train(long)
    state = long.get_state()
    with toy.fresh(rows):
        short = chain(rows, optimizer=mml.Optimizer("adam", lr=0.01))
        short.add_node(toy.foreign("tail", short["c"])).remove_node("tail")
        train(short)
        short.insert_node_after(toy.foreign("mid", short["a"], np.positive), "a")
        short.remove_node("mid")
        assert state_digest(short.get_state()) == state_digest(state)
        assert train(short).tobytes() == train(long).tobytes()


def test_a_graph_that_is_being_run_is_not_changed():
    graph = chain(toy.data())
    assert graph.run_lock.acquire()
    try:
        with pytest.raises(GraphError, match="being run"):
            graph.remove_node("b")
    finally:
        graph.run_lock.release()
    graph.remove_node("b")


# --- any sequence ----------------------------------------------------------------------------------------


def is_valid(graph, rows):
    nodes, context = graph.nodes, mml.ExperimentContext.active()
    order = list(nodes)
    for label, node in nodes.items():
        assert node.label == label
        assert context.get(label) is node
        for one in node.upstream:
            if isinstance(one, mml.ModelIOReference):
                assert nodes[one.label].uuid == one.uuid
                assert order.index(one.label) < order.index(label)
        readers = [other for other in order if label in {one.label for one in nodes[other].upstream}]
        assert [one.label for one in node.downstream] == readers
        assert node.min_upstream <= len(node.upstream) <= (node.max_upstream or 99)
    assert [one.label for one in context.nodes() if isinstance(one, mml.graph.ComputeNode)] != []
    with toy.fresh(rows):
        assert mml.ModelGraph.from_config(json.loads(json.dumps(graph.get_config()))) == graph
    if graph.is_built:
        array = np.ones((2, 3), dtype=np.float32)
        names = [
            f"{label}[{number}]" if len(nodes[label].upstream) > 1 else label
            for label in graph.head_nodes
            for number, one in enumerate(nodes[label].upstream)
            if not isinstance(one, mml.ModelIOReference)
        ]
        found = graph.forward(dict.fromkeys(names, array))
        assert {label: one.shape[1:] for label, one in found.items()} == {
            label: node.output_shape for label, node in nodes.items()
        }


@st.composite
def new_nodes(draw, graph, rows, number):
    places = [toy.reference(rows), *graph.nodes.values()]
    label = f"n{number}"
    kind = draw(st.sampled_from(["dense", "function", "sum", "concat"]))
    if kind in ("dense", "function"):
        place = draw(st.sampled_from(places))
        return (
            toy.dense(label, place, draw(st.sampled_from([3, 4])))
            if kind == "dense"
            else toy.foreign(label, place)
        )
    ups = draw(st.lists(st.sampled_from(places), min_size=2, max_size=3, unique_by=id))
    strategy = draw(st.sampled_from(["first", "last", *[one.label for one in ups]]))
    if kind == "sum":
        return mml.SumNode(label, ups, targets=strategy, pad_inputs=draw(st.booleans()))
    return mml.ConcatNode(label, ups, concat_axis_tags=strategy)


def changed(graph, change, node, target, *, up, rebuild):
    if change == "add":
        graph.add_node(node)
    elif change == "remove":
        graph.remove_node(target, rebuild=rebuild)
    elif change == "replace":
        graph.replace_node(target, node, rebuild=rebuild)
    elif change == "between":
        graph.insert_node_between(node, up, target, rebuild=rebuild)
    elif change == "before":
        graph.insert_node_before(node, target, rebuild=rebuild)
    else:
        graph.insert_node_after(node, target, rebuild=rebuild)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data(), build=st.booleans())
def test_any_sequence_of_changes_keeps_the_graph_valid_or_changes_nothing(data, build):
    with mml.ExperimentContext(policy="error").activate() as context:
        rows = toy.data(n_rows=5)
        graph = chain(rows, build=build)
        if build:
            train(graph)
        for number in range(data.draw(st.integers(1, 6))):
            label = st.sampled_from(list(graph.nodes))
            change = data.draw(st.sampled_from(["add", "remove", "replace", "between", "before", "after"]))
            target, rebuild = data.draw(label), data.draw(st.booleans())
            node = None if change == "remove" else data.draw(new_nodes(graph, rows, number))
            up = data.draw(st.sampled_from([one.label for one in graph[target].upstream]))
            before, n_slots = whole(graph), len(graph.optimizer.get_state())
            try:
                changed(graph, change, node, target, up=up, rebuild=rebuild)
            except GraphError:
                assert whole(graph) == before
                if node is not None:
                    context.remove(node.label)
            else:
                assert len(graph.optimizer.get_state()) <= n_slots
                assert graph.is_built or not build
            is_valid(graph, rows)
