"""Running a plan: programs from the cache, values carried from one segment to the next, a block at a time.

It knows order and conversion. It does not know phases, callbacks or results, and no backend by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np

from mml.backends import Block, BlockResult, Controls, Program, Segment, get_backend
from mml.errors import MMLError
from mml.graph.feeding import FedBlock, Feed
from mml.graph.plan import Plan

# With its segment: what a signature holds by identity must not be collected while the program is kept.
ProgramCache = dict[Any, tuple[Segment, Program]]
# By call key: the segment that computed it, and one native array a step.
Values = dict[str, tuple[Segment, list[Any]]]


@dataclass(slots=True)
class RecordedOutput:
    """The output of one node in one step, live rows only."""

    node: str
    role: str
    outputs: np.ndarray
    targets: np.ndarray | None
    sample_uuids: np.ndarray


@dataclass(slots=True)
class StepsResult:
    """What a range of steps gave.

    Parameters
    ----------
    losses : callable
        Returns the loss values before weighting, float64 ``(steps, n_losses)``, NaN without live rows;
        transfers them from the device when it is first called.
    rows : ndarray of int64, shape (steps, n_losses)
    outputs : list of list of RecordedOutput
        By step.
    """

    losses: Callable[[], np.ndarray]
    rows: np.ndarray
    outputs: list[list[RecordedOutput]]


class LoadedBlock:
    """A block of steps on its way through the segments.

    Parameters
    ----------
    fed : FedBlock
    controls : sequence of Controls
        One for each segment, covering the whole block.
    """

    def __init__(self, fed: FedBlock, controls: Sequence[Controls]) -> None:
        self.fed = fed
        self.controls = controls
        self.staged: dict[int, Any] = {}

    @property
    def n_steps(self) -> int:
        """How many steps the block holds."""
        return self.fed.n_steps


class Execution:
    """A plan, ready to run.

    Parameters
    ----------
    plan : Plan
    programs : dict
        The graph's cache of programs, by segment signature.
    build_rest : callable
        Builds nodes whose input became known by fitting what is upstream.
    """

    def __init__(self, plan: Plan, programs: ProgramCache, build_rest: Callable[[], None]) -> None:
        self.plan = plan
        self.feed = Feed(plan)
        self._cache = programs
        self._build_rest = build_rest
        self._programs: list[Program | None] = [None] * len(plan.segments)
        self._n_losses = len(plan.loss_rows)

    def run(self, block: LoadedBlock, start: int, stop: int) -> StepsResult:
        """Run the steps ``start`` to ``stop - 1`` of a block through every segment."""
        values: Values = {}
        pending: list[tuple[tuple[int, ...], Any, str]] = []
        with ExitStack() as scopes:
            self._enter_scopes(scopes)
            for number, planned in enumerate(self.plan.segments):
                try:
                    result = self._run_segment(number, block, slice(start, stop), values)
                except MMLError as error:
                    labels = ", ".join(dict.fromkeys(call.node for call in planned.segment.calls))
                    raise (error.located({"nodes": labels}) if labels else error) from error.__cause__
                made = {key: (planned.segment, list(steps)) for key, steps in result.outputs.items()}
                values.update(made)
                if planned.losses:
                    pending.append((planned.losses, result.losses, planned.segment.backend))
        rows = block.fed.counts[start:stop][:, list(self.plan.loss_rows)]
        return StepsResult(
            losses=self._losses(pending, stop - start),
            rows=rows,
            outputs=[self._recorded(block, step, step - start, values) for step in range(start, stop)],
        )

    def program(self, number: int) -> Program:
        """Return the program of one segment, compiled at first use."""
        program = self._programs[number]
        if program is None:
            segment = self.plan.segments[number].segment
            key = signature(segment)
            if key not in self._cache:
                self._cache[key] = (segment, get_backend(segment.backend).compile(segment))
            program = self._programs[number] = self._cache[key][1]
        return program

    def _enter_scopes(self, scopes: ExitStack) -> None:
        entered: set[str] = set()
        for planned in self.plan.segments:
            name = planned.segment.backend
            if name not in entered:
                entered.add(name)
                scopes.enter_context(get_backend(name).scope(deterministic=planned.segment.deterministic))

    def _run_segment(self, number: int, block: LoadedBlock, part: slice, values: Values) -> BlockResult:
        segment = self.plan.segments[number].segment
        if segment.mode == "fit":
            self._build_rest()
        program = self.program(number)
        if any(entry.origin for entry in segment.inputs):
            # What another segment computed exists for this range only, so the range is staged by itself.
            staged = program.stage(self._host_block(segment, block, part, values))
            return program.run(staged, 0, part.stop - part.start, _cut(block.controls[number], part))
        if number not in block.staged:
            whole = slice(0, block.n_steps)
            block.staged[number] = program.stage(self._host_block(segment, block, whole, values))
        return program.run(block.staged[number], part.start, part.stop, block.controls[number])

    def _host_block(
        self,
        segment: Segment,
        block: LoadedBlock,
        part: slice,
        values: Values,
    ) -> Block:
        counts = block.fed.counts[part]
        arrays: dict[str, Any] = {}
        for entry in segment.inputs:
            if entry.origin is None:
                arrays[entry.name] = block.fed.array(self.plan.data[entry.name])[part]
                continue
            source, native = values[entry.origin]
            same = (source.backend, source.device) == (segment.backend, segment.device)
            arrays[entry.name] = native if same else _on_host(native, source.backend, entry.dtype)
        return Block(values=arrays, rows=counts)

    def _losses(
        self, pending: list[tuple[tuple[int, ...], Any, str]], n_steps: int
    ) -> Callable[[], np.ndarray]:
        n_losses, known = self._n_losses, None

        def transfer() -> np.ndarray:
            nonlocal known
            if known is None:
                known = np.full((n_steps, n_losses), np.nan)
                for columns, native, backend in pending:
                    host = native if isinstance(native, np.ndarray) else get_backend(backend).to_numpy(native)
                    known[:, list(columns)] = host
                pending.clear()
            return known

        return transfer

    def _recorded(self, block: LoadedBlock, step: int, position: int, values: Values) -> list[RecordedOutput]:
        recorded = []
        for node, keys in self.plan.outputs.items():
            for role, key in keys:
                source, native = values[key]
                if native[position] is None:
                    continue
                outputs = get_backend(source.backend).to_numpy(native[position])
                wanted = self.plan.targets.get(key)
                targets = None if wanted is None else np.array(block.fed.array(wanted)[step, : len(outputs)])
                lane, lane_role = self.plan.identities[key]
                recorded.append(
                    RecordedOutput(
                        node=node,
                        role=role,
                        outputs=outputs,
                        targets=targets,
                        sample_uuids=block.fed.uuids(lane, lane_role, step, len(outputs)),
                    )
                )
        return recorded


def _on_host(native: list[Any], backend: str, dtype: str | None) -> np.ndarray:
    """Bring one segment's outputs to the host for another backend: ``(steps, capacity, ...)``."""
    convert = get_backend(backend).to_numpy
    steps = [None if one is None else convert(one) for one in native]
    present = [one for one in steps if one is not None]
    if not present:
        return np.empty((len(steps), 0))
    first = present[0]
    kind = dtype if dtype is not None and first.dtype.kind == "f" else first.dtype
    stacked = np.zeros((len(steps), max(len(one) for one in present), *first.shape[1:]), dtype=kind)
    for number, one in enumerate(steps):
        if one is not None:
            stacked[number, : len(one)] = one
            stacked[number, len(one) :] = one[:1]
    return stacked


