"""Values of a graph are taken out and put back bit for bit, or refused whole."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import mml
from mml.backends import Controls
from mml.errors import StateError
from mml.files import flatten_state, state_digest, unflatten_state
from mml.graph.execution import LoadedBlock
from mml_conformance.reference import Mlp

from . import toy


def trained(rows, label="graph", *, build=True):
    trunk = toy.dense("trunk", toy.reference(rows), 3, hidden=[4], batch_norm=True)
    head = toy.dense("head", trunk, optimizer=mml.Optimizer("sgd", momentum=0.9))
    function = toy.foreign("function", head)
    graph = mml.ModelGraph([trunk, head, function], optimizer="adam", label=label)
    if build:
        execution = graph.prepare(toy.request(graph, losses=(mml.AppliedLoss("mse", on="head"),)))
        toy.run(execution, [[0, 1, 2], [4, 5]])
    return graph


def step(graph):
    execution = graph.prepare(toy.request(graph, losses=(mml.AppliedLoss("mse", on="head"),)))
    return toy.losses_of(toy.run(execution, [[7, 8, 9], [1, 2, 3]]))


def test_a_state_continues_to_the_bit_in_another_graph():
    rows = toy.data()
    graph = trained(rows)
    state = graph.get_state()
    digest = state_digest(state)
    losses = step(graph)
    assert state_digest(state) == digest, "the state is a copy"
    assert state_digest(graph.get_state()) != digest
    with toy.fresh(rows):
        other = trained(rows, build=False)
        other.build(seed=99)
        other.set_state(unflatten_state(*flatten_state(state)))
        assert state_digest(other.get_state()) == digest
        assert step(other).tobytes() == losses.tobytes()
    assert state_digest(other.get_state()) == state_digest(graph.get_state())


def test_going_back_within_a_graph_repeats_the_same_steps():
    graph = trained(toy.data())
    state = graph.get_state()
    first = step(graph)
    graph.set_state(state)
    assert step(graph).tobytes() == first.tobytes()
    graph.freeze(["trunk"])
    graph.set_state(state)
    assert not graph["trunk"].is_frozen


def _set(*path):
    """Return a function that sets a value, or deletes the key where the value is `...`."""
    *keys, last, value = path

    def spoil(state):
        for key in keys:
            state = state[key]
        if value is ...:
            del state[last]
        else:
            state[last] = value

    return spoil


WEIGHT = "trunk/layers.0.weight"
SPOILT = {
    "no nodes": _set("nodes", ...),
    "node missing": _set("nodes", "head", ...),
    "node more": _set("nodes", "extra", {"model": {}, "frozen": None}),
    "entry": _set("nodes", "head", {"model": {}}),
    "entry type": _set("nodes", "head", 3),
    "value missing": _set("nodes", "head", "model", {}),
    "value shape": _set("nodes", "trunk", "model", "layers.0.weight", np.zeros((1, 1), np.float32)),
    "value dtype": _set("nodes", "trunk", "model", "layers.0.weight", np.zeros((3, 4))),
    "function": _set("nodes", "function", "model", {"x": np.zeros(3)}),
    "frozen": _set("nodes", "head", "frozen", "somebody"),
    "optimizer missing": _set("optimizers", "graph", ...),
    "optimizer type": _set("optimizers", "head", [1]),
    "slots type": _set("optimizers", "graph", WEIGHT, 3),
    "slot shape": _set("optimizers", "graph", WEIGHT, "first_moment", np.zeros(2, np.float32)),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_a_state_that_does_not_fit_is_refused_and_changes_nothing(kind):
    graph = trained(toy.data())
    good = graph.get_state()
    step(graph)
    now = state_digest(graph.get_state())
    spoilt = copy.deepcopy(good)
    SPOILT[kind](spoilt)
    with pytest.raises(StateError):
        graph.set_state(spoilt)
    assert state_digest(graph.get_state()) == now


@pytest.mark.parametrize("state", [None, 3, [], {}])
def test_what_is_no_state_is_refused(state):
    graph = trained(toy.data())
    with pytest.raises(StateError):
        graph.set_state(state)


def test_slots_of_another_optimizer_or_shape_are_refused_when_they_are_used():
    rows = toy.data()
    graph = trained(rows)
    state = graph.get_state()
    with toy.fresh(rows):
        node = toy.dense("head", toy.reference(rows))
        other = mml.ModelGraph([node], optimizer=mml.Optimizer("adam"))
        other.optimizer.set_state(
            {"head/layers.0.weight": {"step": 1, "velocity": np.zeros((3, 1), np.float32)}}
        )
        with pytest.raises(StateError, match="another kind of optimizer"):
            step(other)
        moments = dict.fromkeys(("first_moment", "second_moment"), np.zeros((1, 1), np.float32))
        other.optimizer.set_state({"head/layers.0.weight": {"step": 1, **moments}})
        with pytest.raises(StateError, match="another shape"):
            step(other)
    assert state["optimizers"].keys() == {"graph", "head"}


def test_an_unfinished_window_of_accumulation_is_part_of_the_state():
    rows = toy.data()
    node = toy.dense("head", toy.reference(rows), hidden=[3])
    graph = mml.ModelGraph([node], optimizer=mml.Optimizer("adam", accumulate=2))
    execution = graph.prepare(toy.request(graph, losses=(mml.AppliedLoss("mse", on="head"),)))
    toy.run(execution, [[0, 1], [2, 3], [4, 5], [6, 7]], accumulate=2)
    whole = state_digest(graph.get_state())
    graph.reset(seed=0)
    # The window's rows are known beforehand, as a phase knows them.
    views = toy.steps(execution, [[0, 1], [2, 3], [4, 5], [6, 7]])
    fed = execution.feed.block(views)
    controls = Controls(
        seeds=np.arange(1, 5),
        rates=np.full((4, 1), 1e-3),
        apply=np.array([[False], [True], [False], [True]]),
        accumulated=np.full((4, 1), 4),
    )
    loaded = LoadedBlock(fed, [controls])
    execution.run(loaded, 0, 3)
    middle = graph.get_state()
    graph.reset(seed=5)
    graph.set_state(unflatten_state(*flatten_state(middle)))
    execution.run(loaded, 3, 4)
    assert state_digest(graph.get_state()) == whole


def test_reset_forgets_slots_and_returns_to_initial_values():
    graph = trained(toy.data())
    graph.reset(seed=0)
    assert graph.optimizer.get_state() == {}
    fresh = state_digest(graph.get_state()["nodes"])
    step(graph)
    graph.reset(seed=0)
    assert state_digest(graph.get_state()["nodes"]) == fresh


def test_an_instance_keeps_its_values_and_reset_returns_to_them():
    rows = toy.data()
    network = Mlp(input_shape=3, output_shape=1, seed=12)
    original = {name: value.copy() for name, value in network.values.items()}
    graph = mml.ModelGraph([mml.ModelNode("head", network, toy.reference(rows))], optimizer="adam")
    step(graph)
    assert any(not np.array_equal(original[name], network.values[name]) for name in original)
    graph.reset(seed=3)
    assert all(np.array_equal(original[name], network.values[name]) for name in original)
