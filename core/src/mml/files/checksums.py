"""SHA-256 of large data while something else moves it.

Hashing is the slowest part of writing and reading an archive, and it releases the interpreter, so it runs
on a thread of its own next to the copying. Small data never starts a thread.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

CHUNK = 8 << 20
"""Bytes to hand over at a time: enough that waking a thread costs nothing, measured from 1 to 16 MiB."""


class Checksum:
    """SHA-256 of the pieces given to :meth:`update`, which must not change until :meth:`hexdigest`.

    Examples
    --------
    >>> with Checksum() as checksum:
    ...     checksum.update(b"abc")
    ...     checksum.hexdigest()[:8]
    'ba7816bf'
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._waiting: list[Any] = []
        self._waiting_bytes = 0
        self._worker: ThreadPoolExecutor | None = None
        self._last: Future[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._worker is not None:
            self._worker.shutdown(wait=True, cancel_futures=kind is not None)

    def update(self, piece: Any) -> None:
        """Add a piece: bytes, or a memoryview of bytes."""
        self._waiting.append(piece)
        self._waiting_bytes += len(piece)
        if self._waiting_bytes < CHUNK:
            return
        if self._worker is None:
            self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mml-checksum")
        self._last = self._worker.submit(self._hash, self._waiting)
        self._waiting, self._waiting_bytes = [], 0

    def hexdigest(self) -> str:
        """Wait for all pieces and return the digest as hexadecimal text."""
        if self._last is not None:
            self._last.result()
        self._hash(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        return self._digest.hexdigest()

    def _hash(self, pieces: list[Any]) -> None:
        for piece in pieces:
            self._digest.update(piece)
