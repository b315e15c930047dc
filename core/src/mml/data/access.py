"""Reading columns out of a FeatureSet or a view: the accessors that both share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mml.data.arrow_columns import to_arrow
from mml.data.collection import UUID_COLUMN, uuid_column
from mml.data.formats import deliver, deliver_table, is_made_of_arrow
from mml.data.rows import Rows, count
from mml.data.schema import FEATURES, TAGS, TARGETS, Schema, Selection
from mml.data.source import ColumnSource
from mml.errors import MMLError


@dataclass(frozen=True, slots=True)
class Window:
    """Rows and columns of a source: what an accessor reads."""

    source: ColumnSource
    rows: Rows
    schema: Schema


class ColumnAccess(ABC):
    """Accessors over rows and columns. ``rep=None`` means transformed where it exists, else raw."""

    __slots__ = ()

    @abstractmethod
    def _window(self) -> Window:
        """Return what can be read at this moment."""

    @abstractmethod
    def _place(self) -> dict[str, str]:
        """Return what messages call it."""

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Say in errors where they happened."""
        try:
            yield
        except MMLError as error:
            error.located(self._place())
            raise

    @property
    def schema(self) -> Schema:
        """The columns that can be read, transformed ones included."""
        return self._window().schema

    @property
    def n_samples(self) -> int:
        """The number of samples."""
        return count(self._window().rows)

    def __len__(self) -> int:
        return self.n_samples

    @property
    def sample_uuids(self) -> np.ndarray:
        """Identities of the samples, uint8 of shape ``(n, 16)``."""
        window = self._window()
        return window.source.uuids(window.rows)

    def get_features(
        self, columns: Selection = "*", rep: str | None = None, *, fmt: str = "numpy", copy: bool = True
    ) -> Any:
        """Return feature columns.

        Parameters
        ----------
        columns : str or iterable of str
            Short names, full names or patterns with ``*``.
        rep : str, optional
            The representation where a name does not say; None means transformed where it exists, else raw.
        fmt : str
            ``numpy`` (one column as it is stored, ``(n, *shape)``; several of equal shape stacked on axis 1),
            ``dict_numpy``, ``arrow``, ``pandas``, ``polars``, ``list``, or the name of a backend.
        copy : bool
            For the format of a backend: whether its array owns its memory. With False it shares that of the
            FeatureSet where the framework can and the rows are contiguous and raw; do not write into it,
            because nothing protects the FeatureSet, or the mapped file, from that.

        Raises
        ------
        ColumnError
            If a column does not exist.
        DataError
            If the format does not exist or cannot hold the columns.
        """
        return self._get(columns, rep, fmt, domain=FEATURES, copy=copy)

    def get_targets(
        self, columns: Selection = "*", rep: str | None = None, *, fmt: str = "numpy", copy: bool = True
    ) -> Any:
        """Return target columns; arguments as in :meth:`get_features`."""
        return self._get(columns, rep, fmt, domain=TARGETS, copy=copy)

    def get_tags(
        self, columns: Selection = "*", rep: str | None = None, *, fmt: str = "numpy", copy: bool = True
    ) -> Any:
        """Return tag columns; arguments as in :meth:`get_features`. Strings come as objects."""
        return self._get(columns, rep, fmt, domain=TAGS, copy=copy)

    def get_data(
        self, columns: Selection = "*", rep: str | None = None, *, fmt: str = "dict_numpy", copy: bool = True
    ) -> Any:
        """Return columns of any domain under their full names; arguments as in :meth:`get_features`."""
        return self._get(columns, rep, fmt, domain=None, copy=copy)

    def to_arrow(self) -> pa.Table:
        """Return all columns, transformed ones included, and the UUIDs, under their full names."""
        window = self._window()
        uuids = uuid_column(window.source.uuids(window.rows))
        return pa.table({**_arrow_columns(window, window.schema.names), UUID_COLUMN: uuids})

    def to_pandas(self) -> Any:
        """Return all columns, transformed ones included, as a pandas DataFrame under their full names."""
        window = self._window()
        with self._reading():
            return _delivered(window, window.schema.names, window.schema.names, "pandas")

    def _get(self, columns: Selection, rep: str | None, fmt: str, *, domain: str | None, copy: bool) -> Any:
        with self._reading():
            window = self._window()
            names = window.schema.select(columns, domain=domain, rep=rep)
            labels = names if domain is None else _keys(window, names)
            return _delivered(window, names, labels, fmt, copy=copy)


def _keys(window: Window, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the bare keys, or full names where one key is asked for in two representations."""
    keys = tuple(window.schema[name].name.key for name in names)
    return keys if len(set(keys)) == len(keys) else names


def _delivered(
    window: Window, names: tuple[str, ...], labels: tuple[str, ...], fmt: str, *, copy: bool = True
) -> Any:
    if not is_made_of_arrow(fmt):
        arrays = (window.source.take(name, window.rows) for name in names)
        return deliver(dict(zip(labels, arrays, strict=True)), fmt, copy=copy)
    table = pa.table(dict(zip(labels, _arrow_columns(window, names).values(), strict=True)))
    stored = window.source.collection.table
    # Asked of all rows: what a column becomes does not depend on the rows that are read.
    with_nulls = {
        label
        for label, name in zip(labels, names, strict=True)
        if not window.source.chain(name) and stored.column(name).null_count
    }
    return deliver_table(table, fmt, with_nulls=with_nulls)


def _arrow_columns(window: Window, names: tuple[str, ...]) -> dict[str, pa.Array | pa.ChunkedArray]:
    """Return raw columns as they are stored, and transformed ones evaluated."""
    stored = [name for name in names if not window.source.chain(name)]
    table = window.source.collection.take_table(window.rows, stored)
    raw = dict(zip(stored, table.columns, strict=True))
    return {
        name: raw[name] if name in raw else to_arrow(window.source.take(name, window.rows)) for name in names
    }
