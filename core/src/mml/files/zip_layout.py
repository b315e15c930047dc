"""The zip container, as strictly as MML writes it: stored members that fill the file without a gap.

The library's reader is lenient by purpose (it searches for the directory, skips what precedes it, believes
the first of two answers). Here a file is either laid out exactly as :mod:`mml.files.archive_writer` does,
or it is refused with the offset at which it is not. Knows nothing of manifests and contents.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from mml.errors import ArchiveError

ALIGNMENT = 64
"""Where members' data start, a multiple of this many bytes: a cache line, and Arrow's recommendation."""

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_LOCATOR = struct.Struct("<4sIQI")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCAL_MAGIC, _CENTRAL_MAGIC, _END_MAGIC = b"PK\x03\x04", b"PK\x01\x02", b"PK\x05\x06"
_LOCATOR_MAGIC, _END64_MAGIC = b"PK\x06\x07", b"PK\x06\x06"
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF
_ZIP64_EXTRA = 0x0001
_ALIGNMENT_EXTRA = 0xD935  # the id that Android's apksigner uses for the same purpose
_UTF8 = 0x0800
_MAX_DIRECTORY = 256 << 20


@dataclass(frozen=True, slots=True)
class ZipEntry:
    """One member as the central directory describes it, checked against its local header.

    Attributes
    ----------
    name : str
    header_offset, data_offset, size : int
        Bytes from the start of the file; where the member's data start, and how many they are.
    crc : int
        CRC-32 of the data, as declared.
    """

    name: str
    header_offset: int
    data_offset: int
    size: int
    crc: int

    @property
    def end(self) -> int:
        """Where the member's data end."""
        return self.data_offset + self.size


@dataclass(frozen=True, slots=True)
class _Directory:
    offset: int
    size: int
    count: int


def alignment_padding(offset: int, *, name: str, zip64: bool) -> bytes:
    """Return the extra field that makes a member's data start at a multiple of 64 bytes.

    Parameters
    ----------
    offset : int
        Where the member's local header will start.
    name : str
        The member's name.
    zip64 : bool
        Whether the header will carry 64-bit sizes, an extra field of 20 bytes.
    """
    before = offset + _LOCAL.size + len(name.encode()) + (20 if zip64 else 0)
    padding = -(before + 6) % ALIGNMENT
    return struct.pack("<3H", _ALIGNMENT_EXTRA, 2 + padding, ALIGNMENT) + bytes(padding)


def check_name(name: str) -> None:
    """Refuse a member name that is not a plain relative path on every system.

    Raises
    ------
    ArchiveError
        For absolute names, parent folders, drive letters, backslashes, control characters, empty parts.
    """
    parts = name.split("/")
    if (
        any(part in ("", ".", "..") or len(part.encode(errors="replace")) > 255 for part in parts)
        or any(char in "\\:" or not char.isprintable() for char in name)
        or len(name) > 1024
    ):
        raise ArchiveError(
            f"The member name {_shown(name)} is not safe.",
            expected="a relative path of plain names separated by '/'",
        )


def read_layout(file: BinaryIO, size: int, *, max_members: int) -> list[ZipEntry]:
    """Read and check the whole layout of an archive of ``size`` bytes.

    Parameters
    ----------
    file : seekable binary file
    size : int
        Its size in bytes.
    max_members : int
        More than these are refused before the directory is read.

    Returns
    -------
    list of ZipEntry
        In file order; names are unique and safe.

    Raises
    ------
    ArchiveError
        Naming the member and the offset of the first thing that is not as it must be.
    """
    directory = _find_directory(file, size)
    if directory.count > max_members or directory.size > _MAX_DIRECTORY:
        raise ArchiveError(
            "The archive has too many members.",
            expected=f"at most {max_members}",
            found=f"{directory.count} in a directory of {directory.size} bytes",
        )
    entries: list[ZipEntry] = []
    names: set[str] = set()
    position = 0
    for central in _central_entries(_read(file, directory.offset, directory.size), directory):
        entry = _located(file, central, position, directory.offset)
        if entry.name in names:
            raise ArchiveError(
                f"The member {entry.name!r} stands twice.", where=f"offset {entry.header_offset}"
            )
        names.add(entry.name)
        entries.append(entry)
        position = entry.end
    if position != directory.offset:
        raise ArchiveError("There are bytes that belong to no member.", where=f"offset {position}")
    return entries


