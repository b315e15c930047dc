"""What named losses are given as targets, looked at before a phase begins: numbers, some of them from 0 to 1.

A cross entropy computes something for any number, and learns from it without a word. Columns are looked at on
the host, because a program computes many steps before anybody sees a value.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mml.data import ColumnSource
from mml.data.source import block_rows
from mml.errors import LossError
from mml.experiment.running.running_phase import RunningPhase
from mml.graph import AppliedLoss
from mml.graph.plan import DataInput, Joined

_SHARES = ("bce", "bce_logits")
_ROUNDING = 1e-6
_BLOCK_BYTES = 1 << 20
# A tenth of a second; targets beyond are as those before, or their losses tell.
_CHECKED_BYTES = 1 << 27


def check_target_values(running: RunningPhase) -> None:
    """Refuse columns that the phase's named losses cannot be computed of.

    Raises
    ------
    LossError
        If a column holds no numbers, or `bce` or `bce_logits` is given targets outside of 0 to 1.
    """
    plan, losses = running.execution.plan, running.phase.losses
    for planned in plan.segments:
        for number, segment_loss in zip(planned.losses, planned.segment.losses, strict=True):
            loss = losses[number]
            if not loss.loss.is_registered:
                continue
            keywords = segment_loss.keywords or ("outputs", "targets")
            for place, argument in enumerate(segment_loss.arguments):
                for wanted in _parts(plan.data.get(argument)):
                    _check_numbers(running, loss, wanted)
                    if loss.loss.name in _SHARES and keywords[place] == "targets":
                        _check_shares(running, loss, wanted)


def _parts(wanted: DataInput | Joined | None) -> Iterator[DataInput]:
    if isinstance(wanted, Joined):
        for part in wanted.parts:
            yield from _parts(part)
    elif wanted is not None:
        yield wanted


def _check_numbers(running: RunningPhase, loss: AppliedLoss, wanted: DataInput) -> None:
    source = running.execution.feed.source_of(wanted)
    for column in wanted.columns:
        spec = source.spec(column)
        if not spec.is_numeric:
            raise LossError(
                f"The column {column!r} does not hold numbers.",
                where={"phase": running.phase.label, "loss": loss.label},
                expected=f"numbers, which {loss.loss.name!r} computes with",
                found=spec.describe(),
                hint="Encode classes as numbers from 0 before the data is ingested, such as "
                "names, y = np.unique(labels, return_inverse=True).",
            )


def _check_shares(running: RunningPhase, loss: AppliedLoss, wanted: DataInput) -> None:
    source, rows = running.execution.feed.source_of(wanted), _rows(running, wanted)
    for column in wanted.columns:
        low, high = _range(source, column, rows)
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise LossError(
                f"Targets of {loss.loss.name!r} lie between 0 and 1.",
                where={"phase": running.phase.label, "loss": loss.label, "column": column},
                found=f"values from {low:.6g} to {high:.6g}",
                hint="Number two classes 0 and 1; of more of them 'cross_entropy' takes the numbers, with "
                "one output a class.",
            )


def _rows(running: RunningPhase, wanted: DataInput) -> np.ndarray:
    rows = running.inputs.views[wanted.lane].rows
    return rows if wanted.match is None else wanted.match.rows[rows]


def _range(source: ColumnSource, column: str, rows: np.ndarray) -> tuple[float, float]:
    """Return the least and the greatest value in these rows, as far as they are looked at; not of NaN."""
    spec = source.spec(column)
    row_bytes = max(1, int(np.prod(spec.shape)) * (spec.dtype.itemsize if spec.dtype else 8))
    step, lowest, highest = block_rows(row_bytes, _BLOCK_BYTES), np.inf, -np.inf
    for start in range(0, min(len(rows), _CHECKED_BYTES // row_bytes + 1), step):
        values = source.take(column, rows[start : start + step])
        lowest = min(lowest, float(np.fmin.reduce(values, axis=None)))
        highest = max(highest, float(np.fmax.reduce(values, axis=None)))
    return lowest, highest
