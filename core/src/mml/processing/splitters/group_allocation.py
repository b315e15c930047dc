"""Whole groups dealt out to splits, so that rows, and strata where there are some, keep their shares.

Pure functions of counts and a generator; nothing here knows of views or columns. Sizes always count rows.
"""

from __future__ import annotations

import numpy as np


def deal_groups(group_sizes: np.ndarray, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the split of each group, int64 ``(n_groups,)``.

    Groups too large for some split are placed first, each at random among those that have room for it. The
    others are lined up in random order and the line is cut where the splits are full, each group falling to
    the side that holds its middle. At last groups are moved as long as that brings sizes nearer.

    Parameters
    ----------
    group_sizes : numpy.ndarray
        Rows per group, int64 ``(n_groups,)``.
    sizes : numpy.ndarray
        Rows that each split should hold, int64 ``(k,)``.
    rng : numpy.random.Generator
    """
    labels = np.empty(len(group_sizes), dtype=np.int64)
    order = rng.permutation(len(group_sizes))
    is_large = group_sizes[order] > sizes.min()
    room = _place_large(labels, order[is_large], group_sizes, sizes, rng)
    _cut_line(labels, order[~is_large], group_sizes, np.maximum(room, 0))
    _even_out(labels, group_sizes, sizes)
    return _fill_empty(labels, group_sizes, sizes)


def _place_large(
    labels: np.ndarray,
    large: np.ndarray,
    group_sizes: np.ndarray,
    sizes: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    room = sizes.copy()
    for group in large[np.argsort(-group_sizes[large], kind="stable")]:
        fitting = np.cumsum(np.where(room >= group_sizes[group], room, 0))
        if fitting[-1]:
            labels[group] = np.searchsorted(fitting, rng.integers(fitting[-1]), side="right")
        else:
            labels[group] = np.argmax(room)
        room[labels[group]] -= group_sizes[group]
    return room


def _cut_line(labels: np.ndarray, order: np.ndarray, group_sizes: np.ndarray, room: np.ndarray) -> None:
    if not len(order):
        return
    ends = np.cumsum(group_sizes[order])
    middles = ends - group_sizes[order] / 2
    cuts = np.cumsum(room)[:-1] * (ends[-1] / room.sum())
    labels[order] = np.searchsorted(cuts, middles, side="right")


def _even_out(labels: np.ndarray, group_sizes: np.ndarray, sizes: np.ndarray) -> None:
    held = np.bincount(labels, weights=group_sizes, minlength=len(sizes)).astype(np.int64)
    for _ in range(8 * len(sizes)):
        giver, taker = int(np.argmax(held - sizes)), int(np.argmin(held - sizes))
        gap = int((held - sizes)[giver] - (held - sizes)[taker])
        own = np.flatnonzero(labels == giver)
        if gap <= 1 or len(own) < 2:
            return
        group = own[np.argmin(np.abs(2 * group_sizes[own] - gap))]
        if group_sizes[group] >= gap:
            return
        labels[group] = taker
        held[giver] -= group_sizes[group]
        held[taker] += group_sizes[group]


def deal_stratified_groups(
    cells: tuple[np.ndarray, np.ndarray, np.ndarray],
    group_sizes: np.ndarray,
    sizes: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the split of each group so that strata keep their shares as far as whole groups allow.

    Greedy, large groups before small ones in an order that is otherwise random: each goes where it leaves the
    smallest sum of squared shortfalls, relative to what the splits should hold of each stratum.

    Parameters
    ----------
    cells : tuple of numpy.ndarray
        Group, stratum and number of rows, int64 ``(n_cells,)`` each, sorted by group: what groups hold.
    group_sizes, sizes : numpy.ndarray
        As in `deal_groups`.
    rng : numpy.random.Generator
    """
    groups, strata, rows = cells
    # Which of two equally good splits is taken must depend on the seed, not on their order.
    places = rng.permutation(len(sizes))
    shares = sizes[places] / sizes.sum()
    missing = np.bincount(strata, weights=rows)[:, np.newaxis] * shares
    weight = (shares / np.maximum(missing, 1e-12) ** 2)[strata] * rows[:, np.newaxis]
    # What a group adds to the sum, where its rows meet a shortfall of zero and for each row of shortfall.
    alone, relief = weight * rows[:, np.newaxis], 2 * weight
    order = np.argsort(-group_sizes * rng.uniform(0.5, 1, len(group_sizes)), kind="stable")
    starts = np.searchsorted(groups, np.arange(len(group_sizes) + 1)).tolist()
    labels = np.empty(len(group_sizes), dtype=np.int64)
    for group in order.tolist():
        own = slice(starts[group], starts[group + 1])
        held = strata[own]
        cost = np.add.reduce(alone[own] - relief[own] * missing[held], axis=0)
        chosen = int(cost.argmin())
        missing[held, chosen] -= rows[own]
        labels[group] = chosen
    return _fill_empty(places[labels], group_sizes, sizes)


def _fill_empty(labels: np.ndarray, group_sizes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Give a split without groups the smallest one of a split that has several."""
    counts = np.bincount(labels, minlength=len(sizes))
    rows = np.bincount(labels, weights=group_sizes, minlength=len(sizes))
    for empty in np.flatnonzero(counts == 0):
        giver = int(np.argmax(np.where(counts > 1, rows - sizes, -np.inf)))
        own = np.flatnonzero(labels == giver)
        moved = own[np.argmin(group_sizes[own])]
        labels[moved] = empty
        counts[giver] -= 1
        counts[empty] += 1
        rows[giver] -= group_sizes[moved]
        rows[empty] += group_sizes[moved]
    return labels
