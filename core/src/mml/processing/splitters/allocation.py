"""How many, and which: exact split sizes, and rows, strata and groups dealt out to them.

Pure functions of counts and a generator; nothing here knows of views or columns.
"""

from __future__ import annotations

import numpy as np


def largest_remainder(total: int, shares: np.ndarray) -> np.ndarray:
    """Return whole sizes that sum to ``total``, each within one of its share, int64 ``(k,)``.

    Parameters
    ----------
    total : int
        What is divided.
    shares : numpy.ndarray
        float64 ``(k,)``, summing to 1.

    Examples
    --------
    >>> largest_remainder(10, np.array([0.55, 0.25, 0.2])).tolist()
    [6, 2, 2]
    """
    exact = shares * total
    # A share that rounding put a hair below a whole number is that number.
    sizes = np.floor(exact + 1e-9).astype(np.int64)
    rest = total - int(sizes.sum())
    order = np.argsort(-(exact - sizes), kind="stable")
    sizes[order[:rest]] += 1
    return sizes


def deal_rows(sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the split of each row, ``(sum(sizes),)``: a random arrangement with these exact sizes."""
    # Shuffling small labels instead of row numbers touches an eighth of the memory.
    labels = np.repeat(np.arange(len(sizes), dtype=np.min_scalar_type(len(sizes))), sizes)
    rng.shuffle(labels)
    return labels


def strata_table(strata: np.ndarray, sizes: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Return how many rows of each stratum go to each split, int64 ``(n_strata, k)``.

    Rows sum to the strata, columns to ``sizes``, and every cell is within one of its share. Such a table
    always exists (controlled rounding); the remainders are dealt like the degrees of a bipartite graph.

    Parameters
    ----------
    strata : numpy.ndarray
        Rows per stratum, int64 ``(n_strata,)``.
    sizes : numpy.ndarray
        Rows per split, int64 ``(k,)``; the largest-remainder sizes of all rows.
    shares : numpy.ndarray
        float64 ``(k,)``.

    References
    ----------
    Cox, "A constructive procedure for unbiased controlled rounding", JASA 1987; Gale and Ryser 1957.
    """
    exact = strata[:, np.newaxis] * shares
    table: np.ndarray = np.floor(exact + 1e-9).astype(np.int64)
    missing = sizes - table.sum(axis=0)
    for stratum in np.argsort(-(strata - table.sum(axis=1)), kind="stable"):
        rest = int(strata[stratum] - table[stratum].sum())
        fraction = exact[stratum] - table[stratum]
        # The splits that miss most come first (Gale and Ryser); the larger remainder settles ties.
        chosen = np.lexsort((-fraction, -missing))[:rest]
        table[stratum, chosen] += 1
        missing[chosen] -= 1
    return table


def deal_strata(
    codes: np.ndarray, sizes: np.ndarray, shares: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the split of each row so that every stratum keeps its share, ``(n,)``.

    Parameters
    ----------
    codes : numpy.ndarray
        Stratum of each row, int64 ``(n,)``, all numbers from 0 on in use.
    sizes, shares : numpy.ndarray
        As in `strata_table`.
    """
    counts = np.bincount(codes)
    table = strata_table(counts, sizes, shares)
    labels = np.empty(len(codes), dtype=np.min_scalar_type(len(sizes)))
    by_stratum = np.argsort(codes, kind="stable")
    for stratum, rows in enumerate(np.split(by_stratum, np.cumsum(counts)[:-1])):
        labels[rows] = deal_rows(table[stratum], rng)
    return labels


def deal_groups(group_sizes: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the split of each group, int64 ``(n_groups,)``; split sizes count rows, not groups.

    Groups are lined up in random order and the line is cut where the shares of rows end, each group falling
    to the side that holds its middle: every cut is off by at most half a group. A split that gets none
    takes the smallest group of one that has several.
    """
    order = rng.permutation(len(group_sizes))
    ends = np.cumsum(group_sizes[order])
    middles = ends - group_sizes[order] / 2
    cuts = np.cumsum(shares)[:-1] * ends[-1]
    labels = np.empty(len(group_sizes), dtype=np.int64)
    labels[order] = np.searchsorted(cuts, middles, side="right")
    return _fill_empty(labels, group_sizes, shares)


def deal_stratified_groups(table: np.ndarray, shares: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the split of each group so that strata keep their shares as far as whole groups allow.

    Greedy, largest groups first, in random order among equals: each goes where it leaves the smallest sum of
    squared shortfalls relative to what the splits should hold of each stratum.

    Parameters
    ----------
    table : numpy.ndarray
        Rows of each group in each stratum, int64 ``(n_groups, n_strata)``.
    """
    wanted = shares[:, np.newaxis] * table.sum(axis=0)
    held = np.zeros_like(wanted)
    labels = np.empty(len(table), dtype=np.int64)
    shuffled = rng.permutation(len(table))
    order = shuffled[np.argsort(-table[shuffled].sum(axis=1), kind="stable")]
    scale = np.maximum(wanted, 1e-12)
    for group in order:
        before = (((wanted - held) / scale) ** 2 * shares[:, np.newaxis]).sum(axis=1)
        after = (((wanted - held - table[group]) / scale) ** 2 * shares[:, np.newaxis]).sum(axis=1)
        labels[group] = np.argmin(after - before)
        held[labels[group]] += table[group]
    return _fill_empty(labels, table.sum(axis=1), shares)


def _fill_empty(labels: np.ndarray, group_sizes: np.ndarray, shares: np.ndarray) -> np.ndarray:
    counts = np.bincount(labels, minlength=len(shares))
    rows = np.bincount(labels, weights=group_sizes, minlength=len(shares))
    for empty in np.flatnonzero(counts == 0):
        excess = np.where(counts > 1, rows - shares * group_sizes.sum(), -np.inf)
        giver = int(np.argmax(excess))
        if counts[giver] < 2:
            break
        own = np.flatnonzero(labels == giver)
        moved = own[np.argmin(group_sizes[own])]
        labels[moved] = empty
        counts[giver] -= 1
        counts[empty] += 1
        rows[giver] -= group_sizes[moved]
    return labels
