"""Forms: what makes two steps the same executable, as a function of a step's counts of live rows alone.

Where all counts are equal, a step runs with exactly its rows. Where they differ, as masks of several roles do
from step to step, it runs padded to the largest, so that not every combination of counts is compiled; but
only if no row of the segment looks at another. Whether one does is found by trying, once: `couples_rows`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Form:
    """The shapes of a step.

    Parameters
    ----------
    counts : tuple of int
        By column, the rows that values have; 0 where there are no live ones.
    is_padded : bool
        Whether they are more than the live ones, whose counts come as data.
    """

    counts: tuple[int, ...]
    is_padded: bool = False

    @property
    def live(self) -> tuple[bool, ...]:
        """For each column, whether it has any live row."""
        return tuple([count > 0 for count in self.counts])


def padded(counts: Sequence[int]) -> Form:
    """Return the padded form of a step: its largest count, up to a round number."""
    most = _rounded(max(counts))
    return Form(tuple(most if count else 0 for count in counts), is_padded=True)


def are_uniform(counts: Sequence[int]) -> bool:
    """Whether all columns with live rows have equally many."""
    return len({count for count in counts if count}) <= 1


def runs_of_forms(
    rows: np.ndarray, columns: Sequence[int], form_of: Callable[[int, tuple[int, ...]], Form]
) -> Iterator[tuple[Form, int, int]]:
    """Yield the form, the first and the last step of each run of steps of one form.

    Parameters
    ----------
    rows : ndarray of int64, shape (steps, columns)
    columns : sequence of int
        Those that the segment goes by; the others count as 0.
    form_of : callable
        From a step's number and counts to its form.
    """
    chosen = np.zeros_like(rows)
    chosen[:, columns] = rows[:, columns]
    borders = np.flatnonzero((chosen[1:] != chosen[:-1]).any(axis=1)) + 1
    start, form = 0, form_of(0, tuple(chosen[0].tolist()))
    for border in borders.tolist():
        found = form_of(border, tuple(chosen[border].tolist()))
        if found != form:
            yield form, start, border
            start, form = border, found
    yield form, start, len(rows)


def _rounded(count: int) -> int:
    """Return the next number with at most four binary digits that are not 0."""
    step = 1 << max(count.bit_length() - 4, 0)
    return -(-count // step) * step
