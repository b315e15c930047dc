"""Training steps against a trainer written by hand in float64: forward, backward and update."""

from __future__ import annotations

import numpy as np
import pytest

import mml
from mml.files import state_digest

from . import toy
from .oracle import Adam, Net, Sgd, close, mse

BATCHES = [[0, 5, 7, 2], [1, 3, 9, 11, 4], [22, 8], [6], [10, 12, 14, 13, 15]]


def prepared(graph, losses, **settings):
    return graph.prepare(toy.request(graph, losses=tuple(losses), **settings))


def single(optimizer, **loss):
    rows = toy.data()
    node = toy.dense("a", toy.reference(rows), hidden=[4])
    graph = mml.ModelGraph([node], optimizer=optimizer)
    return rows, graph, prepared(graph, [mml.AppliedLoss("mse", on="a", **loss)])


@pytest.mark.parametrize(
    ("optimizer", "oracle"),
    [
        (mml.Optimizer("sgd", lr=0.1, momentum=0.9), lambda: Sgd(0.1, 0.9)),
        (mml.Optimizer("adam", lr=0.03), lambda: Adam(0.03)),
        (mml.Optimizer("adam"), Adam),
    ],
    ids=["sgd", "adam", "default rate"],
)
def test_a_single_model_is_trained_as_by_hand(optimizer, oracle):
    optimizer = mml.Optimizer.from_config(optimizer.get_config())
    rows, graph, execution = single(optimizer)
    net, rule, expected = Net(toy.values(graph, "a")), oracle(), []
    x, y = toy.column(rows, "x"), toy.column(rows, "y")
    for batch in BATCHES:
        loss, slope = mse(net.forward(x[batch]), y[batch])
        expected.append(loss)
        rule.step(net, net.backward(slope)[1])

    results = toy.run(execution, BATCHES)

    assert close(toy.values(graph, "a"), net)
    np.testing.assert_allclose(toy.losses_of(results)[:, 0], expected, rtol=1e-5)
    assert toy.rows_of(results)[:, 0].tolist() == [4, 5, 2, 1, 5]


def test_two_heads_share_a_trunk_and_their_losses_are_weighted():
    rows = toy.data()
    trunk = toy.dense("trunk", toy.reference(rows, targets=["y", "z"]), 3, hidden=[5])
    heads = [toy.dense("p", trunk, 1), toy.dense("q", trunk, 2)]
    graph = mml.ModelGraph([*heads, trunk], optimizer=mml.Optimizer("adam", lr=0.02))
    execution = prepared(
        graph,
        [
            mml.AppliedLoss("mse", on="p", inputs=["outputs", "targets.y"], weight=0.3),
            mml.AppliedLoss("mse", on="q", inputs=["outputs", "targets.z"], weight=2.0),
        ],
    )
    assert len(execution.plan.segments) == 1
    nets = {label: Net(toy.values(graph, label)) for label in graph.nodes}
    rule = Adam(0.02)
    x, y, z = (toy.column(rows, key) for key in "xyz")
    expected = []
    for batch in BATCHES:
        h = nets["trunk"].forward(x[batch])
        one, slope_p = mse(nets["p"].forward(h), y[batch])
        two, slope_q = mse(nets["q"].forward(h), z[batch])
        expected.append((one, two))
        back_p, grads_p = nets["p"].backward(0.3 * slope_p)
        back_q, grads_q = nets["q"].backward(2.0 * slope_q)
        grads = {"p": grads_p, "q": grads_q, "trunk": nets["trunk"].backward(back_p + back_q)[1]}
        for label, found in grads.items():
            rule.step(nets[label], found, label)

    results = toy.run(execution, BATCHES)

    np.testing.assert_allclose(toy.losses_of(results), expected, rtol=1e-4)
    assert all(close(toy.values(graph, label), nets[label]) for label in nets)


