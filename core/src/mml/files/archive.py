"""Read ``.mml`` archives, which are hostile until proven otherwise.

Opening checks the layout and the manifest against each other; every member's checksum is checked before its
first byte is used. Arrays and tables can stay in the file, mapped. No code from an archive is ever run.
"""

from __future__ import annotations

import hashlib
import mmap
import os
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import pyarrow as pa

from mml.errors import ArchiveError, StateError, did_you_mean, listed
from mml.files.archive_writer import (
    JSON_SUFFIX,
    SOURCE_SUFFIX,
    SOURCES_FOLDER,
    TABLE_SUFFIX,
    TENSORS_SUFFIX,
)
from mml.files.checksums import CHUNK, Checksum
from mml.files.manifest import MANIFEST_NAME, Manifest, checked_kind, decode_manifest
from mml.files.migrations import MIGRATIONS, Migrations
from mml.files.state_codec import decode_tree, unflatten_state
from mml.files.tables import load_table
from mml.files.tensors import load_tensors
from mml.files.zip_layout import ALIGNMENT, ZipEntry, read_layout

_PIECE = 256 << 10  # fits a core's cache between reading and hashing


@dataclass(frozen=True, kw_only=True)
class ArchiveLimits:
    """What a file may ask of its reader.

    Members are stored plainly, so nothing unfolds beyond the size of the file; these bound what is parsed
    into Python objects.

    Attributes
    ----------
    max_members : int
    max_manifest_bytes, max_json_bytes : int
        Of the manifest, and of each JSON document or source text.
    """

    max_members: int = 100_000
    max_manifest_bytes: int = 64 << 20
    max_json_bytes: int = 256 << 20


def read_archive(
    path: str | os.PathLike[str],
    *,
    kind: str | None = None,
    limits: ArchiveLimits | None = None,
    migrations: Migrations = MIGRATIONS,
) -> Archive:
    """Open an archive and check its layout and manifest.

    Parameters
    ----------
    path : str or path-like
    kind : str, optional
        Refuse archives of another kind.
    limits : ArchiveLimits, optional
    migrations : Migrations, optional
        How older format versions are read.

    Returns
    -------
    Archive
        Open until :meth:`Archive.close`, or the end of a ``with`` block.

    Raises
    ------
    ArchiveError
        If the file is missing, damaged, hostile, or of an unknown version or kind; with member and offset.
    """
    return Archive(path, kind=kind, limits=limits or ArchiveLimits(), migrations=migrations)


