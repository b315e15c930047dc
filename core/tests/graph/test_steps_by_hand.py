"""One step on arrays given by hand: the numbers of a phase, without an experiment, and what it refuses."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import mml
from mml.errors import GraphError, MMLError
from mml.files import state_digest
from mml.processing import Batch, SampleData

from . import toy
from .oracle import Adam, Net, Sgd, close, mse

ROWS = [3, 1, 7, 12, 20]


def columns(rows, *keys, at=ROWS):
    return [toy.column(rows, key)[at].astype(np.float32) for key in keys]


def single(optimizer="sgd", rows=None, **settings):
    rows = rows or toy.data()
    graph = mml.ModelGraph([toy.dense("a", toy.reference(rows), hidden=[4], **settings)], optimizer=optimizer)
    return rows, graph.build(seed=2)


LOSS = mml.AppliedLoss("mse", on="a")


@pytest.mark.parametrize(
    ("optimizer", "oracle"),
    [(mml.Optimizer("adam", lr=0.03), lambda: Adam(0.03)), (mml.Optimizer("sgd"), lambda: Sgd(0.01))],
)
def test_a_step_is_the_one_that_a_hand_computes(optimizer, oracle):
    rows, graph = single(mml.Optimizer.from_config(optimizer.get_config()))
    net, rule = Net(toy.values(graph, "a")), oracle()
    for at in ([3, 1, 7], [12, 20]):
        x, y = columns(rows, "x", "y", at=at)
        before = net.forward(x.astype(np.float64))
        loss, slope = mse(before, y.astype(np.float64))
        outcome = graph.train_step(x, y, losses=LOSS)
        np.testing.assert_allclose(outcome.losses["a/mse"], loss, rtol=1e-5)
        np.testing.assert_allclose(outcome.outputs["a"], before, rtol=1e-4, atol=1e-5)
        rule.step(net, net.backward(slope)[1])
    assert close(toy.values(graph, "a"), net)


def test_it_is_bit_for_bit_a_phases_step_and_shares_its_slots():
    rows, graph = single("adam")
    execution = graph.prepare(toy.request(graph, losses=(LOSS,)))
    toy.run(execution, [ROWS, [0, 2]])
    with toy.fresh(rows):
        _, by_hand = single("adam", rows)
        for at in (ROWS, [0, 2]):
            x, y = columns(rows, "x", "y", at=at)
            by_hand.train_step(x, y, losses=[LOSS])
    assert state_digest(by_hand.get_state()) == state_digest(graph.get_state())
    assert {slots["step"] for slots in by_hand.optimizer.get_state().values()} == {2}


def test_nothing_stands_behind_it_but_the_graph():
    """No FeatureSet is registered, and the graph's own need not exist any more."""
    rows, graph = single()
    context = mml.ExperimentContext.active()
    labels = context.labels()
    x, y = columns(rows, "x", "y")
    graph.train_step(x, y, losses=LOSS)
    assert context.labels() == labels
    context.remove(rows.label)
    graph.train_step(x, y, losses=LOSS)


def test_eval_is_forward_with_losses_and_changes_nothing():
    rows, graph = single(batch_norm=True, dropout=0.4)
    x, y = columns(rows, "x", "y")
    before = state_digest(graph.get_state())
    outcome = graph.eval_step(x, y, losses=LOSS)
    np.testing.assert_array_equal(outcome.outputs["a"], graph.forward(x)["a"])
    expected = np.mean((outcome.outputs["a"].astype(np.float64) - y) ** 2)
    np.testing.assert_allclose(outcome.losses["a/mse"], expected, rtol=1e-5)
    assert state_digest(graph.get_state()) == before
    assert graph.eval_step(x).losses == {}
    assert np.isnan(graph.eval_step(x).total)


def two_heads(rows):
    a = toy.dense("a", toy.reference(rows), 3)
    b = toy.dense("b", toy.reference(rows, features="u"), 3)
    both = mml.SumNode("both", [a, b])
    graph = mml.ModelGraph([a, b, both, toy.dense("head", both)], optimizer="sgd")
    return graph.build(seed=1)