def test_two_branches_meet_in_a_concat():
    rows = toy.data()
    a = toy.dense("a", toy.reference(rows), 2, hidden=[3])
    b = toy.dense("b", toy.reference(rows, features="u"), 3)
    both = mml.ConcatNode("both", [b, a])
    head = toy.dense("head", both, 1)
    graph = mml.ModelGraph([head, both, a, b], optimizer=mml.Optimizer("sgd", lr=0.2))
    execution = prepared(graph, [mml.AppliedLoss("mse", on=head)])
    assert len(execution.plan.segments) == 1
    nets = {label: Net(toy.values(graph, label)) for label in ("a", "b", "head")}
    rule = Sgd(0.2)
    x, u, y = (toy.column(rows, key) for key in "xuy")
    for batch in BATCHES:
        joined = np.concatenate([nets["b"].forward(u[batch]), nets["a"].forward(x[batch])], axis=1)
        _, slope = mse(nets["head"].forward(joined), y[batch])
        back, found = nets["head"].backward(slope)
        rule.step(nets["head"], found, "head")
        rule.step(nets["b"], nets["b"].backward(back[:, :3])[1], "b")
        rule.step(nets["a"], nets["a"].backward(back[:, 3:])[1], "a")

    toy.run(execution, BATCHES)

    assert all(close(toy.values(graph, label), nets[label]) for label in nets)


def test_a_frozen_trunk_stays_to_the_bit_and_gradients_pass_through_a_frozen_head():
    rows = toy.data()
    trunk = toy.dense("trunk", toy.reference(rows), 4)
    middle = toy.dense("middle", trunk, 2, hidden=[3])
    head = toy.dense("head", middle, 1)
    graph = mml.ModelGraph([trunk, middle, head], optimizer=mml.Optimizer("adam", lr=0.05))
    graph.freeze(["trunk", "head"])
    execution = prepared(graph, [mml.AppliedLoss("mse", on="head")])
    assert execution.plan.learning == ("middle",)
    before = {label: toy.values(graph, label) for label in graph.nodes}
    nets = {label: Net(found) for label, found in before.items()}
    rule = Adam(0.05)
    x, y = toy.column(rows, "x"), toy.column(rows, "y")
    for batch in BATCHES:
        out = nets["head"].forward(nets["middle"].forward(nets["trunk"].forward(x[batch])))
        back, _ = nets["head"].backward(mse(out, y[batch])[1])
        rule.step(nets["middle"], nets["middle"].backward(back)[1])

    toy.run(execution, BATCHES)

    assert close(toy.values(graph, "middle"), nets["middle"])
    for label in ("trunk", "head"):
        after = toy.values(graph, label)
        assert all(np.array_equal(before[label][name], after[name]) for name in after)
    assert {name.partition("/")[0] for name in graph.optimizer.get_state()} == {"middle"}


def test_a_chain_is_trained_stage_by_stage_and_gradients_stop_between():
    rows = toy.data()
    first = toy.dense("first", toy.reference(rows), 1, hidden=[4], optimizer=mml.Optimizer("adam", lr=0.02))
    second = toy.dense("second", first, 1, optimizer=mml.Optimizer("sgd", lr=0.1))
    graph = mml.ModelGraph([first, second])
    execution = prepared(graph, [mml.AppliedLoss("mse", on="first"), mml.AppliedLoss("mse", on="second")])
    assert [[call.node for call in one.segment.calls] for one in execution.plan.segments] == [
        ["first"],
        ["second"],
    ]
    nets = {label: Net(toy.values(graph, label)) for label in graph.nodes}
    adam, sgd = Adam(0.02), Sgd(0.1)
    x, y = toy.column(rows, "x"), toy.column(rows, "y")
    expected = []
    for batch in BATCHES:
        # The second stage reads what the first one predicted before its update.
        h = nets["first"].forward(x[batch])
        one, slope = mse(h, y[batch])
        adam.step(nets["first"], nets["first"].backward(slope)[1])
        two, slope = mse(nets["second"].forward(h), y[batch])
        sgd.step(nets["second"], nets["second"].backward(slope)[1])
        expected.append((one, two))

    results = toy.run(execution, BATCHES)

    np.testing.assert_allclose(toy.losses_of(results), expected, rtol=1e-4)
    assert all(close(toy.values(graph, label), nets[label]) for label in nets)


def test_sample_weights_multiply_rows_and_the_mean_counts_rows():
    rows = toy.data()
    graph = mml.ModelGraph(
        [toy.dense("a", toy.reference(rows, tags="w"), hidden=[4])], optimizer=mml.Optimizer("sgd", lr=0.1)
    )
    execution = prepared(graph, [mml.AppliedLoss("mse", on="a", sample_weight="tags.w")])
    net, rule = Net(toy.values(graph, "a")), Sgd(0.1)
    x, y, w = (toy.column(rows, key) for key in "xyw")
    expected = []
    for batch in BATCHES:
        loss, slope = mse(net.forward(x[batch]), y[batch], w[batch])
        expected.append(loss)
        rule.step(net, net.backward(slope)[1])

    results = toy.run(execution, BATCHES)

    np.testing.assert_allclose(toy.losses_of(results)[:, 0], expected, rtol=1e-5)
    assert close(toy.values(graph, "a"), net)


