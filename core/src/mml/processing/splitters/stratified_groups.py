"""Whole groups dealt out to splits so that strata keep their shares as far as whole groups allow.

Pure functions of counts and a generator; nothing here knows of views or columns. Sizes always count rows.
"""

from __future__ import annotations

import math

import numpy as np

from mml.processing.splitters.group_allocation import fill_empty
from mml.processing.splitters.group_exchange import SCALE, even_out_strata

_N_DEALS = 8
_FEW_GROUPS = 500
_MOST_MOVABLE = 1000
_MOST_COMPARED = 100_000_000

Cells = tuple[np.ndarray, np.ndarray, np.ndarray]


def deal_stratified_groups(
    cells: Cells, group_sizes: np.ndarray, sizes: np.ndarray, shares: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the split of each group so that strata keep their shares as far as whole groups allow.

    Groups are dealt out greedily, large ones before small ones in an order that is otherwise random, and then
    exchanged. What is made small is the sum of squared deviations: of a stratum's rows, over the number of
    its rows, and of sizes, over the mean of these numbers, so that sizes count as much as one more stratum.
    The best of some deals is taken where groups are few. Where they are more than a thousand, or strata are
    very many, only the groups that were dealt last are exchanged.

    Parameters
    ----------
    cells : tuple of numpy.ndarray
        Group, stratum and number of rows, int64 ``(n_cells,)`` each, sorted by group: what groups hold.
    group_sizes : numpy.ndarray
        Rows per group, int64 ``(n_groups,)``.
    sizes : numpy.ndarray
        Rows that each split should hold, int64 ``(k,)``.
    shares : numpy.ndarray
        float64 ``(k,)``.
    rng : numpy.random.Generator
    """
    cells = _with_sizes(cells, group_sizes)
    best, least = np.empty(0, dtype=np.int64), np.inf
    for _ in range(_N_DEALS if len(group_sizes) <= _FEW_GROUPS else 1):
        order = np.argsort(-group_sizes * rng.uniform(0.5, 1, len(group_sizes)), kind="stable")
        labels = fill_empty(_deal(cells, order, shares, rng), group_sizes, sizes)
        left = _even_out(labels, order, cells, sizes, shares)
        if left < least:
            best, least = labels, left
    return best


def _with_sizes(cells: Cells, group_sizes: np.ndarray) -> Cells:
    """Return the cells with one more stratum, the last, in which all rows are."""
    groups, strata, rows = cells
    numbers = np.arange(len(group_sizes))
    starts = np.searchsorted(groups, numbers)
    everything = int(strata.max()) + 1
    return (
        np.insert(groups, starts, numbers),
        np.insert(strata, starts, everything),
        np.insert(rows, starts, group_sizes),
    )


def _deal(cells: Cells, order: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Put one group after another where it leaves the smallest sum of squared shortfalls over wanted rows."""
    groups, strata, rows = cells
    # Which of two equally good splits is taken must depend on the seed, not on their order.
    places = rng.permutation(len(shares))
    shares = shares[places]
    of_strata = np.bincount(strata, weights=rows)
    missing = of_strata[:, np.newaxis] * shares
    weight = _weights(of_strata)[strata, np.newaxis] * rows[:, np.newaxis] / shares
    # What a group adds to the sum, where its rows meet a shortfall of zero and for each row of shortfall.
    alone, relief = weight * rows[:, np.newaxis], 2 * weight
    starts = np.searchsorted(groups, np.arange(len(order) + 1)).tolist()
    labels = np.empty(len(order), dtype=np.int64)
    for group in order.tolist():
        own = slice(starts[group], starts[group + 1])
        held = strata[own]
        cost = np.add.reduce(alone[own] - relief[own] * missing[held], axis=0)
        chosen = int(cost.argmin())
        missing[held, chosen] -= rows[own]
        labels[group] = chosen
    return places[labels]


def _even_out(
    labels: np.ndarray, order: np.ndarray, cells: Cells, sizes: np.ndarray, shares: np.ndarray
) -> float:
    groups, strata, rows = cells
    of_strata, k = np.bincount(strata, weights=rows), len(sizes)
    wanted = np.rint(SCALE * shares[:, np.newaxis] * of_strata)
    wanted[:, -1] = SCALE * sizes
    held = np.bincount(labels[groups] * len(of_strata) + strata, weights=rows, minlength=wanted.size)
    movable = order[-min(_MOST_MOVABLE, math.isqrt(_MOST_COMPARED // len(of_strata)) + 1) :]
    return even_out_strata(
        labels,
        movable,
        _rows_of(movable, cells),
        SCALE * held.reshape(k, -1) - wanted,
        np.rint(SCALE * _weights(of_strata)),
    )


def _weights(of_strata: np.ndarray) -> np.ndarray:
    weights: np.ndarray = of_strata[-1] / of_strata
    # All rows together weigh as much as a stratum of the mean size.
    weights[-1] = len(weights) - 1
    return weights


def _rows_of(movable: np.ndarray, cells: Cells) -> np.ndarray:
    """Return the rows of some groups by stratum, float64 ``(m, n_strata)``."""
    groups, strata, rows = cells
    place = np.full(int(groups[-1]) + 1, -1)
    place[movable] = np.arange(len(movable))
    own = np.flatnonzero(place[groups] >= 0)
    held = np.zeros((len(movable), int(strata.max()) + 1))
    held[place[groups[own]], strata[own]] = rows[own]
    return held
