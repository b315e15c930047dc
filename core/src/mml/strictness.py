"""`strict`: leakage is an error instead of a warning, for a ``with`` block, this thread and task only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from mml.errors import LeakageError, LeakageWarning
from mml.user_warning import warn_user

_STRICT: ContextVar[bool] = ContextVar("mml_strict", default=False)


@contextmanager
def strict() -> Iterator[None]:
    """Raise a `LeakageError` inside the block wherever a `LeakageWarning` would be given.

    Examples
    --------
    >>> with strict():
    ...     report_leakage("The scaler saw test rows.", hint="Fit it to the training split.")
    Traceback (most recent call last):
    mml.errors.LeakageError: The scaler saw test rows.
      try: Fit it to the training split.
    """
    token = _STRICT.set(True)
    try:
        yield
    finally:
        _STRICT.reset(token)


def is_strict() -> bool:
    """Whether leakage is an error here."""
    return _STRICT.get()


def report_leakage(what: str, *, hint: str) -> None:
    """Warn of leakage at the caller's line outside MML, or raise under `strict`.

    Raises
    ------
    LeakageError
        Inside a block of `strict`.
    """
    if _STRICT.get():
        raise LeakageError(what, hint=hint)
    warn_user(f"{what} {hint}", LeakageWarning)
