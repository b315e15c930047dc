"""What is written down builds equal objects again: nodes, graphs, losses, optimizers, schedules, models."""

from __future__ import annotations

import importlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mml
from mml.errors import ConfigError, LossError, MMLError, ModelError, OptimizerError, PluginError
from mml.graph.nodes.registry import node_from_config
from mml.graph.optimizers import (
    ConstantSchedule,
    CosineSchedule,
    OneCycleSchedule,
    Schedule,
    StepSchedule,
    WarmupSchedule,
)
from mml_conformance.reference import Mlp

from . import toy

rate = st.floats(1e-6, 1e3)
schedules = st.one_of(
    st.just(ConstantSchedule()),
    st.builds(StepSchedule, step_size=st.integers(1, 99), gamma=st.floats(0.01, 1.0)),
    st.builds(CosineSchedule, minimum=st.floats(0.0, 1.0)),
    st.builds(WarmupSchedule, steps=st.integers(1, 99)),
    st.builds(OneCycleSchedule, rise=st.floats(0.1, 0.9), div_factor=rate, final_div_factor=rate),
)
optimizers = st.one_of(
    st.builds(
        mml.Optimizer,
        st.sampled_from(["adam", "mml/adamw"]),
        lr=st.none() | rate,
        schedule=schedules,
        clip_norm=st.none() | rate,
        clip_value=st.none() | rate,
        accumulate=st.integers(1, 9),
        betas=st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)),
        backend=st.sampled_from([None, "reference"]),
    ),
    st.builds(mml.Optimizer, st.just("sgd"), momentum=st.floats(0, 0.9), weight_decay=rate.map(np.float64)),
)
losses = st.one_of(
    st.builds(mml.Loss, st.sampled_from(["mse", "mml/mae", "cross_entropy"])),
    st.builds(mml.Loss, st.just("huber"), delta=rate, backend=st.sampled_from([None, "reference"])),
)
inputs = st.sampled_from(
    ["outputs", "targets", "targets.y", "features.x", "tags.w", "outputs.default", "node.a.b"]
)
applied = st.builds(
    mml.AppliedLoss,
    losses,
    on=st.sampled_from(["head", "a"]),
    inputs=st.lists(inputs, min_size=1, max_size=3)
    | st.dictionaries(st.sampled_from("pqr"), inputs, min_size=1),
    weight=st.floats(0, 10),
    sample_weight=st.none() | st.just("tags.w"),
    label=st.none() | st.just("mine"),
)


def through_json(config):
    return json.loads(json.dumps(config, allow_nan=False))


@given(st.one_of(optimizers, losses, applied, schedules))
def test_declarations_survive_json(declared):
    again = type(declared).from_config(through_json(declared.get_config()))
    assert again == declared
    assert through_json(again.get_config()) == through_json(declared.get_config())


@given(schedules, schedules)
def test_schedules_are_equal_where_their_configurations_are(one, other):
    assert (one == other) == (one.get_config() == other.get_config())
    assert Schedule.from_config(one.get_config()) == one


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (mml.Loss("huber", delta=1.0), mml.Loss("huber", delta=2.0)),
        (mml.Loss("mse"), mml.Loss("mae")),
        (mml.Optimizer("adam"), mml.Optimizer("adam", lr=1.0)),
        (mml.Optimizer("adam"), mml.Optimizer("sgd")),
        (mml.AppliedLoss("mse", on="a"), mml.AppliedLoss("mse", on="b")),
        (mml.AppliedLoss("mse", on="a"), mml.AppliedLoss("mse", on="a", weight=2)),
        (
            mml.AppliedLoss("mse", on="a", inputs={"outputs": "outputs", "targets": "targets"}),
            mml.AppliedLoss("mse", on="a"),
        ),
        (mml.Model("reference/mlp"), mml.Model("reference/mlp", hidden=[3])),
    ],
)
def test_what_differs_is_not_equal(one, other):
    assert one != other
    assert one != 3
    assert one == one  # noqa: PLR0124 -- equality to itself is the point


def module():
    return importlib.import_module(f"{__package__}.functions")