def test_masked_rows_that_hold_nan_give_the_bits_of_deleted_rows():
    poisoned = toy.data()
    x = toy.column(poisoned, "x").astype(np.float32)
    x[[0, 4, 9]] = np.nan
    rows = toy.data(x=x)
    masked = [[-1, 5, -1, 7, 2], [1, -1, 3], [-1, -1, 8]]
    deleted = [[5, 7, 2], [1, 3], [8]]
    states = []
    for batches in (masked, deleted):
        with toy.fresh(rows):
            graph = mml.ModelGraph(
                [toy.dense("a", toy.reference(rows), hidden=[4])], optimizer=mml.Optimizer("adam")
            )
            execution = prepared(graph, [mml.AppliedLoss("mse", on="a")])
            losses = toy.losses_of(toy.run(execution, batches))
            states.append((toy.values(graph, "a"), losses))
    (one, losses), (other, expected) = states
    assert np.isfinite(losses).all()
    assert losses.tobytes() == expected.tobytes()
    assert all(one[name].tobytes() == other[name].tobytes() for name in one)


@pytest.mark.parametrize("sizes", [(3, 5), (4, 4), (1, 6)])
def test_accumulating_two_batches_equals_one_batch_of_their_rows(sizes):
    rows = toy.data()
    every = list(range(sum(sizes)))
    parts = [every[: sizes[0]], every[sizes[0] :]]
    found = []
    for accumulate, batches in ((2, [*parts, *parts]), (1, [every, every])):
        with toy.fresh(rows):
            graph = mml.ModelGraph(
                [toy.dense("a", toy.reference(rows), hidden=[4])],
                optimizer=mml.Optimizer("adam", lr=0.05, accumulate=accumulate, clip_norm=0.5),
            )
            execution = prepared(graph, [mml.AppliedLoss("mse", on="a")])
            toy.run(execution, batches, accumulate=accumulate)
            found.append((toy.values(graph, "a"), graph.optimizer.get_state()))
    (one, slots), (other, expected) = found
    for name in one:
        np.testing.assert_allclose(one[name], other[name], rtol=1e-5, atol=1e-6)
    assert (
        {name: int(state["step"]) for name, state in slots.items()}
        == {name: int(state["step"]) for name, state in expected.items()}
        == dict.fromkeys(slots, 2)
    )


@pytest.mark.parametrize("limit", [0.05, 1e3])
def test_clip_norm_scales_all_gradients_of_the_optimizer_together(limit):
    rows = toy.data()
    a = toy.dense("a", toy.reference(rows), 3)
    graph = mml.ModelGraph([a, toy.dense("b", a)], optimizer=mml.Optimizer("sgd", lr=0.1, clip_norm=limit))
    execution = prepared(graph, [mml.AppliedLoss("mse", on="b")])
    nets = {label: Net(toy.values(graph, label)) for label in "ab"}
    x, y = toy.column(rows, "x"), toy.column(rows, "y")
    for batch in BATCHES:
        out = nets["b"].forward(nets["a"].forward(x[batch]))
        back, grads_b = nets["b"].backward(mse(out, y[batch])[1])
        grads_a = nets["a"].backward(back)[1]
        norm = np.sqrt(sum((g**2).sum() for g in (*grads_a.values(), *grads_b.values())))
        factor = min(1.0, limit / norm)
        Sgd(0.1 * factor).step(nets["a"], grads_a)
        Sgd(0.1 * factor).step(nets["b"], grads_b)

    toy.run(execution, BATCHES)

    assert all(close(toy.values(graph, label), nets[label], 1e-4) for label in "ab")


def test_clip_value_cuts_each_element():
    limit = 0.1
    rows, graph, execution = single(mml.Optimizer("sgd", lr=1.0, clip_value=limit))
    net = Net(toy.values(graph, "a"))
    x, y = toy.column(rows, "x"), toy.column(rows, "y")
    cut = 0
    for batch in BATCHES:
        grads = net.backward(mse(net.forward(x[batch]), y[batch])[1])[1]
        cut += sum(int((np.abs(g) > limit).sum()) for g in grads.values())
        Sgd(1.0).step(net, {name: np.clip(g, -limit, limit) for name, g in grads.items()})

    toy.run(execution, BATCHES)

    assert cut > 0
    assert close(toy.values(graph, "a"), net)


