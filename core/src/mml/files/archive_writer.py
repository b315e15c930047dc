"""Write ``.mml`` archives: a zip of stored members, aligned, hashed once, equal bytes for equal contents.

Arrays and tables go from their own memory to the file without a copy in between, and the file takes its
name only when it is complete. Knows nothing of what the members mean.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from typing import IO, Any, BinaryIO, TypeAlias

import pyarrow as pa

from mml.errors import ArchiveError, StateError
from mml.files.atomic import atomic_write
from mml.files.checksums import CHUNK, Checksum
from mml.files.manifest import MANIFEST_NAME, Manifest, MemberRecord, checked_kind, encode_manifest
from mml.files.state_codec import encode_tree, flatten_value
from mml.files.tables import table_size, write_table
from mml.files.tensors import tensor_parts
from mml.files.zip_layout import alignment_padding, check_name
from mml.version import __version__

JSON_SUFFIX, TENSORS_SUFFIX, TABLE_SUFFIX = ".json", ".safetensors", ".arrow"
SOURCES_FOLDER, SOURCE_SUFFIX = "sources/", ".py"

Member: TypeAlias = "bytes | pa.Table | dict[str, Any] | list[Any]"
_Write: TypeAlias = Callable[[Any], None]
_Produce: TypeAlias = Callable[[_Write], None]

# The earliest date that a zip can hold: when a file was written is not part of its contents.
_NO_DATE = (1980, 1, 1, 0, 0, 0)
_PLAIN_FILE = 0o100644 << 16


def write_archive(
    path: str | os.PathLike[str],
    *,
    kind: str,
    members: Mapping[str, Member],
    plugins: Mapping[str, str] | None = None,
    sources: Mapping[str, str] | None = None,
    created: str | None = None,
) -> None:
    """Write an archive completely or not at all.

    Parameters
    ----------
    path : str or path-like
        The file to write or replace. Until the new one is complete and synced, the previous one stays.
    kind : str
        One of :class:`mml.files.ArchiveKind`.
    members : mapping of str to member
        By name, without the suffixes that are added here: a dict or list (JSON and arrays, see
        :func:`mml.files.flatten_state`) becomes ``name.json`` and, if it holds arrays,
        ``name.safetensors``; a pyarrow.Table becomes ``name.arrow``; bytes are stored under the very name.
    plugins : mapping of str to str, optional
        Names and versions of the plugins whose components are inside.
    sources : mapping of str to str, optional
        Source texts of user-defined classes by import path, for people to read.
    created : str, optional
        When. Left out, equal contents give equal bytes.

    Raises
    ------
    ArchiveError
        If a name is not safe or taken, or the file cannot be written (the cause is chained).
    StateError
        Naming member and path of a value that cannot be stored.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from mml.files import read_archive
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_archive(Path(folder) / "m.mml", kind="model", members={"state": {"w": np.ones(2)}})
    ...     with read_archive(Path(folder) / "m.mml") as archive:
    ...         archive.state("state")
    {'w': array([1., 1.])}
    """

    checked = checked_kind(kind)
    writes = _planned(members, sources or {})
    try:
        with atomic_write(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
            records = {name: _store(archive, file, name, *writes[name]) for name in sorted(writes)}
            manifest = Manifest(
                kind=checked,
                mml=__version__,
                plugins=dict(plugins or {}),
                members=records,
                created=created,
            )
            data = encode_manifest(manifest)
            _store(archive, file, MANIFEST_NAME, len(data), lambda write: write(data))
    except OSError as error:
        folder = os.path.dirname(os.path.realpath(path))
        if not os.path.isdir(folder):
            raise ArchiveError(
                "The folder to write into does not exist.",
                where={"file": os.fspath(path)},
                found=f"no folder {folder!r}",
                hint="Make it first: pathlib.Path(...).mkdir(parents=True).",
            ) from error
        raise ArchiveError(
            f"The file could not be written: {error}.",
            where={"file": os.fspath(path)},
            hint="What stood there before is unchanged.",
        ) from error


def _planned(members: Mapping[str, Member], sources: Mapping[str, str]) -> dict[str, tuple[int, _Produce]]:
    """Return the size of each file in the archive (an upper bound) and what writes it."""
    planned: dict[str, tuple[int, _Produce]] = {}
    files = [one for name, value in members.items() for one in _files(name, value)]
    files += [
        _bytes_file(f"{SOURCES_FOLDER}{import_path}{SOURCE_SUFFIX}", text.encode())
        for import_path, text in sources.items()
    ]
    for name, size, write in files:
        check_name(name)
        if name in planned or name == MANIFEST_NAME:
            raise ArchiveError(f"The member name {name!r} is taken.", hint="Give the member another name.")
        planned[name] = (size, write)
    return planned


def _files(name: str, value: Member) -> list[tuple[str, int, _Produce]]:
    if isinstance(value, bytes):
        return [_bytes_file(name, value)]
    if isinstance(value, pa.Table):
        return [_table_file(name.removesuffix(TABLE_SUFFIX) + TABLE_SUFFIX, value)]
    if not isinstance(value, dict | list):
        raise ArchiveError(
            f"The member {name!r} cannot be stored.",
            expected="a dict or list of JSON and arrays, a pyarrow.Table, or bytes",
            found=type(value).__name__,
        )
    try:
        tree, arrays = flatten_value(value)
    except StateError as error:
        raise error.located({"member": name})  # noqa: B904 - the same error, with its place
    stem = name.removesuffix(JSON_SUFFIX)
    files = [_bytes_file(stem + JSON_SUFFIX, encode_tree(tree))]
    if arrays:
        parts = tensor_parts(arrays)
        files.append((stem + TENSORS_SUFFIX, sum(map(len, parts)), lambda write: _write_all(parts, write)))
    return files


def _bytes_file(name: str, data: bytes) -> tuple[str, int, _Produce]:
    return name, len(data), lambda write: write(data)


def _table_file(name: str, table: pa.Table) -> tuple[str, int, _Produce]:
    try:
        return name, table_size(table), lambda write: write_table(table, _Sink(write))
    except pa.ArrowException as error:
        raise ArchiveError(f"The table cannot be stored: {error}.", where={"member": name}) from error


def _write_all(parts: list[bytes | memoryview], write: _Write) -> None:
    for part in parts:
        write(part)


def _store(archive: zipfile.ZipFile, file: BinaryIO, name: str, size: int, produce: _Produce) -> MemberRecord:
    """Write one member with its data aligned; return its size and checksum."""
    info = zipfile.ZipInfo(name, date_time=_NO_DATE)
    info.create_system = 3  # else it depends on where the archive is written
    info.external_attr = _PLAIN_FILE
    wide = size > zipfile.ZIP64_LIMIT
    info.extra = alignment_padding(file.tell(), name=name, zip64=wide)
    with Checksum() as checksum, archive.open(info, "w", force_zip64=wide) as member:
        stored = _Stored(member, file, checksum)
        produce(stored.write)
        return MemberRecord(size=stored.size, sha256=checksum.hexdigest())


class _Stored:
    """Where a member's pieces go: to the file and, at the same time, into its checksum."""

    def __init__(self, member: IO[bytes], file: BinaryIO, checksum: Checksum) -> None:
        self._member = member
        self._file = file
        self._checksum = checksum
        self._sent = file.tell()
        self.size = 0

    def write(self, data: Any) -> None:
        piece = memoryview(data).cast("B")
        for start in range(0, len(piece), CHUNK):
            chunk = piece[start : start + CHUNK]
            self._checksum.update(chunk)
            self._member.write(chunk)
            self._send_to_disk()
        self.size += len(piece)

    def _send_to_disk(self) -> None:
        """Let the system write back what it has while the next piece is prepared.

        Otherwise all of it waits for the sync at the end, which takes half of the whole time.
        """
        position = self._file.tell()
        if position - self._sent >= CHUNK and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._file.fileno(), self._sent, position - self._sent, os.POSIX_FADV_DONTNEED)
            self._sent = position


class _Sink:
    """The file object that Arrow writes into."""

    closed = False

    def __init__(self, write: _Write) -> None:
        self._write = write

    def write(self, data: Any) -> None:
        self._write(data)

    def flush(self) -> None:
        """Nothing is held back here."""
