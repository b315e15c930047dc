"""Columns of many chunks, as large files have them: read where they lie, never combined as a whole.

Small columns, and those whose layout costs a copy anyway, are combined once. Of the others, the chunks stay
where they are and rows are found by the chunks' first rows. Where all chunks lie in one buffer, as those of a
mapped file do, one indexing of that buffer gathers rows of all chunks at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mml.data.arrow_columns import (
    DecodedColumn,
    decode_array,
    single_chunk,
    spec_of,
    tensor_array,
    time_zone,
)
from mml.data.rows import Rows, count

# Below this, a column is combined: one take from one array is the fastest.
COMBINED_BYTES = 16 << 20
# Chunks smaller than this that lie all over the memory are combined too: a gather visits each of them.
_SMALL_CHUNK_BYTES = 1 << 20


def decode(column: pa.ChunkedArray) -> DecodedColumn | ChunkedColumn:
    """Return a stored column for NumPy.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
        In a layout that MML stores.

    Returns
    -------
    DecodedColumn or ChunkedColumn
        Over Arrow's memory, unless the column is small and chunked, boolean, of dates, or has nulls.
    """
    if not _stays_in_chunks(column):
        return decode_array(single_chunk(column))
    chunks = [decode_array(chunk).values for chunk in column.chunks if len(chunk)]
    lengths = np.array([len(chunk) for chunk in chunks])
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return ChunkedColumn(tuple(chunks), starts, _shared_buffer(column, chunks))


def take_arrow(column: pa.ChunkedArray, rows: np.ndarray) -> pa.Array | pa.ChunkedArray:
    """Return rows of a stored column in its own layout, nulls included."""
    if _stays_in_chunks(column):
        return tensor_array(decode(column).take(rows), zone=time_zone(column.type))
    array, indices = single_chunk(column), pa.array(rows)
    if isinstance(array, pa.ExtensionArray):
        return pa.ExtensionArray.from_storage(array.type, array.storage.take(indices))
    return array.take(indices)


def _stays_in_chunks(column: pa.ChunkedArray) -> bool:
    spec = spec_of(column.type)
    if column.num_chunks < 2 or spec is None or column.null_count:
        return False
    dtype, shape = spec
    if dtype is None or dtype.kind == "b" or pa.types.is_date32(column.type):
        return False
    n_bytes = len(column) * dtype.itemsize * math.prod(shape)
    if n_bytes <= COMBINED_BYTES:
        return False
    large_chunks = n_bytes >= column.num_chunks * _SMALL_CHUNK_BYTES
    return large_chunks or _root(column.chunk(0)) == _root(column.chunk(column.num_chunks - 1))


@dataclass(frozen=True, slots=True)
class _SharedBuffer:
    """The buffer in which all chunks of a column lie, seen as rows that begin wherever a row may begin.

    ``windows`` are opaque items of a row's bytes, overlapping each other; the rows of chunk c begin at window
    ``first[c]`` and are ``step`` windows apart.
    """

    windows: np.ndarray
    first: np.ndarray
    step: int


@dataclass(frozen=True, slots=True)
class ChunkedColumn:
    """One column of several chunks as NumPy sees it.

    ``chunks`` are ``(n_i, *shape)`` each, none of them empty; ``starts`` holds the first row of each and the
    number of all.
    """

    chunks: tuple[np.ndarray, ...]
    starts: np.ndarray
    shared: _SharedBuffer | None = None

    def take(self, rows: Rows, out: np.ndarray | None = None) -> np.ndarray:
        """Return rows as ``(k, *shape)``: a view for a slice within one chunk, else a copy."""
        if isinstance(rows, slice):
            return self._contiguous(rows.start, rows.start + count(rows), out)
        if out is None:
            out = np.empty((len(rows), *self.chunks[0].shape[1:]), dtype=self.chunks[0].dtype)
        if not len(rows):
            return out
        places = np.searchsorted(self.starts, rows, side="right") - 1
        if self.shared is not None and out.flags.c_contiguous:
            return self._from_shared(self.shared, rows, places, out)
        return self._chunk_by_chunk(rows, places, out)

    def _contiguous(self, start: int, stop: int, out: np.ndarray | None) -> np.ndarray:
        first = int(np.searchsorted(self.starts, start, side="right")) - 1
        first = min(first, len(self.chunks) - 1)
        offset = start - int(self.starts[first])
        if out is None and stop <= self.starts[first + 1]:
            return self.chunks[first][offset : offset + stop - start]
        if out is None:
            out = np.empty((stop - start, *self.chunks[0].shape[1:]), dtype=self.chunks[0].dtype)
        written = 0
        while written < stop - start:
            piece = self.chunks[first][offset : offset + stop - start - written]
            out[written : written + len(piece)] = piece
            written, first, offset = written + len(piece), first + 1, 0
        return out

    def _from_shared(
        self, shared: _SharedBuffer, rows: np.ndarray, places: np.ndarray, out: np.ndarray
    ) -> np.ndarray:
        wanted = shared.first[places] + (rows - self.starts[places]) * shared.step
        out.reshape(-1).view(shared.windows.dtype)[...] = shared.windows[wanted]
        return out

    def _chunk_by_chunk(self, rows: np.ndarray, places: np.ndarray, out: np.ndarray) -> np.ndarray:
        order = np.argsort(places, kind="stable")
        ends = np.cumsum(np.bincount(places, minlength=len(self.chunks)))
        for chunk in np.unique(places):
            targets = order[(ends[chunk - 1] if chunk else 0) : ends[chunk]]
            out[targets] = self.chunks[chunk].take(rows[targets] - self.starts[chunk], axis=0)
        return out


def _shared_buffer(column: pa.ChunkedArray, chunks: list[np.ndarray]) -> _SharedBuffer | None:
    """Return the buffer in which all chunks lie, or None where they lie in several."""
    filled = [chunk for chunk in column.chunks if len(chunk)]
    if len({_root(chunk) for chunk in filled}) != 1:
        return None
    row_bytes = chunks[0].dtype.itemsize * math.prod(chunks[0].shape[1:])
    buffer = _outermost(filled[0])
    addresses = np.array([chunk.__array_interface__["data"][0] for chunk in chunks]) - buffer.address
    # Writers align chunks to 8 or 64 bytes, not to rows: a row begins at a multiple of what divides both.
    step = math.gcd(row_bytes, *(int(one) for one in addresses - addresses[0]))
    offset = int(addresses[0]) % step
    data = np.frombuffer(buffer, dtype=np.uint8)[offset:]
    windows = np.lib.stride_tricks.as_strided(
        data[:row_bytes].view(f"V{row_bytes}"),
        shape=((len(data) - row_bytes) // step + 1,),
        strides=(step,),
        writeable=False,
    )
    return _SharedBuffer(windows, (addresses - offset) // step, row_bytes // step)


def _root(array: pa.Array) -> tuple[int, int]:
    buffer = _outermost(array)
    return buffer.address, buffer.size


def _outermost(array: pa.Array) -> pa.Buffer:
    storage = array.storage.flatten() if isinstance(array, pa.ExtensionArray) else array
    buffer = storage.buffers()[1]
    while buffer.parent is not None:
        buffer = buffer.parent
    return buffer
