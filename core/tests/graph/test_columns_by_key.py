"""References with ``combine="dict"``: a model takes its columns by key, each in its own shape and dtype."""

from __future__ import annotations

import numpy as np
import pytest

import mml
from mml.backends import Capabilities
from mml.errors import LossError, MMLError, ModelError, ShapeError
from mml.files import state_digest

from . import toy
from .second_backend import SecondBackend, second_backend

ROWS = [4, 0, 17, 9, 2]
LOSS = mml.AppliedLoss("mse", on="a")


def by_key(rows, *, features=("x", "u"), **settings):
    return rows.reference(**{"features": list(features), "targets": "y", "combine": "dict", **settings})


def mixed():
    """Features of three shapes and dtypes, and scalar targets."""
    rng = np.random.default_rng(0)
    columns = {
        "x": rng.normal(size=(toy.N_ROWS, 3)),
        "n": np.arange(toy.N_ROWS),
        "image": rng.normal(size=(toy.N_ROWS, 2, 2)).astype(np.float32),
        "y": rng.normal(size=toy.N_ROWS),
    }
    return mml.FeatureSet.from_dict("mixed", columns, feature_keys=["x", "n", "image"], target_keys="y")


def test_a_function_gets_a_dict_of_arrays_in_their_own_shapes_and_dtypes():
    rows, seen = mixed(), []

    def function(columns):
        seen.append({key: (array.shape, array.dtype.name) for key, array in columns.items()})
        return columns["x"][:, :1] + columns["n"] + columns["image"].sum(axis=(1, 2))[:, None]

    node = mml.ModelNode(
        "f",
        mml.Model(function, backend="numpy"),
        rows.reference(features=["x", "n", "image"], combine="dict"),
    )
    graph = mml.ModelGraph([node]).build()
    assert node.input_shape == {"x": (3,), "n": (1,), "image": (2, 2)}
    assert node.output_shape == (1,)
    execution = graph.prepare(toy.request(graph, "eval", record=("f",)))
    (result,) = toy.run(execution, [ROWS])
    assert seen[-1] == {"x": ((5, 3), "float64"), "n": ((5, 1), "int64"), "image": ((5, 2, 2), "float32")}
    expected = toy.column(rows, "x")[ROWS, :1] + toy.column(rows, "n")[ROWS, None]
    expected = expected + toy.column(rows, "image")[ROWS].sum(axis=(1, 2))[:, None]
    np.testing.assert_allclose(result.outputs[0][0].outputs, expected, rtol=1e-6)


@pytest.mark.parametrize("features", [("x", "u"), ("u", "x")])
def test_training_is_bit_for_bit_that_of_the_joined_columns(features):
    rows = toy.data()
    graphs = []
    for combine in ("dict", "concat"):
        with toy.fresh(rows):
            node = toy.dense("a", by_key(rows, features=features, combine=combine), hidden=[4], dropout=0.3)
            graph = mml.ModelGraph([node], optimizer="adam")
            execution = graph.prepare(toy.request(graph, losses=(LOSS,)))
            toy.run(execution, [ROWS, [1, 3], [-1, 5, -1]])
            graphs.append(graph)
    assert list(graphs[0]["a"].input_shape) == list(features)
    assert state_digest(graphs[0].get_state()) == state_digest(graphs[1].get_state())


def test_floating_columns_are_cast_one_by_one_and_integers_stay():
    rows = mixed()
    graph = mml.ModelGraph([toy.dense("a", by_key(rows, features=("x", "n")))], optimizer="sgd")
    execution = graph.prepare(toy.request(graph, losses=(LOSS,)))
    toy.run(execution, [ROWS])
    fed = execution.feed.block(toy.steps(execution, [ROWS]))
    (segment,) = [one.segment for one in execution.plan.segments]
    (call,) = segment.calls
    assert call.keys == ("x", "n")
    arriving = [fed.array(execution.plan.data[name]) for name in call.sources]
    assert [(one.dtype.name, one.shape[1:]) for one in arriving] == [("float32", (5, 3)), ("int64", (5, 1))]
    told = {one.column: one.arrives for one in graph.outline().columns}
    assert told == {"features.x.raw": "float32", "features.n.raw": "int64"}


def test_one_column_is_a_dict_too_and_scalar_targets_stay_arrays():
    rows = mixed()
    graph = mml.ModelGraph([toy.dense("a", by_key(rows, features=["x"]))], optimizer="sgd")
    execution = graph.prepare(toy.request(graph, losses=(LOSS,), record=("a",)))
    (result,) = toy.run(execution, [ROWS])
    assert graph["a"].input_shape == {"x": (3,)}
    np.testing.assert_allclose(result.outputs[0][0].targets[:, 0], toy.column(rows, "y")[ROWS], rtol=1e-6)


def test_what_reads_a_node_of_columns_gets_its_output_as_always():
    rows = toy.data()
    a = toy.dense("a", by_key(rows), 2, optimizer="sgd")
    b = toy.dense("b", a, optimizer="sgd")
    graph = mml.ModelGraph([a, b])
    losses = (mml.AppliedLoss("mse", on="a", inputs=["outputs", "targets.z"]), mml.AppliedLoss("mse", on="b"))
    execution = graph.prepare(toy.request(graph, losses=losses))
    assert [[call.keys for call in one.segment.calls] for one in execution.plan.segments] == [
        [("x", "u")],
        [()],
    ]
    assert np.isfinite(toy.losses_of(toy.run(execution, [ROWS]))).all()
    graph.freeze("a")
    kept = state_digest(toy.values(graph, "a"))
    toy.run(graph.prepare(toy.request(graph, losses=losses[1:])), [ROWS])
    assert state_digest(toy.values(graph, "a")) == kept


