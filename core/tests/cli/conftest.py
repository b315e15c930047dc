"""The command line in this process, and an experiment that the reference backend runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mml.cli.app import app

TEXT = """\
mml: 1
label: toy
data:
  cells:
    file: cells.npz
    features: x
    targets: y
    splits:
      - splitter: {random: {ratios: {train: 0.5, val: 0.25, test: 0.25}, seed: 0}}
graph:
  optimizer: {sgd: {lr: 0.1}}
  nodes:
    head: {model: {reference/mlp: {hidden: [4], output_shape: 1}}, from: cells}
losses:
  error: {loss: mse, on: head}
plan:
  - {train: train, split: train, sampler: {simple: {batch_size: 8}}, losses: [error], epochs: 3}
  - {eval: test, split: test, losses: [error], metrics: [rmse]}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3)).astype("float32")
    np.savez(tmp_path / "cells.npz", x=x, y=x.sum(1, keepdims=True))
    path = tmp_path / "toy.yaml"
    path.write_text(TEXT)
    return path


@pytest.fixture
def mml(monkeypatch):
    """Run a command line; give its result with ``exit_code``, ``stdout`` and ``stderr``."""
    monkeypatch.setenv("MML_PROGRESS", "0")
    monkeypatch.setenv("COLUMNS", "80")

    def invoke(*arguments: object):
        return CliRunner().invoke(app, [str(one) for one in arguments], prog_name="mml")

    return invoke
