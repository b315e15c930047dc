"""What a graph says about itself: stages, borders, casts and refusals in words, and a table of its nodes."""

from __future__ import annotations

import re

import numpy as np
import pytest

import mml
from mml.files import state_digest

from . import toy
from .second_backend import second_backend


@pytest.fixture
def second():
    with second_backend() as backend:
        yield backend


def data():
    """Features in float64, float32 and whole numbers, targets in float64 and whole numbers."""
    rng = np.random.default_rng(0)
    columns = {
        "x": rng.normal(size=(20, 3)),
        "u": rng.normal(size=(20, 2)).astype(np.float32),
        "n": np.arange(20),
        "y": rng.normal(size=(20, 1)),
        "k": np.arange(20) % 3,
    }
    made = mml.FeatureSet.from_dict("cells", columns, feature_keys=["x", "u", "n"], target_keys=["y", "k"])
    made.split_random(ratios={"train": 0.5, "test": 0.5}, seed=0)
    return made


def other(label, upstream, width=4, **settings):
    return mml.ModelNode(label, mml.Model("second/mlp", output_shape=width), upstream, **settings)


def mixed(rows, *, optimizer="adam"):
    """A branch on each backend, a sum, and a head."""
    a = toy.dense("a", rows.reference(features="x", targets="y"), 4)
    b = other("b", rows.reference(features="u", targets="y"))
    both = mml.SumNode("both", [a, b])
    return mml.ModelGraph([a, b, both, toy.dense("head", both)], optimizer=optimizer)


def training(*losses, split="train"):
    return mml.TrainPhase.from_split(
        "train",
        split=split,
        sampler=mml.SimpleSampler(batch_size=4),
        losses=losses or [mml.AppliedLoss("mse", on="head")],
    )


def test_stages_are_told_with_backend_and_who_learns(second):
    text = mixed(data(), optimizer=None).explain()
    assert "Step 1 on reference: a (learning a)." in text
    assert "Step 2 on second: b (learning b)." in text
    assert "Step 3 on reference: both, head (learning head)." in text
    assert "Between a and both gradients stop: they are separate stages." in text
    assert (
        "Between b and both gradients stop: values are converted once a step, from second to reference, and "
        "cast to float32." in text
    )


def test_a_graph_optimizer_over_several_backends_is_refused_with_the_reason(second):
    rows = data()
    graph = mixed(rows)
    text = graph.explain()
    assert "Training as a whole: not possible, because gradients stop between backends: " in text
    assert "b on second" in text
    assert "A phase that trains all of it is refused: The graph's optimizer cannot train" in text
    assert "freeze one side" in text
    graph.freeze("b")
    text = graph.explain()
    assert "Training as a whole: possible, one backward pass serves a, head." in text
    assert "Frozen by the user: b; gradients pass through, values stay." in text
    assert "refused" not in text
    assert "refused" not in graph.explain(training())


def test_what_is_cast_and_what_stays_is_told_column_by_column():
    rows = data()
    net = toy.dense("net", rows.reference(features=["x", "u"], targets="y", combine="concat"), 4)
    numbers = toy.dense("numbers", rows.reference(features="n", targets="k"), 3, dtype="float64")
    graph = mml.ModelGraph([net, numbers], optimizer="sgd")
    losses = [
        mml.AppliedLoss("mse", on="net", inputs=["outputs", "targets.y"], label="error"),
        mml.AppliedLoss("cross_entropy", on="numbers", label="class"),
    ]
    text = graph.explain(training(*losses))
    assert "net reads features.x.raw of 'cells' as float64, cast to float32 once a block." in text
    assert "net reads features.u.raw of 'cells' as float32." in text
    assert "numbers reads features.n.raw of 'cells' as int64." in text
    assert "error reads targets.y.raw of 'cells' as float64, cast to float32 once a block." in text
    assert "class reads targets.k.raw of 'cells' as int64." in text


def test_it_is_what_the_planner_does():
    rows = data()
    graph = mml.ModelGraph([toy.dense("net", rows.reference(features="x", targets="y"))], optimizer="sgd")
    loss = mml.AppliedLoss("mse", on="net")
    execution = graph.prepare(toy.request(graph, losses=(loss,)))
    fed = execution.feed.block(toy.steps(execution, [[0, 1]]))
    arriving = {fed.array(wanted).dtype.name for wanted in execution.plan.data.values()}
    told = {one.arrives for one in graph.outline(training(loss)).columns}
    assert told == arriving == {"float32"}


def test_one_phase_is_explained_with_its_own_nodes_and_data(second):
    rows = data()
    graph = mixed(rows, optimizer=None)
    phase = mml.TrainPhase.from_split(
        "only b",
        split="train",
        sampler=mml.SimpleSampler(batch_size=4),
        losses=[mml.AppliedLoss("mse", on="b", inputs=["outputs", "features.u"])],
        active_nodes=["b"],
    )
    graph["b"].optimizer = mml.Optimizer("sgd")
    outline = graph.outline(phase)
    assert [one.nodes for one in outline.stages] == [("b",)]
    assert outline.losses == (("b/mse", "b", 1.0),)
    assert "in the phase 'only b', which trains" in graph.explain(phase)
    evaluation = graph.explain(mml.EvalPhase.from_split("look", split="test"))
    assert "which evaluates" in evaluation
    assert "learning" not in evaluation
    assert "gradients" not in evaluation
    assert "values are converted once a step, from second to reference" in evaluation


