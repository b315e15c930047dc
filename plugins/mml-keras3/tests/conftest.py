"""Toy segments with odd, coprime sizes on whatever engine Keras has, and a guard against lasting changes."""

import importlib.util
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from mml.backends import (
    Block,
    BlockResult,
    Call,
    Controls,
    Program,
    Segment,
    SegmentInput,
    SegmentLoss,
    SegmentOptimizer,
)
from mml.graph.losses.loss import Loss
from mml_keras3 import KerasBackend, KerasBaseModel

ROWS, WIDTH, HIDDEN = 7, 3, 5
ENGINE = keras.backend.backend()

if importlib.util.find_spec("tensorflow"):
    # Keras imports it on every engine for some layers, and it sets variables of its own.
    import tensorflow  # noqa: F401

# Keras' first model sets environment variables and starts threads of its engine: here, not inside a test.
keras.Sequential([keras.layers.Dense(1)])(np.zeros((1, 1), "float32"))
_warm = keras.Sequential([keras.layers.Dense(1)])
_warm.compile(optimizer="sgd", loss="mse")
_warm.train_on_batch(np.zeros((2, 1), "float32"), np.zeros((2, 1), "float32"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let Keras' own variables become NumPy arrays in these tests: its `__array__` is of before NumPy 2."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            mark = "ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"
            item.add_marker(pytest.mark.filterwarnings(mark))


class SlotStore:
    """Slots as core holds them."""

    def __init__(self) -> None:
        self.slots: dict[str, dict[str, Any]] = {}

    def slots_of(self, variable: str, make: Any) -> dict[str, Any]:
        if variable not in self.slots:
            self.slots[variable] = dict(make())
        return self.slots[variable]


class Lab:
    """Builds models and segments, and runs them in ranges."""

    engine = ENGINE
    backend = KerasBackend()
    store = SlotStore
    rows, width, hidden = ROWS, WIDTH, HIDDEN

    def loss(self, name: str, **settings: Any) -> Any:
        return Loss(name, **settings).resolve(self.backend)

    def wrapped(self, model: Any, shape: tuple[int, ...] = (WIDTH,), label: str = "net") -> KerasBaseModel:
        wrapped = KerasBaseModel(model, label=label)
        wrapped.build(shape)
        return wrapped

    def net(
        self,
        *,
        dropout: float = 0.0,
        batch_norm: bool = False,
        seed: int = 0,
        width: int = WIDTH,
        **dense: Any,
    ) -> Any:
        """Return a built sequence of Keras' own layers with values that follow from the seed."""
        layers = [keras.layers.Dense(HIDDEN, **dense)]
        if batch_norm:
            layers.append(keras.layers.BatchNormalization(momentum=0.9))
        layers.append(keras.layers.Activation("tanh"))
        if dropout:
            layers.append(keras.layers.Dropout(dropout))
        return self.drawn(keras.Sequential([*layers, keras.layers.Dense(1, **dense)]), width, seed)

    def trunk(self, seed: int = 0, **dense: Any) -> Any:
        layers = [keras.layers.Dense(HIDDEN, **dense), keras.layers.Activation("tanh")]
        return self.drawn(keras.Sequential(layers), WIDTH, seed)

    def head(self, seed: int = 1, width: int = HIDDEN) -> Any:
        return self.drawn(keras.layers.Dense(1), width, seed)

    def drawn(self, model: Any, width: int, seed: int) -> Any:
        model.build((None, width))
        rng = np.random.default_rng(seed)
        model.set_weights(
            [
                one if "moving" in variable.name else rng.normal(size=one.shape, scale=0.5).astype(one.dtype)
                for one, variable in zip(model.get_weights(), model.weights, strict=True)
            ]
        )
        return model

    def data(self, steps: int, *, seed: int = 0, dtype: str = "float32") -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        inputs = rng.normal(size=(steps, ROWS, WIDTH)).astype(dtype)
        return inputs, rng.normal(size=(steps, ROWS, 1)).astype(dtype)

    def segment(self, model: Any, loss: Any, rule: Any, store: Any, **changes: Any) -> Segment:
        """One node ``net`` over ``x`` with one loss against ``y``; rule None evaluates."""
        clip = {key: changes.pop(key) for key in ("clip_norm", "clip_value") if key in changes}
        weight = changes.pop("weight", 1.0)
        sample_weight = changes.pop("sample_weight", None)
        context = changes.pop("context", False)
        inputs = [SegmentInput("x", (WIDTH,), None, 0), SegmentInput("y", (1,), None, 0)]
        if sample_weight:
            inputs.append(SegmentInput(sample_weight, (1,), None, 0))
        trains = rule is not None
        settings: dict[str, Any] = {
            "backend": "keras3",
            "mode": "train" if trains else "eval",
            "inputs": tuple(inputs),
            "calls": (Call("net", "net", model, None, ("x",), trains, 0),),
            "losses": (
                SegmentLoss("net/loss", "net", loss, ("net", "y"), weight, 0, (), sample_weight, context),
            ),
            "optimizers": (SegmentOptimizer(rule, store, ("net",), **clip),) if trains else (),
        }
        return Segment(**(settings | changes))

    def program(self, segment: Segment) -> Program:
        return self.backend.compile(segment)

    def block(self, counts: Any = None, **values: Any) -> Block:
        steps = len(next(iter(values.values())))
        rows = np.full((steps, 1), ROWS) if counts is None else np.asarray(counts)
        return Block(values=values, rows=rows.astype(np.int64))

    def controls(self, steps: int, *, rate: float = 1e-2, optimizers: int = 1, **changes: Any) -> Controls:
        seeds = np.arange(100, 100 + steps, dtype=np.int64)
        return Controls(seeds=seeds, rates=np.full((steps, optimizers), rate), **changes)

    def run(
        self, program: Program, block: Block, controls: Controls, *, cut: int | None = None
    ) -> np.ndarray:
        """Run a whole block in ranges of `cut` steps; return the losses."""
        staged = program.stage(block)
        cut = cut or block.n_steps
        results: list[BlockResult] = [
            program.run(staged, start, min(start + cut, block.n_steps), controls)
            for start in range(0, block.n_steps, cut)
        ]
        return np.concatenate([self.numpy(result.losses) for result in results])

    def numpy(self, array: Any) -> np.ndarray:
        return array if isinstance(array, np.ndarray) else self.backend.to_numpy(array)

    def slots(self, store: SlotStore) -> dict[str, dict[str, Any]]:
        """Return slots as a checkpoint holds them."""
        return {
            name: {slot: v if isinstance(v, int) else self.numpy(v) for slot, v in held.items()}
            for name, held in store.slots.items()
        }


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.fixture
def values_of() -> Any:
    """Return a function from Keras models to the bytes of all their weights."""

    def values(*models: Any) -> list[bytes]:
        return [one.tobytes() for model in models for one in model.get_weights()]

    return values


@pytest.fixture(autouse=True)
def process_is_left_as_it_was() -> Iterator[None]:
    before = random.getstate(), os.environ.get("KERAS_BACKEND"), keras.config.floatx()
    engines = _engine_state()
    yield
    random_after = random.getstate()
    # Keras' own layers draw their seeds from Python's generator; what a test makes itself is not a trace.
    assert (os.environ.get("KERAS_BACKEND"), keras.config.floatx()) == before[1:]
    assert _engine_state() == engines, "the test moved the engine's global generator or settings"
    del random_after


def _engine_state() -> Any:
    if ENGINE != "torch":
        return None
    import torch

    return (
        torch.default_generator.get_state().numpy().tobytes(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
    )
