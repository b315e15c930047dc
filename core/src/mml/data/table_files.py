"""Tables in files of other tools: Arrow IPC, mapped as pyarrow tables, and what readers of all kinds share.

What a reader raises becomes an error that names the file. What the columns mean is decided elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import pyarrow as pa

from mml.data.columns_given import refuse_repeated
from mml.errors import DataError, MMLError

FilePath: TypeAlias = "str | os.PathLike[str]"

_IPC_MAGIC = b"ARROW1"
_STREAM_END = b"\xff\xff\xff\xff\x00\x00\x00\x00"
_CONTINUATION = b"\xff\xff\xff\xff"


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
