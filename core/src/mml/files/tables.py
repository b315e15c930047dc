"""Arrow tables as Arrow IPC, read in place.

Written as the IPC *file* format, which every Arrow tool opens; read as the stream that lies inside it, so
that a footer cannot point anywhere else. Buffers are never compressed: a table is a view of its bytes, and
a small file cannot unfold into a large one. Knows nothing of archives or of what the columns mean.
"""

from __future__ import annotations

import struct
from typing import Any

import pyarrow as pa

from mml.errors import ArchiveError

_MAGIC = b"ARROW1\0\0"
_MESSAGE_HEADER = 2  # the field numbers of Arrow's Message.fbs: Message.header,
_DICTIONARY_DATA = 1  # DictionaryBatch.data,
_BATCH_COMPRESSION = 3  # and RecordBatch.compression
_MAX_BATCH = (1 << 31) - 1  # rows in one record batch, by the format
_ROWS_PER_BYTE = 8  # a column of truth values is the densest that is stored at all


def write_table(table: pa.Table, sink: Any) -> None:
    """Write a table to a writable binary file or Arrow sink as an uncompressed IPC file.

    Parameters
    ----------
    table : pyarrow.Table
        Its chunks are kept; dictionaries that differ between chunks are made one.
    sink : binary file or pyarrow.NativeFile
        Buffers are handed over as they are, without a copy.
    """
    options = pa.ipc.IpcWriteOptions(compression=None, unify_dictionaries=True)
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=_MAX_BATCH)


def table_size(table: pa.Table) -> int:
    """Return the number of bytes that :func:`write_table` will write."""
    sink = pa.MockOutputStream()
    write_table(table, sink)
    return int(sink.size())


def save_table(table: pa.Table) -> pa.Buffer:
    """Return a table as the bytes of an IPC file."""
    sink = pa.BufferOutputStream()
    write_table(table, sink)
    return sink.getvalue()


def load_table(data: Any) -> pa.Table:
    """Read a table from IPC file bytes without copying it.

    Parameters
    ----------
    data : pyarrow.Buffer or bytes-like
        A whole IPC file. The table's columns share its memory and keep it alive.

    Returns
    -------
    pyarrow.Table
        With the schema, metadata and chunks that were written.

    Raises
    ------
    ArchiveError
        If the bytes are no such file, hold compressed buffers, or do not add up.

    Examples
    --------
    >>> load_table(save_table(pa.table({"x": [1, 2]}))).to_pydict()
    {'x': [1, 2]}
    """
    buffer = pa.py_buffer(data)
    if buffer.size < len(_MAGIC) or buffer.slice(0, len(_MAGIC)).to_pybytes() != _MAGIC:
        raise ArchiveError("This is not an Arrow IPC file.")
    stream = buffer.slice(len(_MAGIC))
    try:
        _refuse_compressed(stream)
        with pa.ipc.open_stream(stream) as reader:
            table = reader.read_all()
        # Offsets and lengths inside the columns are only trusted after this: it is linear for text and
        # nested columns and free for numbers.
        table.validate(full=True)
    except (pa.ArrowException, struct.error, ValueError, TypeError, KeyError, MemoryError, OSError) as error:
        raise ArchiveError(f"The Arrow table is not readable: {error}.") from error
    if table.num_rows > _ROWS_PER_BYTE * buffer.size:
        raise ArchiveError(
            "The table claims more rows than its bytes can hold.",
            found=f"{table.num_rows} rows in {buffer.size} bytes",
        )
    return table


def _refuse_compressed(stream: pa.Buffer) -> None:
    for message in pa.ipc.MessageReader.open_stream(stream):
        metadata = memoryview(message.metadata)
        (root,) = struct.unpack_from("<I", metadata)
        header = _table_at(metadata, _field(metadata, root, _MESSAGE_HEADER))
        if message.type == "dictionary":
            header = _table_at(metadata, _field(metadata, header, _DICTIONARY_DATA))
        elif message.type != "record batch":
            continue
        if _field(metadata, header, _BATCH_COMPRESSION):
            raise ArchiveError(
                "The Arrow table is compressed; tables in archives are stored plainly.",
                hint="Write it without compression.",
            )


def _field(data: memoryview, table: int, number: int) -> int:
    """Return the position of a flatbuffer table's field, 0 where it is absent."""
    (back,) = struct.unpack_from("<i", data, table)
    vtable = table - back
    if not 0 <= vtable < len(data):
        raise struct.error("a table's description lies outside its message")
    (size,) = struct.unpack_from("<H", data, vtable)
    place = 4 + 2 * number
    if place + 2 > size:
        return 0
    (offset,) = struct.unpack_from("<H", data, vtable + place)
    return table + int(offset) if offset else 0


def _table_at(data: memoryview, position: int) -> int:
    if not position:
        raise struct.error("a message has no header")
    (offset,) = struct.unpack_from("<I", data, position)
    return position + int(offset)