def test_functions_and_classes_of_a_module_are_written_by_import_path():
    functions = module()
    loss = mml.Loss(functions.absolute, scale=2.0)
    assert loss.get_config()["loss"] == f"{functions.__name__}.absolute"
    assert mml.Loss.from_config(through_json(loss.get_config())) == loss
    assert loss != mml.Loss(functions.absolute, scale=3.0)
    for model in (
        mml.Model(functions.twice, backend="numpy"),
        mml.Model(np.tanh, backend="numpy"),
        mml.Model(functions.network, backend="reference"),
        mml.Model(Mlp, hidden=(3, 4)),
        mml.Model("reference/mlp", input_argument="shape"),
    ):
        assert mml.Model.from_config(through_json(model.get_config())) == model
    assert mml.Model(Mlp).get_config()["model"] == "reference/mlp"


def test_a_named_loss_or_model_is_equal_in_full_and_by_the_object():
    assert mml.Model(Mlp) == mml.Model("reference/mlp")
    assert mml.Loss(module().absolute) == mml.Loss(f"{module().__name__}.absolute")


def test_lambdas_work_but_refuse_a_configuration_naming_label_and_mend():
    applied = mml.AppliedLoss(lambda o, t: (o - t) ** 2, on="head", label="my loss")
    with pytest.raises(ConfigError) as caught:
        applied.get_config()
    assert "'my loss'" in str(caught.value)
    assert "register" in str(caught.value)
    assert applied == applied  # noqa: PLR0124 -- identity stands in for the missing configuration
    assert applied != mml.AppliedLoss(lambda o, t: (o - t) ** 2, on="head", label="my loss")
    rows = toy.data()
    node = mml.ModelNode("square", mml.Model(lambda x: x * x, backend="numpy"), toy.reference(rows))
    with pytest.raises(ConfigError) as caught:
        node.get_config()
    assert "'square'" in str(caught.value)
    assert mml.Model(lambda x: x) != mml.Model(lambda x: x)
    assert mml.ModelGraph([node]) != mml.ModelGraph([toy.dense("a", toy.reference(rows))], label="b")


def test_a_local_class_refuses_a_configuration():
    class Local:
        pass

    with pytest.raises(ConfigError):
        mml.Optimizer(Local).get_config()
    assert mml.Optimizer(Local) != mml.Optimizer(Local)


@pytest.mark.parametrize(
    "declared",
    [
        lambda: mml.Model("reference/mlp", hidden={3}),
        lambda: mml.Loss("huber", delta=np.ones(2)),
        lambda: mml.Optimizer("adam", betas=object()),
        lambda: mml.Optimizer("adam", eps=float("nan")),
    ],
)
def test_settings_that_json_does_not_hold_are_named(declared):
    with pytest.raises(ConfigError, match=r"hidden|delta|betas|eps"):
        declared().get_config()


def everything(rows):
    trunk = toy.dense("trunk", rows.reference(features="x", targets="y"), 4, hidden=(5,), activation="tanh")
    other = mml.ModelNode("other", mml.Model(module().twice, backend="numpy"), rows.reference(features="u"))
    both = mml.ConcatNode(
        "both", [trunk, other], concat_axis_targets="trunk", pad_inputs=True, pad_mode="edge", concat_axis=1
    )
    head = toy.dense("head", both, optimizer=mml.Optimizer("sgd", lr=0.5, schedule="cosine"), device="cpu")
    trunk.freeze()
    return mml.ModelGraph(
        [head, both, other, trunk], optimizer=mml.Optimizer("adam", accumulate=2), label="all"
    )


def test_nodes_and_graphs_build_again_equal_and_untrained():
    rows = toy.data()
    graph = everything(rows)
    config = through_json(graph.get_config())
    with toy.fresh(rows):
        again = mml.ModelGraph.from_config(config)
        assert again == graph
        assert again.uuid == graph.uuid
        assert again["trunk"].frozen_by == "user"
        assert again["both"].concat_axis == 1
        assert again["head"].device == "cpu"
        for label, node in graph.nodes.items():
            assert again[label] == node
            assert again[label] is not node
            assert hash(again[label]) == hash(node)
        assert again.build(seed=4).is_built
    graph.build(seed=4)
    for label in ("trunk", "head"):
        mine, theirs = toy.values(graph, label), toy.values(again, label)
        assert all(mine[name].tobytes() == theirs[name].tobytes() for name in mine)
    assert graph["trunk"] != graph["head"]
    assert graph != 3
    graph["trunk"].unfreeze()
    assert again != graph


