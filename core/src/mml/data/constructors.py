"""How a FeatureSet is made: one class method for each kind of thing that a user may hold.

Each matches what was given with the keys of the domains, ingests it, and only then makes the FeatureSet:
after an error nothing is registered. Readers and conversions live in modules of their own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pyarrow as pa

from mml.data.collection import SampleCollection
from mml.data.columns_given import Keys, columns_of_arrays, columns_of_mapping, columns_of_table, keys_of
from mml.data.parquet_files import read_parquet
from mml.data.schema import FEATURES, TAGS, TARGETS
from mml.data.table_files import FilePath, map_ipc, reading
from mml.errors import ColumnError, ConfigError, MMLError


class Constructible(ABC):
    """Something that is made of a label and a collection of samples."""

    __slots__ = ()

    @abstractmethod
    def __init__(self, label: str, collection: SampleCollection) -> None: ...

    @classmethod
    def from_dict(
        cls,
        label: str,
        data: Mapping[str, Any],
        *,
        feature_keys: str | Iterable[str],
        target_keys: str | Iterable[str] = (),
        tag_keys: str | Iterable[str] = (),
    ) -> Self:
        """Ingest a mapping of arrays.

        Parameters
        ----------
        label : str
            Label of the FeatureSet.
        data : mapping of str to array-like
            Key → one entry per sample: NumPy ``(n, *shape)`` (copied once), Arrow (aliased), or a list.
            Keys that no domain names are left out.
        feature_keys, target_keys, tag_keys : str or iterable of str
            Which keys go into which domain.

        Raises
        ------
        ColumnError
            If a key is not in the data; near misses are listed.
        DataError
            For ragged samples, nulls in features or targets, different lengths, unsupported types and
            repeated keys; with the key, the first bad row and what was expected.
        """
        keys = _keys(feature_keys, target_keys, tag_keys)
        return cls._ingest(label, lambda: SampleCollection.from_columns(columns_of_mapping(data, keys)))

    @classmethod
    def from_numpy(
        cls,
        label: str,
        features: np.ndarray | Mapping[str, np.ndarray],
        *,
        targets: np.ndarray | Mapping[str, np.ndarray] | None = None,
        tags: np.ndarray | Mapping[str, np.ndarray] | None = None,
    ) -> Self:
        """Ingest arrays ``(n, *shape)``, copied once; a bare array gets the key ``x``, ``y`` or ``tag``."""
        return cls._ingest(
            label, lambda: SampleCollection.from_columns(columns_of_arrays(features, targets, tags))
        )

    @classmethod
    def from_pandas(
        cls,
        label: str,
        df: Any,
        *,
        feature_cols: str | Iterable[str],
        target_cols: str | Iterable[str] = (),
        tag_cols: str | Iterable[str] = (),
        group_by: str | Iterable[str] | None = None,
        sort_by: str | Iterable[str] | None = None,
        constant_cols: str | Iterable[str] = (),
    ) -> Self:
        """Ingest a pandas DataFrame, copied once; a NaN stays a NaN, and the index is left out.

        Parameters
        ----------
        label : str
            Label of the FeatureSet.
        df : pandas.DataFrame
            One row per sample; with ``group_by`` one group of rows per sample.
        feature_cols, target_cols, tag_cols : str or iterable of str
            Which columns go into which domain.
        group_by : str or iterable of str, optional
            Columns whose equal values make one sample out of their rows, which become the sample's axis:
            features and targets get ``(n_groups, rows_per_group)``. Samples come in order of first
            appearance. Tags are scalars and have to be the same in all rows of a group; the columns grouped
            by become tags where no domain names them.
        sort_by : str or iterable of str, optional
            Columns that order the rows, within each group where there are groups. Rows of equal values keep
            the order of the frame, and so do all rows where it is left out.
        constant_cols : str or iterable of str
            Features and targets that are the same in all rows of a group, and become one value a sample: the
            class of a sequence.

        Raises
        ------
        ColumnError
            If a column is not in the frame; near misses are listed.
        DataError
            As in :meth:`from_dict`, and for groups of different length, and tags or constant columns that
            vary within a group.
        """
        from mml.data.grouped_frames import columns_of_sorted_frame

        keys = _keys(feature_cols, target_cols, tag_cols)
        return cls._ingest(
            label,
            lambda: SampleCollection.from_columns(
                columns_of_sorted_frame(
                    df, keys, group_by=group_by, sort_by=sort_by, constant_cols=constant_cols
                )
            ),
        )

    @classmethod
    def from_arrow(
        cls,
        label: str,
        data: Any,
        *,
        feature_keys: str | Iterable[str],
        target_keys: str | Iterable[str] = (),
        tag_keys: str | Iterable[str] = (),
    ) -> Self:
        """Ingest anything with the Arrow C stream interface (pyarrow, pandas, polars, DuckDB) without a copy.

        Parameters are as in :meth:`from_dict`, the keys being column names of ``data``.
        """
        keys = _keys(feature_keys, target_keys, tag_keys)
        return cls._ingest(label, lambda: SampleCollection.from_columns(columns_of_table(data, keys)))

    @classmethod
    def from_pyarrow_table(cls, label: str, table: pa.Table) -> Self:
        """Ingest a table whose columns are named ``<domain>.<key>.<representation>``, without a copy."""
        return cls._ingest(label, lambda: SampleCollection.from_table(table))

    @classmethod
    def from_parquet(
        cls,
        label: str,
        path: FilePath | Sequence[FilePath],
        *,
        feature_keys: str | Iterable[str],
        target_keys: str | Iterable[str] = (),
        tag_keys: str | Iterable[str] = (),
    ) -> Self:
        """Read columns of a Parquet file, of several files, or of a folder; other columns are not read.

        Parameters
        ----------
        label : str
            Label of the FeatureSet.
        path : path or sequence of path
            Files of a folder follow each other by name; ``key=value`` folders become columns.
        feature_keys, target_keys, tag_keys : str or iterable of str
            Which columns go into which domain.

        Raises
        ------
        ColumnError
            If a file does not have a column; near misses are listed.
        DataError
            If a file is missing, damaged or of another kind, or has a column in another type than the files
            before it; and as in :meth:`from_dict`.
        """
        keys = _keys(feature_keys, target_keys, tag_keys)
        return cls._ingest(label, lambda: _from_table(read_parquet(path, _flat(keys)), keys, path))

    @classmethod
    def from_csv(
        cls,
        label: str,
        path: FilePath,
        *,
        feature_keys: str | Iterable[str],
        target_keys: str | Iterable[str] = (),
        tag_keys: str | Iterable[str] = (),
        dtypes: Mapping[str, Any] | None = None,
        delimiter: str = ",",
    ) -> Self:
        """Read columns of a CSV file whose first line names them.

        Parameters
        ----------
        label : str
            Label of the FeatureSet.
        path : path
            Plain or compressed, as its suffix says (``.csv.gz``).
        feature_keys, target_keys, tag_keys : str or iterable of str
            Which columns go into which domain.
        dtypes : mapping of str to dtype, optional
            NumPy dtypes (or ``"string"``) of columns; the types of others are inferred from all of their
            rows, numbers as int64, as uint64 where integers go beyond it, or as float64.
        delimiter : str
            What separates cells: one ASCII character.

        Raises
        ------
        ColumnError
            If the file does not have a column; near misses are listed.
        DataError
            If the file is missing, no CSV file or not in UTF-8; for a cell that does not fit its column, with
            its line; and as in :meth:`from_dict`. An empty cell is a missing value, and in a file of one
            column an empty line is one.
        """
        from mml.data.csv_files import read_csv

        keys = _keys(feature_keys, target_keys, tag_keys)

        def collection() -> SampleCollection:
            numbers = [*keys_of(feature_keys, domain=FEATURES), *keys_of(target_keys, domain=TARGETS)]
            table = read_csv(path, _flat(keys), numeric=numbers, dtypes=dtypes or {}, delimiter=delimiter)
            return _from_table(table, keys, path)

        return cls._ingest(label, collection)

    @classmethod
    def from_ipc(
        cls,
        label: str,
        path: FilePath,
        *,
        feature_keys: str | Iterable[str] | None = None,
        target_keys: str | Iterable[str] | None = None,
        tag_keys: str | Iterable[str] | None = None,
    ) -> Self:
        """Map an Arrow IPC file (or Feather file, or a stored stream): numbers are read when they are used.

        The file must stay as it is while the FeatureSet exists. Columns of text are read at once unless they
        are dictionaries with codes of int32; compressed files are unpacked into memory.

        Parameters
        ----------
        label : str
            Label of the FeatureSet.
        path : path
            The file.
        feature_keys, target_keys, tag_keys : str or iterable of str, optional
            Which columns go into which domain. Without any, the file's columns are named in full,
            ``<domain>.<key>.<representation>``.

        Raises
        ------
        ColumnError
            If the file does not have a column; near misses are listed.
        DataError
            If the file is missing, cut short or of another kind, and as in :meth:`from_dict`.
        """
        given = (feature_keys, target_keys, tag_keys)
        if all(one is None for one in given):
            return cls._ingest(label, lambda: _from_named_table(map_ipc(path), path))
        keys = _keys(*(() if one is None else one for one in given))
        return cls._ingest(label, lambda: _from_table(map_ipc(path), keys, path))

    @classmethod
    def _ingest(cls, label: str, collection: Callable[[], SampleCollection]) -> Self:
        if not isinstance(label, str):
            raise ConfigError(
                "The label of a FeatureSet comes first, then its data.",
                expected="a string",
                found=type(label).__name__,
                hint="Write FeatureSet.from_dict('cells', data, ...).",
            )
        try:
            return cls(label, collection())
        except MMLError as error:
            error.located({"FeatureSet": label})
            raise


def _keys(features: Any, targets: Any, tags: Any) -> Keys:
    given = {FEATURES: features, TARGETS: targets, TAGS: tags}
    # They are looked at more than once, and an iterator can be read once only.
    return {domain: list(keys) if isinstance(keys, Iterator) else keys for domain, keys in given.items()}


def _flat(keys: Keys) -> list[str]:
    """Return all keys, each once, for a reader that is told what to read."""
    asked = [key for domain, given in keys.items() for key in keys_of(given, domain=domain)]
    for key in asked:
        if not isinstance(key, str):
            raise ColumnError("Columns of a file are named by strings.", found=repr(key))
    return list(dict.fromkeys(asked))


def _from_table(table: pa.Table, keys: Keys, path: Any) -> SampleCollection:
    with reading(path, "table"):
        return SampleCollection.from_columns(columns_of_table(table, keys))


def _from_named_table(table: pa.Table, path: Any) -> SampleCollection:
    with reading(path, "table"):
        return SampleCollection.from_table(table)
