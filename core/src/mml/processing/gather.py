"""`Gatherer`: the values of whole blocks of batches, one take per column, into buffers that can be reused.

A batch is then a slice of its block. Nothing here knows of roles or epochs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from mml.data import ColumnSource, assemble, assembled_shape
from mml.data.protocols import is_thread_safe
from mml.data.schema import ColumnName
from mml.errors import DataError

__all__ = ["Gatherer", "assemble", "assembled_shape", "may_run_ahead"]


class Gatherer:
    """Reads columns of a snapshot.

    Parameters
    ----------
    source : ColumnSource
        The snapshot; see `FeatureSet.snapshot`.
    columns : mapping of str to tuple of str
        Domain → full column names; see `FeatureSetReference.columns`.

    Attributes
    ----------
    keys : dict of str to tuple
        Domain → pairs of key and full column name.
    """

    __slots__ = ("_names", "_source", "columns", "keys")

    def __init__(self, source: ColumnSource, columns: Mapping[str, tuple[str, ...]]) -> None:
        self._source = source
        self.columns = dict(columns)
        self._names = tuple(dict.fromkeys(name for names in self.columns.values() for name in names))
        # Once here, because parsing a name takes longer than gathering a small batch.
        self.keys = {
            domain: tuple((ColumnName.parse(name).key, name) for name in names)
            for domain, names in self.columns.items()
        }
        for name in self._names:
            source.spec(name)

    @property
    def names(self) -> tuple[str, ...]:
        """Full names of all columns that are read, each once."""
        return self._names

    @property
    def source(self) -> ColumnSource:
        """The snapshot that is read."""
        return self._source

    @property
    def row_bytes(self) -> int:
        """What a row takes in all columns together, in bytes."""
        specs = [self._source.spec(name) for name in self._names]
        return sum(math.prod(one.shape) * (8 if one.dtype is None else one.dtype.itemsize) for one in specs)

    def allocate(self, n_rows: int) -> dict[str, np.ndarray]:
        """Return buffers for blocks of up to ``n_rows`` rows, to be passed as ``out``; zeroed."""
        buffers = {}
        for name in self._names:
            spec = self._source.spec(name)
            dtype = self._source.take(name, slice(0, 0)).dtype if spec.dtype is None else spec.dtype
            buffers[name] = np.zeros((n_rows, *spec.shape), dtype=dtype)
        return buffers

    def gather(
        self, rows: np.ndarray, *, out: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """Return the values of rows, per column.

        Parameters
        ----------
        rows : numpy.ndarray
            Absolute row numbers, int64 ``(k,)``. A masked row (-1) gets a copy of the first live one, so that
            no foreign value enters a model; where all are masked, the values are zeros.
        out : mapping of str to numpy.ndarray, optional
            Buffers from :meth:`allocate` with at least ``k`` rows. What is returned are views of them, which
            the next call overwrites. Without buffers, contiguous rows come as read-only views of the data.

        Returns
        -------
        dict of str to numpy.ndarray
            Full column name → ``(k, *shape)``.
        """
        n_rows = len(rows)
        rows = self._live_rows(rows)
        if n_rows and not len(rows):
            return self._zeros(n_rows, out)
        if out is None:
            return {name: self._source.take(name, rows) for name in self._names}
        self._require_room(n_rows, out)
        return {name: self._source.take(name, rows, out[name][:n_rows]) for name in self._names}

    def _live_rows(self, rows: np.ndarray) -> np.ndarray:
        """Return rows that can be taken, or none where all are masked."""
        if not len(rows):
            return rows
        lowest, highest = int(rows.min()), int(rows.max())
        if highest >= self._source.n_rows or lowest < -1:
            wrong = highest if highest >= self._source.n_rows else lowest
            raise DataError(f"There is no row {wrong}.", found=f"{self._source.n_rows} rows")
        if lowest >= 0:
            return rows
        live = rows >= 0
        return np.where(live, rows, rows[int(np.argmax(live))]) if live.any() else rows[:0]

    def _zeros(self, n_rows: int, out: Mapping[str, np.ndarray] | None) -> dict[str, np.ndarray]:
        blocks = self.allocate(n_rows) if out is None else {name: out[name][:n_rows] for name in self._names}
        for block in blocks.values():
            block[...] = None if block.dtype == object else np.zeros((), dtype=block.dtype)
        return blocks

    def _require_room(self, n_rows: int, out: Mapping[str, np.ndarray]) -> None:
        for name in self._names:
            if name not in out or len(out[name]) < n_rows:
                raise DataError(
                    f"The buffer of '{name}' is too small.",
                    expected=f"{n_rows} rows",
                    hint="Use allocate(n_rows).",
                )


def may_run_ahead(source: ColumnSource, column: str) -> bool:
    """Return whether a column may be read on another thread than the one that runs the steps.

    Raw values may. A scaler has to say so: what is written elsewhere may draw random numbers or change
    the warning filters, which belong to the whole process.
    """
    key = ColumnName.parse(column).key
    fitted = [record.fitted.get(key) for record in source.chain(column)]
    return all(one is not None and is_thread_safe(one.scaler) for one in fitted)
