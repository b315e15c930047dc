"""`Matching`: partners that fulfil several rules at once, drawn without looking at all pairs.

One rule is solved by a sorted order (`Candidates`); what the others ask for is checked on what was drawn, and
drawn again where it fails. The few rows that stay are solved exactly, by classes of equal rows: as many as
there are, times those that the one rule allows them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mml.processing.samplers.candidates import Candidates, Rule

_ROUNDS = 32
_PAIRS_A_BLOCK = 1 << 21
_PROBE_SEED = 0


class Matching:
    """Partners that fulfil two rules or more.

    Parameters
    ----------
    groups : numpy.ndarray
        Group of each row, int64 ``(n,)``, all numbers from 0 on in use; partners are of one group.
    rules : sequence of Rule
        All of them hold.
    """

    def __init__(self, groups: np.ndarray, rules: Sequence[Rule]) -> None:
        self._candidates, self._rest = _best(groups, rules)
        self._matched = self._fulfillable(self._candidates.matched())

    def matched(self) -> np.ndarray:
        """Return which positions have a partner, bool ``(n,)``."""
        return self._matched

    def draw(self, positions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return for each position one of its partners, each as likely as any other: int64 ``(k,)``.

        Parameters
        ----------
        positions : numpy.ndarray
            int64 ``(k,)``, every one of them matched.
        rng : numpy.random.Generator
        """
        drawn = self._candidates.draw(positions, rng)
        left = np.flatnonzero(~self._holds(positions, drawn))
        for _ in range(_ROUNDS):
            if not len(left):
                return drawn
            drawn[left] = self._candidates.draw(positions[left], rng)
            left = left[~self._holds(positions[left], drawn[left])]
        if len(left):
            drawn[left] = self._exact(positions[left], rng)
        return drawn

    def _holds(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Return which pairs fulfil what the sorted order does not tell."""
        holds = np.ones(len(left), dtype=bool)
        for rule in self._rest:
            holds &= rule.holds(left, right)
        return holds

    # --- by classes of equal rows ------------------------------------------------------------------------

    def _fulfillable(self, candidates: np.ndarray) -> np.ndarray:
        """Return which positions with candidates have a partner among them, bool ``(n,)``.

        One row of each class is tried; for the few left, partners are counted.
        """
        starts, order = self._candidates.class_starts, self._candidates.order
        one_of_each = order[starts[:-1]]
        found = np.zeros(len(one_of_each), dtype=bool)
        left = np.flatnonzero(candidates[one_of_each])
        # Any generator will do: a class that is not found by chance is counted, so the answer is exact.
        rng = np.random.Generator(np.random.PCG64(_PROBE_SEED))
        for _ in range(_ROUNDS):
            if not len(left):
                break
            tried = one_of_each[left]
            holds = self._holds(tried, self._candidates.draw(tried, rng))
            found[left[holds]] = True
            left = left[~holds]
        for part, owner, _, weight in self._admissible(one_of_each[left]):
            found[left[part]] = np.bincount(owner, weight, minlength=part.stop - part.start) > 0
        class_of = np.repeat(np.arange(len(one_of_each)), np.diff(starts))
        return np.asarray(found[class_of[self._candidates.place]])

    def _exact(self, positions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw from the counted partners of each position."""
        starts, order, place = self._candidates.class_starts, self._candidates.order, self._candidates.place
        drawn = np.empty(len(positions), dtype=np.int64)
        for part, owner, number, weight in self._admissible(positions):
            chosen = positions[part]
            cumulative = np.cumsum(weight)
            totals = np.bincount(owner, weight, minlength=len(chosen)).astype(np.int64)
            before = np.cumsum(totals) - totals
            ticket = rng.integers(0, totals) + before
            pair = np.searchsorted(cumulative, ticket, side="right")
            at = starts[number[pair]] + ticket - (cumulative[pair] - weight[pair])
            # A row is no partner of its own, so it is stepped over where it stands in the class.
            own = place[chosen]
            at += (own >= starts[number[pair]]) & (own < starts[number[pair] + 1]) & (at >= own)
            drawn[part] = order[at]
        return drawn

    def _admissible(
        self, positions: np.ndarray
    ) -> Iterator[tuple[slice, np.ndarray, np.ndarray, np.ndarray]]:
        """Yield blocks of positions with their classes of partners.

        Yields
        ------
        part : slice
            Which of the positions.
        owner, number, weight : numpy.ndarray
            One entry a class: the number of the position inside the part, the class, and how many partners
            it holds, int64.
        """
        if not len(positions):
            return
        starts, order = self._candidates.class_starts, self._candidates.order
        begins, ends = self._candidates.stretches(positions)
        first = np.searchsorted(starts, begins)
        lengths = np.maximum(np.searchsorted(starts, ends) - first, 0)
        total = np.cumsum(lengths.sum(axis=1))
        for part in _blocks(total):
            owner = np.repeat(np.arange(part.stop - part.start), lengths[part].sum(axis=1))
            number = _ragged(first[part].reshape(-1), lengths[part].reshape(-1))
            own = positions[part][owner]
            keep = self._holds(own, order[starts[number]])
            owner, number, own = owner[keep], number[keep], own[keep]
            at = self._candidates.place[own]
            itself = (at >= starts[number]) & (at < starts[number + 1])
            yield part, owner, number, np.diff(starts)[number] - itself


def _best(groups: np.ndarray, rules: Sequence[Rule]) -> tuple[Candidates, list[Rule]]:
    """Return the candidates of the rule that allows the fewest pairs, and the other rules."""
    made = []
    for number, rule in enumerate(rules):
        rest = [*rules[:number], *rules[number + 1 :]]
        made.append((Candidates(groups, rule, tuple(one.values for one in rest)), rest))
    return min(made, key=lambda one: one[0].total)


def _blocks(total: np.ndarray) -> Iterator[slice]:
    """Yield slices of positions that hold some number of pairs each, given their running total."""
    start = 0
    while start < len(total):
        before = int(total[start - 1]) if start else 0
        stop = int(np.searchsorted(total, before + _PAIRS_A_BLOCK, side="right"))
        yield slice(start, max(stop, start + 1))
        start = max(stop, start + 1)


def _ragged(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Return ``starts[i]`` to ``starts[i] + lengths[i] - 1`` for every i, one behind the other."""
    ends = np.cumsum(lengths)
    return np.asarray(np.arange(int(ends[-1])) + np.repeat(starts - (ends - lengths), lengths))
