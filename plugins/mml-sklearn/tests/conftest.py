"""Data, models and segments that the tests of this plugin share."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mml.backends import BaseModel, Block, Controls, ModelSource, Segment, get_backend
from mml_sklearn.datasets import load


@pytest.fixture(scope="session")
def cancer() -> tuple[np.ndarray, np.ndarray]:
    """Features (569, 30) and targets (569, 1), float32 and read-only."""
    data = load("breast_cancer")["data"]
    for array in data.values():
        array.flags.writeable = False
    return data["x"], data["y"]


@pytest.fixture
def wrap() -> Callable[..., BaseModel]:
    """Wrap an instance or class as the graph does; ``shape`` builds it."""

    def make(
        target: Any,
        *,
        shape: tuple[int, ...] | None = None,
        seed: int = 0,
        label: str = "node",
        **kwargs: Any,
    ) -> Any:
        is_instance = not callable(target)
        source = ModelSource(target, is_instance, None if is_instance else "a name", kwargs, label=label)
        model = get_backend("sklearn").wrap(source)
        if shape is not None:
            model.build(shape, seed=seed)
        return model

    return make


@pytest.fixture
def execute() -> Callable[..., Any]:
    """Compile a segment, stage its values (steps, capacity, ...) and run them in the given ranges."""

    def run(
        segment: Segment,
        values: dict[str, Any],
        *,
        rows: np.ndarray | None = None,
        cuts: tuple[int, ...] = (),
        seeds: np.ndarray | None = None,
    ) -> list[Any]:
        first = next(iter(values.values()))
        steps = len(first)
        if rows is None:
            rows = np.full((steps, segment.n_rows), first.shape[1], dtype=np.int64)
        controls = Controls(seeds=np.arange(steps) if seeds is None else seeds, rates=np.zeros((steps, 0)))
        program = get_backend("sklearn").compile(segment)
        staged = program.stage(Block(values=values, rows=rows))
        edges = (0, *cuts, steps)
        return [program.run(staged, start, stop, controls) for start, stop in itertools.pairwise(edges)]

    return run
