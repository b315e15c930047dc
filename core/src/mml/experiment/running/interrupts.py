"""Ctrl-C: the first one ends the phase within a block of steps, the second one at once.

Signals can be handled in the main thread only; elsewhere nothing is installed and Python's own
KeyboardInterrupt stands.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupt:
    """Whether somebody pressed Ctrl-C, and whether that left anything undone."""

    def __init__(self) -> None:
        self.requested = False
        self.cut_short = False


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Turn the first Ctrl-C inside the block into a request; the second one raises."""
    interrupt = Interrupt()
    if threading.current_thread() is not threading.main_thread():
        yield interrupt
        return
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler:
        # Somebody else answers Ctrl-C here (an outer run, a server): leave it to them.
        yield interrupt
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if interrupt.requested:
            signal.default_int_handler(number, frame)
        interrupt.requested = True

    signal.signal(signal.SIGINT, handle)
    try:
        yield interrupt
    finally:
        signal.signal(signal.SIGINT, before)
