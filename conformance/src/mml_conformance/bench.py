"""The bench that checks work at: models, segments and runs of a backend under test, made by hand.

Everything goes through the contract (`ComputeBackend`, `Segment`, `Program`), never through a graph, so that
a failure names the backend and not core. Nothing here names a backend.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from mml.backends import (
    BaseModel,
    Block,
    BlockResult,
    Call,
    ComputeBackend,
    Controls,
    ModelSource,
    Program,
    Segment,
    SegmentInput,
    SegmentLoss,
    SegmentOptimizer,
)
from mml.graph.losses.loss import Loss
from mml.graph.optimizers.optimizer import Optimizer
from mml.plugins import registry


@dataclass(frozen=True)
class Head:
    """One loss on one value of a wiring.

    Parameters
    ----------
    on : str
        Key of the call, or name of the input, that it scores.
    targets : str
        Name of the input that holds the targets.
    loss : str
    weight : float
    sample_weight : str or None
        Name of the input that holds row weights, shape ``(rows, 1)``.
    settings : mapping
        Settings of the loss.
    """

    on: str
    targets: str = "y"
    loss: str = "mse"
    weight: float = 1.0
    sample_weight: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Wiring:
    """Nodes and losses, before anybody says who learns.

    Parameters
    ----------
    nodes : mapping of str to (model or merge, sources)
        In the order of execution; the label is the call's key.
    inputs : mapping of str to ndarray
        The data of one block by name, each ``(steps, capacity, ...)``.
    heads : sequence of Head
    """

    nodes: Mapping[str, tuple[Any, tuple[str, ...]]]
    inputs: Mapping[str, np.ndarray]
    heads: Sequence[Head] = ()

    @property
    def models(self) -> dict[str, BaseModel]:
        """The models by label."""
        return {label: part for label, (part, _) in self.nodes.items() if isinstance(part, BaseModel)}

    @property
    def n_steps(self) -> int:
        """How many steps the data has."""
        return len(next(iter(self.inputs.values())))


def make_model(
    backend: ComputeBackend,
    *,
    input_shape: tuple[int, ...] = (3,),
    output_shape: tuple[int, ...] | None = (1,),
    seed: int = 0,
    label: str = "model",
    **kwargs: Any,
) -> BaseModel:
    """Build the backend's `mlp` for these shapes."""
    source = ModelSource(
        target=registry("models").load("mlp", backend=backend.name),
        is_instance=False,
        name="mlp",
        kwargs=kwargs,
        label=label,
    )
    model = backend.wrap(source)
    model.build(input_shape, output_shape, seed=seed)
    return model


def make_segment(
    backend: ComputeBackend,
    wiring: Wiring,
    *,
    learning: Sequence[str] = (),
    optimizer: Optimizer | None = None,
    outputs: Sequence[str] = (),
) -> Segment:
    """Write the wiring down as a segment; with nobody learning, in mode ``eval``."""
    steps = () if optimizer is None else (_segment_optimizer(backend, optimizer, learning),)
    return Segment(
        backend=backend.name,
        mode="train" if learning else "eval",
        inputs=tuple(
            SegmentInput(name=name, shape=array.shape[2:], dtype=array.dtype.name, rows=0)
            for name, array in wiring.inputs.items()
        ),
        calls=tuple(
            _call(label, part, sources, label in learning) for label, (part, sources) in wiring.nodes.items()
        ),
        losses=tuple(_loss(backend, head, number) for number, head in enumerate(wiring.heads)),
        optimizers=steps,
        outputs=tuple(outputs),
        n_rows=1,
    )


def _call(label: str, part: Any, sources: tuple[str, ...], learns: bool) -> Call:
    is_model = isinstance(part, BaseModel)
    return Call(
        key=label,
        node=label,
        model=part if is_model else None,
        merge=None if is_model else part,
        sources=sources,
        learns=learns,
        rows=0,
    )


def _loss(backend: ComputeBackend, head: Head, number: int) -> SegmentLoss:
    return SegmentLoss(
        label=f"{head.on}/{head.loss}/{number}",
        node=head.on,
        function=Loss(head.loss, **head.settings).resolve(backend),
        arguments=(head.on, head.targets),
        weight=head.weight,
        rows=0,
        sample_weight=head.sample_weight,
    )


