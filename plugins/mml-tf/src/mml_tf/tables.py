"""What changes from step to step, as two tensors with a row a step: made once a chunk, read by every range.

The first has whole numbers (seed, counts of rows, whether each optimizer updates), the second the
coefficients of the updates and, in a window of accumulation, the factors of the losses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from mml.backends import Controls
from mml_tf import optimizers
from mml_tf.executable import Layout
from mml_tf.learner import Progress, update_counts
from mml_tf.staging import Chunk
from mml_tf.step import Parts


@dataclass(frozen=True, slots=True)
class Tables:
    """The tables of steps in a chunk.

    Parameters
    ----------
    controls : Controls
        What they were made from.
    integers, numbers : tensor
    first, last : int
        The steps that `numbers` is right for: up to before `last`.
    before : list of list of Progress
        For each group, how far it is before each of these steps, and after the last.
    """

    controls: Controls
    integers: tf.Tensor
    numbers: tf.Tensor
    first: int
    last: int
    before: list[list[Progress]]

    def are_for(self, controls: Controls, step: int, progress: Sequence[Progress]) -> bool:
        """Whether they tell a step right, given how far the groups are."""
        return (
            self.controls is controls
            and self.first <= step < self.last
            and all(mine == now for mine, now in zip(self.progress_before(step), progress, strict=True))
        )

    def progress_before(self, step: int) -> list[Progress]:
        """Return how far the groups are before a step."""
        return [mine[step - self.first] for mine in self.before]


def make_tables(
    parts: Parts,
    layout: Layout,
    chunk: Chunk,
    controls: Controls,
    *,
    first: int,
    last: int,
    progress: Sequence[Progress],
    n_steps: int,
) -> Tables:
    """Make the tables for the steps `first` to `last` - 1 of a chunk.

    Parameters
    ----------
    progress : sequence of Progress
        How far the groups are before the first.
    n_steps : int
        How many rows the tables have, at least as many as the chunk has steps.
    """
    integers = _integers(parts, chunk, controls, n_steps)
    steps = slice(chunk.first + first, chunk.first + last)
    numbers = np.zeros((n_steps, 1 + layout.n_coefficients(parts) + layout.n_scales(parts)))
    before, column = [], 1
    for group, start in zip(layout.groups, progress, strict=True):
        rule = parts.learners[group.learner].rule
        applied = controls.apply[steps, group.learner].tolist() if _windowed(layout, controls) else None
        mine, counts = update_counts(start, last - first, present=group.present, applied=applied)
        before.append(mine)
        table = optimizers.coefficients(rule, controls.rates[steps, group.learner].tolist(), counts)
        numbers[first:last, column : column + table.shape[1]] = table
        column += table.shape[1]
    if layout.windowed:
        numbers[first:last, column:] = loss_scales(parts, chunk.rows[first:last], controls, steps)
    return Tables(
        controls,
        tf.constant(integers),
        tf.constant(numbers.astype(layout.table_dtype.as_numpy_dtype)),
        first,
        last,
        before,
    )


def loss_scales(parts: Parts, rows: np.ndarray, controls: Controls, steps: slice) -> np.ndarray:
    """Return each loss's factor in the total, ``(steps, losses)``: weight, and share of the window's rows."""
    table = np.tile([loss.weight for loss in parts.losses], (len(rows), 1)).reshape(len(rows), -1)
    if controls.accumulated is None:
        return table
    for index, loss in enumerate(parts.losses):
        if not loss.is_sum:
            table[:, index] *= rows[:, loss.rows] / np.maximum(controls.accumulated[steps, index], 1)
    return table


def _windowed(layout: Layout, controls: Controls) -> bool:
    return layout.windowed and controls.apply is not None


def _integers(parts: Parts, chunk: Chunk, controls: Controls, n_steps: int) -> np.ndarray:
    steps, n_rows = slice(chunk.first, chunk.first + len(chunk.rows)), chunk.rows.shape[1]
    table = np.zeros((n_steps, 1 + n_rows + len(parts.segment.optimizers)), np.int64)
    mine = table[: len(chunk.rows)]
    mine[:, 0] = controls.seeds[steps]
    mine[:, 1 : 1 + n_rows] = chunk.rows
    if controls.apply is not None:
        mine[:, 1 + n_rows :] = controls.apply[steps]
    return table
