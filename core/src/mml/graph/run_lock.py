"""`RunLock`: one thread at a time runs a graph, and whoever would change it can see that somebody does."""

from __future__ import annotations

import threading


class RunLock:
    """A lock that the thread which holds it may take again."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._depth = 0

    @property
    def is_held(self) -> bool:
        """Whether some thread, this one included, runs the graph."""
        return self._depth > 0

    def acquire(self, *, blocking: bool = True) -> bool:
        """Take the lock and return whether that worked."""
        taken = self._lock.acquire(blocking=blocking)
        if taken:
            # Counted by the holder only, so that no other thread's counting gets lost.
            self._depth += 1
        return taken

    def release(self) -> None:
        """Give the lock back, once for each time that it was taken."""
        self._depth -= 1
        self._lock.release()