@pytest.mark.parametrize(
    ("graph", "phase", "told"),
    [
        (lambda rows: mixed(rows, optimizer=None), training(), "has no optimizer"),
        (mixed, training(split="trian"), "Did you mean 'train'"),
        (mixed, training(mml.AppliedLoss("mse", on="haed")), "'haed'"),
        (mixed, mml.FitPhase.from_split("fit", split=None), "No node of the graph can be fitted"),
    ],
)
def test_a_phase_that_cannot_run_is_refused_in_words_with_the_mend(second, graph, phase, told):
    text = graph(data()).explain(phase)
    assert "The phase is refused" in text
    assert told in text


def test_nodes_that_learn_without_gradients_or_not_at_all():
    rows = data()
    graph = mml.ModelGraph([toy.foreign("f", rows.reference(features="x"))])
    assert "Training as a whole: not possible, because no node learns by gradient." in graph.explain()
    single = mml.ModelGraph([toy.dense("net", rows.reference(features="x"))], label="one", optimizer="sgd")
    assert "possible, only net learns by gradient" in single.explain()
    assert "The graph's optimizer is Optimizer('sgd')." in single.explain()


def test_gradients_pass_through_frozen_nodes_of_backends_that_have_them_only():
    rows = data()
    below = toy.dense("below", rows.reference(features="x", targets="y"), 3)
    between = toy.foreign("between", below)
    graph = mml.ModelGraph([below, between, toy.dense("above", between)], optimizer="sgd")
    graph.freeze(["below", "between"])
    lines = [line.strip() for line in graph.explain().splitlines()]
    assert "Frozen by the user: below; gradients pass through, values stay." in lines
    assert "Frozen by the user: between." in lines


def test_own_optimizers_are_told():
    rows = data()
    a = toy.dense("a", rows.reference(features="x"), optimizer=mml.Optimizer("sgd", lr=0.1))
    with_both = mml.ModelGraph([a, toy.dense("b", a)], optimizer="adam")
    assert "a is stepped by its own, Optimizer('sgd', lr=0.1)." in with_both.explain()
    alone = mml.ModelGraph([a], label="alone")
    assert "nodes learn stage by stage, a by Optimizer('sgd', lr=0.1)." in alone.explain()


def test_data_that_does_not_exist_yet_is_named():
    graph = mml.ModelGraph([toy.dense("a", mml.FeatureSetReference("later"))], optimizer="sgd")
    assert "a reads the FeatureSet 'later', which does not exist yet." in graph.explain()


def test_shapes_that_do_not_fit_are_told_and_not_raised():
    rows = data()
    a = toy.dense("a", rows.reference(features="x"), 4)
    graph = mml.ModelGraph([a, toy.dense("b", a, input_shape=9)], optimizer="sgd")
    text = graph.explain()
    assert "refused (" in text
    assert "node 'b'" in text


def test_looking_changes_nothing(second):
    rows = data()
    graph = mixed(rows)
    before = graph.get_config(), state_digest(graph.get_state())
    graph.explain()
    graph.explain(training())
    graph.explain(training(split="nowhere"))
    assert (graph.get_config(), state_digest(graph.get_state())) == before
    assert not any(node.is_built for node in graph.nodes.values())
    graph.build(seed=3)
    before = state_digest(graph.get_state())
    graph.explain(training())
    assert state_digest(graph.get_state()) == before
    assert graph.is_built


def test_nodes_without_a_device_go_where_the_others_of_their_stage_are():
    rows = data()
    a = toy.dense("a", rows.reference(features="x", targets="y"), 4)
    graph = mml.ModelGraph([a, toy.dense("head", a, device="cpu")], optimizer="sgd")
    execution = graph.prepare(toy.request(graph, losses=(mml.AppliedLoss("mse", on="head"),)))
    assert [one.segment.device for one in execution.plan.segments] == ["cpu"]


# --- the table -------------------------------------------------------------------------------------------


def wide(rows):
    trunk = toy.dense(
        "the_trunk_with_a_long_name_that_says_all_of_it", rows.reference(features="x", targets="y"), 4
    )
    head = toy.dense("head", trunk, device="cpu")
    return mml.ModelGraph(
        [trunk, head],
        optimizer=mml.Optimizer("adam", lr=1e-3, betas=(0.9, 0.99), eps=1e-7),
        label="a-graph-whose-label-takes-its-time-too",
    )


def test_the_table_fits_80_columns_and_keeps_its_numbers():
    graph = wide(data()).build()
    graph.freeze("head")
    lines = graph.summary().splitlines()
    assert max(map(len, lines)) <= 80
    head = next(line for line in lines if line.startswith("head"))
    assert re.search(r"\(1,\) +5  reference  cpu +yes$", head)
    assert "…" in lines[2]
    assert "21 parameters, 5 of them frozen" in " ".join(lines)
    assert "optimizer: Optimizer('adam'" in " ".join(lines)


def test_the_table_of_a_graph_that_is_not_built_says_so():
    graph = wide(data())
    assert "not built everywhere yet" in graph.summary()
    assert "?" in graph.summary()
    graph.build()
    assert "not built" not in graph.summary()


def test_the_table_for_notebooks_shortens_nothing_and_escapes_names():
    rows = data()
    node = toy.dense("<b>bold & long" + "x" * 90, rows.reference(features="x"))
    html = mml.ModelGraph([node], label="<i>").build()._repr_html_()
    assert "<b>bold" not in html
    assert "&lt;b&gt;bold &amp; long" + "x" * 90 in html
    assert "<i>" not in html
    assert html.count("<tr>") == 2