def test_a_schedule_moves_the_rate_from_update_to_update():
    rows, graph, execution = single(mml.Optimizer("sgd", lr=0.2, schedule="cosine"))
    net = Net(toy.values(graph, "a"))
    x, y = toy.column(rows, "x"), toy.column(rows, "y")
    for number, batch in enumerate(BATCHES):
        rate = 0.2 * (1 + np.cos(np.pi * number / len(BATCHES))) / 2
        Sgd().step(net, net.backward(mse(net.forward(x[batch]), y[batch])[1])[1], rate=rate)

    toy.run(execution, BATCHES)

    assert close(toy.values(graph, "a"), net)


def two_stage_graph(rows):
    a = toy.dense("a", toy.reference(rows), 3, hidden=[4], dropout=0.3, batch_norm=True)
    middle = toy.foreign("middle", a)
    b = toy.dense("b", middle, 1, dropout=0.2, hidden=[3])
    a.optimizer, b.optimizer = mml.Optimizer("adam"), mml.Optimizer("sgd", momentum=0.5)
    graph = mml.ModelGraph([a, middle, b])
    losses = [
        mml.AppliedLoss("mse", on="a", inputs=["outputs", "features.x"]),
        mml.AppliedLoss("mse", on="b"),
    ]
    return graph, losses


def test_blocks_and_ranges_of_any_size_give_the_same_bits():
    rows = toy.data()
    rng = np.random.default_rng(3)
    batches = [rng.permutation(toy.N_ROWS)[: 5 if number % 7 else 3] for number in range(33)]
    batches = [np.where(rng.random(len(one)) < 0.1, -1, one) for one in batches]
    found = []
    for block, cut in [(1, None), (5, None), (32, None), (32, 1), (32, 7), (None, None)]:
        with toy.fresh(rows):
            graph, losses = two_stage_graph(rows)
            execution = prepared(graph, losses, record=("b",))
            results = toy.run(execution, batches, block=block, cut=cut)
            outputs = [one.outputs for result in results for step in result.outputs for one in step]
            found.append((graph.get_state(), toy.losses_of(results), np.concatenate(outputs)))
    state, losses, outputs = found[0]
    for other, other_losses, other_outputs in found[1:]:
        assert losses.tobytes() == other_losses.tobytes()
        assert outputs.tobytes() == other_outputs.tobytes()
        assert state_digest(state) == state_digest(other)


def test_a_node_with_masked_rows_only_does_not_run_and_gets_no_update():
    rows, others = toy.data(), toy.data(seed=1)
    a, b = toy.dense("a", toy.reference(rows)), toy.dense("b", toy.reference(others))
    graph = mml.ModelGraph([a, b], optimizer=mml.Optimizer("adam", lr=0.1, weight_decay=0.1))
    execution = prepared(
        graph, [mml.AppliedLoss("mse", on="a"), mml.AppliedLoss("mse", on="b")], record=("a", "b")
    )
    toy.run(execution, [{"a": [0, 1], "b": [0, 1]}])
    before, slots = toy.values(graph, "b"), graph.optimizer.get_state()

    result = toy.run(execution, [{"a": [2, 3], "b": [-1, -1]}, {"a": [4, 3], "b": [-1, -1]}])

    after, moved = toy.values(graph, "b"), graph.optimizer.get_state()
    assert all(before[name].tobytes() == after[name].tobytes() for name in before)
    for name, state in slots.items():
        steps = int(moved[name]["step"]) - int(state["step"])
        assert steps == (2 if name.startswith("a/") else 0)
        if name.startswith("b/"):
            assert all(np.array_equal(state[slot], moved[name][slot]) for slot in state)
    assert np.isnan(toy.losses_of(result)[:, 1]).all()
    assert np.isfinite(toy.losses_of(result)[:, 0]).all()
    assert toy.rows_of(result)[:, 1].tolist() == [0, 0]
    assert [[one.node for one in step] for step in result[0].outputs] == [["a"], ["a"]]


