"""An experiment that the reference backend runs, as text, and the data that it reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

TEXT = """\
mml: 1
label: toy
seed: 0
data:
  cells:
    file: cells.npz
    features: x
    targets: y
    splits:
      - splitter: {random: {ratios: {train: 0.5, val: 0.25, test: 0.25}, seed: 0}}
    transforms:
      - {scaler: standard, domain: features, fit_to_split: train}
graph:
  optimizer: {sgd: {lr: 0.1}}
  nodes:
    head:
      model: {reference/mlp: {hidden: [4], output_shape: 1}}
      from: {data: cells, features: x, targets: y}
losses:
  error: {loss: mse, on: head}
evaluations:
  validate: {split: val, losses: [error]}
plan:
  - train: train
    split: train
    sampler: {simple: {batch_size: 8, shuffle: true}}
    losses: [error]
    epochs: 3
    callbacks:
      - evaluation: {phase: validate}
      - early_stopping: {patience: 2}
  - eval: test
    split: test
    losses: [error]
    metrics: [rmse]
"""


@pytest.fixture
def text() -> str:
    return TEXT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with ``cells.npz``: 40 rows, x (40, 3) and y (40, 1)."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)).astype("float32")
    np.savez(tmp_path / "cells.npz", x=x, y=x.sum(1, keepdims=True))
    return tmp_path


@pytest.fixture
def file(folder: Path, text: str) -> Path:
    """The document as a file beside its data."""
    path = folder / "toy.yaml"
    path.write_text(text)
    return path