def _find_directory(file: BinaryIO, size: int) -> _Directory:
    end_at = size - _END.size
    end = _read(file, end_at, _END.size) if end_at >= 0 else b""
    if not end.startswith(_END_MAGIC):
        start = _read(file, 0, min(4, size))
        if start != _LOCAL_MAGIC:
            raise ArchiveError("This is not an MML file.", where="offset 0", expected="a zip archive")
        raise ArchiveError(
            "The archive is cut off, or something was appended to it.",
            where=f"offset {max(end_at, 0)}",
            expected="the end of its directory",
        )
    _, disk, first_disk, here, count, length, offset, comment = _END.unpack(end)
    directory = _Directory(offset, length, count)
    ends = end_at
    locator_at = end_at - _LOCATOR.size
    locator = _read(file, locator_at, _LOCATOR.size) if locator_at >= 0 else b""
    if locator.startswith(_LOCATOR_MAGIC):
        directory, ends = _find_directory64(file, locator, locator_at)
        agree = all(
            small in (large, full)
            for small, large, full in (
                (offset, directory.offset, _FULL32),
                (length, directory.size, _FULL32),
                (count, directory.count, _FULL16),
            )
        )
    else:
        agree = True
    if disk or first_disk or here != count or comment or not agree:
        raise ArchiveError("The end of the archive is damaged.", where=f"offset {end_at}")
    if directory.offset + directory.size != ends:
        raise ArchiveError(
            "The archive's directory is not where it should be.",
            where=f"offset {end_at}",
            expected=f"a directory that ends at {ends}",
            found=f"{directory.size} bytes from {directory.offset}",
        )
    return directory


def _find_directory64(file: BinaryIO, locator: bytes, locator_at: int) -> tuple[_Directory, int]:
    _, disk, ends, disks = _LOCATOR.unpack(locator)
    if ends + _END64.size != locator_at or disk or disks != 1:
        raise ArchiveError("The end of the archive is damaged.", where=f"offset {locator_at}")
    record = _END64.unpack(_read(file, ends, _END64.size))
    magic, length, _, _, disk, first_disk, here, count, size, offset = record
    if magic != _END64_MAGIC or length != _END64.size - 12 or disk or first_disk or here != count:
        raise ArchiveError("The end of the archive is damaged.", where=f"offset {ends}")
    return _Directory(offset, size, count), ends


@dataclass(frozen=True, slots=True)
class _Central:
    raw_name: bytes
    name: str
    flags: int
    crc: int
    size: int
    header_offset: int


def _central_entries(data: bytes, directory: _Directory) -> Iterator[_Central]:
    position = 0
    for _ in range(directory.count):
        where = f"offset {directory.offset + position}"
        if position + _CENTRAL.size > len(data):
            raise ArchiveError("The archive's directory is cut off.", where=where)
        fields = _CENTRAL.unpack_from(data, position)
        magic, _, _, flags, method, _, _, crc, packed, size, n_name, n_extra, n_comment, disk, *_, offset = (
            fields
        )
        begin = position + _CENTRAL.size
        position = begin + n_name + n_extra
        if magic != _CENTRAL_MAGIC or position > len(data):
            raise ArchiveError("The archive's directory is damaged.", where=where)
        raw_name = data[begin : begin + n_name]
        name = _decoded(raw_name, flags, where)
        if method or packed != size:
            raise ArchiveError(
                f"The member {name!r} is compressed; members of an MML file are stored plainly.", where=where
            )
        if flags & ~_UTF8 or n_comment or disk:
            raise ArchiveError(f"The member {name!r} is encrypted, streamed or annotated.", where=where)
        size, offset = _wide(data[begin + n_name : position], size, offset, where)
        yield _Central(raw_name, name, flags, crc, size, offset)
    if position != len(data):
        raise ArchiveError(
            "The archive's directory counts fewer members than it holds.",
            where=f"offset {directory.offset + position}",
        )