def test_slots_survive_freezing_and_unfreezing():
    rows = toy.data()
    trunk = toy.dense("trunk", toy.reference(rows), 2)
    graph = mml.ModelGraph([trunk, toy.dense("head", trunk)], optimizer=mml.Optimizer("adam", lr=0.05))
    losses = [mml.AppliedLoss("mse", on="head")]
    nets, rule = {}, Adam(0.05)
    x, y = toy.column(rows, "x"), toy.column(rows, "y")
    for learning, batches in [("both", BATCHES[:2]), ("head", BATCHES[2:4]), ("both", BATCHES[4:])]:
        graph.unfreeze()
        if learning == "head":
            graph.freeze(["trunk"])
        execution = prepared(graph, losses)
        nets = nets or {label: Net(toy.values(graph, label)) for label in graph.nodes}
        toy.run(execution, batches)
        for batch in batches:
            slope = mse(nets["head"].forward(nets["trunk"].forward(x[batch])), y[batch])[1]
            back, found = nets["head"].backward(slope)
            if learning == "both":
                rule.step(nets["trunk"], nets["trunk"].backward(back)[1], "trunk")
            rule.step(nets["head"], found, "head")
    assert all(close(toy.values(graph, label), nets[label], 1e-4) for label in nets)
    steps = {name: int(slots["step"]) for name, slots in graph.optimizer.get_state().items()}
    assert steps == {name: 3 if name.startswith("trunk") else 5 for name in steps}


def test_the_nodes_own_optimizer_steps_it_in_the_same_backward_pass():
    rows = toy.data()
    trunk = toy.dense("trunk", toy.reference(rows), 2, optimizer=mml.Optimizer("sgd", lr=0.5))
    graph = mml.ModelGraph([trunk, toy.dense("head", trunk)], optimizer=mml.Optimizer("adam", lr=0.05))
    execution = prepared(graph, [mml.AppliedLoss("mse", on="head")])
    assert len(execution.plan.segments) == 1
    nets = {label: Net(toy.values(graph, label)) for label in graph.nodes}
    sgd, adam = Sgd(0.5), Adam(0.05)
    x, y = toy.column(rows, "x"), toy.column(rows, "y")
    for batch in BATCHES:
        slope = mse(nets["head"].forward(nets["trunk"].forward(x[batch])), y[batch])[1]
        back, found = nets["head"].backward(slope)
        sgd.step(nets["trunk"], nets["trunk"].backward(back)[1])
        adam.step(nets["head"], found)

    toy.run(execution, BATCHES)

    assert all(close(toy.values(graph, label), nets[label], 1e-4) for label in nets)


def test_lanes_that_do_not_meet_keep_every_live_row():
    rows, others = toy.data(), toy.data(seed=1)
    a, b = toy.dense("a", toy.reference(rows)), toy.dense("b", toy.reference(others))
    graph = mml.ModelGraph([a, b], optimizer=mml.Optimizer("sgd", lr=0.1))
    execution = prepared(graph, [mml.AppliedLoss("mse", on="a"), mml.AppliedLoss("mse", on="b")])
    nets = {label: Net(toy.values(graph, label)) for label in "ab"}
    live = {"a": [4, 2, 7], "b": [3, 5]}

    result = toy.run(execution, [{"a": [4, -1, 2, 7], "b": [-1, 3, -1, 5]}])

    for label, data in (("a", rows), ("b", others)):
        chosen = live[label]
        net = nets[label]
        _, slope = mse(net.forward(toy.column(data, "x")[chosen]), toy.column(data, "y")[chosen])
        Sgd(0.1).step(net, net.backward(slope)[1])
        assert close(toy.values(graph, label), net)
    assert toy.rows_of(result).tolist() == [[3, 2]]


def test_at_a_merge_masks_are_joined_and_each_upstream_keeps_its_own_rows_for_its_own_loss():
    rows, others = toy.data(), toy.data(seed=1)
    a, b = toy.dense("a", toy.reference(rows)), toy.dense("b", toy.reference(others))
    both = mml.ConcatNode("both", [a, b], concat_axis_targets="b")
    head = toy.dense("head", both)
    graph = mml.ModelGraph([a, b, both, head], optimizer=mml.Optimizer("sgd", lr=0.1))
    losses = [mml.AppliedLoss("mse", on=label) for label in ("a", "b", "head")]
    execution = prepared(graph, losses, record=("head",))
    nets = {label: Net(toy.values(graph, label)) for label in ("a", "b", "head")}
    # Places:  0: a only, 1: both, 2: b only, 3: both, 4: neither.
    batch = {"a": [4, 2, -1, 7, -1], "b": [-1, 3, 6, 5, -1]}
    in_a, in_b, shared_a, shared_b = [2, 7, 4], [3, 5, 6], [2, 7], [3, 5]

    result = toy.run(execution, [batch])

    xa, ya = toy.column(rows, "x"), toy.column(rows, "y")
    xb, yb = toy.column(others, "x"), toy.column(others, "y")
    oa, ob = nets["a"].forward(xa[in_a]), nets["b"].forward(xb[in_b])
    loss_a, slope_a = mse(oa, ya[in_a])
    loss_b, slope_b = mse(ob, yb[in_b])
    out = nets["head"].forward(np.concatenate([oa[:2], ob[:2]], axis=1))
    loss_h, slope_h = mse(out, yb[shared_b])
    back, grads_h = nets["head"].backward(slope_h)
    slope_a[:2] += back[:, :1]
    slope_b[:2] += back[:, 1:]
    for label, grads in (
        ("a", nets["a"].backward(slope_a)[1]),
        ("b", nets["b"].backward(slope_b)[1]),
        ("head", grads_h),
    ):
        Sgd(0.1).step(nets[label], grads)
    np.testing.assert_allclose(toy.losses_of(result)[0], [loss_a, loss_b, loss_h], rtol=1e-5)
    assert toy.rows_of(result).tolist() == [[3, 3, 2]]
    assert all(close(toy.values(graph, label), nets[label]) for label in nets)
    (recorded,) = result[0].outputs[0]
    np.testing.assert_allclose(recorded.outputs, out, rtol=1e-4)
    np.testing.assert_array_equal(recorded.targets, yb[shared_b].astype(np.float32))
    np.testing.assert_array_equal(recorded.sample_uuids, others.snapshot().uuids(np.array(shared_b)))
    assert len(shared_a) == len(recorded.outputs)


