"""Parquet files, one or many: only what is asked for is read, and files have to agree in their types.

Arrow itself would cast later files to the types of the first one, whatever that costs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from mml.data.columns_given import refuse_repeated, require_known
from mml.data.table_files import FilePath, existing, reading
from mml.errors import DataError


def read_parquet(path: FilePath | Sequence[FilePath], names: Iterable[str]) -> pa.Table:
    """Read columns of a Parquet file, of several, or of a folder of them.

    Parameters
    ----------
    path : path or sequence of path
        Files follow each other in the order given; those of a folder, at any depth, in the order of their
        names. ``key=value`` folders become columns.
    names : iterable of str
        The columns; what else the files hold is not read.
    """
    from pyarrow import dataset, parquet  # here: half of the import time of the whole floor

    given = [path] if isinstance(path, (str, os.PathLike)) or not isinstance(path, Iterable) else path
    paths = [existing(one) for one in given]
    if not paths:
        raise DataError("There is no file to read.", expected="a path, or a list of paths")
    wanted = list(dict.fromkeys(names))
    if len(paths) == 1 and paths[0].is_file():
        with reading(paths[0], "Parquet"), parquet.ParquetFile(paths[0], memory_map=True) as file:
            require_known(wanted, file.schema_arrow.names)
            return file.read(columns=wanted)
    where = paths[0] if len(paths) == 1 else None
    with reading(where, "Parquet"):
        source = os.fspath(paths[0]) if where is not None else [os.fspath(one) for one in paths]
        files = dataset.dataset(source, format="parquet", partitioning="hive")
        schema = files.schema
        for field in _fields_of_all(files, wanted):
            schema = schema.set(schema.get_field_index(field.name), field)
        return files.replace_schema(schema).to_table(columns=wanted)


def _fields_of_all(files: Any, wanted: list[str]) -> list[pa.Field]:
    """Return each column as the first file has it that knows its type; partitions are no columns of files."""
    first: dict[str, tuple[pa.Field, str]] = {}
    for fragment in files.get_fragments():
        with reading(fragment.path, "Parquet"):
            own = fragment.physical_schema
            refuse_repeated(own.names)
            names = set(own.names)
            require_known(wanted, [*own.names, *(_partition_keys(fragment) - names)])
            for name in (one for one in wanted if one in names):
                field = own.field(name)
                if name not in first or pa.types.is_null(first[name][0].type):
                    first[name] = (field, fragment.path)
                _require_same_type(field, *first[name])
    return [field for field, _ in first.values()]


def _require_same_type(field: pa.Field, first: pa.Field, path: str) -> None:
    # A file in which all values of a column are missing does not know its type.
    if pa.types.is_null(field.type) or _stored_form(field.type) == _stored_form(first.type):
        return
    raise DataError(
        f"The files differ in the type of {field.name!r}.",
        expected=f"{first.type}, as in {path!r}",
        found=str(field.type),
        hint="Write all files with one type for each column.",
    )


def _stored_form(arrow_type: pa.DataType) -> Any:
    """Return what is equal for types that differ in how values are laid out, and not in what they are."""
    if pa.types.is_dictionary(arrow_type):
        return _stored_form(arrow_type.value_type)
    if str(arrow_type) in ("string", "large_string", "string_view"):
        return "text"
    if str(arrow_type).startswith(("list<", "large_list<", "fixed_size_list<")):
        return "list", _stored_form(arrow_type.value_type)
    return arrow_type


def _partition_keys(fragment: Any) -> set[str]:
    from pyarrow.dataset import get_partition_keys

    return set(get_partition_keys(fragment.partition_expression))
