"""Exchanging whole groups between splits until no move of one and no swap of two brings them nearer.

Pure functions of counts; nothing here knows of views or columns. A split that has a group keeps one.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np

SCALE = 64
"""Strata are evened out in sixty-fourths of a row: floats hold whole numbers exactly, in whatever order they
are added, so that every machine makes the same exchanges."""
_MOST_WORK = 1_000_000_000
"""Products of two numbers, after which strata are left as they are: about half a second."""


def even_out_sizes(
    labels: np.ndarray, group_sizes: np.ndarray, wanted: np.ndarray, rng: np.random.Generator
) -> int:
    """Exchange groups to lower the sum of squared deviations of sizes, and return the sum that is left.

    Between two splits whose deviations are ``gap`` apart, an exchange helps where it carries more than no and
    fewer than ``gap`` rows over, and most at half of that. It is a question of sizes: groups are searched as
    fast as they have different sizes, and which ones of a size go is drawn.

    Parameters
    ----------
    labels : numpy.ndarray
        Split of each group, int64 ``(n_groups,)``; changed in place.
    group_sizes : numpy.ndarray
        Rows per group, int64 ``(n_groups,)``.
    wanted : numpy.ndarray
        Rows that each split should hold, int64 ``(k,)``.
    rng : numpy.random.Generator
    """
    distinct, kind = np.unique(group_sizes, return_inverse=True)
    # A move is a swap with a group of no rows, kind 0.
    distinct, kind, k = np.append(0, distinct), kind + 1, len(wanted)
    holds = np.bincount(labels * len(distinct) + kind, minlength=k * len(distinct)).reshape(k, -1)
    off = holds @ distinct - wanted
    settled = np.zeros((k, k), dtype=bool)
    while True:
        gaps = np.where(settled, 0, off[:, np.newaxis] - off)
        giver, taker = divmod(int(gaps.argmax()), k)
        gap = int(gaps[giver, taker])
        if gap < 2:
            return int(off @ off)
        given, taken, times = _best_swap(holds[giver], holds[taker], distinct, gap)
        if not times:
            settled[giver, taker] = True
            continue
        settled[[giver, taker]] = settled[:, [giver, taker]] = False
        goes, comes = (
            rng.permutation(np.flatnonzero((labels == split) & (kind == one)))[:times]
            for split, one in ((giver, given), (taker, taken))
        )
        labels[goes], labels[comes] = taker, giver
        change = np.array([-times, times])
        holds[[giver, taker], given] += change
        holds[[giver, taker], taken] -= change
        holds[:, 0] = 0
        off[[giver, taker]] += change * (distinct[given] - distinct[taken])


def _best_swap(mine: np.ndarray, theirs: np.ndarray, distinct: np.ndarray, gap: int) -> tuple[int, int, int]:
    """Return which kind is best given for which, and how often; not at all where no swap helps."""
    theirs = theirs.copy()
    theirs[0] = mine.sum() - 1
    given, taken = np.flatnonzero(mine), np.flatnonzero(theirs)
    after = np.searchsorted(distinct[taken], distinct[given] - gap / 2)
    nearest = taken[np.clip([after - 1, after], 0, len(taken) - 1)]
    carried = distinct[given] - distinct[nearest]
    miss = np.abs(2 * carried - gap)
    row, place = divmod(int(miss.argmin()), len(given))
    if miss[row, place] >= gap:
        return 0, 0, 0
    one, other = int(given[place]), int(nearest[row, place])
    at_once = max(1, gap // (2 * int(carried[row, place])))
    return one, other, min(int(mine[one]), int(theirs[other]), at_once)


def even_out_strata(
    labels: np.ndarray, movable: np.ndarray, held: np.ndarray, off: np.ndarray, weights: np.ndarray
) -> float:
    """Exchange groups to lower the weighted sum of squared deviations, and return the sum that is left.

    Parameters
    ----------
    labels : numpy.ndarray
        Split of each group, int64 ``(n_groups,)``; changed in place.
    movable : numpy.ndarray
        The groups that may be exchanged, int64 ``(m,)``; of two that do the same, the first one goes.
    held : numpy.ndarray
        Rows of each of these by column, whole numbers as float64 ``(m, d)``.
    off : numpy.ndarray
        What splits hold in excess of what they should, by column and in rows times `SCALE`, whole numbers as
        float64 ``(k, d)``; changed in place.
    weights : numpy.ndarray
        Of a column's squared deviations, whole numbers as float64 ``(d,)``.
    """
    # A move is a swap with a group of no rows, the first one here.
    rows = np.concatenate([np.zeros((1, held.shape[1])), held])
    weighted = rows * weights
    alone = SCALE * np.add.reduce(weighted * rows, axis=1)
    split_of, counts = np.append(-1, labels[movable]), np.bincount(labels, minlength=len(off))
    pairs = list(combinations(range(len(off)), 2))
    unsettled, work = dict.fromkeys(pairs), 0
    while unsettled and work < _MOST_WORK:
        pair = a, b = next(iter(unsettled))
        # A split that has one group left gives it only for another.
        mine = np.flatnonzero((split_of == a) | ((split_of < 0) & (counts[b] > 1)))
        theirs = np.flatnonzero((split_of == b) | ((split_of < 0) & (counts[a] > 1)))
        pull = weighted @ (off[a] - off[b])
        # Half of what the sum changes by: |x - y|² - (x - y) gap, x going from a to b and y the other way.
        change = (alone - pull)[mine][:, np.newaxis] + (alone + pull)[theirs]
        change -= 2 * SCALE * (weighted[mine] @ rows[theirs].T)
        work += change.size * len(weights)
        if not change.size or change.min() >= 0:
            del unsettled[pair]
            continue
        place, other = divmod(int(change.argmin()), len(theirs))
        goes, comes = mine[place], theirs[other]
        split_of[[goes, comes]] = [b, a]
        split_of[0] = -1
        off[a] -= SCALE * (rows[goes] - rows[comes])
        off[b] += SCALE * (rows[goes] - rows[comes])
        counts[[a, b]] += np.array([1, -1]) * (int(comes > 0) - int(goes > 0))
        unsettled |= dict.fromkeys(one for one in pairs if a in one or b in one)
    labels[movable] = split_of[1:]
    return float((weights * off * off).sum())
