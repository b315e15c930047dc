"""`ColumnSource`: what a phase reads from, an immutable snapshot of a FeatureSet's columns.

Raw columns are views of Arrow's memory. A transformed column is its fitted scalers and the raw column,
evaluated for the rows that are taken; because scalers work row by row, the bits do not depend on which rows
are taken together, nor on whether a small column was evaluated once and kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa

from mml.data.collection import SampleCollection
from mml.data.records import ScalerRecord
from mml.data.rows import Rows, as_array, compact, count
from mml.data.scaler_calls import mapped
from mml.data.schema import RAW, TRANSFORMED, ColumnName, ColumnSpec, Schema
from mml.errors import ScalerError

# Above the first, or when all that are kept reach the second, a transformed column is evaluated per block: a
# mapped file must not end up in memory.
_KEPT_BYTES = 64 << 20
_KEPT_IN_ALL_BYTES = 128 << 20
_BLOCK_BYTES = 1 << 20
_ROUND_ROWS = 48


class ColumnSource:
    """Columns of a FeatureSet, frozen at one moment.

    Parameters
    ----------
    collection : SampleCollection
        The raw columns.
    transforms : tuple of ScalerRecord
        What was fitted, in order.
    """

    __slots__ = ("_chains", "_kept", "_schema", "collection", "transforms")

    def __init__(self, collection: SampleCollection, transforms: tuple[ScalerRecord, ...] = ()) -> None:
        self.collection = collection
        self.transforms = transforms
        self._chains = _chains(transforms)
        self._schema = collection.schema.with_columns(self._transformed_specs())
        self._kept: dict[str, np.ndarray] = {}

    @property
    def schema(self) -> Schema:
        """All columns, transformed ones included."""
        return self._schema

    @property
    def n_rows(self) -> int:
        """The number of samples."""
        return self.collection.n_rows

    def spec(self, column: str) -> ColumnSpec:
        """Return dtype and sample shape of a column, by its full name."""
        return self._schema[column]

    def chain(self, column: str) -> tuple[ScalerRecord, ...]:
        """Return the scalers that lead to a column, first applied first; empty for a raw one."""
        self._schema[column]
        return self._chains.get(column, ())

    def take(self, column: str, rows: Rows, out: np.ndarray | None = None) -> np.ndarray:
        """Return the values of absolute rows.

        Parameters
        ----------
        column : str
            Full name.
        rows : slice or numpy.ndarray
            Row numbers within ``0 .. n_rows - 1``, int64 ``(k,)``; they are not checked again.
        out : numpy.ndarray, optional
            Where to write, ``(k, *shape)`` of the column's dtype.

        Returns
        -------
        numpy.ndarray
            ``(k, *shape)``. Contiguous rows of a raw column come as a read-only view without a copy.
        """
        rows = compact(rows)
        chain = self._chains.get(column)
        if chain is None:
            return self.collection.column(column).take(rows, out)
        kept = self._kept.get(column)
        if kept is None and self._fits(column):
            # Two threads may both evaluate; they get equal bits and one of the arrays stays.
            kept = self._evaluate(column, slice(0, self.n_rows), None)
            kept.flags.writeable = False
            self._kept[column] = kept
        if kept is None:
            return self._evaluate(column, rows, out)
        if isinstance(rows, np.ndarray):
            return kept.take(rows, axis=0, out=out, mode="clip")
        if out is not None:
            np.copyto(out, kept[rows])
        return kept[rows] if out is None else out

    def uuids(self, rows: Rows) -> np.ndarray:
        """Return the identities of absolute rows, uint8 ``(k, 16)``."""
        return self.collection.uuids(compact(rows))

    def _transformed_specs(self) -> list[ColumnSpec]:
        specs = []
        for column, chain in self._chains.items():
            name = ColumnName.parse(column)
            raw = self.collection.schema[str(name.with_representation(RAW))]
            made = chain[-1].output_of(name.key)
            if made is None or made == (raw.dtype, raw.shape):
                specs.append(ColumnSpec(name, raw.dtype, raw.shape, raw.arrow_type))
            else:
                specs.append(ColumnSpec(name, *made, _arrow_type(*made)))
        return specs

    def _fits(self, column: str) -> bool:
        size = self.n_rows * _row_bytes(self._schema[column])
        # Copied first: another thread may be keeping a column.
        in_all = size + sum(one.nbytes for one in tuple(self._kept.values()))
        return size <= _KEPT_BYTES and in_all <= _KEPT_IN_ALL_BYTES

    def _evaluate(self, column: str, rows: Rows, out: np.ndarray | None) -> np.ndarray:
        spec, chain = self._schema[column], self._chains[column]
        raw = self.collection.column(str(spec.name.with_representation(RAW)))
        n_rows = count(rows)
        result = np.empty((n_rows, *spec.shape), dtype=spec.dtype) if out is None else out
        widest = max(_row_bytes(spec), *(_made_bytes(one, spec.name.key) for one in chain))
        step = block_rows(widest, _BLOCK_BYTES)
        indices = rows if isinstance(rows, slice) else as_array(rows)
        for start in range(0, n_rows, step):
            stop = min(start + step, n_rows)
            block = (
                slice(indices.start + start, indices.start + stop)
                if isinstance(indices, slice)
                else indices[start:stop]
            )
            result[start:stop] = evaluate(raw.take(block), chain, spec.name.key)
        return result


def block_rows(row_bytes: int, n_bytes: int) -> int:
    """Return how many rows make a block: as many as fit, rounded down to 48 times a power of two.

    There are scalers that have to work in chunks of one height, because processors add up in another order
    where heights differ. Their chunks divide such blocks without a rest.

    Examples
    --------
    >>> block_rows(160, 1 << 20), block_rows(1 << 16, 1 << 20)
    (6144, 16)
    """
    fitting = max(1, n_bytes // max(row_bytes, 1))
    return fitting if fitting < _ROUND_ROWS else _ROUND_ROWS << ((fitting // _ROUND_ROWS).bit_length() - 1)


def evaluate(values: np.ndarray, chain: Iterable[ScalerRecord], key: str) -> np.ndarray:
    """Return values ``(k, *shape)`` of a column after the fitted scalers of a chain.

    Raises
    ------
    ScalerError
        If a scaler fails, or returns other samples than when it was fitted.
    """
    for record in chain:
        scaler = record.scaler(key)
        where = {"column": str(ColumnName(record.domain, key, TRANSFORMED))}
        made = mapped(scaler, values, where=where)
        expected = (len(values), *record.fitted[key].shape)
        if made.shape != expected or made.dtype.kind not in "biuf":
            raise ScalerError(
                f"The scaler {scaler!r} does not map row by row.",
                where=where,
                expected=f"numbers of shape {expected}",
                found=f"{made.dtype} of shape {made.shape}",
            )
        values = made
    return values


def _chains(transforms: tuple[ScalerRecord, ...]) -> dict[str, tuple[ScalerRecord, ...]]:
    chains: dict[str, tuple[ScalerRecord, ...]] = {}
    for record in transforms:
        for key in record.keys:
            column = str(ColumnName(record.domain, key, TRANSFORMED))
            chains[column] = (*chains.get(column, ()), record)
    return chains


def _row_bytes(spec: ColumnSpec) -> int:
    itemsize = 8 if spec.dtype is None else spec.dtype.itemsize
    return itemsize * math.prod(spec.shape)


def _made_bytes(record: ScalerRecord, key: str) -> int:
    made = record.output_of(key)
    return 0 if made is None else made[0].itemsize * math.prod(made[1])


def _arrow_type(dtype: np.dtype, shape: tuple[int, ...]) -> Any:
    scalar = pa.from_numpy_dtype(dtype)
    return pa.fixed_shape_tensor(scalar, list(shape)) if shape else scalar
