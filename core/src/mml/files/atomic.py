"""Write a file completely or not at all.

The bytes go to a temporary file in the same folder, are synced, and take the final name in one rename; then
the folder is synced. A crash, a kill or a full disk at any moment leaves the previous file as it was. What
a killed writer left behind is removed by the next writer of the same file.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

# Windows has no such locks and needs none: an open file cannot be removed there.
if sys.platform != "win32":
    import fcntl

_SUFFIX = ".tmp"


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open ``path`` for writing so that it changes only when the block ends without an error.

    Parameters
    ----------
    path : str or path-like
        The final name. Its folder must exist. A symbolic link is followed, and stays one. An existing
        file's permission bits are kept.

    Yields
    ------
    binary file
        Writable and seekable. Closing it is this function's work.

    Raises
    ------
    OSError
        What the operating system reports (no space, no permission). The previous file is untouched and no
        temporary file remains.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     target = Path(folder) / "notes.txt"
    ...     with atomic_write(target) as file:
    ...         _ = file.write(b"whole")
    ...     target.read_bytes()
    b'whole'
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        # Told before anything is written: the rename would only find out after gigabytes.
        raise IsADirectoryError(f"{target} is a folder")
    _remove_abandoned(target)
    temporary, descriptor = _create_beside(target)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            _keep_permissions(file.fileno(), target)
            os.fsync(file.fileno())
            if sys.platform != "win32":
                # Renamed while still locked, so that no other writer takes it for abandoned in between.
                os.replace(temporary, target)
        if sys.platform == "win32":
            os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    _sync_folder(target.parent)


def _create_beside(target: Path) -> tuple[str, int]:
    """Create and lock a temporary file next to ``target``."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
    while True:
        name = str(target.parent / f"{_prefix(target)}{secrets.token_hex(6)}{_SUFFIX}")
        descriptor = os.open(name, flags, 0o666)
        if sys.platform == "win32":
            return name, descriptor
        with contextlib.suppress(OSError):  # a file system without locks: nothing there is ever abandoned
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return name, descriptor
        os.close(descriptor)  # another writer took it for abandoned between its creation and its lock


def _remove_abandoned(target: Path) -> None:
    """Remove temporary files of ``target`` whose writers died: their locks died with them."""
    prefix = _prefix(target)
    with contextlib.suppress(FileNotFoundError, PermissionError), os.scandir(target.parent) as entries:
        for entry in entries:
            if entry.name.startswith(prefix) and entry.name.endswith(_SUFFIX):
                _remove_if_unlocked(entry.path)


def _remove_if_unlocked(name: str) -> None:
    # Suppressed: a live writer holds the lock, or another cleaner was faster. Both mean: leave it.
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            os.unlink(name)
            return
        descriptor = os.open(name, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.unlink(name)
        finally:
            os.close(descriptor)


def _prefix(target: Path) -> str:
    # Cut, because file systems end names at 255 bytes; a cut prefix is shared only by long, alike names.
    return f".{target.name.encode()[:180].decode(errors='ignore')}."


def _keep_permissions(descriptor: int, target: Path) -> None:
    if not hasattr(os, "fchmod"):
        return
    with contextlib.suppress(FileNotFoundError, PermissionError):
        os.fchmod(descriptor, stat.S_IMODE(target.stat().st_mode))


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable, where folders can be opened."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