def _cut(controls: Controls, part: slice) -> Controls:
    return Controls(
        seeds=controls.seeds[part],
        rates=controls.rates[part],
        apply=None if controls.apply is None else controls.apply[part],
        accumulated=None if controls.accumulated is None else controls.accumulated[part],
        contexts=None if controls.contexts is None else controls.contexts[part],
    )


def signature(segment: Segment) -> tuple[Any, ...]:
    """Return a key that is equal for segments which the same program can run.

    Objects stand in it by identity; the cache keeps the segment, so no identity is reused.
    """
    return (
        segment.backend,
        segment.mode,
        segment.inputs,
        tuple(
            (
                call.key,
                call.node,
                id(call.model),
                id(call.merge),
                call.sources,
                call.learns,
                call.rows,
                call.targets,
                call.keys,
            )
            for call in segment.calls
        ),
        tuple(
            (
                loss.label,
                id(loss.function),
                loss.arguments,
                loss.weight,
                loss.rows,
                loss.keywords,
                loss.sample_weight,
                loss.context,
            )
            for loss in segment.losses
        ),
        tuple(
            (id(one.rule), id(one.slots), one.nodes, one.clip_norm, one.clip_value)
            for one in segment.optimizers
        ),
        segment.outputs,
        segment.device,
        segment.n_rows,
        segment.deterministic,
        segment.precision,
        segment.jit_compile,
        _content(segment.options),
    )


def _content(value: Any) -> Any:
    """Return something hashable that tells values apart by content; `repr` would shorten long arrays."""
    if isinstance(value, np.ndarray):
        return (
            value.dtype.str,
            value.shape,
            tuple(value.tolist()) if value.dtype.hasobject else value.tobytes(),
        )
    if isinstance(value, Mapping):
        return tuple((key, _content(value[key])) for key in sorted(value))
    if isinstance(value, list | tuple):
        return tuple(_content(one) for one in value)
    return value
