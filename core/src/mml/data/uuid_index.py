"""Finding samples by their UUIDs, by sorting eight of the sixteen bytes.

NumPy compares 16-byte values one by one through a generic routine; halves are numbers, which it sorts some
thirty times as fast. Only where two halves are equal are the other halves looked at.
"""

from __future__ import annotations

import numpy as np


def positions_of(wanted: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return where each wanted identity stands, and whether it stands anywhere.

    Parameters
    ----------
    wanted : numpy.ndarray
        uint8 of shape ``(k, 16)``.
    among : numpy.ndarray
        uint8 of shape ``(n, 16)``; of equal ones the first is found.

    Returns
    -------
    positions : numpy.ndarray
        int64 ``(k,)``; meaningless where nothing was found.
    found : numpy.ndarray
        bool ``(k,)``.
    """
    if not len(among):
        return np.zeros(len(wanted), dtype=np.int64), np.zeros(len(wanted), dtype=bool)
    mine, theirs = _halves(among), _halves(wanted)
    order = np.argsort(mine[:, 0], kind="stable")
    first = mine[:, 0].take(order)
    places = _places(first, theirs[:, 0])
    places[places == len(first)] = 0
    positions = order[places]
    same_half = first[places] == theirs[:, 0]
    found = same_half & (mine[positions, 1] == theirs[:, 1])
    undecided = np.flatnonzero(same_half & ~found)
    if len(undecided):
        positions[undecided], found[undecided] = _by_whole(wanted[undecided], among)
    return positions, found


def _places(among: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return where sorted values have the wanted ones; asked for in order, so that memory is walked once."""
    order = np.argsort(wanted)
    places = np.empty(len(wanted), dtype=np.int64)
    places[order] = np.searchsorted(among, wanted[order])
    return places


def first_repeat(uuids: np.ndarray) -> int | None:
    """Return the first row whose identity an earlier row has, or None where all differ."""
    firsts = np.sort(_halves(uuids)[:, 0])
    if not (firsts[1:] == firsts[:-1]).any():
        return None
    _, first_rows = np.unique(_words(uuids), return_index=True)
    if len(first_rows) == len(uuids):
        return None
    return int(np.setdiff1d(np.arange(len(uuids)), first_rows)[0])


def _by_whole(wanted: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    words = _words(among)
    order = np.argsort(words, kind="stable")
    places = np.searchsorted(words[order], _words(wanted))
    places[places == len(words)] = 0
    return order[places], words[order[places]] == _words(wanted)


def _halves(uuids: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(uuids).view(np.uint64).reshape(-1, 2)


def _words(uuids: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(uuids).view("V16").reshape(-1)