def test_several_heads_take_their_inputs_by_name_and_share_targets():
    rows = toy.data()
    graph = two_heads(rows)
    loss = mml.AppliedLoss("mse", on="head")
    execution = graph.prepare(toy.request(graph, losses=(loss,)))
    (expected,) = toy.run(execution, [ROWS])
    with toy.fresh(rows):
        other = two_heads(rows)
        x, u, y = columns(rows, "x", "u", "y")
        outcome = other.train_step({"a": x, "b": u}, y, losses=loss)
    assert outcome.losses["head/mse"] == expected.losses()[0, 0]
    assert state_digest(other.get_state()) == state_digest(graph.get_state())
    with toy.fresh(rows):
        third = two_heads(rows)
        third.train_step({"a": x, "b": u}, {"a": y, "b": y.copy()}, losses=loss)
    assert state_digest(third.get_state()) == state_digest(graph.get_state())


def test_targets_that_differ_between_heads_are_not_taken_for_the_same():
    rows = toy.data()
    graph = two_heads(rows)
    x, u, y = columns(rows, "x", "u", "y")
    with pytest.raises(GraphError, match="different targets"):
        graph.train_step({"a": x, "b": u}, {"a": y, "b": y + 1}, losses=mml.AppliedLoss("mse", on="head"))


def test_a_merge_that_reads_data_takes_each_of_its_inputs():
    rows = toy.data()
    both = mml.ConcatNode("both", [toy.reference(rows), toy.reference(rows, features="u")])
    graph = mml.ModelGraph([both]).build()
    x, u = columns(rows, "x", "u")
    found = graph.eval_step({"both[0]": x, "both[1]": u}).outputs["both"]
    np.testing.assert_array_equal(found, np.concatenate([x, u], axis=1))


def test_columns_are_combined_as_the_reference_says():
    rows = toy.data()
    node = toy.dense("a", rows.reference(features=["u", "x"], targets="y", combine="concat"))
    graph = mml.ModelGraph([node], optimizer="sgd").build(seed=0)
    x, u, y = columns(rows, "x", "u", "y")
    named = graph.eval_step({"x": x, "u": u}, {"y": y}, losses=LOSS)
    plain = graph.eval_step(np.concatenate([u, x], axis=1), y, losses=LOSS)
    assert named.losses == plain.losses
    np.testing.assert_array_equal(named.outputs["a"], plain.outputs["a"])


def test_tags_weigh_rows_and_columns_are_read_by_name():
    rows, graph = single()
    x, y, w = columns(rows, "x", "y", "w")
    loss = mml.AppliedLoss("mse", on="a", sample_weight="tags.w", weight=0.5)
    outcome = graph.eval_step(x, y, tags={"w": w.ravel()}, losses=loss)
    rowwise = np.mean((outcome.outputs["a"].astype(np.float64) - y) ** 2, axis=1)
    expected = np.sum(w.ravel() * rowwise) / len(x)
    np.testing.assert_allclose(outcome.losses["a/mse"], expected, rtol=1e-5)
    np.testing.assert_allclose(outcome.total, expected / 2, rtol=1e-5)
    keyed = mml.AppliedLoss("mse", on="a", inputs=["outputs", "targets.other"])
    found = graph.eval_step(x, {"y": y, "other": y * 0}, losses=keyed)
    np.testing.assert_allclose(found.total, np.mean(outcome.outputs["a"] ** 2), rtol=1e-5)


def test_a_batch_brings_its_targets_roles_and_masks():
    rows, graph = single()
    x, y = columns(rows, "x", "y")
    mask = np.array([True, False, True, True, False])
    nobody = np.zeros((5, 16), np.uint8)
    samples = SampleData({"x": x}, targets={"y": y}, tags={}, mask=mask, sample_uuids=nobody)
    masked = graph.eval_step(Batch({"default": samples}), losses=LOSS)
    live = graph.eval_step(x[mask], y[mask], losses=LOSS)
    assert masked.losses == live.losses
    np.testing.assert_array_equal(masked.outputs["a"], live.outputs["a"])
    with pytest.raises(GraphError, match="of its own"):
        graph.eval_step(Batch({"default": samples}), y, losses=LOSS)


