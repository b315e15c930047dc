"""SHA-256 of large data while something else moves it.

Hashing is the slowest part of writing and reading an archive, and it releases the interpreter, so it runs
on a thread of its own next to the copying. Small data never starts a thread.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

CHUNK = 1 << 20
"""Bytes to move at a time: small enough to stay in the cache until they are hashed."""


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
        """Add a bytes-like piece."""
        if self._worker is None:
            if len(piece) < CHUNK:
                self._digest.update(piece)
                return
            self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="mml-checksum")
        self._last = self._worker.submit(self._digest.update, piece)

    def hexdigest(self) -> str:
        """Wait for all pieces and return the digest as hexadecimal text."""
        if self._last is not None:
            self._last.result()
        return self._digest.hexdigest()
