"""`EvenSpread`: orders of rows in which every stratum stands evenly over its group.

Which stratum stands where depends on the sizes alone and is found once; an epoch then puts other rows there.
"""

from __future__ import annotations

from heapq import heappop, heappush

import numpy as np

# So many places are looked at as Python's integers at a time.
_BLOCK = 1 << 16


class EvenSpread:
    """Orders of positions in which any stretch holds each stratum within one row per border of its share.

    The i-th of m rows of a stratum stands between i / m and (i + 1) / m of its group's way.

    Parameters
    ----------
    strata : numpy.ndarray
        Stratum of each row, integers ``(n,)``, all numbers from 0 on in use; a stratum lies in one group.
    groups : numpy.ndarray, optional
        Group of each row, likewise; all rows are one group where left out.

    References
    ----------
    Tijdeman, "The chairman assignment problem", Discrete Mathematics 32, 1980: such an order exists.
    Steiner and Yeomans, "Level schedules for mixed-model, just-in-time processes", Management Science 39,
    1993: taking what is due first, of what may stand here, finds it.
    """

    def __init__(self, strata: np.ndarray, groups: np.ndarray | None = None) -> None:
        self._strata = strata
        self._sizes = np.bincount(strata)
        self._group = np.zeros(len(self._sizes), dtype=np.int64)
        if groups is not None:
            self._group[strata] = groups
        self._group_sizes = np.bincount(self._group, self._sizes).astype(np.int64)
        self._group_starts = np.cumsum(self._group_sizes) - self._group_sizes
        self._places = self._even_places()

    def order(self, rng: np.random.Generator | None) -> np.ndarray:
        """Return positions, those of each group together, int64 ``(n,)``.

        Parameters
        ----------
        rng : numpy.random.Generator or None
            Shuffles rows inside strata and strata of one size, and turns groups around; None keeps rows in
            order.
        """
        n_rows, places = len(self._strata), self._places
        rows, strata = np.arange(n_rows), self._strata
        if rng is not None:
            rows, places = rng.permutation(n_rows), self._turned(rng)
            strata = self._exchanged(rng)[strata[rows]]
        order = np.empty(n_rows, dtype=np.int64)
        order[places] = rows[np.argsort(strata, kind="stable")]
        return order

    def _even_places(self) -> np.ndarray:
        """Return places of the rows of each stratum, one stratum behind the other: int64 ``(n,)``."""
        own = np.repeat(np.arange(len(self._sizes)), self._sizes)
        number = np.arange(len(own)) - np.repeat(np.cumsum(self._sizes) - self._sizes, self._sizes)
        group, size = self._group[own], self._sizes[own]
        start, length = self._group_starts[group], self._group_sizes[group]
        first = start + number * length // size
        last = start - (-(number + 1) * length // size) - 1
        places = np.empty(len(own), dtype=np.int64)
        places[_earliest_due_first(first, last)] = np.arange(len(own))
        return places

    def _turned(self, rng: np.random.Generator) -> np.ndarray:
        """Return the places, those of each group moved along a circle: its borders are nothing special."""
        group = np.repeat(self._group, self._sizes)
        start, length = self._group_starts[group], self._group_sizes[group]
        return np.asarray(start + (self._places - start + rng.integers(self._group_sizes)[group]) % length)

    def _exchanged(self, rng: np.random.Generator) -> np.ndarray:
        """Return for each stratum one of its group and size whose places it takes."""
        among = (self._sizes, self._group)
        exchanged = np.empty_like(self._strata, shape=len(self._sizes))
        exchanged[np.lexsort((rng.random(len(self._sizes)), *among))] = np.lexsort(among)
        return exchanged


def _earliest_due_first(first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return what stands at each of n places, int64 ``(n,)``: of what may stand there, what is due first.

    Parameters
    ----------
    first, last : numpy.ndarray
        Between which places each of n things may stand, int64 ``(n,)``.
    """
    n_places = len(first)
    by_first = np.argsort(first, kind="stable")
    due = last[by_first] * n_places + by_first
    may_stand = np.searchsorted(first[by_first], np.arange(n_places), side="right")
    chosen = np.empty(n_places, dtype=np.int64)
    waiting: list[int] = []
    n_seen = 0
    for begin in range(0, n_places, _BLOCK):
        stops = may_stand[begin : begin + _BLOCK] - n_seen
        coming, start, taken = due[n_seen : n_seen + int(stops[-1])].tolist(), 0, []
        for stop in stops.tolist():
            for one in coming[start:stop]:
                heappush(waiting, one)
            taken.append(heappop(waiting))
            start = stop
        chosen[begin : begin + len(taken)] = taken
        n_seen += start
    return chosen % n_places
