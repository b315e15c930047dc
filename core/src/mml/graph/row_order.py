"""The order of a step's rows: live ones first in every lane, and side by side where lanes meet.

A program cuts every array to a number of rows. So the rows that several lanes share must be their first ones,
in the same order, and each lane's own live rows come next.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from mml.errors import DataError
from mml.processing.batch_view import DEFAULT_ROLE

Pair: TypeAlias = tuple[str, str]
Rows: TypeAlias = dict[Pair, np.ndarray]


def connected(pairs: Iterable[Pair], sets: Iterable[frozenset[Pair]]) -> tuple[tuple[Pair, ...], ...]:
    """Group the lanes and roles that meet somewhere: only they have to agree on an order."""
    groups: list[set[Pair]] = [{pair} for pair in pairs]
    for together in sets:
        touched = [group for group in groups if group & together]
        groups = [group for group in groups if not group & together] + [set().union(*touched)]
    return tuple(tuple(sorted(group)) for group in groups)


@dataclass(frozen=True, slots=True)
class OrderedRows:
    """The rows of a group of lanes and roles, in order.

    Parameters
    ----------
    rows : dict of pair to ndarray of int64, shape (steps, capacity)
        Live rows first, -1 behind them.
    places : dict of pair to ndarray of int64, shape (steps, capacity), or None
        Where each row stood before; None where no row moved.
    """

    rows: Rows
    places: Rows | None

    def shared(self, pairs: frozenset[Pair]) -> np.ndarray:
        """Return how many of the first rows are live in all of these lanes, int64 ``(steps,)``.

        Raises
        ------
        DataError
            If rows that they share do not stand first in all of them.
        """
        chosen = sorted(pairs)
        if self.places is None:
            # No row is masked.
            shapes = [self.rows[pair].shape for pair in chosen]
            return np.full(shapes[0][0], min(capacity for _, capacity in shapes), dtype=np.int64)
        live = {pair: self.rows[pair] >= 0 for pair in chosen}
        places = self.places
        first = places[chosen[0]]
        same = np.logical_and.reduce([live[pair] & (places[pair] == first) for pair in chosen])
        leading = np.logical_and.accumulate(same, axis=1).sum(axis=1)
        if len(chosen) > 1:
            back = [
                np.take_along_axis(live[pair], np.argsort(places[pair], axis=1), axis=1) for pair in chosen
            ]
            if (leading != np.logical_and.reduce(back).sum(axis=1)).any():
                raise _crossing(chosen, others=sorted(self.rows.keys() - pairs))
        return np.asarray(leading)


def _crossing(chosen: Sequence[Pair], *, others: Sequence[Pair]) -> DataError:
    """Return the error of masks that no order serves, with the way out that lies at hand."""
    among_roles = len({role for _, role in (*chosen, *others)}) > 1
    return DataError(
        "The masks of these inputs cross: no order puts the rows first that each loss or merge shares.",
        where={"inputs": _told(chosen), "beside": _told(others)},
        hint=(
            "Use unmatched='drop' in the sampler, a fallback in its conditions, or a phase for each loss, so "
            "that the masks of one role count at a time."
            if among_roles
            else "Use unmatched='drop' in the aligning sampler, or run the branches in phases of their own, "
            "through active_nodes."
        ),
    )


def _told(pairs: Sequence[Pair]) -> str:
    return ", ".join(lane if role == DEFAULT_ROLE else f"{lane} ({role})" for lane, role in pairs)


def live_first(rows: Mapping[Pair, np.ndarray]) -> OrderedRows:
    """Order the rows of lanes that meet: those live in more lanes first, otherwise as they came.

    Parameters
    ----------
    rows : mapping of pair to ndarray of int64, shape (steps, capacity of the lane)
        Absolute rows; -1 is a masked one. Rows at the same place belong together.
    """
    if all(indices.size == 0 or indices.min() >= 0 for indices in rows.values()):
        return OrderedRows(dict(rows), None)
    capacity = max(indices.shape[1] for indices in rows.values())
    padded = {pair: _padded(indices, capacity) for pair, indices in rows.items()}
    shared = np.add.reduce([indices >= 0 for indices in padded.values()], dtype=np.int64)
    order = np.argsort(-shared, axis=1, kind="stable")
    ordered: Rows = {}
    places: Rows = {}
    for pair, indices in padded.items():
        masked = np.take_along_axis(indices, order, axis=1) < 0
        places[pair] = np.take_along_axis(order, np.argsort(masked, axis=1, kind="stable"), axis=1)
        ordered[pair] = np.take_along_axis(indices, places[pair], axis=1)
    return OrderedRows(ordered, places)


def stacked(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Put the rows of the steps under each other, short ones filled with -1."""
    lengths = set(map(len, rows))
    capacity = max(lengths)
    if len(lengths) == 1:
        # One copy; `np.stack` would first make a view of each of them.
        return np.concatenate(rows).reshape(-1, capacity) if len(rows) > 1 else rows[0][None]
    return np.stack([_padded(one[None], capacity)[0] for one in rows])


def _padded(rows: np.ndarray, capacity: int) -> np.ndarray:
    missing = capacity - rows.shape[1]
    return np.pad(rows, ((0, 0), (0, missing)), constant_values=-1) if missing else rows
