"""What users get wrong with graphs: each error names the node and what to do."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import mml
from mml.backends import Capabilities
from mml.errors import (
    BackendError,
    GraphError,
    MMLError,
    OptimizerError,
    OverwriteWarning,
    PhaseError,
    RegistrationError,
    ShapeError,
)
from mml_conformance.reference import Mlp

from . import toy
from .second_backend import SecondBackend, second_backend

LOSS = mml.AppliedLoss("mse", on="head")


def planned(graph, loss=LOSS, **settings):
    return graph.plan(toy.request(graph, losses=(loss,), **settings))


def check_refused(error, make, *told):
    """Return the error that making something raises, which has a mend and tells these words."""
    with pytest.raises(error) as caught:
        make()
    text = str(caught.value)
    assert caught.value.hint, text
    for words in told:
        assert words in text, text
    return caught.value


# --- shapes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [mml.ConcatNode, mml.SumNode, mml.MeanNode, mml.StackNode])
def test_shapes_that_cannot_be_merged(kind):
    rows = toy.data(image=np.zeros((toy.N_ROWS, 2, 2), np.float32))
    image = rows.reference(features="x")
    a = toy.dense("a", image, 2)
    b = toy.dense("b", image, (2, 2))
    graph = mml.ModelGraph([a, b, kind("both", [a, b])])
    error = check_refused(ShapeError, graph.build, "node 'both'", "'a' (2,)", "'b' (2, 2)")
    assert "both" in str(error)


def test_an_output_that_disagrees_with_the_declared_shape():
    rows = toy.data()
    model = mml.Model(np.negative, backend="numpy", output_shape=7)
    graph = mml.ModelGraph([mml.ModelNode("f", model, toy.reference(rows))])
    with pytest.raises(ShapeError, match="another shape than the declared") as caught:
        graph.build()
    assert "node 'f'" in str(caught.value)
    assert (caught.value.expected, caught.value.found) == ("(7,)", "(3,)")


def test_a_declared_shape_that_agrees_is_no_argument_of_a_function():
    rows = toy.data()
    model = mml.Model(np.negative, backend="numpy", output_shape=3)
    graph = mml.ModelGraph([mml.ModelNode("f", model, toy.reference(rows))]).build()
    np.testing.assert_array_equal(graph.forward(np.ones((2, 3)))["f"], -np.ones((2, 3)))
    assert mml.Model.from_config(model.get_config()) == model


def test_a_ready_made_model_of_another_width():
    rows = toy.data()
    node = mml.ModelNode("ready", Mlp(input_shape=9, output_shape=1), toy.reference(rows))
    with pytest.raises(ShapeError) as caught:
        mml.ModelGraph([node]).build()
    assert "node 'ready'" in str(caught.value)
    assert "(9,)" in str(caught.value)
    assert "(3,)" in str(caught.value)


def test_columns_that_differ_in_shape():
    rows = toy.data()
    graph = mml.ModelGraph([toy.dense("head", rows.reference(features=["x", "u"]))])
    check_refused(ShapeError, graph.build, "node 'head'", "features.u.raw (2,)", 'combine="concat"')


# --- losses ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        (["outputs", "targets.why"], "'y'"),
        (["outputs", "target"], "'targets'"),
        (["outputs", "node.haed"], "'head'"),
        (["outputs.anchor", "targets"], "'outputs'"),
        (["outputs", "tags"], "tags=..."),
    ],
)
def test_a_loss_that_names_a_missing_input(inputs, told):
    rows = toy.data()
    graph = mml.ModelGraph([toy.dense("head", toy.reference(rows))], optimizer="sgd")
    check_refused(
        MMLError,
        lambda: planned(graph, mml.AppliedLoss("mse", on="head", inputs=inputs, label="e")),
        "'e'",
        told,
    )


# --- devices ---------------------------------------------------------------------------------------------


def test_a_device_that_is_not_there():
    rows = toy.data()
    graph = mml.ModelGraph([toy.dense("head", toy.reference(rows), device="cuda:7")], optimizer="sgd")
    check_refused(BackendError, graph.build, "node 'head'", "'cuda:7'", "'cpu'")
    with toy.fresh(rows):
        graph = mml.ModelGraph([toy.dense("head", toy.reference(rows))], optimizer="sgd")
        check_refused(
            BackendError, lambda: planned(graph, device="cuda:7"), "node 'head'", "'cuda:7'", "'cpu'"
        )


def test_two_devices_in_one_step(monkeypatch):
    capabilities = Capabilities(gradients=True, devices=("cpu", "gpu"))
    monkeypatch.setattr(SecondBackend, "capabilities", capabilities)
    with second_backend():
        rows = toy.data()
        a = mml.ModelNode("a", mml.Model("second/mlp", output_shape=2), toy.reference(rows), device="cpu")
        head = mml.ModelNode("head", mml.Model("second/mlp", output_shape=1), a, device="gpu")
        graph = mml.ModelGraph([a, head], optimizer="sgd")
        check_refused(GraphError, lambda: planned(graph), "'a' on 'cpu'", "'head' on 'gpu'")
        a.freeze()
        a.device = None
        assert [one.segment.device for one in planned(graph).segments] == ["gpu"]
        own = mml.ModelGraph([a, head], label="stages")
        a.unfreeze()
        a.device, a.optimizer, head.optimizer = "cpu", mml.Optimizer("sgd"), mml.Optimizer("sgd")
        losses = (LOSS, mml.AppliedLoss("mse", on="a", inputs=["outputs", "targets.z"]))
        plan = own.plan(toy.request(own, losses=losses))
        assert [one.segment.device for one in plan.segments] == ["cpu", "gpu"]


# --- optimizers ------------------------------------------------------------------------------------------


def test_an_optimizer_for_another_backend():
    rows = toy.data()
    optimizer = mml.Optimizer("sgd", backend="numpy")
    graph = mml.ModelGraph([toy.dense("head", toy.reference(rows))], optimizer=optimizer)
    check_refused(OptimizerError, lambda: planned(graph), "node 'head'", "'numpy'", "'reference'")


def test_an_optimizer_over_several_backends():
    with second_backend():
        rows = toy.data()
        a = mml.ModelNode("a", mml.Model("second/mlp", output_shape=2), toy.reference(rows))
        graph = mml.ModelGraph([a, toy.dense("head", a)], optimizer="sgd")
        check_refused(GraphError, lambda: planned(graph), "['a'] on 'second'", "['head'] on 'reference'")


def test_an_optimizer_of_a_node_without_parameters():
    rows = toy.data()
    a = mml.ModelNode("a", mml.Model(np.tanh, backend="numpy"), toy.reference(rows), optimizer="adam")
    graph = mml.ModelGraph([a, toy.dense("head", a)], optimizer="sgd")
    check_refused(OptimizerError, lambda: planned(graph), "node 'a'", "nothing that it could step", "'numpy'")
    assert planned(graph, active=("head",)).learning == ("head",)


def test_an_optimizer_of_a_graph_in_which_nothing_learns():
    rows = toy.data()
    graph = mml.ModelGraph([toy.foreign("head", toy.reference(rows))], optimizer="adam")
    check_refused(PhaseError, lambda: planned(graph), "'head' (FunctionModel)", "can be trained")
    frozen = toy.dense("frozen", toy.reference(rows))
    frozen.freeze()
    graph = mml.ModelGraph([frozen], optimizer="adam", label="frozen graph")
    loss = mml.AppliedLoss("mse", on="frozen")
    check_refused(PhaseError, lambda: planned(graph, loss), "'frozen' (frozen)", "Unfreeze")


# --- labels under each policy ----------------------------------------------------------------------------


def two_of_one_label(policy, rows):
    """Make a graph, then a node and a graph of labels that it has; return what the context knows by then."""
    data_context = mml.ExperimentContext.active()
    with mml.ExperimentContext(policy=policy).activate() as context:
        first = toy.dense("head", toy.reference(rows))
        graph = mml.ModelGraph([first], label="net", optimizer="sgd").build(context=data_context)
        second = toy.dense("head", toy.reference(rows), 2)
        other = mml.ModelGraph([second], label="net")
        return context, graph, other, first, second


def test_error_refuses_the_second_and_keeps_the_first():
    with mml.ExperimentContext(policy="error").activate() as context:
        rows = toy.data()
        first = toy.dense("head", toy.reference(rows))
        graph = mml.ModelGraph([first], label="net")
        check_refused(
            RegistrationError, lambda: toy.dense("head", toy.reference(rows)), "'head'", "already taken"
        )
        other = toy.dense("other", toy.reference(rows))
        check_refused(
            RegistrationError, lambda: mml.ModelGraph([other], label="net"), "'net'", "already taken"
        )
        check_refused(
            RegistrationError, lambda: toy.dense(rows.label, toy.reference(rows)), rows.label, "already taken"
        )
        assert context.get("head") is first
        assert context.get("net") is graph


@pytest.mark.parametrize("policy", ["overwrite", "overwrite_warn"])
def test_overwriting_puts_the_second_in_place_and_the_first_graph_goes_on(policy):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        context, graph, other, first, second = two_of_one_label(policy, toy.data())
    told = [str(one.message) for one in said if issubclass(one.category, OverwriteWarning)]
    assert len(told) == (2 if policy == "overwrite_warn" else 0)
    assert all("'head'" in one or "'net'" in one for one in told)
    assert context.get("head") is second
    assert context.get("net") is other
    assert graph["head"] is first
    assert graph.forward(np.ones((2, 3), np.float32))["head"].shape == (2, 1)
    assert planned(graph).learning == ("head",)


def test_no_register_registers_neither():
    context, graph, other, *_ = two_of_one_label("no_register", toy.data())
    assert context.labels() == ()
    assert graph.forward(np.ones((2, 3), np.float32))["head"].shape == (2, 1)
    assert other.label == graph.label