class Archive:
    """An open ``.mml`` file; made by :func:`read_archive`.

    Safe to read from several threads. What was read stays valid after :meth:`close`, mapped tables and
    arrays included.
    """

    def __init__(
        self, path: str | os.PathLike[str], *, kind: str | None, limits: ArchiveLimits, migrations: Migrations
    ) -> None:
        self.path = os.fspath(path)
        self._limits = limits
        self._migrations = migrations
        self._lock = threading.Lock()
        self._verified: set[str] = set()
        self._map: mmap.mmap | None = None
        self._file: BinaryIO = _opened(self.path)
        try:
            with self._located():
                self._entries = self._read_layout()
                self._manifest, self._version = self._read_manifest()
                self._check_members()
                self._check_kind(kind)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Archive({self.path!r}, kind={str(self._manifest.kind)!r}, members={len(self._entries)})"

    def close(self) -> None:
        """Close the file. Tables and arrays that are mapped from it keep their own hold on it."""
        self._file.close()
        self._map = None

    @property
    def manifest(self) -> Manifest:
        """What the archive says of itself, in the current format version."""
        return self._manifest

    def names(self) -> list[str]:
        """Return the names of all members as stored, suffixes included, without the manifest."""
        return sorted(self._manifest.members)

    def __contains__(self, name: object) -> bool:
        """Tell whether there is a member of that name, with or without its suffix."""
        suffixes = ("", JSON_SUFFIX, TABLE_SUFFIX)
        return isinstance(name, str) and any(name + suffix in self._manifest.members for suffix in suffixes)

    def raw(self, name: str) -> bytes:
        """Return the bytes of the member stored under exactly that name, verified."""
        with self._located():
            return self._read(self._entry(name)).tobytes()

    def json(self, name: str) -> Any:
        """Return a JSON document by its name, with or without the suffix.

        Raises
        ------
        ArchiveError
            If there is none, or it holds arrays and is to be read as a state.
        """
        with self._located():
            if _stem(name) + TENSORS_SUFFIX in self._entries:
                raise ArchiveError(f"The member {name!r} holds arrays.", hint="Read it with .state().")
            return self._state(name, {})

    def state(self, name: str, *, mapped: bool = False) -> Any:
        """Return a state, equal to the bit to the one that was written.

        Parameters
        ----------
        name : str
            As it was written, without suffix.
        mapped : bool, optional
            Leave the arrays in the file: read-only views of a mapping. By default they are read into
            memory: writable, sharing one buffer per state.

        Returns
        -------
        dict or list
        """
        with self._located():
            entry = self._entries.get(_stem(name) + TENSORS_SUFFIX)
            arrays: dict[str, np.ndarray] = {}
            if entry is not None:
                buffer = self._mapped(entry) if mapped else self._read(entry)
                with _of_member(entry):
                    arrays = load_tensors(buffer)
            return self._state(name, arrays)

    def table(self, name: str) -> pa.Table:
        """Return a table whose columns lie in the mapped file: nothing is copied.

        The first use reads the member once through to verify it; its pages can be dropped again.
        """
        with self._located():
            entry = self._entry(name if name.endswith(TABLE_SUFFIX) else name + TABLE_SUFFIX)
            # Other tools' archives need not be aligned; Arrow's kernels want it, so those are copied.
            aligned = entry.data_offset % ALIGNMENT == 0
            buffer = self._mapped(entry) if aligned else self._read(entry)
            with _of_member(entry):
                return load_table(buffer)

    def sources(self) -> dict[str, str]:
        """Return the source texts of user-defined classes by import path. They are only ever read."""
        with self._located():
            found = {}
            for name in self.names():
                if name.startswith(SOURCES_FOLDER) and name.endswith(SOURCE_SUFFIX):
                    text = self._small(self._entry(name)).decode(errors="replace")
                    found[name[len(SOURCES_FOLDER) : -len(SOURCE_SUFFIX)]] = text
            return found

    def verify(self) -> None:
        """Check the checksum of every member that was not read yet.

        Raises
        ------
        ArchiveError
            Naming the damaged member and its place in the file.
        """
        with self._located():
            for name in self.names():
                if name not in self._verified:
                    self._check_in_pieces(self._entry(name))

    def _state(self, name: str, arrays: dict[str, np.ndarray]) -> Any:
        entry = self._entry(_stem(name) + JSON_SUFFIX)
        data = self._small(entry)
        with _of_member(entry):
            tree = decode_tree(data)
            tree = self._migrations.upgrade_document(
                tree, self._version, kind=str(self._manifest.kind), member=entry.name
            )
            return unflatten_state(tree, arrays)

    def _entry(self, name: str) -> ZipEntry:
        entry = self._entries.get(name)
        if entry is None:
            raise ArchiveError(f"There is no member {name!r}.", hint=did_you_mean(name, self.names()))
        return entry

    def _small(self, entry: ZipEntry) -> bytes:
        if entry.size > self._limits.max_json_bytes:
            raise _too_large(entry, self._limits.max_json_bytes)
        return self._read(entry).tobytes()

    def _read(self, entry: ZipEntry) -> np.ndarray:
        """Return a member's bytes as an owned uint8 array, hashed while they are read."""
        buffer = np.empty(entry.size, dtype=np.uint8)
        view = buffer.data
        with Checksum() as checksum:
            for start in range(0, entry.size, CHUNK):
                piece = view[start : start + CHUNK]
                self._read_into(piece, entry.data_offset + start)
                checksum.update(piece)
            self._compare(entry, checksum.hexdigest())
        return buffer

    def _mapped(self, entry: ZipEntry) -> memoryview:
        with self._lock:
            if self._map is None:
                self._check_open()
                self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
            view = memoryview(self._map)[entry.data_offset : entry.end]
        if len(view) != entry.size:
            raise ArchiveError("The file was cut while it was open.", where=_place(entry))
        if entry.name not in self._verified:
            self._check_in_pieces(entry)
        return view

    def _check_in_pieces(self, entry: ZipEntry) -> None:
        # Through one small buffer, not through a mapping: the member may be larger than memory.
        buffer = memoryview(bytearray(min(_PIECE, entry.size)))
        digest = hashlib.sha256()
        for start in range(0, entry.size, _PIECE):
            piece = buffer[: entry.size - start]
            self._read_into(piece, entry.data_offset + start)
            digest.update(piece)
        self._compare(entry, digest.hexdigest())

    def _compare(self, entry: ZipEntry, found: str) -> None:
        if found != self._manifest.members[entry.name].sha256:
            raise ArchiveError(
                f"The member {entry.name!r} is damaged: its SHA-256 is not the manifest's.",
                where=_place(entry),
                hint="Use another copy of the file.",
            )
        self._verified.add(entry.name)

    def _read_into(self, piece: memoryview, offset: int) -> None:
        with self._lock:
            self._check_open()
            self._file.seek(offset)
            done = 0
            while done < len(piece):
                count = self._file.readinto(piece[done:])  # type: ignore[attr-defined]
                if not count:
                    raise ArchiveError("The file ended while it was read.", where=f"offset {offset + done}")
                done += count

    def _read_layout(self) -> dict[str, ZipEntry]:
        size = os.fstat(self._file.fileno()).st_size
        entries = read_layout(self._file, size, max_members=self._limits.max_members)
        return {entry.name: entry for entry in entries}

    def _read_manifest(self) -> tuple[Manifest, int]:
        entry = self._entries.pop(MANIFEST_NAME, None)
        if entry is None:
            raise ArchiveError("This is not an MML file: it has no manifest.", found=listed(self._entries))
        if entry.size > self._limits.max_manifest_bytes:
            raise _too_large(entry, self._limits.max_manifest_bytes)
        data = bytearray(entry.size)
        self._read_into(memoryview(data), entry.data_offset)
        # The manifest vouches for the others; for itself there is the container's checksum.
        if zlib.crc32(data) != entry.crc:
            raise ArchiveError("The manifest is damaged: its CRC-32 is wrong.", where=_place(entry))
        return decode_manifest(bytes(data), migrations=self._migrations)

    def _check_members(self) -> None:
        declared = self._manifest.members
        for name in declared:
            if name not in self._entries:
                raise ArchiveError(
                    f"The member {name!r} is missing: the manifest names it.", where=MANIFEST_NAME
                )
        for name, entry in self._entries.items():
            if name not in declared:
                raise ArchiveError(f"The member {name!r} is not in the manifest.", where=_place(entry))
            if declared[name].size != entry.size:
                raise ArchiveError(
                    f"The member {name!r} has the wrong size.",
                    where=_place(entry),
                    expected=f"{declared[name].size} bytes",
                    found=f"{entry.size} bytes",
                )

    def _check_kind(self, kind: str | None) -> None:
        if kind is not None and checked_kind(kind) is not self._manifest.kind:
            raise ArchiveError(
                "The file holds something else.",
                expected=f"an archive of kind '{kind}'",
                found=f"one of kind '{self._manifest.kind}'",
            )

    def _check_open(self) -> None:
        if self._file.closed:
            raise ArchiveError("The archive is closed.", hint="Read inside the with block.")

    @contextmanager
    def _located(self) -> Iterator[None]:
        """Put the file's name in front of every error."""
        try:
            yield
        except ArchiveError as error:
            raise error.located({"file": self.path})  # noqa: B904 - the same error, with its place
        except OSError as error:
            raise ArchiveError(f"The file could not be read: {error}.", where={"file": self.path}) from error


@contextmanager
def _of_member(entry: ZipEntry) -> Iterator[None]:
    """Name the member in errors of the codecs, which know only bytes."""
    try:
        yield
    except ArchiveError as error:
        raise error.located(_place(entry))  # noqa: B904 - the same error, with its place
    except StateError as error:
        located = ArchiveError(
            error.what, where=error.where, expected=error.expected, found=error.found, hint=error.hint
        )
        raise located.located(_place(entry)) from error


def _opened(path: str) -> BinaryIO:
    try:
        return open(path, "rb", buffering=0)
    except OSError as error:
        raise ArchiveError(f"The file could not be opened: {error}.", where={"file": path}) from error


def _stem(name: str) -> str:
    return name.removesuffix(JSON_SUFFIX)


def _place(entry: ZipEntry) -> dict[str, Any]:
    return {"member": entry.name, "offset": entry.data_offset}


def _too_large(entry: ZipEntry, limit: int) -> ArchiveError:
    return ArchiveError(
        f"The member {entry.name!r} is too large.",
        where=_place(entry),
        expected=f"at most {limit} bytes",
        found=f"{entry.size} bytes",
    )
