"""Small data, requests and runs of graphs that the tests of this folder share; odd sizes on purpose."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

import mml
from mml.backends import Controls
from mml.graph.execution import Execution, LoadedBlock, StepsResult
from mml.graph.plan import Lane, Request
from mml.processing import BatchView

N_ROWS, N_FEATURES = 23, 3
_number = itertools.count()


def data(*, seed: int = 0, n_rows: int = N_ROWS, label: str | None = None, **more: Any) -> mml.FeatureSet:
    """Return features x (3), u (2), targets y (1), z (2), tags w (weight); each with a label of its own."""
    rng = np.random.default_rng(seed)
    columns = {
        "x": rng.normal(size=(n_rows, N_FEATURES)).astype(np.float32),
        "u": rng.normal(size=(n_rows, 2)).astype(np.float32),
        "y": rng.normal(size=(n_rows, 1)).astype(np.float32),
        "z": rng.normal(size=(n_rows, 2)).astype(np.float32),
        "w": rng.uniform(0.5, 2.0, size=n_rows).astype(np.float32),
        "name": np.array([f"row{number}" for number in range(n_rows)]),
    } | more
    return mml.FeatureSet.from_dict(
        label or f"data{next(_number)}",
        columns,
        feature_keys=["x", "u"],
        target_keys=["y", "z"],
        tag_keys=[key for key in columns if key not in "xuyz"],
    )


@contextmanager
def fresh(*sets: mml.FeatureSet) -> Iterator[None]:
    """Use a new context that knows these sets and nothing else, so that labels are free again."""
    with mml.ExperimentContext(policy="error").activate() as context:
        for one in sets:
            context.register(one)
        yield


def reference(rows: mml.FeatureSet, *, features: Any = "x", targets: Any = "y", **more: Any) -> Any:
    """Return a reference to x and y."""
    return rows.reference(features=features, targets=targets, **more)


def dense(label: str, upstream: Any, width: int = 1, **settings: Any) -> mml.ModelNode:
    """Return a node of the reference backend: one dense layer, or an mlp with `hidden`."""
    node_settings = {key: settings.pop(key) for key in ("optimizer", "device") if key in settings}
    model = mml.Model("reference/mlp", output_shape=width, **settings)
    return mml.ModelNode(label, model, upstream, **node_settings)


def foreign(label: str, upstream: Any, function: Any = np.tanh) -> mml.ModelNode:
    """Return a node of the NumPy backend, at which gradients stop."""
    return mml.ModelNode(label, mml.Model(function, backend="numpy"), upstream)


def lanes_of(graph: mml.ModelGraph, *, roles: Sequence[str] = ("default",), **rows: Any) -> tuple[Lane, ...]:
    """Return a lane for every data input of a graph, as a phase makes them."""
    lanes = []
    for head in graph.head_nodes:
        upstream = graph[head].upstream
        for number, one in enumerate(upstream):
            if isinstance(one, mml.FeatureSetReference):
                source = one.resolve()
                lanes.append(
                    Lane(
                        name=f"{head}[{number}]" if len(upstream) > 1 else head,
                        head=head,
                        source=source.snapshot(),
                        columns=one.columns(source),
                        combine=one.combine,
                        roles=tuple(roles),
                        rows=rows.get(head),
                    )
                )
    return tuple(lanes)


def request(graph: mml.ModelGraph, mode: Any = "train", **settings: Any) -> Request:
    """Return a request over all data inputs of a graph, built."""
    graph.build(seed=0)
    lanes = settings.pop("lanes", None)
    roles = settings.pop("roles", ("default",))
    return Request(mode=mode, lanes=lanes_of(graph, roles=roles) if lanes is None else lanes, **settings)


Rows = Sequence[int] | np.ndarray | Mapping[str, Any]


def steps(execution: Execution, batches: Sequence[Rows]) -> list[dict[str, BatchView]]:
    """Return batch views: one sequence of rows for all lanes, or rows by lane, or by lane and role."""
    made = []
    for batch in batches:
        step = {}
        for lane in execution.plan.lanes:
            rows = batch[lane.name] if isinstance(batch, Mapping) else batch
            by_role = rows if isinstance(rows, Mapping) else dict.fromkeys(lane.roles, rows)
            step[lane.name] = BatchView({r: np.asarray(v, dtype=np.int64) for r, v in by_role.items()})
        made.append(step)
    return made


def run(
    execution: Execution,
    batches: Sequence[Rows],
    *,
    block: int | None = None,
    cut: int | None = None,
    accumulate: int = 1,
    first: int = 0,
    total: int | None = None,
) -> list[StepsResult]:
    """Run batches in blocks of `block` steps, each block in ranges of `cut` steps.

    The controls are written out here: constant seeds by step, rates of each optimizer's schedule, and windows
    of `accumulate` steps.
    """
    views, results = steps(execution, batches), []
    size = block or len(views)
    for start in range(0, len(views), size):
        chunk = views[start : start + size]
        fed = execution.feed.block(chunk)
        numbers = np.arange(first + start, first + start + len(chunk))
        controls = [
            _controls(planned, fed.counts, numbers, accumulate, total or first + len(views))
            for planned in execution.plan.segments
        ]
        loaded = LoadedBlock(fed, controls)
        for low in range(0, len(chunk), cut or len(chunk)):
            results.append(execution.run(loaded, low, min(low + (cut or len(chunk)), len(chunk))))
    return results


def _controls(planned: Any, counts: np.ndarray, numbers: np.ndarray, window: int, total: int) -> Controls:
    rates = np.zeros((len(numbers), len(planned.optimizers)))
    for index, optimizer in enumerate(planned.optimizers):
        rule = planned.segment.optimizers[index].rule
        updates = -(-total // window)
        known = optimizer.rates(rule, start=0, count=updates, total=updates)
        rates[:, index] = known[numbers // window]
    if window == 1:
        return Controls(seeds=numbers + 1, rates=rates)
    apply = np.repeat(((numbers + 1) % window == 0)[:, None], len(planned.optimizers), axis=1)
    rows = counts[:, [loss.rows for loss in planned.segment.losses]]
    sums = np.add.reduceat(rows, np.arange(0, len(rows), window), axis=0)
    return Controls(
        seeds=numbers + 1, rates=rates, apply=apply, accumulated=np.repeat(sums, window, axis=0)[: len(rows)]
    )


def losses_of(results: Sequence[StepsResult]) -> np.ndarray:
    """Return the losses of all steps, float64 ``(steps, losses)``."""
    return np.concatenate([one.losses() for one in results])


def rows_of(results: Sequence[StepsResult]) -> np.ndarray:
    """Return the live rows of all steps and losses."""
    return np.concatenate([one.rows for one in results])


def values(graph: mml.ModelGraph, label: str) -> dict[str, np.ndarray]:
    """Return copies of a node's values."""
    return graph[label].get_state()["model"]


def column(rows: mml.FeatureSet, key: str) -> np.ndarray:
    """Return a raw column in float64."""
    found = rows.get_data(key, rep="raw", fmt="dict_numpy")
    return np.asarray(next(iter(found.values()))).astype(np.float64)
