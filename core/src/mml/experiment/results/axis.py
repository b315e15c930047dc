"""One axis of a series: an integer code per entry, and the values that the codes stand for.

Codes make filtering and grouping integer work, whatever the values are. Integers are coded in ascending
order and names in order of first appearance, so that code order is the order in which a reader expects them.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from mml.errors import ResultError

Codes = NDArray[np.int32]
"""Codes of the entries of one axis, shape (n_entries,)."""

# An integer range up to this many times the number of entries is coded through a look-up table.
_TABLE_FACTOR = 2
_TABLE_MINIMUM = 1024


@final
class Axis:
    """Coordinates along one axis, as codes into a vocabulary.

    Parameters
    ----------
    codes : ndarray of int32, shape (n_entries,)
        Position in the vocabulary, per entry.
    vocabulary : tuple
        Distinct values in coding order; some may have no entry (after a filter).
    """

    __slots__ = ("_positions", "codes", "vocabulary")

    def __init__(self, codes: Codes, vocabulary: tuple[Any, ...]) -> None:
        self.codes = codes
        self.vocabulary = vocabulary
        self._positions: dict[Any, int] | None = None

    @classmethod
    def encode(cls, values: Iterable[Any]) -> Axis:
        """Code plain values.

        Parameters
        ----------
        values : array-like of int, str or other hashable, shape (n_entries,)
            Coordinates; None is allowed beside integers and sorts last.
        """
        if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind in "iu":
            return cls._encode_integers(values.astype(np.int64, copy=False))
        plain = values.tolist() if isinstance(values, np.ndarray) else values
        listed = [one.item() if isinstance(one, np.generic) else one for one in plain]
        if listed and all(type(one) is int for one in listed):
            return cls._encode_integers(np.asarray(listed, dtype=np.int64))
        return cls._encode_hashable(listed)

    @classmethod
    def constant(cls, value: Any, n: int) -> Axis:
        """Code one value for all of `n` entries."""
        return cls(np.zeros(n, dtype=np.int32), (value,))

    @classmethod
    def _encode_integers(cls, values: NDArray[np.int64]) -> Axis:
        if not len(values):
            return cls(np.zeros(0, dtype=np.int32), ())
        low, high = int(values.min()), int(values.max())
        if high - low >= _TABLE_FACTOR * len(values) + _TABLE_MINIMUM:
            distinct, codes = np.unique(values, return_inverse=True)
            return cls(codes.astype(np.int32), tuple(distinct.tolist()))
        # A table over the range is several times faster than sorting, and epochs and batches are dense.
        offsets = values - low
        present = np.zeros(high - low + 1, dtype=bool)
        present[offsets] = True
        table = (np.cumsum(present) - 1).astype(np.int32)
        return cls(table[offsets], tuple((np.flatnonzero(present) + low).tolist()))

    @classmethod
    def _encode_hashable(cls, values: Sequence[Any]) -> Axis:
        try:
            vocabulary: list[Any] = list(dict.fromkeys(values))
        except TypeError as cause:
            raise ResultError(
                "A coordinate of a series must be hashable.",
                expected="integers, strings or None",
                found=next(type(one).__name__ for one in values if not isinstance(one, Hashable)),
            ) from cause
        if all(one is None or type(one) is int for one in vocabulary):
            vocabulary.sort(key=lambda one: (one is None, one or 0))
        positions = {value: code for code, value in enumerate(vocabulary)}
        codes = np.fromiter((positions[one] for one in values), dtype=np.int32, count=len(values))
        return cls(codes, tuple(vocabulary))

    def __len__(self) -> int:
        return len(self.codes)

    def code_of(self, value: Any) -> int | None:
        """Return the code of a value, or None where no entry ever had it."""
        if self._positions is None:
            self._positions = {known: code for code, known in enumerate(self.vocabulary)}
        try:
            return self._positions.get(value)
        except TypeError:  # an unhashable value cannot be a coordinate
            return None

    def present(self) -> list[Any]:
        """List the values that have at least one entry, in coding order."""
        counts = np.bincount(self.codes, minlength=len(self.vocabulary))
        return [self.vocabulary[code] for code in np.flatnonzero(counts)]

    def take(self, entries: NDArray[np.int64] | slice) -> Axis:
        """Keep the entries given by position; the vocabulary is shared."""
        return Axis(self.codes[entries], self.vocabulary)

    def decode(self) -> NDArray[Any]:
        """Return the coordinates: int64 where all are integers, else object; shape (n_entries,)."""
        if self.vocabulary and all(type(one) is int for one in self.vocabulary):
            return np.asarray(self.vocabulary, dtype=np.int64)[self.codes]
        table = np.empty(len(self.vocabulary), dtype=object)
        table[:] = self.vocabulary
        return table[self.codes]

    def same_coordinates(self, other: Axis) -> bool:
        """Whether both give every entry the same value, whatever the codes are."""
        if len(self) != len(other):
            return False
        if self.vocabulary == other.vocabulary:
            return bool(np.array_equal(self.codes, other.codes))
        return bool(self.decode().tolist() == other.decode().tolist())
