"""`Candidates`: which rows a condition allows for each row, as stretches of one sorted order.

Rows are sorted by group and value. What agrees with a row is then one stretch of its group, and what differs
is the rest of the group: no list of pairs is ever made, and a draw is arithmetic on places.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Rule:
    """A condition over rows as numbers.

    Parameters
    ----------
    values : numpy.ndarray
        A finite number a row, float64 or uint64 ``(n,)``; int64 codes where the condition compares for
        equality.
    tolerance : number or None
        Up to which distance two values agree, of their dtype; None for that of the nearest other row of the
        group.
    is_similar : bool
        Whether values must agree or differ.
    is_tag : bool
        Whether values are codes.
    """

    values: np.ndarray
    tolerance: np.number[Any] | None
    is_similar: bool
    is_tag: bool = False

    def holds(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return for pairs of positions, each ``(k,)``, whether the rule holds: bool ``(k,)``."""
        first, second = self.values[left], self.values[right]
        with np.errstate(over="ignore"):
            # Unsigned numbers have no distance below 0.
            agree = np.maximum(first, second) - np.minimum(first, second) <= self.tolerance
        return np.asarray(agree if self.is_similar else ~agree)


class Candidates:
    """The rows that one rule allows inside groups.

    Parameters
    ----------
    groups : numpy.ndarray
        Group of each row, int64 ``(n,)``, all numbers from 0 on in use; partners are of one group.
    rule : Rule
    ties : tuple of numpy.ndarray
        What else tells rows apart; rows equal in everything stand next to each other and are one class.

    Attributes
    ----------
    order : numpy.ndarray
        Positions sorted by group, value and ties, int64 ``(n,)``.
    place : numpy.ndarray
        Where each position stands in it, int64 ``(n,)``.
    """

    def __init__(self, groups: np.ndarray, rule: Rule, ties: tuple[np.ndarray, ...] = ()) -> None:
        self.rule = rule
        self.order = np.lexsort((*reversed(ties), rule.values, groups))
        self.place = np.empty_like(self.order)
        self.place[self.order] = np.arange(len(self.order))
        group, value = groups[self.order], rule.values[self.order]
        new_group = changes(group)
        new_run = new_group | changes(value)
        run_starts = np.flatnonzero(new_run)
        self._run = np.cumsum(new_run) - 1
        run_group = np.cumsum(new_group[run_starts]) - 1
        group_first = np.flatnonzero(new_group[run_starts])
        group_last = np.append(group_first[1:], len(run_starts))
        low, high = group_first[run_group], group_last[run_group]
        values = value[run_starts]
        # Distances beyond the range of a float are infinite, which is right here.
        with np.errstate(over="ignore"):
            first, last = agreeing(values, _tolerances(self, values, low, high), low, high)
        starts = np.append(run_starts, len(self.order))
        self.group_start, self.group_stop = starts[low], starts[high]
        self.start, self.stop = starts[first], starts[last]
        self._ties = ties
        self._class_starts: np.ndarray | None = None
        self._new_run = new_run

    @property
    def sizes(self) -> np.ndarray:
        """How many other rows the rule allows for each run of equal values, int64 ``(n_runs,)``."""
        agreeing = self.stop - self.start
        if self.rule.is_similar:
            return np.asarray(agreeing - 1)
        return np.asarray(self.group_stop - self.group_start - agreeing)

    @property
    def total(self) -> int:
        """How many pairs the rule allows."""
        return int((self.sizes * np.bincount(self._run)).sum())

    def matched(self) -> np.ndarray:
        """Return which positions have a candidate at all, bool ``(n,)``."""
        return np.asarray((self.sizes > 0)[self._run[self.place]])

    def draw(self, positions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return for each position one of its candidates, each as likely as any other: int64 ``(k,)``.

        Parameters
        ----------
        positions : numpy.ndarray
            int64 ``(k,)``, every one of them matched.
        rng : numpy.random.Generator
        """
        own = self.place[positions]
        run = self._run[own]
        drawn = rng.integers(0, self.sizes[run])
        if self.rule.is_similar:
            drawn += self.start[run]
            # The row itself is one of those that agree; stepping over it keeps the others equally likely.
            drawn += drawn >= own
        else:
            drawn += self.group_start[run]
            start = self.start[run]
            drawn += np.where(drawn >= start, self.stop[run] - start, 0)
        return np.asarray(self.order[drawn])

    @property
    def class_starts(self) -> np.ndarray:
        """Where each class of equal rows begins in the order, and its end, int64 ``(n_classes + 1,)``."""
        if self._class_starts is None:
            new = self._new_run.copy()
            for tie in self._ties:
                new |= changes(tie[self.order])
            self._class_starts = np.append(np.flatnonzero(new), len(self.order))
        return self._class_starts

    def stretches(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return where each position's candidates stand: starts and stops of one stretch or two.

        Of the rows that agree, the row itself is one.

        Returns
        -------
        starts, stops : numpy.ndarray
            int64 ``(k, 1)`` where values must agree, ``(k, 2)`` where they must differ.
        """
        run = self._run[self.place[positions]]
        if self.rule.is_similar:
            return self.start[run][:, None], self.stop[run][:, None]
        starts = np.stack([self.group_start[run], self.stop[run]], axis=1)
        stops = np.stack([self.start[run], self.group_stop[run]], axis=1)
        return starts, stops


def changes(values: np.ndarray) -> np.ndarray:
    """Return which values differ from the one before, the first one included: bool ``(n,)``."""
    changed = np.ones(len(values), dtype=bool)
    np.not_equal(values[1:], values[:-1], out=changed[1:])
    return changed


def farthest(values: np.ndarray) -> np.number[Any]:
    """Return a distance that no two values exceed, of their dtype: float64 or uint64."""
    return np.float64(np.inf) if values.dtype.kind == "f" else np.uint64(np.iinfo(np.uint64).max)


def agreeing(
    values: np.ndarray, tolerance: np.ndarray | np.number[Any], low: np.ndarray, high: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first value that agrees with each one and the one behind the last, inside ``[low, high)``.

    Found by bisection with the comparison itself, because a border computed as ``value - tolerance`` rounds
    differently from the distance that is meant.

    Parameters
    ----------
    values : numpy.ndarray
        Sorted inside each stretch, ``(n,)``.
    tolerance : numpy.ndarray or number
        Up to which distance, for each value or for all.
    low, high : numpy.ndarray
        The stretch of each value, int64 ``(n,)``.
    """
    number = np.arange(len(values))
    if np.ndim(tolerance) == 0 and tolerance == 0:
        return number, number + 1
    limit = np.broadcast_to(tolerance, values.shape)
    first, top = low.copy(), number.copy()
    while (open_ := first < top).any():
        middle = (first + top) // 2
        agrees = values - values[middle] <= limit
        top = np.where(open_ & agrees, middle, top)
        first = np.where(open_ & ~agrees, middle + 1, first)
    bottom, last = number.copy(), high - 1
    while (open_ := bottom < last).any():
        middle = (bottom + last + 1) // 2
        agrees = values[middle] - values <= limit
        bottom = np.where(open_ & agrees, middle, bottom)
        last = np.where(open_ & ~agrees, middle - 1, last)
    return first, last + 1


def _tolerances(
    candidates: Candidates, values: np.ndarray, low: np.ndarray, high: np.ndarray
) -> np.ndarray | np.number[Any]:
    """Return up to which distance values agree, for each run of equal values or for all."""
    if candidates.rule.tolerance is not None:
        return candidates.rule.tolerance
    number, far = np.arange(len(values)), farthest(values)
    gaps = np.diff(values, prepend=values[:1])
    below = np.where(number > low, gaps, far)
    above = np.where(number < high - 1, np.roll(gaps, -1), far)
    alone = np.bincount(candidates._run) == 1
    return np.where(alone, np.minimum(below, above), values.dtype.type(0))
