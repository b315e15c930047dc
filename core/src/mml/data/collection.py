"""`SampleCollection`: an immutable Arrow table of raw columns, with identities for its rows.

Ingest stays one pass: fingerprint and UUIDs are computed, vectorised, when somebody first asks for them, and
so are the NumPy views of the columns. It knows nothing of splits or transforms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from mml.data.arrow_columns import DecodedColumn, empty_array, spec_of, stored_type
from mml.data.chunked_columns import ChunkedColumn, decode, take_arrow
from mml.data.fingerprint import derive_uuids, fingerprint
from mml.data.ingest import to_column
from mml.data.rows import Rows, as_array, count
from mml.data.schema import SAMPLE_UUIDS, ColumnName, ColumnSpec, Schema
from mml.data.text_columns import is_unicode
from mml.data.uuid_index import first_repeat
from mml.errors import ColumnError, DataError

UUID_COLUMN = str(ColumnName(SAMPLE_UUIDS, "uuid"))
_UUID_TYPE = pa.binary(16)


class SampleCollection:
    """Raw columns of equal length; see the class methods for how one is made.

    Parameters
    ----------
    table : pyarrow.Table
        Columns named in full, in the layouts that MML stores.
    uuids : numpy.ndarray or callable, optional
        Identities of the rows, uint8 of shape ``(n, 16)``, or a function that returns them when they are
        first asked for. None derives them from the data.
    """

    __slots__ = ("_decoded", "_fingerprint", "_schema", "_table", "_uuids")

    def __init__(
        self, table: pa.Table, *, uuids: np.ndarray | Callable[[], np.ndarray] | None = None
    ) -> None:
        self._table = table
        self._uuids = uuids
        self._schema = Schema(_spec(name, table.schema.field(name).type) for name in table.column_names)
        self._decoded: dict[str, DecodedColumn | ChunkedColumn] = {}
        self._fingerprint: str | None = None

    @classmethod
    def from_columns(cls, columns: Iterable[tuple[ColumnName, Any]]) -> SampleCollection:
        """Ingest columns; one object given under two names is stored once.

        Raises
        ------
        DataError
            For bad values, columns of different lengths, and none at all.
        """
        arrays = _stored(columns)
        _require_samples(arrays)
        return cls(pa.table(arrays))

    @classmethod
    def from_table(
        cls, table: pa.Table, *, unique: bool = True, allow_empty: bool = False
    ) -> SampleCollection:
        """Ingest a table whose columns are already named in full; `sample_uuids` keep their values.

        Parameters
        ----------
        table : pyarrow.Table
            Aliased, not copied.
        unique : bool
            Whether a repeated UUID is an error; a resampled set that was saved has some.
        allow_empty : bool
            Whether it may have no samples or no columns; an extract that was saved may.
        """
        if not isinstance(table, pa.Table):
            raise DataError("A pyarrow.Table is needed here.", found=type(table).__name__)
        uuids = None
        columns: list[tuple[ColumnName, Any]] = []
        for position, full_name in enumerate(table.column_names):
            name = ColumnName.parse(full_name)
            if name.domain == SAMPLE_UUIDS:
                if uuids is not None:
                    raise DataError("A FeatureSet has one column of sample UUIDs.", found=repr(full_name))
                uuids = _explicit_uuids(table.column(position), full_name, unique=unique)
            else:
                columns.append((name, table.column(position)))
        arrays = _stored(columns)
        if not allow_empty:
            _require_samples(arrays)
        return cls(pa.table(arrays) if arrays else table.select([]), uuids=uuids)

    @property
    def table(self) -> pa.Table:
        """The raw columns as they are stored."""
        return self._table

    @property
    def schema(self) -> Schema:
        """Names and types of the raw columns."""
        return self._schema

    @property
    def n_rows(self) -> int:
        """The number of samples."""
        return int(self._table.num_rows)

    @property
    def fingerprint(self) -> str:
        """A stable hash of schema and values; computed when first asked for."""
        if self._fingerprint is None:
            self._fingerprint = fingerprint(self._table)
        return self._fingerprint

    def uuids(self, rows: Rows) -> np.ndarray:
        """Return the identities of absolute rows, uint8 of shape ``(k, 16)``."""
        own = self._own_uuids()
        return derive_uuids(self.fingerprint, as_array(rows)) if own is None else own[rows]

    def _own_uuids(self) -> np.ndarray | None:
        if callable(self._uuids):
            self._uuids = self._uuids()
        if self._uuids is not None:
            self._uuids.flags.writeable = False  # slices of it are handed out
        return self._uuids

    def column(self, name: str) -> DecodedColumn | ChunkedColumn:
        """Return a raw column as NumPy sees it; decoded once."""
        decoded = self._decoded.get(name)
        if decoded is None:
            self._schema[name]
            # Two threads may both decode; they get equal columns and one of them stays.
            decoded = self._decoded[name] = decode(self._table.column(name))
        return decoded

    def take(self, rows: Rows, names: Iterable[str]) -> SampleCollection:
        """Return a collection of these rows and columns that keeps their identities."""
        return SampleCollection(self.take_table(rows, names), uuids=lambda: self.uuids(rows).copy())

    def take_table(self, rows: Rows, names: Iterable[str]) -> pa.Table:
        """Return these rows and columns as they are stored; without a copy where rows are contiguous."""
        names = list(names)
        if isinstance(rows, slice):
            return self._table.select(names).slice(rows.start, count(rows))
        if not names:
            return pa.table({"": pa.nulls(len(rows))}).select([])  # a table of rows alone
        return pa.table({name: take_arrow(self._table.column(name), rows) for name in names})

    def to_table(self) -> pa.Table:
        """Return the table, with a column of UUIDs where they are not derived from the data."""
        own = self._own_uuids()
        return self._table if own is None else self._table.append_column(UUID_COLUMN, uuid_column(own))

    def __len__(self) -> int:
        return self.n_rows

    def __repr__(self) -> str:
        return f"SampleCollection({self.n_rows} samples, {len(self._schema)} columns)"

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, SampleCollection) or self.schema != other.schema:
            return False
        if self.n_rows != other.n_rows or self.fingerprint != other.fingerprint:
            return False
        everything = slice(0, self.n_rows)
        if self._uuids is None and other._uuids is None:
            return True
        return bool(np.array_equal(self.uuids(everything), other.uuids(everything)))

    def __hash__(self) -> int:
        return hash((self._schema.names, self.n_rows))


def uuid_column(uuids: np.ndarray) -> pa.Array:
    """Return identities ``(n, 16)`` as an Arrow column over the same memory."""
    data = pa.py_buffer(np.ascontiguousarray(uuids))
    return pa.FixedSizeBinaryArray.from_buffers(_UUID_TYPE, len(uuids), [None, data])


def empty_collection(columns: Mapping[str, pa.DataType]) -> SampleCollection:
    """Return a collection of these columns without rows."""
    return SampleCollection(pa.table({name: empty_array(kind) for name, kind in columns.items()}))


def _spec(name: str, arrow_type: pa.DataType) -> ColumnSpec:
    known = spec_of(arrow_type)
    if known is None or stored_type(arrow_type) != arrow_type:
        raise DataError(
            f"MML does not store the type of '{name}'.",
            found=str(arrow_type),
            hint="SampleCollection.from_table turns what it can into types that are stored.",
        )
    return ColumnSpec(ColumnName.parse(name), known[0], known[1], arrow_type)


def _stored(columns: Iterable[tuple[ColumnName, Any]]) -> dict[str, pa.Array | pa.ChunkedArray]:
    made: dict[int, tuple[Any, pa.Array | pa.ChunkedArray]] = {}
    arrays: dict[str, pa.Array | pa.ChunkedArray] = {}
    for name, values in columns:
        if str(name) in arrays:
            raise DataError(f"{name.key!r} is given twice among the {name.domain}.", hint="Name it once.")
        if not is_unicode(name.key):
            raise ColumnError(
                f"{name.key!r} cannot be the key of a column.", expected="a text that UTF-8 can hold"
            )
        # A column for tags may hold nulls that another domain refuses, so it is looked at again.
        known = made.get(id(values))
        source = values if known is None else known[1]
        made[id(values)] = (values, to_column(source, name=name))
        arrays[str(name)] = made[id(values)][1]
    return arrays


def _require_samples(arrays: Mapping[str, pa.Array | pa.ChunkedArray]) -> None:
    if not arrays:
        raise DataError("A FeatureSet needs at least one column.")
    lengths = {name: len(column) for name, column in arrays.items()}
    shortest, longest = min(lengths.values()), max(lengths.values())
    if shortest != longest:
        first = next(iter(lengths))
        odd = next(name for name, length in lengths.items() if length != lengths[first])
        raise DataError(
            f"The columns differ in length: {ColumnName.parse(odd).key!r} has {lengths[odd]} samples.",
            where={"column": odd, "row": shortest},
            expected=f"{lengths[first]} samples, as in '{first}'",
            found=f"{lengths[odd]} samples",
        )
    if not longest:
        raise DataError("A FeatureSet needs at least one sample.", found="columns without rows")


def _explicit_uuids(column: pa.ChunkedArray, name: str, *, unique: bool) -> np.ndarray:
    is_binary = pa.types.is_fixed_size_binary(column.type) and column.type.byte_width == 16
    if isinstance(column.type, pa.BaseExtensionType) and column.type.storage_type == _UUID_TYPE:
        column, is_binary = column.cast(_UUID_TYPE), True
    if not is_binary or column.null_count:
        raise DataError(
            "Sample UUIDs have 16 bytes each.",
            where={"column": name},
            expected="fixed_size_binary[16] without nulls",
            found=f"{column.type}, {column.null_count} nulls",
        )
    parts = [_chunk_bytes(chunk) for chunk in column.chunks]
    uuids = parts[0] if len(parts) == 1 else np.concatenate([np.empty((0, 16), dtype=np.uint8), *parts])
    repeated = first_repeat(uuids) if unique else None
    if repeated is not None:
        raise DataError(
            f"Row {repeated} repeats the UUID of an earlier row.",
            where={"column": name, "row": repeated},
            expected="one UUID per sample",
        )
    return uuids


def _chunk_bytes(chunk: pa.Array) -> np.ndarray:
    if not len(chunk):
        return np.empty((0, 16), dtype=np.uint8)
    data = np.frombuffer(chunk.buffers()[1], dtype=np.uint8)
    return data[chunk.offset * 16 : (chunk.offset + len(chunk)) * 16].reshape(-1, 16)