def test_three_lanes_whose_masks_cross_are_refused():
    sets = [toy.data(seed=seed) for seed in range(3)]
    a, b, c = (toy.dense(label, toy.reference(one)) for label, one in zip("abc", sets, strict=True))
    ab = mml.ConcatNode("ab", [a, b], concat_axis_targets="a")
    bc = mml.ConcatNode("bc", [b, c], concat_axis_targets="b")
    graph = mml.ModelGraph(
        [a, b, c, ab, bc, toy.dense("p", ab), toy.dense("q", bc)], optimizer=mml.Optimizer("sgd")
    )
    execution = prepared(graph, [mml.AppliedLoss("mse", on="p"), mml.AppliedLoss("mse", on="q")])
    tails = {"a": [0, 1, 2], "b": [0, 1, -1], "c": [0, -1, -1]}
    assert toy.rows_of(toy.run(execution, [tails])).tolist() == [[2, 1]]
    with pytest.raises(mml.MMLError, match="masks of these inputs cross"):
        toy.run(execution, [{"a": [0, 1, -1], "b": [0, 1, 2], "c": [0, -1, 2]}])


def test_upstreams_of_one_featureset_must_agree_row_by_row():
    rows = toy.data()
    a, b = toy.dense("a", toy.reference(rows)), toy.dense("b", toy.reference(rows, features="u"))
    both = mml.ConcatNode("both", [a, b])
    graph = mml.ModelGraph([a, b, both, toy.dense("head", both)], optimizer=mml.Optimizer("sgd"))
    execution = prepared(graph, [mml.AppliedLoss("mse", on="head")])
    agreeing = [{"a": [3, -1, 2], "b": [3, 1, 2]}]
    assert toy.rows_of(toy.run(execution, agreeing)).tolist() == [[2]]
    with pytest.raises(mml.MMLError, match="different samples") as caught:
        toy.run(execution, [{"a": [3, 1, 2], "b": [3, 2, 1]}])
    assert "both" in str(caught.value)


def test_running_statistics_of_a_node_that_no_live_loss_reaches_stay():
    rows, others = toy.data(), toy.data(seed=1)
    a = toy.dense("a", toy.reference(rows), 2, hidden=[4], batch_norm=True)
    b = toy.dense("b", toy.reference(others), 2)
    both = mml.ConcatNode("both", [a, b], concat_axis_targets="a")
    graph = mml.ModelGraph([a, b, both, toy.dense("head", both)], optimizer="adam")
    execution = prepared(graph, [mml.AppliedLoss("mse", on="head")], record=("a",))
    before = graph.get_state()["nodes"]

    (result,) = toy.run(execution, [{"a": [1, 2, 3], "b": [-1, -1, -1]}])

    assert state_digest(graph.get_state()["nodes"]) == state_digest(before)
    assert len(result.outputs[0][0].outputs) == 3
    toy.run(execution, [{"a": [1, 2, 3], "b": [4, 5, 6]}])
    moved = toy.values(graph, "a")
    statistics = [name for name in moved if "running" in name]
    assert statistics
    assert all(not np.array_equal(moved[name], before["a"]["model"][name]) for name in statistics)