# --- by hand ---------------------------------------------------------------------------------------------


def test_forward_takes_a_mapping_by_column():
    rows = toy.data()
    graph = mml.ModelGraph([toy.dense("a", by_key(rows))]).build(seed=1)
    x, u = (toy.column(rows, key)[ROWS].astype(np.float32) for key in ("x", "u"))
    found = graph.forward({"a": {"x": x, "u": u}})["a"]
    values = toy.values(graph, "a")
    expected = np.concatenate([x, u], axis=1) @ values["layers.0.weight"] + values["layers.0.bias"]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    for wrong in ({"x": x}, {"x": x, "u": u, "w": u}, {"x": x, "u": x}, np.concatenate([x, u], axis=1)):
        with pytest.raises(ShapeError, match="built for") as caught:
            graph.forward({"a": wrong})
        assert "node 'a'" in str(caught.value)
        assert "'u' (rows, 2)" in caught.value.expected
    plain = mml.ModelGraph([toy.dense("b", toy.reference(rows))], label="plain").build()
    with pytest.raises(ShapeError, match="built for") as caught:
        plain.forward({"b": {"x": x}})
    assert "a mapping with 'x'" in caught.value.found


def test_steps_by_hand_take_columns():
    rows = toy.data()
    graph = mml.ModelGraph([toy.dense("a", by_key(rows))], optimizer="sgd")
    execution = graph.prepare(toy.request(graph, losses=(LOSS,)))
    toy.run(execution, [ROWS])
    with toy.fresh(rows):
        other = mml.ModelGraph([toy.dense("a", by_key(rows))], optimizer="sgd").build(seed=0)
        x, u, y = (toy.column(rows, key)[ROWS].astype(np.float32) for key in ("x", "u", "y"))
        other.train_step({"u": u, "x": x}, y, losses=LOSS)
    assert state_digest(other.get_state()) == state_digest(graph.get_state())
    with pytest.raises(ShapeError, match="built for"):
        other.train_step(np.concatenate([x, u], axis=1), y, losses=LOSS)


# --- refusals --------------------------------------------------------------------------------------------


def test_a_backend_that_takes_no_columns_says_so_by_name(monkeypatch):
    monkeypatch.setattr(SecondBackend, "capabilities", Capabilities(gradients=True))
    with second_backend():
        rows = toy.data()
        node = mml.ModelNode("a", mml.Model("second/mlp", output_shape=1), by_key(rows))
        with pytest.raises(ModelError, match="take one array") as caught:
            mml.ModelGraph([node]).build()
    message = str(caught.value)
    assert "'second'" in message
    assert "node 'a'" in message
    assert "'x', 'u'" in caught.value.found
    assert "combine='concat'" in caught.value.hint


def test_a_merge_takes_no_columns():
    rows = toy.data()
    both = mml.ConcatNode("both", [by_key(rows), toy.reference(rows)])
    with pytest.raises(ShapeError, match="one array from each upstream") as caught:
        mml.ModelGraph([both]).build()
    assert "node 'both'" in str(caught.value)
    assert rows.label in caught.value.found


def test_a_key_in_two_representations_is_refused():
    rows = toy.data()
    rows.fit_transform("standard", domain="features", keys="x")
    graph = mml.ModelGraph([toy.dense("a", by_key(rows, features=["x.raw", "x.transformed"]))])
    with pytest.raises(ShapeError, match="each key once") as caught:
        graph.build()
    assert "node 'a'" in str(caught.value)


def test_a_loss_names_one_of_the_columns():
    rows = toy.data()
    graph = mml.ModelGraph([toy.dense("a", by_key(rows), 3)], optimizer="sgd")
    all_of_them = mml.AppliedLoss("mse", on="a", inputs=["outputs", "features"])
    with pytest.raises(LossError, match="by key") as caught:
        graph.plan(toy.request(graph, losses=(all_of_them,)))
    assert "features.<column>" in caught.value.hint
    one = mml.AppliedLoss("mse", on="a", inputs=["outputs", "features.x"])
    execution = graph.prepare(toy.request(graph, losses=(one,)))
    assert np.isfinite(toy.losses_of(toy.run(execution, [ROWS]))).all()


def test_a_model_of_other_columns_is_refused():
    rows = toy.data()
    node = toy.dense("a", by_key(rows))
    mml.ModelGraph([node]).build()
    node.rewire([by_key(rows, features=["x"])])
    with pytest.raises(MMLError, match="another input") as caught:
        mml.ModelGraph([node], label="other").build()
    assert "node 'a'" in str(caught.value)


def test_the_error_that_offers_it_leads_to_a_graph_that_works():
    rows = toy.data()
    node = toy.dense("a", rows.reference(features=["x", "u"], targets="y"))
    with pytest.raises(ShapeError, match="differ in shape") as caught:
        mml.ModelGraph([node], optimizer="sgd").build()
    assert 'combine="dict"' in caught.value.hint
    with toy.fresh(rows):
        graph = mml.ModelGraph([toy.dense("a", by_key(rows))], optimizer="sgd")
        assert graph.build().is_built