def test_each_node_builds_again_by_its_kind():
    rows = toy.data()
    for label, node in everything(rows).nodes.items():
        with toy.fresh(rows):
            assert node_from_config(through_json(node.get_config())) == node, label


@pytest.mark.parametrize(
    "config",
    [
        {},
        {"node": 3},
        {"node": "concta"},
        3,
        None,
        {"node": "model", "label": "a"},
        {"node": "concat", "label": "a", "upstreams": [], "axis": 3},
    ],
)
def test_a_config_of_no_node_is_refused(config):
    with pytest.raises(MMLError):
        node_from_config(config)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: mml.Loss("msee"), "mse"),
        (lambda: mml.AppliedLoss("msee", on="a"), "mse"),
        (lambda: mml.Optimizer("adamm"), "adam"),
        (lambda: mml.Optimizer("sgd", schedule="cosin"), "cosine"),
        (lambda: mml.Optimizer("sgd", schedule={"schedule": "step", "stepsize": 3}), "step_size"),
        (lambda: mml.Optimizer("sgd", schedule=3), "schedule"),
        (lambda: mml.Optimizer("sgd", schedule={"step": 3}), "schedule"),
        (lambda: mml.AppliedLoss("mse", on="a", inputs=["output", "targets"]), "outputs"),
        (lambda: mml.AppliedLoss("mse", on="a", inputs=["outputs", "targets."]), "targets"),
        (lambda: mml.AppliedLoss("mse", on="a", inputs=3), "inputs"),
        (lambda: mml.AppliedLoss("mse", on="a", inputs=[]), "inputs"),
        (lambda: mml.AppliedLoss("mse", on="a", sample_weight="w"), "tags"),
        (lambda: mml.AppliedLoss("mse", on="a", sample_weight=3), "tags"),
        (lambda: mml.Loss(3), "callable"),
        (lambda: mml.Optimizer(3), "class"),
        (lambda: mml.Model(3), "instance"),
    ],
)
def test_unknown_names_list_what_is_near(make, match):
    with pytest.raises((PluginError, LossError, OptimizerError, ModelError), match=match):
        make()


@pytest.mark.parametrize("weight", [-1, float("nan"), float("inf"), "1", None, True])
def test_a_loss_weight_is_a_finite_number(weight):
    with pytest.raises(LossError, match="weight"):
        mml.AppliedLoss("mse", on="a", weight=weight)


@pytest.mark.parametrize(
    "settings",
    [
        {"lr": 0},
        {"lr": -1},
        {"lr": "fast"},
        {"lr": float("nan")},
        {"clip_norm": 0},
        {"clip_value": -2},
        {"accumulate": 0},
        {"accumulate": 1.5},
        {"accumulate": True},
        {"clip_norm": True},
    ],
)
def test_an_optimizers_own_settings_are_checked_at_once(settings):
    with pytest.raises(OptimizerError, match=next(iter(settings))):
        mml.Optimizer("sgd", **settings)


def test_default_labels_of_losses():
    rows = toy.data()
    node = toy.dense("head", rows)
    assert mml.AppliedLoss("mse", on=node).label == "head/mse"
    assert mml.AppliedLoss(mml.Loss("mml/huber"), on=node.reference()).label == "head/huber"
    assert mml.AppliedLoss(lambda o, t: o, on="head").label == "head/lambda"
    assert mml.AppliedLoss(module().absolute, on="head").label == "head/absolute"
    assert (
        mml.AppliedLoss("mse", on="head", inputs="outputs").inputs
        == mml.AppliedLoss("mse", on="head", inputs=["outputs"]).inputs
    )


@pytest.mark.parametrize("made", [mml.Loss, mml.AppliedLoss, mml.Optimizer, mml.Model])
@pytest.mark.parametrize("config", [{}, {"odd": 1}, 3, None], ids=str)
def test_a_configuration_of_another_shape_is_refused(made, config):
    with pytest.raises(ConfigError, match="configuration of a"):
        made.from_config(config)
