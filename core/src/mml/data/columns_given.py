"""What users hand in, matched with the keys of each domain: mappings, arrays, and tables of other libraries.

Nothing here looks at values; `ingest` turns each column into what MML stores.
"""

from __future__ import annotations

from collections import Counter
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
    if is_pandas(data):
        # Column by column, because pandas' own export of a table turns NaN into null.
        return columns_of_frame(data, keys)
    if not hasattr(data, "__arrow_c_stream__") and not hasattr(data, "__arrow_c_array__"):
        raise DataError(
            "from_arrow takes a table with the Arrow C stream interface.",
            expected="pyarrow, pandas, polars or DuckDB tables",
            found=type(data).__name__,
            hint="from_dict takes a mapping of arrays.",
        )
    table = data if isinstance(data, pa.Table) else _streamed(_only_asked(data, keys))
    refuse_repeated(table.column_names)
    return _named({name: table.column(name) for name in table.column_names}, keys, table.column_names)


def columns_of_frame(frame: Any, keys: Keys) -> Columns:
    """Yield the columns of a pandas DataFrame."""
    if not is_pandas(frame) or not hasattr(frame, "columns"):
        single = "from_dict takes single columns under a key: {'x': series}."
        raise DataError(
            "from_pandas takes a DataFrame.",
            found=type(frame).__name__,
            hint=single if is_pandas(frame) else "from_arrow takes other tables.",
        )
    known = list(frame.columns)
    refuse_repeated(known)
    return _named(frame, keys, known)


def is_pandas(data: Any) -> bool:
    """Return whether an object is of pandas, without importing it."""
    return type(data).__module__.partition(".")[0] == "pandas"


def refuse_repeated(names: Iterable[Any]) -> None:
    """Raise DataError where a table has two columns of one name."""
    repeated = [name for name, times in Counter(names).items() if times > 1]
    if repeated:
        raise DataError(f"The table has two columns named {listed(repeated)}.", hint="Rename one.")


def keys_of(given: Any, **place: str) -> list[Any]:
    """Return the keys that a user gave, a string or an iterable of strings; ``place`` says what for."""
    if isinstance(given, (set, frozenset)):
        raise ColumnError(
            "Keys in a set have no order, and columns have one: it would change from process to process.",
            where=dict(place) or None,
            found=type(given).__name__,
            hint="Take a list, or sorted(keys).",
        )
    if not isinstance(given, Iterable):
        raise ColumnError(
            "Keys are a string, or a list of strings.", where=dict(place) or None, found=repr(given)
        )
    keys = [given] if isinstance(given, str) else list(given)
    for key in keys:
        try:
            hash(key)
        except TypeError as cause:
            raise ColumnError(
                f"{key!r} cannot be a key.", where=dict(place) or None, expected="a string"
            ) from cause
    return keys


def require_known(keys: Iterable[Any], known: Iterable[Any], **place: str) -> None:
    """Raise ColumnError for the first key that the data does not have; near misses are listed."""
    names = list(known)
    present = set(names)
    for key in keys:
        if key not in present:
            raise ColumnError(
                f"The data has no key {key!r}.",
                where=dict(place) or None,
                hint=did_you_mean(str(key), [str(one) for one in names]),
            )


def _streamed(data: Any) -> pa.Table:
    try:
        return pa.table(data)
    except Exception as cause:  # what a partner raises while it hands its rows over is its own
        raise DataError(
            f"The table could not be read through the Arrow C stream: {cause}",
            found=type(data).__name__,
            hint="Where it has columns of a type that Arrow does not know, cast them or leave them out.",
        ) from cause


def _only_asked(data: Any, keys: Keys) -> Any:
    """Return a frame of polars without the columns that nobody asked for."""
    # One column of a type that Arrow does not know would keep all the others from being handed over.
    if type(data).__module__.partition(".")[0] != "polars" or not hasattr(data, "columns"):
        return data
    asked: dict[Any, None] = {}
    for domain, given in keys.items():
        names = keys_of(given, domain=domain)
        require_known(names, data.columns, domain=domain)
        asked.update(dict.fromkeys(names))
    return data[list(asked)] if asked else data


def _named(data: Any, keys: Keys, known: list[Any]) -> Columns:
    for domain, given in keys.items():
        asked = keys_of(given, domain=domain)
        require_known(asked, known, domain=domain)
        for key in asked:
            yield ColumnName(domain, key), data[key]
