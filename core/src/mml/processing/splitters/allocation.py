"""How many, and which: exact split sizes, and rows and strata dealt out to them.

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
    # Nor does rounding settle which of two equal remainders is the larger: the first one counts.
    order = np.argsort(-np.round(exact - sizes, 6), kind="stable")
    sizes[order[:rest]] += 1
    return sizes


def deal_rows(sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the split of each row, ``(sum(sizes),)``: a random arrangement with these exact sizes."""
    # Shuffling small labels instead of row numbers touches an eighth of the memory.
    labels = np.repeat(_numbers(len(sizes)), sizes)
    rng.shuffle(labels)
    return labels


def strata_table(
    strata: np.ndarray, sizes: np.ndarray, shares: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return how many rows of each stratum go to each split, int64 ``(n_strata, k)``.

    Rows sum to the strata, columns to ``sizes``, and every cell is within one of its share. Such a table
    always exists (controlled rounding). Strata of equal size have equal shares: they are rounded together,
    and which of them get the extra rows is drawn.

    Parameters
    ----------
    strata : numpy.ndarray
        Rows per stratum, int64 ``(n_strata,)``.
    sizes : numpy.ndarray
        Rows per split, int64 ``(k,)``; the largest-remainder sizes of all rows.
    shares : numpy.ndarray
        float64 ``(k,)``.
    rng : numpy.random.Generator

    References
    ----------
    Cox, "A constructive procedure for unbiased controlled rounding", JASA 1987.
    """
    counts, kind, n_alike = np.unique(strata, return_inverse=True, return_counts=True)
    least = np.floor(counts[:, np.newaxis] * shares + 1e-9).astype(np.int64)
    extra = _rounded(counts * n_alike, least * n_alike[:, np.newaxis], sizes, shares)
    extra -= least * n_alike[:, np.newaxis]
    table: np.ndarray = least[kind]
    alike = np.split(np.argsort(kind, kind="stable"), np.cumsum(n_alike)[:-1])
    for members, more in zip(alike, extra, strict=True):
        # No split has more extra rows than there are members, so that going round gives nobody two of one.
        split = np.repeat(np.arange(len(sizes)), more)
        receiver = rng.permutation(members)[np.arange(len(split)) % len(members)]
        table[receiver, split] += 1
    return table


def _rounded(totals: np.ndarray, least: np.ndarray, sizes: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Round ``totals * shares`` to a table with these sums, dealt like the degrees of a bipartite graph."""
    exact = totals[:, np.newaxis] * shares
    table: np.ndarray = np.maximum(np.floor(exact + 1e-9).astype(np.int64), least)
    missing = sizes - table.sum(axis=0)
    for row in np.argsort(-(totals - table.sum(axis=1)), kind="stable"):
        rest = int(totals[row] - table[row].sum())
        # The splits that miss most come first (Gale and Ryser, 1957); the larger remainder settles ties.
        chosen = np.lexsort((table[row] - exact[row], -missing))[:rest]
        table[row, chosen] += 1
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
    table = strata_table(counts, sizes, shares, rng)
    # One block per stratum; each is shuffled in itself and then goes to the stratum's rows.
    dealt = np.repeat(np.tile(_numbers(len(sizes)), len(table)), table.reshape(-1))
    ends = np.cumsum(counts)
    for stratum in np.flatnonzero((table > 0).sum(axis=1) > 1).tolist():
        rng.shuffle(dealt[ends[stratum] - counts[stratum] : ends[stratum]])
    labels = np.empty_like(dealt)
    labels[_stable_order(codes)] = dealt
    return labels


def _stable_order(codes: np.ndarray) -> np.ndarray:
    """Return the stable sorting order of codes; NumPy sorts 16 bits at a time by counting."""
    order = np.argsort(codes.astype(np.uint16), kind="stable")
    high = codes >> 16
    while high.any():
        order = order[np.argsort(high.astype(np.uint16)[order], kind="stable")]
        high = high >> 16
    return order


def _numbers(n_splits: int) -> np.ndarray:
    return np.arange(n_splits, dtype=np.min_scalar_type(n_splits))
