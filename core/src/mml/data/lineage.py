"""Fit lineage: which rows a fitted thing saw, by UUID.

A lineage outlives the FeatureSet it was made from: it holds rows and derives their UUIDs when asked, so that
recording it costs nothing in a run that never looks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import numpy as np

from mml.data.rows import Rows, as_array, compact, count, marked
from mml.errors import StateError
from mml.protocols import State


class FitLineage:
    """The rows that something was fitted on.

    Parameters
    ----------
    source : str
        Label of the view, e.g. ``"cells[train]"``.
    split : str or None
        Name of the split; None for the whole FeatureSet.
    rows : slice or numpy.ndarray
        Absolute row numbers in that FeatureSet, int64 ``(k,)``; kept as a slice where they are contiguous.
    uuids : numpy.ndarray or callable
        Identities of the rows, uint8 ``(k, 16)``, or a function that returns them.
    origin : object, optional
        The immutable collection that the rows are rows of; rows of the same one are compared by number,
        which needs no UUIDs.
    """

    __slots__ = ("_rows", "_uuids", "origin", "source", "split")

    def __init__(
        self,
        source: str,
        *,
        split: str | None,
        rows: Rows,
        uuids: np.ndarray | Callable[[], np.ndarray],
        origin: object | None = None,
    ) -> None:
        self.source = source
        self.split = split
        self._rows = compact(rows)
        self._uuids = uuids
        self.origin = origin

    @property
    def rows(self) -> np.ndarray:
        """Absolute row numbers, int64 ``(k,)``."""
        return as_array(self._rows)

    @property
    def uuids(self) -> np.ndarray:
        """Identities of the rows, uint8 ``(k, 16)``."""
        if not isinstance(self._uuids, np.ndarray):
            self._uuids = self._uuids()
        return self._uuids

    def seen(self, uuids: np.ndarray) -> np.ndarray:
        """Return which of these identities, uint8 ``(n, 16)``, were seen: bool ``(n,)``."""
        return np.isin(uuid_words(uuids), uuid_words(self.uuids))

    def overlap(self, other: FitLineage) -> np.ndarray:
        """Return which of another lineage's rows this one holds too: bool ``(len(other),)``."""
        if self.origin is not None and self.origin is other.origin:
            n_rows = max(_end_of(self._rows), _end_of(other._rows))
            return np.asarray(marked(self._rows, n_rows)[other._rows])
        return self.seen(other.uuids)

    def __len__(self) -> int:
        return count(self._rows)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, FitLineage):
            return NotImplemented
        same_place = (self.source, self.split) == (other.source, other.split)
        return same_place and np.array_equal(self.uuids, other.uuids)

    __hash__ = None  # type: ignore[assignment]  # equality is by content, and nothing needs it as a key

    def __repr__(self) -> str:
        return f"FitLineage({self.source!r}, {len(self)} rows)"

    def get_state(self) -> State:
        """Return the lineage as arrays and JSON."""
        return {
            "source": self.source,
            "split": self.split,
            "rows": np.array(self.rows),
            "uuids": self.uuids.copy(),
        }

    @classmethod
    def from_state(cls, state: State) -> Self:
        """Rebuild a lineage from :meth:`get_state`."""
        try:
            rows = np.asarray(state["rows"], dtype=np.int64)
            uuids = np.asarray(state["uuids"], dtype=np.uint8).reshape(-1, 16)
            lineage = cls(state["source"], split=state["split"], rows=rows, uuids=uuids)
        except (KeyError, TypeError, ValueError) as cause:
            raise StateError("This is no state of a fit lineage.", found=repr(cause)) from cause
        if len(rows) != len(uuids):
            raise StateError("A fit lineage has one UUID per row.", found=f"{len(rows)} and {len(uuids)}")
        return lineage


def _end_of(rows: Rows) -> int:
    return rows.stop if isinstance(rows, slice) else 1 + int(rows.max(initial=-1))


def uuid_words(uuids: np.ndarray) -> np.ndarray:
    """Return identities ``(n, 16)`` as one 16-byte value per row, which NumPy sorts and compares whole."""
    return np.ascontiguousarray(uuids).view("V16").reshape(-1)
