"""Toy segments with odd, coprime sizes, and a guard against tests that leave the process changed."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.framework import config

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
from mml_tf import MLP, TensorflowBackend, TensorflowBaseModel
from mml_tf.layers import BatchNorm, Dropout, Linear

ROWS, WIDTH, HIDDEN = 7, 3, 5


class SlotStore:
    """Slots as core holds them."""

    def __init__(self) -> None:
        self.slots: dict[str, dict[str, Any]] = {}

    def slots_of(self, variable: str, make: Any) -> dict[str, Any]:
        if variable not in self.slots:
            self.slots[variable] = dict(make())
        return self.slots[variable]


class Net(tf.Module):
    """Layers one after the other, told of the mode where they have one."""

    def __init__(self, *layers: Any) -> None:
        super().__init__()
        self.layers = list(layers)

    def __call__(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        for layer in self.layers:
            modal = isinstance(layer, BatchNorm | Dropout | Net)
            inputs = layer(inputs, training=training) if modal else layer(inputs)
        return inputs


class Lab:
    """Builds models and segments, and runs them in ranges."""

    backend = TensorflowBackend()
    store = SlotStore
    rows, width, hidden = ROWS, WIDTH, HIDDEN

    def wrapped(
        self, module: Any, shape: tuple[int, ...] = (WIDTH,), label: str = "net"
    ) -> TensorflowBaseModel:
        model = TensorflowBaseModel(module, label=label)
        model.build(shape)
        return model

    def linear(self, width: int, outputs: int, *, seed: int = 0, dtype: str = "float32") -> Linear:
        rng = np.random.default_rng((seed, width, outputs))
        layer = Linear(width, outputs)
        layer.weight = tf.Variable(rng.uniform(-0.5, 0.5, size=(width, outputs)).astype(dtype))
        layer.bias = tf.Variable(rng.uniform(-0.5, 0.5, size=(outputs,)).astype(dtype))
        return layer

    def trunk(self, *, dropout: float = 0.0, batch_norm: bool = False, **settings: Any) -> Net:
        norm = [BatchNorm(HIDDEN)] if batch_norm else []
        drop = [Dropout(dropout)] if dropout else []
        return Net(self.linear(WIDTH, HIDDEN, **settings), *norm, tf.tanh, *drop)

    def net(self, *, dropout: float = 0.0, batch_norm: bool = False, **settings: Any) -> Net:
        return Net(
            *self.trunk(dropout=dropout, batch_norm=batch_norm, **settings).layers,
            self.linear(HIDDEN, 1, **settings),
        )

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
            "backend": "tensorflow",
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
        return np.concatenate([np.asarray(result.losses) for result in results])

    def train(self, model: Any, rule: Any, x: np.ndarray, y: np.ndarray, **changes: Any) -> np.ndarray:
        """Train one node on whole batches by mean squared error; return the losses."""
        segment = self.segment(model, changes.pop("loss"), rule, changes.pop("store", SlotStore()), **changes)
        return self.run(self.program(segment), self.block(x=x, y=y), self.controls(len(x)))


def _values(*modules: tf.Module) -> list[bytes]:
    return [one.numpy().tobytes() for module in modules for one in module.variables]


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.fixture
def values_of() -> Any:
    """Return a function from modules to the bytes of all their values."""
    return _values


@pytest.fixture
def mlp() -> Any:
    """Return a function that wraps and builds an ``mlp``."""

    def made(seed: int = 0, shape: tuple[int, ...] = (WIDTH,), **settings: Any) -> TensorflowBaseModel:
        model = TensorflowBaseModel(MLP, kwargs={"hidden": [HIDDEN], **settings}, label="net")
        model.build(shape, (1,), seed=seed)
        return model

    return made


@pytest.fixture(autouse=True)
def process_is_left_as_it_was() -> Iterator[None]:
    framework = context.context()
    before = (framework._seed, vars(framework).get("_rng"))
    deterministic = config.is_op_determinism_enabled()
    eager = tf.config.functions_run_eagerly()
    yield
    assert (framework._seed, vars(framework).get("_rng")) == before, "the test moved the generator"
    assert config.is_op_determinism_enabled() is deterministic
    assert tf.config.functions_run_eagerly() is eager
