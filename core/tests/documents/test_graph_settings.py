"""The graph of a document: merges of every kind, and the settings of graphs and nodes."""

from __future__ import annotations

import numpy as np
import pytest

import mml
from mml.documents import ExperimentDocument
from mml.documents.json_schema import json_schema
from mml.errors import DocumentError

TEXT = """
mml: 1
label: branches
data:
  cells: {file: cells.npz, features: x, targets: y}
graph:
  optimizer: {sgd: {lr: 0.1}}
  nodes:
    left: {model: {reference/mlp: {output_shape: 2}}, from: cells}
    right: {model: {reference/mlp: {output_shape: 2}}, from: cells}
    both: {merge: MERGE, from: [left, right]}
    head: {model: {reference/mlp: {output_shape: 1}}, from: both}
losses:
  error: {loss: mse, on: head}
plan:
  - {train: train, split: null, sampler: {simple: {batch_size: 8}}, losses: [error]}
"""


def document(folder, merge):
    return ExperimentDocument.from_text(TEXT.replace("MERGE", merge), folder=folder)


@pytest.mark.parametrize(
    ("merge", "kind", "shape"),
    [
        ("sum", mml.SumNode, (2,)),
        ("{mean: {targets: right}}", mml.MeanNode, (2,)),
        ("{mml/stack: {axis: -1, pad_inputs: true, pad_mode: edge}}", mml.StackNode, (2, 2)),
        ("{concat: {concat_axis_targets: mean}}", mml.ConcatNode, (4,)),
    ],
)
def test_every_merge_is_written_by_name_and_trains(folder, merge, kind, shape):
    experiment = document(folder, merge).build()
    (result,) = experiment.run().values()
    node = experiment.graph["both"]
    assert type(node) is kind
    assert node.output_shape == shape
    assert np.isfinite(result.metrics().where(name="train_loss").at(name="train_loss", epoch=0))
    again = mml.Experiment.from_config(experiment.get_config(), featuresets=experiment.featuresets)
    assert again.graph == experiment.graph


@pytest.mark.parametrize(
    ("merge", "place", "told"),
    [
        ("summ", "graph.nodes.both.merge", "sum"),
        ("{stack: {axes: 1}}", "graph.nodes.both.merge.stack.axes", "axis"),
        ("{stack: {axis: 0}}", "graph.nodes.both.merge.stack", "rows"),
        ("{stack: {axis: first}}", "graph.nodes.both.merge.stack.axis", "whole number"),
        ("{sum: {targets: nobody}}", "graph.nodes.both.merge.sum", "nobody"),
    ],
)
def test_a_merge_that_cannot_be_made_is_told_at_its_place(folder, merge, place, told):
    with pytest.raises(DocumentError) as caught:
        document(folder, merge).build()
    assert place in str(caught.value)
    assert told in str(caught.value)


def with_graph(folder, **settings):
    text = TEXT.replace("MERGE", "sum")
    for old, new in settings.items():
        text = text.replace({"optimizer": "optimizer: {sgd: {lr: 0.1}}"}[old], new)
    return ExperimentDocument.from_text(text, folder=folder)


def test_a_compiler_and_a_precision_can_be_asked_for(folder):
    text = "jit_compile: true\n  optimizer: {sgd: {lr: 0.1, precision: bf16}}"
    experiment = with_graph(folder, optimizer=text).build()
    assert experiment.graph.jit_compile is True
    assert experiment.graph.optimizer.precision == "bf16"
    assert with_graph(folder).build().graph.jit_compile is False
    graph = json_schema()["$defs"]["GraphSpec"]["properties"]
    assert graph["jit_compile"] == {"type": "boolean", "default": False}


@pytest.mark.parametrize(
    ("text", "place", "told"),
    [
        ("jit_compile: maybe", "graph.jit_compile", "true or false"),
        ("jit_compiled: true", "graph.jit_compiled", "jit_compile"),
        ("optimizer: {sgd: {precision: bf61}}", "graph.optimizer.sgd", "bf16"),
        ("optimizer: {sgd: {precision: 16}}", "graph.optimizer.sgd.precision", "text"),
    ],
)
def test_a_wrong_setting_of_the_graph_is_told_at_its_place(folder, text, place, told):
    with pytest.raises(DocumentError) as caught:
        with_graph(folder, optimizer=text).build()
    assert place in str(caught.value)
    assert told in str(caught.value)


def test_columns_can_be_taken_by_key(folder):
    rng = np.random.default_rng(0)
    np.savez(folder / "two.npz", x=rng.normal(size=(8, 3)), u=rng.normal(size=(8, 2)), y=np.ones((8, 1)))
    text = """
mml: 1
label: by-key
data:
  two: {file: two.npz, features: [x, u], targets: y}
graph:
  optimizer: sgd
  nodes:
    head: {model: {reference/mlp: {output_shape: 1}}, from: {data: two, combine: dict}}
losses:
  error: {loss: mse, on: head}
plan:
  - {train: train, split: null, sampler: {simple: {batch_size: 4}}, losses: [error]}
"""
    experiment = ExperimentDocument.from_text(text, folder=folder).build()
    experiment.run()
    assert experiment.graph["head"].input_shape == {"x": (3,), "u": (2,)}
