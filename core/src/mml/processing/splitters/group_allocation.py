"""Whole groups dealt out to splits, so that rows keep their shares.

Pure functions of counts and a generator; nothing here knows of views or columns. Sizes always count rows.
"""

from __future__ import annotations

import numpy as np

from mml.processing.splitters.group_exchange import even_out_sizes

_N_DEALS = 8


def deal_groups(group_sizes: np.ndarray, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the split of each group, int64 ``(n_groups,)``.

    Groups too large for some split are placed first, each at random among those that have room for it. The
    others are lined up in random order and the line is cut where the splits are full, each group falling to
    the side that holds its middle. At last groups are exchanged as long as that brings sizes nearer. Where
    that does not meet them, the best of some deals is taken.

    Parameters
    ----------
    group_sizes : numpy.ndarray
        Rows per group, int64 ``(n_groups,)``.
    sizes : numpy.ndarray
        Rows that each split should hold, int64 ``(k,)``.
    rng : numpy.random.Generator
    """
    best, least = _deal(group_sizes, sizes, rng)
    for _ in range(_N_DEALS - 1):
        if not least:
            break
        labels, left = _deal(group_sizes, sizes, rng)
        if left < least:
            best, least = labels, left
    return best


def _deal(group_sizes: np.ndarray, sizes: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, int]:
    """Return the split of each group, and the sum of squared deviations of sizes."""
    labels = np.empty(len(group_sizes), dtype=np.int64)
    order = rng.permutation(len(group_sizes))
    is_large = group_sizes[order] > sizes.min()
    room = _place_large(labels, order[is_large], group_sizes, sizes, rng)
    _cut_line(labels, order[~is_large], group_sizes, np.maximum(room, 0))
    fill_empty(labels, group_sizes, sizes)
    return labels, even_out_sizes(labels, group_sizes, sizes, rng)


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


def fill_empty(labels: np.ndarray, group_sizes: np.ndarray, sizes: np.ndarray) -> np.ndarray:
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
