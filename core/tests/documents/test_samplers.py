"""Samplers of documents: roles with conditions, samplers inside samplers, and mistakes told in place."""

from __future__ import annotations

import numpy as np
import pytest

import mml
from mml.documents import ExperimentDocument
from mml.errors import DocumentError

TEXT = """
mml: 1
label: samplers
data:
  cells: {file: cells.npz, features: x, targets: y, tags: [cell, key]}
  others: {file: others.npz, features: z, targets: y, tags: [key]}
graph:
  optimizer: {sgd: {lr: 0.01}}
  nodes:
    left: {model: {reference/mlp: {output_shape: 1}}, from: cells}
    right: {model: {reference/mlp: {output_shape: 1}}, from: others}
losses:
  pairs: {loss: mse, on: left, inputs: [outputs.anchor, outputs.positive]}
  alone: {loss: mse, on: left}
  other: {loss: mse, on: right}
plan:
  - train: train
    losses: [LOSS]
    nodes: [left]
    split: null
    sampler: SAMPLER
"""


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(24, 3)).astype("float32")
    y = x.sum(1, keepdims=True)
    np.savez(tmp_path / "cells.npz", x=x, y=y, cell=np.arange(24) % 4, key=np.arange(24))
    np.savez(tmp_path / "others.npz", z=x[::-1], y=y[::-1], key=np.arange(24)[::-1])
    return tmp_path


def document(folder, sampler, *, loss="alone", nodes="[left]"):
    text = TEXT.replace("SAMPLER", sampler).replace("LOSS", loss).replace("nodes: [left]", f"nodes: {nodes}")
    return ExperimentDocument.from_text(text, folder=folder)


TRIPLETS = "{triplet: {batch_size: 6, by: cell, shuffle: true}}"
CONDITIONS = (
    "{n: {batch_size: 6, conditions: {positive: {cell: similar, key: {tolerance: 8, fallback: nearest}}}}}"
)


@pytest.mark.parametrize(
    ("sampler", "expected"),
    [
        (TRIPLETS, mml.TripletSampler(batch_size=6, by="cell", shuffle=True)),
        (
            CONDITIONS,
            mml.NSampler(
                batch_size=6,
                conditions={
                    "positive": [
                        mml.SimilarityCondition("cell"),
                        mml.SimilarityCondition("key", tolerance=8, fallback="nearest"),
                    ]
                },
            ),
        ),
    ],
    ids=["triplet", "n"],
)
def test_roles_and_conditions(folder, sampler, expected):
    experiment = document(folder, sampler, loss="pairs").build()
    phase = next(iter(experiment.execution_plan.flatten()))
    found = getattr(phase, "phase", phase).input_sources[0].sampler
    assert found == expected
    assert (
        mml.InputBinding.from_config(
            mml.InputBinding.for_training(node="left", sampler=found).get_config()
        ).sampler
        == expected
    )
    assert np.isfinite(experiment.run().get_train_result("train").metric_store.latest("train_loss"))


def test_a_sampler_inside_a_sampler(folder):
    sampler = "{aligned: {base: {simple: {batch_size: 6, shuffle: true}}, by: key}}"
    experiment = document(folder, sampler, loss="alone, other", nodes="null").build()
    results = experiment.run().get_train_result("train")
    left, right = (np.concatenate(results.batches(node).values) for node in ("left", "right"))
    assert (23 - left).tolist() == right.tolist()


@pytest.mark.parametrize(
    ("sampler", "words"),
    [
        ("{triplet: {batch_size: 6, by: cell, shuffel: true}}", ["line 21", "'shuffel'", "'shuffle'"]),
        ("{triplet: {batch_size: 6}}", ["line 21", "either by='cell'"]),
        ("{paired: {batch_size: 6, conditions: {cell: same}}}", ["line 21", "mode 'same'", "'similar'"]),
        ("{aligned: {base: {simple: {batch_size: 0}}}}", ["line 21", "at least one row"]),
        ("{aligned: {base: {simpel: {batch_size: 3}}}}", ["line 21", "'simpel'"]),
        ("{aligned: {base: 3}}", ["line 21", "wraps another sampler"]),
    ],
)
def test_mistakes_are_told_where_they_stand(folder, sampler, words):
    with pytest.raises(DocumentError) as caught:
        document(folder, sampler).build()
    assert [word for word in words if word not in str(caught.value)] == []