def _segment_optimizer(
    backend: ComputeBackend, optimizer: Optimizer, learning: Sequence[str]
) -> SegmentOptimizer:
    return SegmentOptimizer(
        rule=optimizer.resolve(backend),
        slots=optimizer,
        nodes=tuple(learning),
        clip_norm=optimizer.clip_norm,
        clip_value=optimizer.clip_value,
    )


@dataclass(frozen=True)
class Settings:
    """What a run changes from step to step; everything by default constant and whole.

    Parameters
    ----------
    rates : sequence of float, optional
        Learning rates, 0.1 by default.
    live : sequence of int, optional
        Live rows of each step, all by default.
    apply : sequence of bool, optional
        Whether each step ends with an update.
    window : sequence of int, optional
        Live rows of the window that each step accumulates into.
    seed : int
        Seed of the first step; the others count on.
    cuts : sequence of int
        Where the block is cut into ranges.
    """

    rates: Sequence[float] | None = None
    live: Sequence[int] | None = None
    apply: Sequence[bool] | None = None
    window: Sequence[int] | None = None
    seed: int = 100
    cuts: Sequence[int] = ()


def run(program: Program, wiring: Wiring, settings: Settings = Settings()) -> list[BlockResult]:
    """Stage the wiring's data as one block and run its ranges; return each range's result."""
    steps = wiring.n_steps
    capacity = next(iter(wiring.inputs.values())).shape[1]
    live = np.array([capacity] * steps if settings.live is None else settings.live, dtype=np.int64)
    heads = max(len(wiring.heads), 1)
    staged = program.stage(Block(values=dict(wiring.inputs), rows=live[:, None]))
    controls = Controls(
        seeds=np.arange(settings.seed, settings.seed + steps, dtype=np.int64),
        rates=np.asarray([0.1] * steps if settings.rates is None else settings.rates, dtype=np.float64)[
            :, None
        ],
        apply=None if settings.apply is None else np.array(settings.apply, dtype=bool)[:, None],
        accumulated=None
        if settings.window is None
        else np.repeat(np.array(settings.window, dtype=np.int64)[:, None], heads, axis=1),
    )
    edges = [0, *settings.cuts, steps]
    return [program.run(staged, start, stop, controls) for start, stop in pairwise(edges)]


def losses_of(backend: ComputeBackend, results: Sequence[BlockResult]) -> np.ndarray:
    """Return the losses of ranges, float64 of shape ``(steps, heads)``."""
    parts = [
        one.losses if isinstance(one.losses, np.ndarray) else backend.to_numpy(one.losses) for one in results
    ]
    return np.concatenate(parts).astype(np.float64)


def train(
    backend: ComputeBackend,
    wiring: Wiring,
    *,
    optimizer: Optimizer,
    learning: Sequence[str] | None = None,
    settings: Settings = Settings(),
) -> np.ndarray:
    """Train all models, or the named ones, on the wiring's data; return the losses."""
    chosen = tuple(wiring.models) if learning is None else tuple(learning)
    program = backend.compile(make_segment(backend, wiring, learning=chosen, optimizer=optimizer))
    return losses_of(backend, run(program, wiring, settings))


def evaluate(
    backend: ComputeBackend,
    wiring: Wiring,
    *,
    outputs: Sequence[str] = (),
    settings: Settings = Settings(),
) -> tuple[np.ndarray, dict[str, list[Any]]]:
    """Evaluate; return the losses, and each step's outputs by key as NumPy arrays, None if it did not run."""
    program = backend.compile(make_segment(backend, wiring, outputs=outputs))
    results = run(program, wiring, settings)
    arrays = {
        key: [
            None if one is None else backend.to_numpy(one)
            for result in results
            for one in result.outputs[key]
        ]
        for key in outputs
    }
    return losses_of(backend, results), arrays


def states_of(wiring: Wiring) -> dict[str, np.ndarray]:
    """Return copies of all models' values, by ``<node>/<name>``."""
    return {
        f"{label}/{name}": np.array(value)
        for label, model in wiring.models.items()
        for name, value in model.get_state().items()
    }


def same_bits(left: Mapping[str, np.ndarray], right: Mapping[str, np.ndarray]) -> bool:
    """Whether two sets of arrays have equal names, dtypes, shapes and bytes."""
    return left.keys() == right.keys() and all(
        (left[name].dtype, left[name].shape, left[name].tobytes())
        == (right[name].dtype, right[name].shape, right[name].tobytes())
        for name in left
    )
