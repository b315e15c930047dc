"""Where columns come from: mappings, arrays and Arrow tables, matched with the keys of each domain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from mml.data.schema import FEATURES, TAGS, TARGETS, ColumnName
from mml.errors import ColumnError, DataError, did_you_mean, listed

Keys: TypeAlias = Mapping[str, "str | Iterable[str]"]
Columns: TypeAlias = Iterator[tuple[ColumnName, Any]]

_DEFAULT_KEYS = {FEATURES: "x", TARGETS: "y", TAGS: "tag"}


def columns_of_mapping(data: Mapping[str, Any], keys: Keys) -> Columns:
    """Yield the columns of a mapping, domain by domain, in the order of the keys."""
    if not isinstance(data, Mapping):
        raise DataError(
            "from_dict takes a mapping from keys to columns.",
            found=type(data).__name__,
            hint="from_arrow takes tables: pyarrow, pandas, polars or DuckDB.",
        )
    return _named(data, keys, list(data))


def columns_of_arrays(features: Any, targets: Any, tags: Any) -> Columns:
    """Yield the columns of arrays given per domain, bare or in a mapping."""
    for domain, given in ((FEATURES, features), (TARGETS, targets), (TAGS, tags)):
        if given is None:
            continue
        named = given if isinstance(given, Mapping) else {_DEFAULT_KEYS[domain]: given}
        for key, values in named.items():
            if not isinstance(values, np.ndarray):
                raise DataError(
                    f"{key!r} is no NumPy array.",
                    where={"domain": domain},
                    found=type(values).__name__,
                    hint="from_dict takes lists and other arrays.",
                )
            yield ColumnName(domain, key), values


def columns_of_table(data: Any, keys: Keys) -> Columns:
    """Yield the columns of anything with the Arrow C stream interface."""
    if type(data).__module__.partition(".")[0] == "pandas":
        # Column by column, because pandas' own export of a table turns NaN into null.
        return _named(data, keys, list(data.columns))
    if not hasattr(data, "__arrow_c_stream__"):
        raise DataError(
            "from_arrow takes a table with the Arrow C stream interface.",
            expected="pyarrow, pandas, polars or DuckDB tables",
            found=type(data).__name__,
            hint="from_dict takes a mapping of arrays.",
        )
    table = data if isinstance(data, pa.Table) else pa.table(data)
    repeated = {name for name in table.column_names if table.column_names.count(name) > 1}
    if repeated:
        raise DataError(f"The table has two columns named {listed(sorted(repeated))}.", hint="Rename one.")
    return _named({name: table.column(name) for name in table.column_names}, keys, table.column_names)


def _named(data: Any, keys: Keys, known: list[Any]) -> Columns:
    for domain, given in keys.items():
        if not isinstance(given, Iterable):
            raise ColumnError(
                "The keys of a domain are a string, or a list of strings.",
                where={"domain": domain},
                found=repr(given),
            )
        for key in [given] if isinstance(given, str) else list(given):
            if key not in known:
                raise ColumnError(
                    f"The data has no key {key!r}.",
                    where={"domain": domain},
                    hint=did_you_mean(str(key), [str(one) for one in known]),
                )
            yield ColumnName(domain, key), data[key]
