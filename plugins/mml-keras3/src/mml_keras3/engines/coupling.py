"""Whether rows of a segment look at each other, as in batch normalisation: found by trying.

A step is run padded with several fillings. If anything that counts changes by a bit, or is not what the live
rows alone give, padding is seen, and the segment runs on exact shapes only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from mml.backends import Block
from mml.errors import LossError
from mml_keras3.engines.compiling import CompilingEngine
from mml_keras3.engines.forms import Form
from mml_keras3.engines.steps import Fixed, StepFunction
from mml_keras3.engines.updates import Held
from mml_keras3.plan import StepPlan
from mml_keras3.staging import step_values

_TOLERANCE = 1e-4
_SPREAD = 8.0
_MORE = 2


def couples_rows(plan: StepPlan, engine: CompilingEngine, block: Block, step: int) -> bool:
    """Return whether padding changes what steps compute that have live rows in the same columns.

    Parameters
    ----------
    plan : StepPlan
    engine : CompilingEngine
    block : Block
    step : int
        A step of the block whose counts differ.
    """
    if plan.has_context:
        return True
    counts = plan.used_counts(block.rows[step])
    # More rows than any column has, so that every call and loss has some that it must not see.
    most = max(counts) + _MORE
    form = Form(tuple(most if count else 0 for count in counts), is_padded=True)
    try:
        trial = _Trial(plan, engine, form, counts)
        found = [
            trial.run(data, shift=shift)
            for shift, data in enumerate(_fillings(plan, block, step, counts, form))
        ]
        if any(not _same_bits(found[0], other) for other in found[1:]):
            return True
        evaluating = _evaluating(plan)
        data = next(_fillings(evaluating, block, step, counts, form))
        together = _Trial(evaluating, engine, form, counts).run(data, shift=0)
        alone = _Trial(evaluating, engine, Form(counts), counts)
        return not _close(together, alone.run(_live_rows(evaluating, block, step, counts), shift=0))
    except LossError:
        # A loss that gives one number for all rows cannot leave any of them out.
        return True


class _Trial:
    """Runs a step of one form without its update."""

    def __init__(self, plan: StepPlan, engine: CompilingEngine, form: Form, counts: Sequence[int]) -> None:
        self.plan = plan
        self.engine = engine
        self.counts = counts
        self.function = StepFunction(plan, form, engine, accumulates=False)
        values = {id(one): engine.value_of(one) for one in plan.all_variables()}
        parameters, buffers, self.constants = (
            [values[id(one)] for one in part]
            for part in (self.function.parameters, self.function.buffers, self.function.constants)
        )
        self.held = Held(parameters, [], [], buffers)

    def run(self, data: list[np.ndarray], *, shift: int) -> list[np.ndarray]:
        """Return losses, gradients, moved buffers, and the live rows of outputs."""
        states = np.ones((1, len(self.plan.generators), 2), dtype=np.uint32)
        counts = np.array([self.counts], dtype=np.int32)
        moved = np.float32(_SPREAD * shift)
        fixed = Fixed(self.constants, data, states, [], None, None, [], counts, moved)
        gradients, (losses, buffers, outputs) = self.function.evaluate(self.held, fixed)
        rows = {call.key: self.counts[call.rows] for call in self.plan.segment.calls}
        to_numpy = self.engine.to_numpy
        return [
            to_numpy(losses),
            *(to_numpy(one) for one in gradients if one is not None),
            *(to_numpy(one) for one in buffers),
            *(to_numpy(one)[: rows[key]] for key, one in zip(self.function.outputs, outputs, strict=True)),
        ]


def _fillings(
    plan: StepPlan, block: Block, step: int, counts: Sequence[int], form: Form
) -> Iterator[list[np.ndarray]]:
    """Yield the step's data with padding of several kinds: copies of two rows, and numbers far away."""
    random = np.random.default_rng(0)
    live = _live_rows(plan, block, step, counts)
    shapes = [form.counts[one.rows] for one in plan.segment.inputs if counts[one.rows]]
    for kind in ("first", "last", "far"):
        yield [_filled(array, rows, kind, random) for array, rows in zip(live, shapes, strict=True)]


def _filled(array: np.ndarray, rows: int, kind: str, random: np.random.Generator) -> np.ndarray:
    missing = rows - array.shape[1]
    filling = np.repeat(array[:, :1] if kind == "first" else array[:, -1:], missing, axis=1)
    if kind == "far" and array.dtype.kind == "f":
        filling = (_SPREAD * random.normal(size=filling.shape)).astype(array.dtype)
    return np.concatenate([array, filling], axis=1)


def _live_rows(plan: StepPlan, block: Block, step: int, counts: Sequence[int]) -> list[np.ndarray]:
    return [
        step_values(block, one, counts[one.rows], step, step + 1)
        for one in plan.segment.inputs
        if counts[one.rows]
    ]


def _evaluating(plan: StepPlan) -> StepPlan:
    """Return the plan of the same calls and losses in inference mode, where nothing is drawn."""
    calls = tuple(replace(call, learns=False) for call in plan.segment.calls)
    outputs = tuple(call.key for call in calls)
    return StepPlan(
        replace(plan.segment, mode="eval", calls=calls, optimizers=(), outputs=outputs), plan.run_model
    )


def _same_bits(left: list[np.ndarray], right: list[np.ndarray]) -> bool:
    return all(one.tobytes() == other.tobytes() for one, other in zip(left, right, strict=True))


def _close(left: list[np.ndarray], right: list[np.ndarray]) -> bool:
    return all(_are_close(one, other) for one, other in zip(left, right, strict=True))


def _are_close(one: np.ndarray, other: np.ndarray) -> bool:
    size = float(np.abs(other).max(initial=0.0))
    return bool(np.allclose(one, other, rtol=_TOLERANCE, atol=_TOLERANCE * size, equal_nan=True))
