"""Tables in files of other tools: Parquet, CSV and Arrow IPC, read as pyarrow tables.

Each function reads only the columns that it is asked for, and turns what the readers raise into errors that
name the file. What the columns mean is decided elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa

from mml.data.columns_given import refuse_repeated, require_known
from mml.errors import DataError, MMLError

FilePath: TypeAlias = "str | os.PathLike[str]"

_IPC_MAGIC = b"ARROW1"
_STREAM_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_CONTINUATION = b"\xff\xff\xff\xff"


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
        for fragment in files.get_fragments():
            with reading(fragment.path, "Parquet"):
                own = set(fragment.physical_schema.names)
                require_known(wanted, [*own, *(_partition_keys(fragment) - own)])
        return files.to_table(columns=wanted)


def _partition_keys(fragment: Any) -> set[str]:
    from pyarrow.dataset import get_partition_keys

    return set(get_partition_keys(fragment.partition_expression))


def map_ipc(path: FilePath) -> pa.Table:
    """Map an Arrow IPC file (also called Feather), or a file that holds an IPC stream; no column is read.

    Compressed record batches are the exception: they are unpacked into memory.
    """
    file = existing(path)
    with reading(file, "Arrow IPC"):
        if not file.is_file() or not file.stat().st_size:
            raise DataError("The file holds nothing.", expected="an Arrow IPC file")
        source = pa.memory_map(os.fspath(file))
        start = source.read_at(8, 0)
        if start.startswith(_IPC_MAGIC):
            table = pa.ipc.open_file(source).read_all()
        elif start.startswith(_CONTINUATION):
            table = _ipc_stream(source)
        else:
            raise DataError(
                "This is not an Arrow IPC file.",
                expected="a file that begins with ARROW1, or an Arrow stream",
                found=repr(start),
            )
        refuse_repeated(table.column_names)
        _validate(table)
        return table


def _ipc_stream(source: pa.MemoryMappedFile) -> pa.Table:
    # A stream that stops between two batches looks complete to the reader; only its end mark tells.
    if source.read_at(len(_STREAM_END), max(source.size() - len(_STREAM_END), 0)) != _STREAM_END:
        raise DataError(
            "The Arrow stream is cut short: it has no end mark.",
            hint="Write it again, or as an IPC file, whose footer says what belongs to it.",
        )
    return pa.ipc.open_stream(source).read_all()


def _validate(table: pa.Table) -> None:
    """Check the sizes of buffers, and for text also what points into them: that is read at ingest anyway."""
    for column in table.columns:
        spelled_out = not (
            pa.types.is_primitive(column.type) or isinstance(column.type, pa.BaseExtensionType)
        )
        column.validate(full=spelled_out)


@contextmanager
def reading(path: object, kind: str) -> Iterator[None]:
    """Turn what a reader raises into a DataError that names the file."""
    where = None if path is None else {"file": os.fspath(path) if isinstance(path, os.PathLike) else path}
    try:
        yield
    except MMLError as error:
        if where is not None:
            error.located(where)
        raise
    except (pa.ArrowException, OSError, ValueError, KeyError, TypeError) as cause:
        first_line = str(cause).splitlines()[0] if str(cause) else type(cause).__name__
        raise DataError(
            f"The {kind} file cannot be read: {first_line}",
            where=where,
            hint="It may be cut short, damaged, or of another kind.",
        ) from cause


def existing(path: object) -> Path:
    """Return a path that exists."""
    if not isinstance(path, (str, os.PathLike)):
        raise DataError("A file is named by its path.", found=repr(path)[:80])
    file = Path(path)
    if not file.exists():
        raise DataError("There is no such file.", where={"file": os.fspath(file)})
    return file