def test_roles_run_one_by_one():
    rows, graph = single()
    x, y = columns(rows, "x", "y")

    def samples(shift):
        return SampleData(
            {"x": x + shift},
            targets={"y": y},
            tags={},
            mask=np.ones(5, bool),
            sample_uuids=np.zeros((5, 16), np.uint8),
        )

    batch = Batch({"anchor": samples(0), "pair": samples(1)})
    loss = mml.AppliedLoss("mse", on="a", inputs=["outputs.anchor", "outputs.pair"])
    outcome = graph.eval_step(batch, losses=loss)
    assert list(outcome.outputs) == ["a:anchor", "a:pair"]
    np.testing.assert_array_equal(outcome.outputs["a:pair"], graph.forward(x + 1)["a"])


def test_the_contexts_of_a_phase_are_steps_that_can_be_taken_by_hand():
    rows = toy.data()
    rows.split_random(ratios={"train": 0.6, "val": 0.4}, seed=0)
    _, graph = single(rows=rows)
    sampler = mml.SimpleSampler(batch_size=4, shuffle=True, seed=3)
    batches = list(sampler.bind(rows["train"]))
    losses = [graph.train_step(batch, losses=LOSS).total for batch in batches]
    with toy.fresh(rows):
        _, other = single(rows=rows)
        experiment = mml.Experiment("same", other)
        other.build(seed=2)
        phase = mml.TrainPhase.from_split("train", split="train", sampler=sampler, losses=[LOSS])
        result = experiment.run_phase(phase)
    found = result.metrics(level="batch").where(name="train_loss").to_pandas()["value"]
    np.testing.assert_array_equal(losses, found)
    assert state_digest(other.get_state()) == state_digest(graph.get_state())


def test_frozen_nodes_stay_and_active_nodes_learn():
    rows = toy.data()
    a = toy.dense("a", toy.reference(rows), 2)
    graph = mml.ModelGraph([a, toy.dense("b", a)], optimizer="sgd").build(seed=0)
    x, y = columns(rows, "x", "y")
    before = {label: state_digest(toy.values(graph, label)) for label in "ab"}
    loss = mml.AppliedLoss("mse", on="b")
    graph.train_step(x, y, losses=loss, active_nodes="b")
    assert state_digest(toy.values(graph, "a")) == before["a"]
    assert state_digest(toy.values(graph, "b")) != before["b"]
    graph.freeze("a")
    graph.train_step(x, y, losses=loss)
    assert state_digest(toy.values(graph, "a")) == before["a"]


def test_the_rate_may_be_given_and_schedules_do_not_count():
    rows, graph = single(mml.Optimizer("sgd", lr=0.5, schedule="cosine"))
    x, y = columns(rows, "x", "y")
    before = toy.values(graph, "a")
    graph.train_step(x, y, losses=LOSS, learning_rate=0)
    assert state_digest(toy.values(graph, "a")) == state_digest(before)
    graph.train_step(x, y, losses=LOSS)
    net = Net(before)
    _, slope = mse(net.forward(x.astype(np.float64)), y.astype(np.float64))
    Sgd(0.5).step(net, net.backward(slope)[1])
    assert close(toy.values(graph, "a"), net)
    for wrong in (-1, float("nan"), "fast", True):
        with pytest.raises(MMLError, match="learning_rate"):
            graph.train_step(x, y, losses=LOSS, learning_rate=wrong)


def test_what_is_random_differs_from_step_to_step_and_repeats_by_seed():
    rows, graph = single(mml.Optimizer("sgd", lr=1e-12), dropout=0.5)
    x, y = columns(rows, "x", "y")
    first = [graph.train_step(x, y, losses=LOSS, learning_rate=0).total for _ in range(4)]
    assert len(set(first)) > 1
    graph.reset()
    assert [graph.train_step(x, y, losses=LOSS, learning_rate=0).total for _ in range(4)] == first
    given = {graph.train_step(x, y, losses=LOSS, learning_rate=0, seed=9).total for _ in range(3)}
    assert len(given) == 1


