"""What a loss reads: outputs, targets, columns, row weights, other nodes, roles; and what it must refuse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import mml
from mml.errors import ColumnError, LossError, MMLError, PhaseError, ShapeError

from . import toy

ROWS = [3, 1, 7]


def keep(*values, **named):
    """A loss that gives the mean of its last argument over the row, so that what arrived can be read off."""
    last = [*values, *named.values()][-1]
    return last.reshape(len(last), -1).mean(axis=1)


def evaluated(loss, *, rows=None, **settings):
    rows = rows or toy.data()
    settings = {"targets": ["y"], "features": "x", "tags": "w"} | settings
    with toy.fresh(rows):
        graph = mml.ModelGraph([toy.dense("head", rows.reference(**settings))])
        execution = graph.prepare(toy.request(graph, "eval", losses=(loss,)))
        return rows, graph, toy.losses_of(toy.run(execution, [ROWS]))[0, 0]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("targets", "y"),
        ("targets.y", "y"),
        ("targets.default.y", "y"),
        ("targets.default", "y"),
        ("targets.z", "z"),
        ("features", "x"),
        ("features.x", "x"),
        ("features.u", "u"),
        ("tags", "w"),
        ("tags.w", "w"),
        ("tags.default.w", "w"),
    ],
)
def test_a_column_arrives_as_it_is_named(text, key):
    rows, _, found = evaluated(mml.AppliedLoss(keep, on="head", inputs=["outputs", text]))
    np.testing.assert_allclose(found, toy.column(rows, key)[ROWS].mean(), rtol=1e-6)


@pytest.mark.parametrize("text", ["outputs", "outputs.default"])
def test_outputs_are_what_the_node_returned(text):
    rows, graph, found = evaluated(mml.AppliedLoss(keep, on="head", inputs=text))
    x = toy.column(rows, "x")[ROWS]
    np.testing.assert_allclose(found, graph.forward(x)["head"].mean(), rtol=1e-5)


def test_a_column_outside_the_reference_is_the_transformed_one_where_there_is_one():
    rows = toy.data()
    rows.fit_transform("standard", domain="features", keys="u")
    raw = toy.column(rows, "u")
    loss = mml.AppliedLoss(keep, on="head", inputs=["outputs", "features.u"])
    _, _, found = evaluated(loss, rows=rows)
    scaled = (raw - raw.mean(0)) / raw.std(0)
    np.testing.assert_allclose(found, scaled[ROWS].mean(), rtol=1e-4)


def test_the_references_own_representation_goes_first():
    rows = toy.data()
    rows.fit_transform("standard", domain="targets", keys="y")
    loss = mml.AppliedLoss(keep, on="head", inputs=["outputs", "targets.y"])
    _, _, found = evaluated(loss, rows=rows, rep="raw")
    np.testing.assert_allclose(found, toy.column(rows, "y")[ROWS].mean(), rtol=1e-6)


def test_both_representations_of_one_key_are_two_values():
    rows = toy.data()
    rows.fit_transform("standard", domain="features", keys="x")
    raw = toy.column(rows, "x")
    node = toy.dense("head", rows.reference(features="x.raw", targets=["y.raw"]))
    graph = mml.ModelGraph([node, toy.dense("other", rows.reference(features="x.transformed", targets="y"))])
    losses = tuple(
        mml.AppliedLoss(keep, on=label, inputs=["outputs", "features.x"], label=label)
        for label in graph.nodes
    )
    execution = graph.prepare(toy.request(graph, "eval", losses=losses))
    found = toy.losses_of(toy.run(execution, [ROWS]))[0]
    scaled = (raw - raw.mean(0)) / raw.std(0)
    np.testing.assert_allclose(found, [raw[ROWS].mean(), scaled[ROWS].mean()], rtol=1e-4, atol=1e-6)


def test_a_mapping_is_passed_by_keyword():
    def loss(*, truth, guess):
        return truth.mean(axis=1) - 10 * guess.mean(axis=1)

    applied = mml.AppliedLoss(loss, on="head", inputs={"guess": "outputs", "truth": "targets.z"})
    rows, graph, found = evaluated(applied)
    output = graph.forward(toy.column(rows, "x")[ROWS])["head"]
    np.testing.assert_allclose(found, toy.column(rows, "z")[ROWS].mean() - 10 * output.mean(), rtol=1e-4)


def test_keywords_reach_named_losses_too_and_train_them():
    rows = toy.data()
    states = []
    for inputs in (["outputs", "targets"], {"targets": "targets", "outputs": "outputs"}):
        with toy.fresh(rows):
            graph = mml.ModelGraph([toy.dense("head", toy.reference(rows))], optimizer="sgd")
            loss = mml.AppliedLoss("mse", on="head", inputs=inputs)
            toy.run(graph.prepare(toy.request(graph, losses=(loss,))), [ROWS])
            states.append(toy.values(graph, "head"))
    assert all(states[0][name].tobytes() == states[1][name].tobytes() for name in states[0])


def test_another_nodes_output_can_be_read():
    rows = toy.data()
    a = toy.dense("a", toy.reference(rows), 2)
    b = toy.dense("b", a, 2)
    graph = mml.ModelGraph([a, b], optimizer=mml.Optimizer("sgd", lr=0.1))
    loss = mml.AppliedLoss("mse", on=b, inputs=["outputs", a])
    graph.build(seed=0)
    before = graph.forward(toy.column(rows, "x")[ROWS])
    execution = graph.prepare(toy.request(graph, losses=(loss,)))
    (result,) = toy.run(execution, [ROWS])
    expected = np.mean((before["b"] - before["a"]) ** 2)
    np.testing.assert_allclose(result.losses()[0, 0], expected, rtol=1e-5)
    assert len(execution.plan.segments) == 1


def test_a_loss_waits_for_a_foreign_node_that_it_reads():
    rows = toy.data()
    head = toy.dense("head", toy.reference(rows), 3)
    aim = toy.foreign("aim", toy.reference(rows))
    graph = mml.ModelGraph([head, aim], optimizer="sgd")
    loss = mml.AppliedLoss("mse", on="head", inputs=["outputs", aim])
    execution = graph.prepare(toy.request(graph, losses=(loss,)))
    assert [one.segment.backend for one in execution.plan.segments] == ["numpy", "reference"]
    before = graph.forward({"head": toy.column(rows, "x")[ROWS], "aim": toy.column(rows, "x")[ROWS]})
    (result,) = toy.run(execution, [ROWS])
    np.testing.assert_allclose(
        result.losses()[0, 0], np.mean((before["head"] - before["aim"]) ** 2), rtol=1e-5
    )


def test_a_loss_that_reads_a_later_step_is_refused_with_the_mend():
    rows = toy.data()
    a = toy.dense("a", toy.reference(rows), 2, optimizer="sgd")
    b = toy.dense("b", a, 2, optimizer="sgd")
    graph = mml.ModelGraph([a, b])
    losses = (
        mml.AppliedLoss("mse", on=a, inputs=["outputs", b]),
        mml.AppliedLoss("mse", on=b, inputs=["outputs", a]),
    )
    with pytest.raises(LossError, match="later step") as caught:
        graph.prepare(toy.request(graph, losses=losses))
    assert "Apply the loss on 'b'" in str(caught.value)
    assert "'a/mse'" in str(caught.value)


# --- row weights -----------------------------------------------------------------------------------------


def test_row_weights_keep_zero_and_masked_rows_out():
    rows = toy.data(v=np.where(np.arange(toy.N_ROWS) % 2 == 0, 0, 3))
    loss = mml.AppliedLoss("mse", on="head", sample_weight="tags.v")
    graph = mml.ModelGraph([toy.dense("head", toy.reference(rows))])
    execution = graph.prepare(toy.request(graph, "eval", losses=(loss,), record=("head",)))
    (result,) = toy.run(execution, [[0, 1, -1, 2, 3]])
    (one,) = result.outputs[0]
    per_row = ((one.outputs - one.targets) ** 2).mean(axis=1)
    np.testing.assert_allclose(result.losses()[0, 0], 3 * (per_row[1] + per_row[3]) / 4, rtol=1e-5)


@pytest.mark.parametrize("column", ["targets.z", "features", "outputs", "tags.name"])
def test_row_weights_are_one_number_a_row(column):
    with pytest.raises(LossError, match="Row weights") as caught:
        evaluated(mml.AppliedLoss("mse", on="head", sample_weight=column))
    assert "head/mse" in str(caught.value)


# --- roles -----------------------------------------------------------------------------------------------


def two_roles(*losses, mode="eval", data=None):
    rows = data or toy.data()
    graph = mml.ModelGraph(
        [toy.dense("head", rows.reference(features="x", targets="y", tags="w"))], optimizer="sgd"
    )
    request = toy.request(graph, mode, losses=losses, roles=("anchor", "pair"), record=("head",))
    return rows, graph, graph.prepare(request)


def test_a_node_runs_once_a_role_and_losses_name_them():
    rows, graph, execution = two_roles(
        mml.AppliedLoss(keep, on="head", inputs=["outputs.anchor", "targets.pair"], label="pair"),
        mml.AppliedLoss(keep, on="head", inputs=["outputs.anchor", "targets.anchor.z"], label="column"),
        mml.AppliedLoss("mse", on="head", inputs=["outputs.anchor", "outputs.pair"], label="both"),
    )
    batch = {"head": {"anchor": [1, 2, 3], "pair": [6, 5, 4]}}
    (result,) = toy.run(execution, [batch])
    y, z, x = (toy.column(rows, key) for key in "yzx")
    a, p = graph.forward(x[[1, 2, 3]])["head"], graph.forward(x[[6, 5, 4]])["head"]
    np.testing.assert_allclose(
        result.losses()[0], [y[[6, 5, 4]].mean(), z[[1, 2, 3]].mean(), np.mean((a - p) ** 2)], rtol=1e-5
    )
    recorded = {one.role: one for one in result.outputs[0]}
    np.testing.assert_allclose(recorded["pair"].outputs, p, rtol=1e-5)
    np.testing.assert_allclose(recorded["pair"].targets, y[[6, 5, 4]], rtol=1e-6)
    np.testing.assert_allclose(recorded["anchor"].targets, y[[1, 2, 3]], rtol=1e-6)
    np.testing.assert_array_equal(recorded["pair"].sample_uuids, rows.snapshot().uuids(np.array([6, 5, 4])))


def test_a_row_masked_in_one_role_counts_where_it_is_live():
    rows, graph, execution = two_roles(
        mml.AppliedLoss("mse", on="head", inputs=["outputs.anchor", "outputs.pair"], label="both"),
        mml.AppliedLoss("mse", on="head", inputs=["outputs.anchor", "targets.anchor"], label="anchor"),
    )
    (result,) = toy.run(execution, [{"head": {"anchor": [1, 2, 3, -1], "pair": [-1, 5, 4, 8]}}])
    x, y = toy.column(rows, "x"), toy.column(rows, "y")
    a, p = graph.forward(x[[2, 3]])["head"], graph.forward(x[[5, 4]])["head"]
    alone = graph.forward(x[[1, 2, 3]])["head"]
    expected = [np.mean((a - p) ** 2), np.mean((alone - y[[1, 2, 3]]) ** 2)]
    np.testing.assert_allclose(result.losses()[0], expected, rtol=1e-5)
    assert result.rows.tolist() == [[2, 3]]


def test_both_roles_train_one_node():
    rows, graph, execution = two_roles(
        mml.AppliedLoss("mse", on="head", inputs=["outputs.anchor", "outputs.pair"]), mode="train"
    )
    before = {name: value.astype(np.float64) for name, value in toy.values(graph, "head").items()}
    toy.run(execution, [{"head": {"anchor": [1, 2, 3], "pair": [6, 5, 4]}}])
    difference = toy.column(rows, "x")[[1, 2, 3]] - toy.column(rows, "x")[[6, 5, 4]]
    slope = 2 * (difference @ before["layers.0.weight"]) / 3
    expected = before["layers.0.weight"] - 0.01 * difference.T @ slope
    np.testing.assert_allclose(toy.values(graph, "head")["layers.0.weight"], expected, rtol=1e-5)
    np.testing.assert_allclose(toy.values(graph, "head")["layers.0.bias"], before["layers.0.bias"], rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("outputs", "several roles"),
        ("targets", "several roles"),
        ("targets.y", "several roles"),
        ("outputs.ancor", "no role 'ancor'"),
        ("targets.ancor.y", "no role 'ancor'"),
        ("outputs.default", "no role 'default'"),
    ],
)
def test_roles_must_be_named_and_known(text, match):
    with pytest.raises(LossError, match=match) as caught:
        two_roles(mml.AppliedLoss(keep, on="head", inputs=[text]))
    assert "head/keep" in str(caught.value)


def test_a_typo_in_a_role_brings_its_likeness():
    with pytest.raises(LossError) as caught:
        two_roles(mml.AppliedLoss(keep, on="head", inputs=["outputs.anchr"]))
    assert "'outputs.anchor'" in caught.value.hint


def test_the_way_to_name_roles_is_shown():
    with pytest.raises(LossError) as caught:
        two_roles(mml.AppliedLoss("mse", on="head"))
    assert 'inputs=["outputs.anchor", "outputs.pair"]' in caught.value.hint


def test_a_stream_without_roles_names_what_brings_them():
    graph = mml.ModelGraph([toy.dense("head", toy.reference(toy.data()))])
    loss = mml.AppliedLoss(keep, on="head", inputs=["outputs.anchor"])
    with pytest.raises(LossError, match="brings no roles") as caught:
        graph.prepare(toy.request(graph, "eval", losses=(loss,)))
    assert "TripletSampler (anchor, positive, negative)" in caught.value.hint


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        (["outputs", "targets"], "'outputs', 'targets'"),
        (["outputs"] * 4, "'outputs', 'outputs', 'outputs', 'outputs'"),
        ({"anchor": "outputs", "negative": "targets.y"}, "'outputs', 'targets.y' as anchor, negative"),
        ({"anchor": "outputs", "positive": "outputs", "other": "targets"}, " as anchor, positive, other"),
    ],
)
def test_a_named_loss_is_given_what_it_reads(inputs, found):
    graph = mml.ModelGraph([toy.dense("head", toy.reference(toy.data()))])
    loss = mml.AppliedLoss("triplet", on="head", inputs=inputs)
    with pytest.raises(LossError, match="reads 3 inputs: anchor, positive, negative") as caught:
        graph.prepare(toy.request(graph, "eval", losses=(loss,)))
    assert caught.value.found.endswith(found)
    assert "TripletSampler" in caught.value.hint


def test_missing_inputs_are_shown_with_the_roles_of_the_stream():
    with pytest.raises(LossError, match="optionally other") as caught:
        two_roles(mml.AppliedLoss("contrastive", on="head", inputs=["outputs.anchor", "outputs.pair"]))
    assert caught.value.found == "'outputs.anchor', 'outputs.pair'"


def test_a_name_that_is_role_and_column_is_refused():
    rows = toy.data(anchor=np.arange(toy.N_ROWS, dtype=np.float32))
    with pytest.raises(LossError, match="a role of the stream and a column") as caught:
        two_roles(mml.AppliedLoss(keep, on="head", inputs=["outputs.anchor", "tags.anchor"]), data=rows)
    assert "tags.anchor.anchor" in str(caught.value)
    with toy.fresh(rows):
        applied = mml.AppliedLoss(keep, on="head", inputs=["outputs.anchor", "tags.anchor.anchor"])
        _, _, execution = two_roles(applied, data=rows)
        (result,) = toy.run(execution, [{"head": {"anchor": [4, 6], "pair": [1, 2]}}])
    assert result.losses()[0, 0] == 5.0


def test_upstreams_with_different_roles_do_not_merge():
    rows = toy.data()
    a, b = toy.dense("a", toy.reference(rows)), toy.dense("b", toy.reference(rows))
    graph = mml.ModelGraph([a, b, mml.ConcatNode("both", [a, b])])
    graph.build()
    first, second = toy.lanes_of(graph)
    request = toy.request(graph, "eval", lanes=(first, replace(second, roles=("anchor", "pair"))))
    with pytest.raises(MMLError, match="different roles") as caught:
        graph.prepare(request)
    assert "'both'" in str(caught.value)


def test_another_node_with_several_roles_is_ambiguous():
    rows = toy.data()
    a = toy.dense("a", toy.reference(rows))
    graph = mml.ModelGraph([a, toy.dense("b", a)])
    loss = mml.AppliedLoss("mse", on="b", inputs=["outputs.pair", a])
    with pytest.raises(LossError, match="one output a role"):
        graph.prepare(toy.request(graph, "eval", losses=(loss,), roles=("anchor", "pair")))


# --- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "error", "match"),
    [
        (mml.AppliedLoss("mse", on="haed"), LossError, "'head'"),
        (mml.AppliedLoss("mse", on="head", inputs=["outputs", "node.haed"]), LossError, "'head'"),
        (mml.AppliedLoss("mse", on="head", inputs=["outputs", "targets.yy"]), ColumnError, "targets.y|'y'"),
        (
            mml.AppliedLoss("mse", on="head", inputs=["outputs", "features.targets"]),
            ColumnError,
            "features.targets",
        ),
        (
            mml.AppliedLoss("mse", on="head", inputs=["outputs.extra", "targets"]),
            LossError,
            "no part 'extra'",
        ),
        (mml.AppliedLoss(mml.Loss("huber", delta=0), on="head"), LossError, "delta"),
        (mml.AppliedLoss(mml.Loss("huber", dleta=1), on="head"), LossError, "'delta'"),
        (mml.AppliedLoss(mml.Loss("mse", backend="numpy"), on="head"), LossError, "'numpy'"),
        (mml.AppliedLoss(mml.Loss("mml/mse", x=1), on="head"), LossError, "no setting 'x'"),
    ],
)
def test_what_a_loss_cannot_read_or_be_is_refused_naming_it(loss, error, match):
    with pytest.raises(error, match=match) as caught:
        evaluated(loss)
    assert loss.label in str(caught.value)


@pytest.mark.parametrize(("settings", "text"), [({"targets": ()}, "targets"), ({"tags": ()}, "tags")])
def test_a_domain_that_the_reference_leaves_out_is_missing(settings, text):
    with pytest.raises(LossError, match=f"no {text}") as caught:
        evaluated(mml.AppliedLoss(keep, on="head", inputs=["outputs", text]), **settings)
    assert f"{text}=" in str(caught.value)


def test_two_losses_of_one_label_are_refused():
    rows = toy.data()
    graph = mml.ModelGraph([toy.dense("head", toy.reference(rows))])
    losses = (mml.AppliedLoss("mse", on="head"), mml.AppliedLoss("mse", on="head"))
    with pytest.raises(LossError, match="Two losses"):
        graph.prepare(toy.request(graph, "eval", losses=losses))


@pytest.mark.parametrize("name", ["mse", "mml/mse", "mml/huber", "mml/mae"])
@pytest.mark.parametrize("mode", ["eval", "train"])
def test_a_flat_output_against_a_column_of_targets_is_an_error(name, mode):
    rows = toy.data()
    inner = toy.dense("inner", toy.reference(rows), 1)
    flat = toy.foreign("flat", inner, lambda x: x[:, 0])
    graph = mml.ModelGraph([inner, flat], optimizer="sgd")
    losses = (mml.AppliedLoss(name, on="flat"), mml.AppliedLoss("mse", on="inner"))
    execution = graph.prepare(toy.request(graph, mode, losses=losses))
    with pytest.raises(ShapeError, match="different shapes") as caught:
        toy.run(execution, [ROWS])
    assert "(3,)" in str(caught.value)
    assert "(3, 1)" in str(caught.value)


@pytest.mark.parametrize(
    ("loss", "match"),
    [
        (lambda o, t: 3.0, "not an array"),
        (lambda o, t: np.ones(2), "neither one number nor one value a row"),
        (lambda o, t: None, "not an array"),
    ],
)
def test_a_callable_gives_a_number_or_one_a_row(loss, match):
    with pytest.raises(LossError, match=match):
        evaluated(mml.AppliedLoss(loss, on="head"))


def test_a_callable_that_gives_one_number_takes_no_row_weights():
    _, _, found = evaluated(mml.AppliedLoss(lambda o, t: np.mean((o - t) ** 2), on="head"))
    _, _, expected = evaluated(mml.AppliedLoss("mse", on="head"))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    with pytest.raises(LossError, match="rows cannot be weighted"):
        evaluated(mml.AppliedLoss(lambda o, t: np.mean((o - t) ** 2), on="head", sample_weight="tags.w"))


def test_a_callable_that_raises_is_named():
    def broken(outputs, targets):
        raise ZeroDivisionError("by hand")

    with pytest.raises(LossError, match="by hand") as caught:
        evaluated(mml.AppliedLoss(broken, on="head"))
    assert "broken" in str(caught.value)
    assert "'head'" in str(caught.value)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_head_without_a_lane_is_named():
    rows = toy.data()
    graph = mml.ModelGraph([toy.dense("a", toy.reference(rows)), toy.dense("b", toy.reference(rows))])
    graph.build()
    lanes = [lane for lane in toy.lanes_of(graph) if lane.name == "a"]
    with pytest.raises(PhaseError, match="no input binding") as caught:
        graph.prepare(toy.request(graph, "eval", lanes=tuple(lanes)))
    assert "'b'" in str(caught.value)
    assert graph.prepare(toy.request(graph, "eval", lanes=tuple(lanes), active=("a",)))


def test_a_row_weight_without_its_domain_says_how_to_name_it():
    with pytest.raises(LossError, match="with its domain") as caught:
        mml.AppliedLoss("mse", on="head", sample_weight="w")
    assert "tags.w" in caught.value.hint
    assert "loss 'head/mse'" in caught.value.where
