"""`Prefetch`: something made on a thread of its own while its user is busy, handed over or thrown away.

One thread makes one thing and ends; whoever asks for the thing, or closes the prefetch, waits for its end. So
no thread outlives its use. Nothing here knows what is made.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextvars import copy_context
from threading import Thread
from types import TracebackType
from typing import Generic, Self, TypeVar

from mml.errors import ConfigError

VARIABLE = "MML_PREFETCH"
_OFF = ("0", "off", "false", "no")
_ON = ("1", "on", "true", "yes")
# Below this, a thread costs about as much as it saves, and it takes turns with the steps it should serve.
_WORTH_S = 2e-3

Item = TypeVar("Item")
Made = TypeVar("Made")


class Prefetch(Generic[Item, Made]):
    """Makes at most one thing ahead.

    Parameters
    ----------
    make : callable
        Item → thing; runs in a copy of the caller's context variables. It must not need a lock that the
        caller holds while the thing is made.

    Examples
    --------
    >>> with Prefetch(abs) as prefetch:
    ...     prefetch.begin(-2)
    ...     prefetch.take()
    2
    """

    def __init__(self, make: Callable[[Item], Made]) -> None:
        self._make = make
        self._item: list[Item] = []
        self._thread: Thread | None = None
        self._made: list[Made] = []
        self._error: BaseException | None = None

    @property
    def pending(self) -> bool:
        """Whether something was begun and not taken."""
        return bool(self._item)

    def begin(self, item: Item) -> None:
        """Make the thing of an item in the background; what was begun before is waited for and dropped."""
        self.close()
        self._item = [item]
        # Not a daemon: one that is cut off by the end of the interpreter may hold memory that goes away.
        self._thread = Thread(
            target=copy_context().run, args=(self._run, item), name="mml-prefetch", daemon=False
        )
        try:
            self._thread.start()
        except RuntimeError:
            # The process may have no more threads: then the thing is made when it is taken.
            self._thread = None

    def take(self) -> Made:
        """Wait for the thing that was begun and return it; what its making raised is raised here."""
        if self._thread is None:
            self._run(self._item[0])
        else:
            self._join(self._thread)
        made, error = self._made, self._error
        self._forget()
        if error is not None:
            raise error
        return made[0]

    def close(self) -> None:
        """Wait until the thread has ended, and drop what it made or raised."""
        # Without an identity the thread never ran: starting it was what failed.
        if self._thread is not None and self._thread.ident is not None:
            self._join(self._thread)
        self._forget()

    def _run(self, item: Item) -> None:
        try:
            self._made.append(self._make(item))
        except BaseException as error:  # noqa: BLE001 -- raised again where the thing is taken
            self._error = error

    @staticmethod
    def _join(thread: Thread) -> None:
        try:
            thread.join()
        except BaseException:
            # Ctrl-C while waiting: still no thread is left behind, unless it is pressed once more.
            thread.join()
            raise

    def _forget(self) -> None:
        self._item, self._thread, self._made, self._error = [], None, [], None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Worth:
    """Decides whether the next thing is made ahead; what is made never depends on it.

    The environment variable ``MML_PREFETCH`` overrules it: ``0`` never, ``1`` always.

    Examples
    --------
    >>> Worth(None).after(0.0001), Worth(None).after(0.02), Worth("1").after(0.0)
    (False, True, True)
    """

    def __init__(self, wish: str | None) -> None:
        wish = (wish or "").strip().lower()
        if wish not in ("", *_OFF, *_ON):
            raise ConfigError(
                f"The environment variable {VARIABLE} has an unknown value.",
                expected="0 (never), 1 (always) or nothing (where it pays)",
                found=repr(wish),
            )
        self._least_s = float("inf") if wish in _OFF else -1.0 if wish in _ON else _WORTH_S

    @classmethod
    def from_environment(cls) -> Self:
        """Follow the environment variable as it is now."""
        return cls(os.environ.get(VARIABLE))

    def after(self, seconds: float) -> bool:
        """Return whether it pays, when making the thing before took so many seconds."""
        return seconds >= self._least_s
