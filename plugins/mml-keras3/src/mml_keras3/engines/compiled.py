"""The runner of engines that compile: blocks in parts of one form, and an executable for each form.

A step's form follows from its counts alone, so that what it computes depends on the step, never on the block
or the range. Parts of a form have one length, whatever the block's, so that a form has one executable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from mml.backends import Block, BlockResult, Controls
from mml_keras3.engines.compiling import CompilingEngine
from mml_keras3.engines.coupling import couples_rows
from mml_keras3.engines.forms import Form, are_uniform, padded, runs_of_forms
from mml_keras3.engines.range_run import RangeRun
from mml_keras3.engines.steps import Fixed, StepFunction
from mml_keras3.engines.updates import Held
from mml_keras3.plan import StepPlan
from mml_keras3.staging import aligned, padded_values, step_values

Executable = Callable[[int, int, Held, Fixed], tuple[Held, list[Any], list[list[Any]]]]

_MOST_STEPS = 128
_PART_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """Consecutive steps of one form on the device.

    Parameters
    ----------
    form : Form
    first, count : int
        Which steps of the block they are.
    length : int
        Rows of the arrays; those from `count` on mean nothing.
    data : list
        One array ``(length, rows, ...)`` for each live input of the segment.
    rows : ndarray of int64, shape (count, columns)
        Counts of live rows.
    kind : tuple
        Dtypes and row shapes of the data: a segment may leave them to the data.
    """

    form: Form
    first: int
    count: int
    length: int
    data: list[Any]
    rows: np.ndarray
    kind: tuple[Any, ...]


class CompiledRunner:
    """Runs a segment's steps through executables.

    Parameters
    ----------
    plan : StepPlan
    engine : CompilingEngine
    """

    def __init__(self, plan: StepPlan, engine: CompilingEngine) -> None:
        self.plan = plan
        self.engine = engine
        self.variables = plan.all_variables()
        self._columns = plan.used_columns()
        self._couples_rows: dict[tuple[bool, ...], bool] = {}
        self._functions: dict[Any, StepFunction] = {}
        self._executables: dict[StepFunction, Executable] = {}

    def stage(self, block: Block) -> list[Part]:
        """Copy a block's live rows to the device, in parts of one form."""
        form_of = partial(self._form_of, block)
        return [
            part
            for form, start, stop in runs_of_forms(block.rows, self._columns, form_of)
            for part in self._parts(block, form, start, stop)
        ]

    def run(self, staged: list[Part], start: int, stop: int, controls: Controls) -> BlockResult:
        """Execute a range of steps; variables and slots change only if all of it succeeds."""
        run = RangeRun(self, controls)
        for part in staged:
            first, last = max(start, part.first), min(stop, part.first + part.count)
            if first < last:
                run.steps(part, first, last)
        run.commit()
        return BlockResult(losses=run.losses(), outputs=run.outputs)

    def function(self, part: Part, *, accumulates: bool) -> StepFunction:
        """Return the steps of a part's form, maybe not prepared yet."""
        key = (part.form, part.kind, accumulates)
        if key not in self._functions:
            self._functions[key] = StepFunction(self.plan, part.form, self.engine, accumulates=accumulates)
        return self._functions[key]

    def executable(self, function: StepFunction) -> Executable:
        """Return what runs a range of prepared steps."""
        if function not in self._executables:
            assert function.differentiated is not None  # prepared
            segment = self.plan.segment
            self._executables[function] = self.engine.executable(
                function.step,
                function.differentiated,
                device=segment.device,
                compiler=segment.jit_compile,
            )
        return self._executables[function]

    def _form_of(self, block: Block, step: int, counts: tuple[int, ...]) -> Form:
        if are_uniform(counts):
            return Form(counts)
        live = tuple([count > 0 for count in counts])
        if live not in self._couples_rows:
            self._couples_rows[live] = couples_rows(self.plan, self.engine, block, step)
        return Form(counts) if self._couples_rows[live] else padded(counts)

    def _parts(self, block: Block, form: Form, start: int, stop: int) -> Iterator[Part]:
        live = [one for one in self.plan.segment.inputs if form.counts[one.rows]]
        values = padded_values if form.is_padded else step_values
        steps = [values(block, one, form.counts[one.rows], start, stop) for one in live]
        length = _part_length(steps)
        kind = tuple((array.dtype.str, array.shape[2:]) for array in steps)
        for first in range(start, stop, length):
            count = min(length, stop - first)
            data = [self._placed(array[first - start : first - start + count], length) for array in steps]
            yield Part(form, first, count, length, data, block.rows[first : first + count].copy(), kind)

    def _placed(self, steps: np.ndarray, length: int) -> Any:
        """Copy steps into memory of their own, which the device may take over."""
        own = aligned((length, *steps.shape[1:]), steps.dtype)
        np.copyto(own[: len(steps)], steps)
        return self.engine.stage(own, self.plan.segment.device)


def _part_length(steps: list[np.ndarray]) -> int:
    """Return how many steps a part has: a power of two that follows from the size of a step alone."""
    size = sum(math.prod(array.shape[1:]) * array.dtype.itemsize for array in steps)
    most = max(1, min(_MOST_STEPS, _PART_BYTES // max(size, 1)))
    return 1 << (most.bit_length() - 1)
