"""Toy segments with odd, coprime sizes, and a guard against tests that leave the process changed."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

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
from mml_torch import TorchBackend, TorchBaseModel

ROWS, WIDTH, HIDDEN = 7, 3, 5

# The framework's first optimizer sets an environment variable of its own: here, not inside a watched test.
torch.optim.SGD([torch.zeros(1)])


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

    backend = TorchBackend()
    store = SlotStore
    rows, width, hidden = ROWS, WIDTH, HIDDEN

    def wrapped(
        self, module: nn.Module, shape: tuple[int, ...] = (WIDTH,), label: str = "net"
    ) -> TorchBaseModel:
        model = TorchBaseModel(module, label=label)
        model.build(shape)
        return model

    def net(self, *, dropout: float = 0.0, batch_norm: bool = False, seed: int = 0) -> nn.Sequential:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            layers: list[nn.Module] = [nn.Linear(WIDTH, HIDDEN)]
            if batch_norm:
                layers.append(nn.BatchNorm1d(HIDDEN))
            layers.append(nn.Tanh())
            if dropout:
                layers.append(nn.Dropout(dropout))
            return nn.Sequential(*layers, nn.Linear(HIDDEN, 1))

    def data(self, steps: int, *, seed: int = 0, dtype: str = "float32") -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        inputs = rng.normal(size=(steps, ROWS, WIDTH)).astype(dtype)
        return inputs, rng.normal(size=(steps, ROWS, 1)).astype(dtype)

    def segment(self, model: Any, loss: Any, rule: Any, store: Any, **changes: Any) -> Segment:
        """One node ``net`` over ``x`` with one loss against ``y``; rule None evaluates."""
        clip = {key: changes.pop(key) for key in ("clip_norm", "clip_value") if key in changes}
        weight = changes.pop("weight", 1.0)
        sample_weight = changes.pop("sample_weight", None)
        inputs = [SegmentInput("x", (WIDTH,), None, 0), SegmentInput("y", (1,), None, 0)]
        if sample_weight:
            inputs.append(SegmentInput(sample_weight, (1,), None, 0))
        trains = rule is not None
        settings: dict[str, Any] = {
            "backend": "torch",
            "mode": "train" if trains else "eval",
            "inputs": tuple(inputs),
            "calls": (Call("net", "net", model, None, ("x",), trains, 0),),
            "losses": (SegmentLoss("net/loss", "net", loss, ("net", "y"), weight, 0, (), sample_weight),),
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


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.fixture
def values_of() -> Any:
    """Return a function from modules to the bytes of all their values."""

    def values(*modules: nn.Module) -> list[bytes]:
        return [
            one.detach().numpy().tobytes()
            for module in modules
            for one in (*module.parameters(), *module.buffers())
        ]

    return values


@pytest.fixture(autouse=True)
def process_is_left_as_it_was() -> Iterator[None]:
    generator = torch.default_generator.get_state()
    before = (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled())
    deterministic = torch.are_deterministic_algorithms_enabled()
    yield
    assert torch.equal(generator, torch.default_generator.get_state()), "the test moved the global generator"
    assert (torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()) == before
    assert torch.are_deterministic_algorithms_enabled() is deterministic
