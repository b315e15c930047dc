"""`Epoch`: the batches of one epoch, as one array of rows per stream and role and the batches' borders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self, overload

import numpy as np

from mml.processing.batch_view import DEFAULT_STREAM, BatchView, checked_streams, one_stream

Rows = Mapping[str, np.ndarray]


class Epoch(Sequence[BatchView]):
    """Batch views, made when they are asked for; their rows are read-only.

    Parameters
    ----------
    order : mapping of str to numpy.ndarray
        Role → absolute row numbers of all batches, one behind the other, int64 ``(n,)``.
    borders : numpy.ndarray
        Where each batch begins, and the end, int64 ``(n_batches + 1,)``.

    Raises
    ------
    SamplerError
        If these are no row numbers, or roles differ in their number.
    """

    __slots__ = ("_streams", "borders")

    def __init__(self, order: Rows, borders: np.ndarray) -> None:
        self._streams: Mapping[str, Rows] = _read_only(checked_streams({DEFAULT_STREAM: order}))
        self.borders = _without_writing(borders)

    @classmethod
    def of_streams(cls, streams: Mapping[str, Rows], borders: np.ndarray) -> Self:
        """Return an epoch of several streams: stream → role → rows, cut at the same borders."""
        return cls._of(_read_only(checked_streams(streams)), _without_writing(borders))

    @classmethod
    def _of(cls, streams: Mapping[str, Rows], borders: np.ndarray) -> Self:
        made = cls.__new__(cls)
        made._streams, made.borders = streams, borders
        return made

    @property
    def streams(self) -> tuple[str, ...]:
        """The streams, in the sampler's order."""
        return tuple(self._streams)

    def stream(self, name: str | None = None) -> Epoch:
        """Return one stream as an epoch of its own; its name may be left out where there is only one.

        Raises
        ------
        SamplerError
            If there is no such stream, or several and none is named.
        """
        return Epoch._of({DEFAULT_STREAM: one_stream(self._streams, name, what="sampler")}, self.borders)

    @property
    def order(self) -> Rows:
        """Role → absolute row numbers of all batches of the only stream, int64 ``(n,)``."""
        return one_stream(self._streams, None, what="sampler")

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles, in the sampler's order."""
        return tuple(dict.fromkeys(role for rows in self._streams.values() for role in rows))

    def __len__(self) -> int:
        return len(self.borders) - 1

    @overload
    def __getitem__(self, index: int) -> BatchView: ...

    @overload
    def __getitem__(self, index: slice) -> Epoch: ...

    def __getitem__(self, index: int | slice) -> BatchView | Epoch:
        if isinstance(index, slice):
            start, stop, step = index.indices(len(self))
            if step != 1:
                raise IndexError("batches of an epoch are sliced in order")
            return Epoch._of(self._streams, self.borders[start : max(start, stop) + 1])
        if not -len(self) <= index < len(self):
            raise IndexError(f"the epoch has {len(self)} batches")
        return self.view(index % len(self), index % len(self) + 1)

    def view(self, start: int, stop: int) -> BatchView:
        """Return batches ``start`` to ``stop - 1`` as one view, without a copy."""
        return BatchView.of_checked({name: self._cut(name, start, stop) for name in self._streams})

    def rows(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """Return the rows of batches ``start`` to ``stop - 1`` of the only stream, per role, uncopied."""
        one_stream(self._streams, None, what="sampler")
        return self._cut(next(iter(self._streams)), start, stop)

    def _cut(self, stream: str, start: int, stop: int) -> dict[str, np.ndarray]:
        first, last = int(self.borders[start]), int(self.borders[stop])
        return {role: rows[first:last] for role, rows in self._streams[stream].items()}


def _read_only(streams: Mapping[str, Rows]) -> dict[str, Rows]:
    """Return views that nobody can write to: an epoch is kept, and its batches are slices of it."""
    return {
        stream: {role: _without_writing(rows) for role, rows in roles.items()}
        for stream, roles in streams.items()
    }


def _without_writing(array: np.ndarray) -> np.ndarray:
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view
