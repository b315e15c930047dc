"""How a graph is cut into segments: who learns together, where gradients stop, and what cannot be trained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import mml
from mml.errors import GraphError, OptimizerError, PhaseError
from mml.graph.execution import signature
from mml.graph.plan import Request

from . import toy
from .second_backend import second_backend


@pytest.fixture
def second():
    with second_backend() as backend:
        yield backend


def other(label, upstream, width=1, **settings):
    """A node of the second backend."""
    node_settings = {key: settings.pop(key) for key in ("optimizer",) if key in settings}
    model = mml.Model("second/mlp", output_shape=width, **settings)
    return mml.ModelNode(label, model, upstream, **node_settings)


def planned(graph, *on, mode="train", **settings):
    losses = tuple(mml.AppliedLoss("mse", on=label) for label in on)
    return graph.prepare(toy.request(graph, mode, losses=losses, **settings))


def cut(execution):
    """Return the segments as (backend, mode, nodes, learning nodes)."""
    return [
        (
            one.segment.backend,
            one.segment.mode,
            [call.node for call in one.segment.calls],
            one.segment.learning,
        )
        for one in execution.plan.segments
    ]


def chain(rows, *, optimizer="sgd", own=()):
    a = toy.dense("a", toy.reference(rows), 2, **({"optimizer": "sgd"} if "a" in own else {}))
    b = toy.dense("b", a, 2, **({"optimizer": "sgd"} if "b" in own else {}))
    c = toy.dense("c", b, 1, **({"optimizer": "sgd"} if "c" in own else {}))
    return mml.ModelGraph([a, b, c], optimizer=optimizer)


def test_a_graph_optimizer_makes_one_segment_of_all_that_learns():
    execution = planned(chain(toy.data()), "c")
    assert cut(execution) == [("reference", "train", ["a", "b", "c"], ("a", "b", "c"))]
    assert execution.plan.learning == ("a", "b", "c")


def test_without_one_each_learning_node_is_a_stage():
    rows = toy.data()
    graph = chain(rows, optimizer=None, own="abc")
    losses = tuple(
        mml.AppliedLoss("mse", on=label, inputs=["outputs", target])
        for label, target in (("a", "targets.z"), ("b", "targets.z"), ("c", "targets.y"))
    )
    execution = graph.prepare(toy.request(graph, losses=losses))
    assert cut(execution) == [("reference", "train", [label], (label,)) for label in "abc"]
    assert "Between a and b gradients stop" in graph.explain()
    assert "Between b and c gradients stop" in graph.explain()


def test_constants_upstream_run_in_the_segment_that_reads_them_and_do_not_learn():
    graph = chain(toy.data())
    graph.freeze(["a"])
    assert cut(planned(graph, "c")) == [("reference", "train", ["a", "b", "c"], ("b", "c"))]
    with toy.fresh():
        stage_wise = chain(toy.data(), optimizer=None, own="c")
        stage_wise.freeze(["a", "b"])
        assert cut(planned(stage_wise, "c")) == [
            ("reference", "eval", ["a", "b"], ()),
            ("reference", "train", ["c"], ("c",)),
        ]


def test_active_nodes_learn_their_dependencies_run_others_do_not():
    rows = toy.data()
    trunk = toy.dense("trunk", toy.reference(rows), 2)
    graph = mml.ModelGraph([trunk, toy.dense("p", trunk), toy.dense("q", trunk)], optimizer="sgd")
    assert cut(planned(graph, "p", active=("p",))) == [("reference", "train", ["trunk", "p"], ("p",))]
    assert cut(planned(graph, mode="eval", active=("q",))) == [("reference", "eval", ["trunk", "q"], ())]
    assert cut(planned(graph, mode="eval")) == [("reference", "eval", ["trunk", "p", "q"], ())]


def test_a_merge_joins_the_stage_that_consumes_it():
    rows = toy.data()
    a = toy.dense("a", toy.reference(rows), 1, optimizer="sgd")
    b = toy.dense("b", toy.reference(rows), 1, optimizer="sgd")
    inner = mml.ConcatNode("inner", [a, b])
    outer = mml.ConcatNode("outer", [inner, b])
    head = toy.dense("head", outer, optimizer="sgd")
    graph = mml.ModelGraph([a, b, inner, outer, head])
    assert cut(planned(graph, "a", "b", "head")) == [
        ("reference", "train", ["a"], ("a",)),
        ("reference", "train", ["b"], ("b",)),
        ("reference", "train", ["inner", "outer", "head"], ("head",)),
    ]


def test_a_merge_runs_on_the_backend_that_lets_gradients_through():
    rows = toy.data()
    a, b = toy.dense("a", toy.reference(rows)), toy.dense("b", toy.reference(rows))
    both = mml.ConcatNode("both", [a, b])
    function = toy.foreign("function", both)
    head = toy.dense("head", both)
    graph = mml.ModelGraph([a, b, both, function, head], optimizer="sgd")
    assert cut(planned(graph, "head", record=("function",))) == [
        ("reference", "train", ["a", "b", "both", "head"], ("a", "b", "head")),
        ("numpy", "eval", ["function"], ()),
    ]
    with toy.fresh(rows):
        a, b = toy.dense("a", toy.reference(rows)), toy.dense("b", toy.reference(rows))
        both = mml.ConcatNode("both", [a, b], concat_axis_targets=-1)
        graph = mml.ModelGraph([a, b, both, toy.foreign("function", both)], optimizer="sgd")
        assert cut(planned(graph, "both", record=("function",)))[0][2] == ["a", "b", "both"]


def test_a_merge_of_two_backends_that_nobody_consumes_runs_on_numpy():
    rows = toy.data()
    a, b = toy.dense("a", toy.reference(rows)), toy.foreign("b", toy.reference(rows))
    graph = mml.ModelGraph([a, b, mml.ConcatNode("both", [a, b])])
    assert cut(planned(graph, mode="eval"))[-1] == ("numpy", "eval", ["b", "both"], ())


def test_an_encoder_waits_for_the_level_of_a_head_that_also_reads_a_foreign_node():
    rows = toy.data()
    encoder = toy.dense("encoder", toy.reference(rows), 2)
    foreign = toy.foreign("foreign", toy.reference(rows))
    both = mml.ConcatNode("both", [encoder, foreign])
    head = toy.dense("head", both)
    graph = mml.ModelGraph([encoder, foreign, both, head], optimizer="sgd")
    execution = planned(graph, "head")
    assert cut(execution) == [
        ("numpy", "eval", ["foreign"], ()),
        ("reference", "train", ["encoder", "both", "head"], ("encoder", "head")),
    ]
    assert np.isfinite(toy.losses_of(toy.run(execution, [[1, 2]]))).all()


def test_a_foreign_reader_of_one_branch_does_not_tear_the_learning_nodes_apart():
    rows = toy.data()
    # `late` can only run after `first`; `early` is read by a foreign node of an earlier level.
    first = toy.foreign("first", toy.reference(rows))
    late = toy.dense("late", first)
    early = toy.dense("early", toy.reference(rows))
    reader = toy.foreign("reader", early)
    graph = mml.ModelGraph([first, late, early, reader], optimizer="sgd")
    assert cut(planned(graph, "late", "early", record=("reader",))) == [
        ("numpy", "eval", ["first"], ()),
        ("reference", "train", ["early", "late"], ("early", "late")),
        ("numpy", "eval", ["reader"], ()),
    ]


def test_a_frozen_head_below_stays_in_the_step_so_that_its_loss_reaches_the_encoder():
    rows = toy.data()
    encoder = toy.dense("encoder", toy.reference(rows), 2)
    head = toy.dense("head", encoder)
    function = toy.foreign("function", head)
    after = toy.dense("after", function)
    graph = mml.ModelGraph([encoder, head, function, after], optimizer="sgd")
    graph.freeze(["head", "after"])
    assert cut(planned(graph, "head", "after")) == [
        ("reference", "train", ["encoder", "head"], ("encoder",)),
        ("numpy", "eval", ["function"], ()),
        ("reference", "eval", ["after"], ()),
    ]


def test_learning_on_both_sides_of_a_border_is_refused_with_the_way_out():
    rows = toy.data()
    below = toy.dense("below", toy.reference(rows))
    between = toy.foreign("between", below)
    above = toy.dense("above", between)
    graph = mml.ModelGraph([below, between, above], optimizer="sgd", label="torn")
    with pytest.raises(GraphError, match="cannot train all learning nodes") as caught:
        planned(graph, "above", "below")
    message = str(caught.value)
    assert "['below'] on 'reference'" in message
    assert "['above'] on 'reference'" in message
    assert "gradients stop between 'below' (reference) and 'between' (numpy)" in message
    assert "gradients stop between 'between' (numpy) and 'above' (reference)" in message
    assert "torn" in message
    assert "active_nodes" in message
    graph.freeze(["below"])
    assert [one[3] for one in cut(planned(graph, "above"))] == [(), (), ("above",)]
    graph.unfreeze()
    assert cut(planned(graph, "below", active=("below",)))[0][3] == ("below",)


def test_two_backends_learn_stage_by_stage_but_not_under_one_optimizer(second):
    rows = toy.data()
    a = toy.dense("a", toy.reference(rows), optimizer="sgd")
    b = other("b", a, optimizer="adam")
    graph = mml.ModelGraph([a, b])
    execution = planned(graph, "a", "b", record=("b",))
    assert cut(execution) == [
        ("reference", "train", ["a"], ("a",)),
        ("second", "train", ["b"], ("b",)),
    ]
    assert "Between a and b gradients stop: values are converted once a step" in graph.explain()
    before = graph.get_state()["nodes"]
    (result,) = toy.run(execution, [[1, 2, 3]])
    after = graph.get_state()["nodes"]
    for label in "ab":
        name = "layers.0.weight"
        assert not np.array_equal(before[label]["model"][name], after[label]["model"][name])
    assert np.isfinite(result.losses()).all()
    with toy.fresh(rows):
        a = toy.dense("a", toy.reference(rows))
        joined = mml.ModelGraph([a, other("b", a)], optimizer="sgd")
        with pytest.raises(GraphError, match="gradients stop"):
            planned(joined, "a", "b")


def test_losses_are_transferred_once_and_only_when_they_are_read(second):
    rows = toy.data()
    graph = mml.ModelGraph([other("b", toy.reference(rows))], optimizer="adam")
    execution = planned(graph, "b")
    (result,) = toy.run(execution, [[1, 2], [3], [-1]])
    assert second.transfers == 0
    values = result.losses()
    assert second.transfers == 1
    assert result.losses() is values
    assert second.transfers == 1
    assert values.dtype == np.float64
    assert np.isfinite(values[:2]).all()
    assert np.isnan(values[2, 0])
    assert result.rows.tolist() == [[2], [1], [0]]


def test_programs_are_compiled_once_and_found_again_by_what_they_do(second):
    rows = toy.data()
    node = other("b", toy.reference(rows))
    graph = mml.ModelGraph([node], optimizer="adam")
    loss = mml.AppliedLoss("mse", on="b")

    def run(mode="train", losses=(loss,), **settings):
        toy.run(graph.prepare(toy.request(graph, mode, losses=losses, **settings)), [[1, 2]])
        return second.compiled

    assert run() == 1
    assert run() == 1
    assert run("eval") == 2
    assert run(record=("b",)) == 3
    assert run(losses=(mml.AppliedLoss(loss.loss, on="b", weight=2.0),)) == 4
    assert run(losses=(mml.AppliedLoss("mse", on="b"),)) == 5
    assert run("eval") == 5
    assert run() == 5


def test_many_classes_tell_programs_apart():
    rows = toy.data()
    graph = mml.ModelGraph([toy.dense("a", toy.reference(rows))], optimizer="sgd")
    segment = planned(graph, "a").plan.segments[0].segment
    classes = np.arange(5000)
    others = classes.copy()
    others[2500] = -1
    one = replace(segment, options={"classes": {"a": classes}})
    assert repr(classes) == repr(others)
    assert signature(one) == signature(replace(segment, options={"classes": {"a": classes.copy()}}))
    assert signature(one) != signature(replace(segment, options={"classes": {"a": others}}))
    assert signature(one) != signature(replace(segment, options={"classes": {"a": classes.astype(float)}}))
    assert isinstance(hash(signature(one)), int)


# --- what cannot be trained ------------------------------------------------------------------------------


def test_a_node_that_learns_without_an_optimizer_is_named_with_the_mend():
    rows = toy.data()
    graph = mml.ModelGraph([toy.dense("head", toy.reference(rows))])
    with pytest.raises(OptimizerError, match="no optimizer") as caught:
        planned(graph, "head")
    assert "'head'" in str(caught.value)
    assert "ModelGraph(..., optimizer='adam')" in str(caught.value)


@pytest.mark.parametrize("on", [[], ["a"]])
def test_a_learning_node_that_no_loss_reaches_is_named(on):
    graph = chain(toy.data())
    losses = tuple(mml.AppliedLoss("mse", on=label, inputs=["outputs", "targets.z"]) for label in on)
    with pytest.raises(PhaseError, match="reached by no loss") as caught:
        graph.prepare(toy.request(graph, losses=losses))
    assert f"'{'b' if on else 'a'}'" in str(caught.value)
    assert ("without losses" in str(caught.value)) == (not on)


def test_stage_wise_a_loss_further_down_does_not_reach_up():
    graph = chain(toy.data(), optimizer=None, own="abc")
    with pytest.raises(PhaseError, match="reached by no loss") as caught:
        planned(graph, "c")
    assert "'a'" in str(caught.value)
    assert "gradients stop between 'a' and 'b', which are separate stages" in caught.value.found
    assert "give the graph an optimizer" in caught.value.hint


def test_a_loss_behind_a_border_does_not_reach_up_either_and_the_border_is_named():
    rows = toy.data()
    a = toy.dense("a", toy.reference(rows))
    b = toy.dense("b", a)
    graph = mml.ModelGraph([a, b, toy.foreign("behind", b)], optimizer="sgd")
    with pytest.raises(PhaseError, match="reached by no loss") as caught:
        planned(graph, "behind")
    assert "gradients stop between 'b' (reference) and 'behind' (numpy)" in caught.value.found
    assert "give the graph an optimizer" not in caught.value.hint


@pytest.mark.parametrize(
    ("active", "prepare", "match"),
    [
        (("aa",), lambda graph: None, "'a'"),
        (("a",), lambda graph: graph.freeze(["a"]), "unfreeze"),
        (None, lambda graph: graph.freeze(), "No node"),
        (("function",), lambda graph: None, "cannot learn"),
        ((), lambda graph: None, "No node"),
    ],
)
def test_active_nodes_that_cannot_learn_are_refused(active, prepare, match):
    rows = toy.data()
    a = toy.dense("a", toy.reference(rows))
    graph = mml.ModelGraph([a, toy.foreign("function", a)], optimizer="sgd")
    prepare(graph)
    with pytest.raises(PhaseError, match=match):
        planned(graph, "a", active=active)


def test_a_node_that_cannot_be_fitted_says_what_trains_it():
    graph = mml.ModelGraph([toy.dense("a", toy.reference(toy.data()))], optimizer="sgd")
    with pytest.raises(PhaseError, match="cannot be fitted") as caught:
        planned(graph, mode="fit", active=("a",))
    assert "TrainPhase" in str(caught.value)


@pytest.mark.parametrize(
    ("optimizer", "match"),
    [
        (mml.Optimizer("adam", bettas=(0.9, 0.99)), "betas"),
        (mml.Optimizer("adam", betas=(0.9, 1.5)), "betas"),
        (mml.Optimizer("adam", backend="numpy"), "numpy"),
        (mml.Optimizer("sgd", nesterov=True), "momentum"),
    ],
)
def test_an_optimizer_that_does_not_fit_is_refused_naming_the_node(optimizer, match):
    graph = mml.ModelGraph([toy.dense("head", toy.reference(toy.data()))], optimizer=optimizer)
    with pytest.raises(OptimizerError, match=match) as caught:
        planned(graph, "head")
    assert "'head'" in str(caught.value)


def test_equal_optimizers_stay_two_and_one_object_for_two_nodes_is_one():
    rows = toy.data()
    one, other_one = (mml.Optimizer("adam", clip_norm=1.0) for _ in range(2))
    a = toy.dense("a", toy.reference(rows), optimizer=one)
    b = toy.dense("b", a, optimizer=other_one)
    graph = mml.ModelGraph([a, b, toy.dense("c", b, optimizer=one)], optimizer="sgd")
    execution = planned(graph, "c")
    assert [found.nodes for found in execution.plan.segments[0].segment.optimizers] == [("a", "c"), ("b",)]
    toy.run(execution, [[1, 2]])
    assert {name.partition("/")[0] for name in one.get_state()} == {"a", "c"}
    assert {name.partition("/")[0] for name in other_one.get_state()} == {"b"}


def test_optimizers_of_one_backward_pass_accumulate_alike():
    rows = toy.data()
    a = toy.dense("a", toy.reference(rows), optimizer=mml.Optimizer("sgd", accumulate=2))
    graph = mml.ModelGraph([a, toy.dense("b", a)], optimizer=mml.Optimizer("sgd", accumulate=3))
    with pytest.raises(OptimizerError, match="accumulate over different"):
        planned(graph, "b")


def test_an_unknown_device_is_refused_and_two_devices_do_not_share_a_step():
    rows = toy.data()
    graph = mml.ModelGraph([toy.dense("a", toy.reference(rows))], optimizer="sgd")
    with pytest.raises(mml.MMLError, match="no device 'cuda:7'"):
        planned(graph, "a", device="cuda:7")
    with toy.fresh(rows), pytest.raises(mml.MMLError, match="tpu"):
        mml.ModelGraph([toy.dense("a", toy.reference(rows), device="tpu")]).build()
    assert planned(graph, "a", device="cpu").plan.segments[0].segment.device == "cpu"


def test_a_node_whose_width_is_not_known_yet_says_to_fit_first():
    rows = toy.data()
    a = toy.dense("a", toy.reference(rows))
    graph = mml.ModelGraph([a], optimizer="sgd").build()
    lanes = toy.lanes_of(graph)
    b = toy.dense("b", a)
    extended = mml.ModelGraph([a, b], optimizer="sgd", label="extended")
    with pytest.raises(PhaseError):
        extended.prepare(Request(mode="eval", lanes=lanes, losses=(mml.AppliedLoss("mse", on="b"),)))
