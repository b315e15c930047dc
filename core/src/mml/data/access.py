"""Reading columns out of a FeatureSet or a view: the accessors that both share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mml.data.arrow_columns import to_arrow
from mml.data.collection import UUID_COLUMN, uuid_column
from mml.data.formats import deliver
from mml.data.rows import Rows, count
from mml.data.schema import FEATURES, TAGS, TARGETS, ColumnName, Schema, Selection
from mml.data.source import ColumnSource


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

    def get_features(self, columns: Selection = "*", rep: str | None = None, *, fmt: str = "numpy") -> Any:
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

        Raises
        ------
        ColumnError
            If a column does not exist.
        DataError
            If the format does not exist or cannot hold the columns.
        """
        return self._get(columns, rep, fmt, domain=FEATURES)

    def get_targets(self, columns: Selection = "*", rep: str | None = None, *, fmt: str = "numpy") -> Any:
        """Return target columns; arguments as in :meth:`get_features`."""
        return self._get(columns, rep, fmt, domain=TARGETS)

    def get_tags(self, columns: Selection = "*", rep: str | None = None, *, fmt: str = "numpy") -> Any:
        """Return tag columns; arguments as in :meth:`get_features`. Strings come as objects."""
        return self._get(columns, rep, fmt, domain=TAGS)

    def get_data(self, columns: Selection = "*", rep: str | None = None, *, fmt: str = "dict_numpy") -> Any:
        """Return columns of any domain under their full names; arguments as in :meth:`get_features`."""
        return self._get(columns, rep, fmt, domain=None)

    def to_arrow(self) -> pa.Table:
        """Return all columns, transformed ones included, and the UUIDs, under their full names."""
        window = self._window()
        table = _arrow_table(window, window.schema.names)
        return table.append_column(UUID_COLUMN, uuid_column(self.sample_uuids))

    def to_pandas(self) -> Any:
        """Return all columns, transformed ones included, as a pandas DataFrame under their full names."""
        window = self._window()
        names = window.schema.names
        return deliver(_values(window, names), "pandas", zones=_zones(window, names, names))

    def _get(self, columns: Selection, rep: str | None, fmt: str, *, domain: str | None) -> Any:
        window = self._window()
        names = window.schema.select(columns, domain=domain, rep=rep)
        labels = names if domain is None else _keys(names)
        if fmt == "arrow":
            return _arrow_table(window, names).rename_columns(list(labels))
        columns = dict(zip(labels, _values(window, names).values(), strict=True))
        return deliver(columns, fmt, zones=_zones(window, names, labels))


def _keys(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the bare keys, or full names where one key is asked for in two representations."""
    keys = tuple(ColumnName.parse(name).key for name in names)
    return keys if len(set(keys)) == len(keys) else names


def _values(window: Window, names: Iterable[str]) -> dict[str, np.ndarray]:
    return {name: window.source.take(name, window.rows) for name in names}


def _zones(window: Window, names: tuple[str, ...], labels: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name, label in zip(names, labels, strict=True):
        arrow_type = window.schema[name].arrow_type
        if pa.types.is_timestamp(arrow_type) and arrow_type.tz is not None:
            found[label] = arrow_type.tz
    return found


def _arrow_table(window: Window, names: tuple[str, ...]) -> pa.Table:
    stored = [name for name in names if not window.source.chain(name)]
    table = window.source.collection.take_table(window.rows, stored)
    columns = {
        name: table.column(name) if name in stored else to_arrow(window.source.take(name, window.rows))
        for name in names
    }
    return pa.table(columns)