def _located(file: BinaryIO, central: _Central, position: int, limit: int) -> ZipEntry:
    """Check a member's own header at ``position``, where the one before it ended."""
    where = {"member": central.name, "offset": position}
    if central.header_offset != position or position + _LOCAL.size > limit:
        raise ArchiveError(
            "A member does not start where the one before it ends: they overlap or leave a gap.",
            where=where,
            found=f"offset {central.header_offset}",
        )
    fields = _LOCAL.unpack(_read(file, position, _LOCAL.size))
    magic, _, flags, method, _, _, crc, packed, size, n_name, n_extra = fields
    names = _read(file, position + _LOCAL.size, min(n_name + n_extra, limit - position - _LOCAL.size))
    wide = size == packed == _FULL32
    if wide:
        extra = _extra_field(names[n_name:], _ZIP64_EXTRA)
        if len(extra) != 16:
            raise ArchiveError("A member's header is damaged.", where=where)
        size, packed = struct.unpack("<2Q", extra)
    local = (magic, flags, method, crc, size, packed, names[:n_name])
    if local != (_LOCAL_MAGIC, central.flags, 0, central.crc, central.size, central.size, central.raw_name):
        raise ArchiveError("A member's header and the archive's directory disagree.", where=where)
    data_offset = position + _LOCAL.size + n_name + n_extra
    if data_offset + size > limit:
        raise ArchiveError(
            "A member is larger than the file.",
            where=where,
            expected=f"at most {max(limit - data_offset, 0)} bytes",
            found=f"{size} bytes",
        )
    return ZipEntry(central.name, position, data_offset, size, central.crc)


def _decoded(raw: bytes, flags: int, where: str) -> str:
    try:
        name = raw.decode("utf-8" if flags & _UTF8 else "ascii")
    except UnicodeDecodeError as error:
        raise ArchiveError(f"A member's name is not text: {raw[:80]!r}.", where=where) from error
    try:
        check_name(name)
    except ArchiveError as error:
        raise error.located(where)  # noqa: B904 - the same error, with its place
    return name


def _wide(extra: bytes, size: int, offset: int, where: str) -> tuple[int, int]:
    """Replace saturated 32-bit fields by the 64-bit ones of the extra field."""
    n_wide = 2 * (size == _FULL32) + (offset == _FULL32)
    if not n_wide:
        return size, offset
    field = _extra_field(extra, _ZIP64_EXTRA)
    if len(field) != 8 * n_wide:
        raise ArchiveError("A member's 64-bit sizes are missing.", where=where)
    values = list(struct.unpack(f"<{n_wide}Q", field))
    if size == _FULL32:
        size = values.pop(0)
        if values.pop(0) != size:
            raise ArchiveError(
                "A member is compressed; members of an MML file are stored plainly.", where=where
            )
    return size, values.pop() if values else offset


def _extra_field(extra: bytes, wanted: int) -> bytes:
    position = 0
    while position + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, position)
        if kind == wanted:
            return extra[position + 4 : position + 4 + length]
        position += 4 + length
    return b""


def _read(file: BinaryIO, offset: int, count: int) -> bytes:
    file.seek(offset)
    data = file.read(count)
    if len(data) != count:
        raise ArchiveError("The file ended while it was read.", where=f"offset {offset + len(data)}")
    return data


def _shown(name: str) -> str:
    return ascii(name if len(name) <= 120 else name[:120] + "...")
