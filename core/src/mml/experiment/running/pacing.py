"""How many steps are executed in one piece: enough to be fast, few enough to answer Ctrl-C.

Results never depend on it.
"""

from __future__ import annotations

import time

_TARGET_S = 0.05
_MOST_STEPS = 128
_FIRST_STEPS = 8
_MOST_ROWS = 1 << 16
# A block exists about three times: gathered, staged, and the next one ahead.
_MOST_BYTES = 16 << 20


class Pacing:
    """Chooses block sizes so that a block takes about 50 ms.

    Parameters
    ----------
    multiple_of : int
        Blocks hold whole accumulation windows of so many steps.
    row_bytes : int
        What a row takes, so that a block of long rows does not fill the memory.
    """

    def __init__(self, *, multiple_of: int = 1, row_bytes: int = 0) -> None:
        self.multiple_of = multiple_of
        self._most_rows = min(_MOST_ROWS, _MOST_BYTES // max(row_bytes, 1))
        self._steps = _FIRST_STEPS
        self._started = 0.0

    def size(self, rows_per_step: int) -> int:
        """Return how many steps the next block may have."""
        steps = max(1, min(self._steps, self._most_rows // max(rows_per_step, 1)))
        return max(1, steps // self.multiple_of) * self.multiple_of

    def begin(self) -> None:
        """Note the time before a block."""
        self._started = time.perf_counter()

    def end(self, n_steps: int) -> None:
        """Learn from the time that a block took."""
        per_step = max((time.perf_counter() - self._started) / n_steps, 1e-7)
        self._steps = max(1, min(_MOST_STEPS, int(_TARGET_S / per_step), self._steps * 2))