def test_accumulation_has_no_place_in_a_single_step():
    rows, graph = single(mml.Optimizer("sgd", lr=0.1, accumulate=3))
    with toy.fresh(rows):
        _, plain = single(mml.Optimizer("sgd", lr=0.1), rows)
    x, y = columns(rows, "x", "y")
    for one in (graph, plain):
        one.train_step(x, y, losses=LOSS)
    assert state_digest(toy.values(graph, "a")) == state_digest(toy.values(plain, "a"))


REFUSED = [
    (lambda g, x, y: g.train_step(x, y, losses="mse"), "applied losses"),
    (lambda g, x, y: g.train_step(x, y, losses=["mse"]), "AppliedLoss"),
    (lambda g, x, y: g.train_step(x, y, losses=[]), "reached by no loss"),
    (lambda g, x, y: g.train_step(x, losses=LOSS), "has no targets"),
    (lambda g, x, y: g.train_step(x, y[:3], losses=LOSS), "different numbers of rows"),
    (lambda g, x, y: g.train_step(x[:, :2], y, losses=LOSS), "built for"),
    (lambda g, x, y: g.train_step({"xx": x}, y, losses=LOSS), "'xx'"),
    (lambda g, x, y: g.train_step({"a": x, "b": x}, y, losses=LOSS), "no input 'b'"),
    (lambda g, x, y: g.train_step("x", y, losses=LOSS), "arrays of numbers"),
    (lambda g, x, y: g.train_step(3.0, y, losses=LOSS), "arrays of numbers"),
    (lambda g, x, y: g.train_step(None, y, losses=LOSS), "'a'"),
    (lambda g, x, y: g.train_step(x, y, losses=mml.AppliedLoss("mse", on="b")), "'b'"),
    (lambda g, x, y: g.train_step(x, y, losses=LOSS, active_nodes="b"), "'b'"),
    (lambda g, x, y: g.train_step(x, y, losses=[LOSS, LOSS]), "Two losses"),
    (lambda g, x, y: g.fit_step(x, y), "can be fitted"),
]


@pytest.mark.parametrize(("step", "match"), REFUSED, ids=range(len(REFUSED)))
def test_what_does_not_fit_is_refused_by_name_and_changes_nothing(step, match):
    rows, graph = single()
    before = state_digest(graph.get_state())
    with pytest.raises(MMLError) as caught:
        step(graph, *columns(rows, "x", "y"))
    assert match in str(caught.value)
    assert "graph 'model-graph'" in str(caught.value)
    assert state_digest(graph.get_state()) == before
    assert not graph.run_lock.is_held


def test_several_inputs_have_to_be_told_apart():
    rows = toy.data()
    graph = two_heads(rows)
    x, y = columns(rows, "x", "y")
    loss = mml.AppliedLoss("mse", on="head")
    with pytest.raises(GraphError, match="by input") as caught:
        graph.train_step(x, y, losses=loss)
    assert "'a', 'b'" in caught.value.expected
    with pytest.raises(GraphError, match="got none") as caught:
        graph.train_step({"a": x}, y, losses=loss)
    assert "node 'b'" in str(caught.value)


def test_a_graph_that_is_not_built_or_is_run_elsewhere_is_refused():
    rows = toy.data()
    graph = mml.ModelGraph([toy.dense("a", toy.reference(rows))], optimizer="sgd")
    x, y = columns(rows, "x", "y")
    with pytest.raises(GraphError, match=r"graph\.build\(\)|not built") as caught:
        graph.train_step(x, y, losses=LOSS)
    assert "graph.build()" in caught.value.hint
    graph.build()
    held, done = threading.Event(), threading.Event()

    def hold():
        graph.run_lock.acquire()
        held.set()
        done.wait(10)
        graph.run_lock.release()

    other = threading.Thread(target=hold)
    other.start()
    held.wait(10)
    try:
        with pytest.raises(GraphError, match="another thread"):
            graph.train_step(x, y, losses=LOSS)
    finally:
        done.set()
        other.join()


def test_a_loss_that_wants_a_phases_context_is_refused():
    rows, graph = single()
    x, y = columns(rows, "x", "y")

    def told(outputs, targets, context):
        return (outputs - targets) ** 2 * (context.epoch + 1)

    with pytest.raises(MMLError, match="context"):
        graph.eval_step(x, y, losses=mml.AppliedLoss(told, on="a"))
