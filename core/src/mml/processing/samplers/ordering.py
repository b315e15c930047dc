"""Orders of rows: grouped, weighted, cut into batches. Pure functions of codes and a generator."""

from __future__ import annotations

import numpy as np


def grouped_order(
    groups: np.ndarray, within: np.ndarray, rng: np.random.Generator | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return an order in which each group stands together, and the groups' sizes in that order.

    Parameters
    ----------
    groups : numpy.ndarray
        Group of each row, integers ``(n,)``, all numbers from 0 on in use.
    within : numpy.ndarray
        An order of positions, kept inside the groups, int64 ``(n,)``.
    rng : numpy.random.Generator or None
        Shuffles the groups; None keeps them in order of their number.
    """
    counts = np.bincount(groups, minlength=1)
    line_up = np.arange(len(counts)) if rng is None else rng.permutation(len(counts))
    place = np.empty(len(counts), dtype=np.int64)
    place[line_up] = np.arange(len(counts))
    order = within[np.argsort(place[groups[within]], kind="stable")]
    return order, counts[line_up]


def weighted_draw(
    positions: np.ndarray, cumulative: np.ndarray, *, n_draws: int, rng: np.random.Generator
) -> np.ndarray:
    """Return positions drawn with replacement, int64 ``(n_draws,)``, by their cumulative weights ``(k,)``."""
    drawn = np.searchsorted(cumulative, rng.random(n_draws) * cumulative[-1], side="right")
    return np.asarray(positions[np.minimum(drawn, len(positions) - 1)])


def borders_of(sizes: np.ndarray, *, batch_size: int, drop_last: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return where batches begin and end when runs of rows are cut one by one.

    Parameters
    ----------
    sizes : numpy.ndarray
        Rows per run (group), int64 ``(g,)``.
    batch_size : int
        Rows per batch; the last batch of a run may be shorter.
    drop_last : bool
        Whether shorter ones are left out.

    Returns
    -------
    keep : numpy.ndarray
        Which rows of the order stay, bool ``(n,)``.
    borders : numpy.ndarray
        Begin of each batch among the rows that stay, and the end, int64 ``(n_batches + 1,)``.
    """
    used = sizes // batch_size * batch_size if drop_last else sizes
    n_batches = -(-used // batch_size)
    run = np.repeat(np.arange(len(sizes)), n_batches)
    number = np.arange(len(run)) - np.repeat(np.cumsum(n_batches) - n_batches, n_batches)
    lengths = np.minimum(used[run] - number * batch_size, batch_size)
    borders = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    row = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return row < np.repeat(used, sizes), borders


def single_run(rows: np.ndarray, *, batch_size: int, drop_last: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and borders of batches cut from one run of rows."""
    n_used = len(rows) // batch_size * batch_size if drop_last else len(rows)
    borders = np.append(np.arange(0, n_used, batch_size, dtype=np.int64), n_used)
    return rows[:n_used], borders
