"""Settings that a backend has to declare: an optimising compiler, and a precision to train in."""

from __future__ import annotations

import json

import numpy as np
import pytest

import mml
from mml.backends import Capabilities
from mml.errors import GraphError, MMLError, OptimizerError
from mml.graph.execution import signature

from . import toy
from .second_backend import SecondBackend, second_backend


@pytest.fixture
def able(monkeypatch):
    """The second backend, which has a compiler and trains in bf16, as far as core can tell."""
    capabilities = Capabilities(gradients=True, compiler=True, precisions=("float32", "bf16"))
    monkeypatch.setattr(SecondBackend, "capabilities", capabilities)
    with second_backend() as backend:
        yield backend


def other(label, upstream, width=1, **settings):
    return mml.ModelNode(label, mml.Model("second/mlp", output_shape=width), upstream, **settings)


def segments(graph, *on, mode="train"):
    losses = tuple(mml.AppliedLoss("mse", on=label) for label in on)
    return [one.segment for one in graph.plan(toy.request(graph, mode, losses=losses)).segments]


# --- compiler --------------------------------------------------------------------------------------------


def test_a_compiler_that_no_backend_has_is_refused_naming_backends_and_mend():
    rows = toy.data()
    graph = mml.ModelGraph([toy.dense("a", toy.reference(rows))], optimizer="sgd", jit_compile=True)
    with pytest.raises(GraphError, match="none of its backends has a compiler") as caught:
        segments(graph, "a")
    assert "'reference'" in caught.value.found
    assert "Leave jit_compile out" in caught.value.hint
    assert "graph 'model-graph'" in str(caught.value)
    assert "refused: The graph asks for jit_compile" in graph.explain()


def test_segments_of_backends_with_a_compiler_are_handed_to_it_and_the_others_not(able):
    rows = toy.data()
    a = toy.dense("a", toy.reference(rows), 1, optimizer="sgd")
    graph = mml.ModelGraph([a, other("b", a, optimizer="sgd")], jit_compile=True)
    found = segments(graph, "a", "b")
    assert [(one.backend, one.jit_compile) for one in found] == [("reference", False), ("second", True)]
    assert [one.jit_compile for one in segments(graph, "b", mode="eval")] == [False, True]
    assert "Compiled by an optimising compiler: what runs on second." in graph.explain()


def test_a_compiled_segment_is_another_program(able):
    rows = toy.data()
    plain = mml.ModelGraph([other("b", toy.reference(rows))], optimizer="sgd")
    (without,) = segments(plain, "b")
    compiled = mml.ModelGraph([plain["b"]], optimizer=plain.optimizer, jit_compile=True, label="compiled")
    (found,) = segments(compiled, "b")
    assert signature(found) != signature(without)
    assert not without.jit_compile


@pytest.mark.parametrize("value", [1, "yes", None])
def test_jit_compile_is_true_or_false(value):
    with pytest.raises(GraphError, match="True or False") as caught:
        mml.ModelGraph([toy.dense("a", toy.data())], jit_compile=value)
    assert caught.value.found == repr(value)


def test_a_graph_writes_down_whether_it_is_compiled():
    rows = toy.data()
    graph = mml.ModelGraph([toy.dense("a", toy.reference(rows))], jit_compile=True)
    config = json.loads(json.dumps(graph.get_config()))
    with toy.fresh(rows):
        again = mml.ModelGraph.from_config(config)
    assert again.jit_compile is True
    assert again == graph
    with toy.fresh(rows):
        assert mml.ModelGraph.from_config({**config, "jit_compile": False}) != graph
    del config["jit_compile"]
    with toy.fresh(rows):
        assert mml.ModelGraph.from_config(config).jit_compile is False


# --- precision -------------------------------------------------------------------------------------------


def test_a_precision_that_the_backend_lacks_is_refused_naming_nodes_and_mend():
    rows = toy.data()
    optimizer = mml.Optimizer("sgd", precision="bf16")
    graph = mml.ModelGraph([toy.dense("a", toy.reference(rows))], optimizer=optimizer)
    with pytest.raises(OptimizerError, match="does not train in bf16") as caught:
        segments(graph, "a")
    assert "'reference'" in caught.value.what
    assert "nodes 'a'" in str(caught.value)
    assert "Leave `precision` out" in caught.value.hint
    assert "does not train in bf16" in graph.explain()


def test_training_segments_get_the_precision_and_constants_do_not(able):
    rows = toy.data()
    a = other("a", toy.reference(rows), 2, optimizer=mml.Optimizer("adam", precision="bf16"))
    b = other("b", a, optimizer="adam")
    graph = mml.ModelGraph([a, b])
    found = segments_of_two(graph)
    assert [(one.learning, one.precision) for one in found] == [(("a",), "bf16"), (("b",), "float32")]
    assert {one.precision for one in segments(graph, "b", mode="eval")} == {"float32"}
    a.optimizer = mml.Optimizer("adam")
    plain = segments_of_two(graph)
    assert signature(plain[0]) != signature(found[0])
    assert {one.precision for one in plain} == {"float32"}


def segments_of_two(graph):
    losses = (
        mml.AppliedLoss("mse", on="a", inputs=["outputs", "targets.z"]),
        mml.AppliedLoss("mse", on="b", inputs=["outputs", "targets.y"]),
    )
    return [one.segment for one in graph.plan(toy.request(graph, losses=losses)).segments]


def test_one_backward_pass_has_one_precision(able):
    rows = toy.data()
    a = other("a", toy.reference(rows), 2, optimizer=mml.Optimizer("sgd", precision="bf16"))
    graph = mml.ModelGraph([a, other("b", a)], optimizer="sgd")
    with pytest.raises(OptimizerError, match="different precisions") as caught:
        segments(graph, "b")
    assert caught.value.found == "a: bf16; b: float32"
    assert "Give them the same" in caught.value.hint


@pytest.mark.parametrize("value", ["fp16", "bf61", "float64", 16, None])
def test_a_precision_is_one_of_two(value):
    with pytest.raises(OptimizerError, match="no precision") as caught:
        mml.Optimizer("adam", precision=value)
    assert "'float32', 'bf16'" in caught.value.expected


def test_an_optimizer_writes_its_precision_down():
    optimizer = mml.Optimizer("adam", precision="bf16")
    config = json.loads(json.dumps(optimizer.get_config()))
    assert mml.Optimizer.from_config(config) == optimizer
    assert mml.Optimizer.from_config(config).precision == "bf16"
    assert optimizer != mml.Optimizer("adam")
    del config["precision"]
    assert mml.Optimizer.from_config(config).precision == "float32"


def test_what_is_given_by_hand_is_held_to_the_same():
    rows = toy.data()
    graph = mml.ModelGraph(
        [toy.dense("a", toy.reference(rows))], optimizer=mml.Optimizer("sgd", precision="bf16")
    ).build()
    with pytest.raises(MMLError, match="bf16"):
        graph.train_step(
            np.ones((2, 3), np.float32), np.ones((2, 1), np.float32), losses=mml.AppliedLoss("mse", on="a")
        )
