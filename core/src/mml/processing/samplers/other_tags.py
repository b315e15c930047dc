"""`OtherTags`: the rows of another tag inside stretches of a sorted order, such as a similar number's.

They are counted and drawn without being looked at: the rows of the same tag stand at known places in the
order, so how many of them lie before a place is found by bisection, and so is where the k-th other row is.
"""

from __future__ import annotations

from typing import Self

import numpy as np

from mml.processing.samplers.candidates import Candidates, Rule, agreeing, changes, farthest


class OtherTags:
    """The rows of other tags that stand in one of the stretches of each row.

    Parameters
    ----------
    order : numpy.ndarray
        Positions in the order that the stretches are of, int64 ``(n,)``.
    tags : numpy.ndarray
        Tag of each row, integers ``(n,)``, all numbers from 0 on in use.
    starts, stops : numpy.ndarray
        Stretches of the row at each place of the order, int64 ``(n, 1)`` or ``(n, 2)``.
    """

    def __init__(self, order: np.ndarray, tags: np.ndarray, *, starts: np.ndarray, stops: np.ndarray) -> None:
        n_rows = len(order)
        self._order, self._starts, self._tag = order, starts, tags[order]
        self._place = np.empty_like(order)
        self._place[order] = np.arange(n_rows)
        counts = np.bincount(self._tag)
        self._first = np.cumsum(counts) - counts
        by_tag = np.argsort(self._tag, kind="stable")
        places = self._tag[by_tag] * n_rows + by_tag
        begin, first = (self._tag * n_rows)[:, None], self._first[self._tag][:, None]
        # How many rows of the own tag stand before each stretch.
        self._before = np.searchsorted(places, begin + starts) - first
        self._sizes = stops - starts - (np.searchsorted(places, begin + stops) - first - self._before)
        # How many others stand before each row of a tag, which never falls from one to the next.
        self._others = places - (np.arange(n_rows) - self._first[self._tag[by_tag]])

    @classmethod
    def beside(cls, rule: Rule, groups: np.ndarray, tags: np.ndarray) -> Self:
        """Return the rows of other tags that a rule allows inside groups.

        Parameters
        ----------
        rule : Rule
        groups, tags : numpy.ndarray
            Of each row, integers ``(n,)``, all numbers from 0 on in use.
        """
        if rule.tolerance is None:
            return cls._nearest(rule.values, groups, tags)
        candidates = Candidates(groups, rule)
        starts, stops = candidates.stretches(candidates.order)
        return cls(candidates.order, tags, starts=starts, stops=stops)

    @classmethod
    def _nearest(cls, values: np.ndarray, groups: np.ndarray, tags: np.ndarray) -> Self:
        """Return the rows of other tags at the least distance inside groups."""
        order = np.lexsort((values, groups))
        values = values[order]
        new_group = changes(groups[order])
        low, high = _stretch_of_each(new_group)
        # The nearest rows of other tags stand beside the run of rows of one tag.
        begin, end = _stretch_of_each(new_group | changes(tags[order]))
        far = farthest(values)
        with np.errstate(over="ignore"):
            below = np.where(begin > low, values - values[begin - 1], far)
            above = np.where(end < high, values[np.minimum(end, len(order) - 1)] - values, far)
            first, last = agreeing(values, np.minimum(below, above), low, high)
        return cls(order, tags, starts=first[:, None], stops=last[:, None])

    def matched(self) -> np.ndarray:
        """Return which positions have such a row at all, bool ``(n,)``."""
        return np.asarray((self._sizes.sum(axis=1) > 0)[self._place])

    def draw(self, positions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return for each position one of its rows, each as likely as any other: int64 ``(k,)``.

        Parameters
        ----------
        positions : numpy.ndarray
            int64 ``(k,)``, every one of them matched.
        rng : numpy.random.Generator
        """
        own = self._place[positions]
        sizes, tag = self._sizes[own], self._tag[own]
        number = rng.integers(0, sizes.sum(axis=1))
        second = number >= sizes[:, 0]
        number -= np.where(second, sizes[:, 0], 0)
        stretch = second.astype(np.int64)
        others = self._starts[own, stretch] - self._before[own, stretch] + number
        n_passed = np.searchsorted(self._others, tag * len(self._order) + others, side="right")
        return np.asarray(self._order[others + n_passed - self._first[tag]])


def _stretch_of_each(new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where the stretch of each place begins and ends, by which places begin one: int64 ``(n,)``."""
    starts = np.flatnonzero(new)
    number = np.cumsum(new) - 1
    return starts[number], np.append(starts[1:], len(new))[number]
