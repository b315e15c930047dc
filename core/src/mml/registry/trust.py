"""Which Python paths a file may name: nothing of a data file is imported or called unless somebody vouches.

While a file is read, a dotted path in it counts only if a plugin claims the class it leads to, inside the
framework that the plugin is for, or if the reader named it as trusted. Names of registered components are
always fine: their owners put them there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from mml.errors import ConfigError

_TRUSTED: ContextVar[tuple[str, ...] | None] = ContextVar("mml_trusted_paths", default=None)


@contextmanager
def reading_file(*, trusted: Sequence[str] = ()) -> Iterator[None]:
    """Hold every Python path to account while the contents of a file are turned into objects.

    Parameters
    ----------
    trusted : sequence of str
        Paths or modules whose code the reader wants to run, e.g. ``["my_models"]``.

    Raises
    ------
    ConfigError
        If it is something else: nobody vouches for all code at once.
    """
    names = (trusted,) if isinstance(trusted, str) else _paths(trusted)
    token = _TRUSTED.set(names)
    try:
        yield
    finally:
        _TRUSTED.reset(token)


def _paths(trusted: Any) -> tuple[str, ...]:
    names = tuple(trusted) if isinstance(trusted, Iterable) else None
    if names is None or not all(isinstance(one, str) for one in names):
        raise ConfigError(
            "`trusted` names the code that a file may name.",
            expected="modules or Python paths, such as trusted=['my_models']",
            found=repr(trusted)[:80],
        )
    return names


def check_path(path: str, *, what: str, vouched: Callable[[str], bool]) -> None:
    """Refuse a Python path that a file names and nobody vouches for.

    Parameters
    ----------
    path : str
    what : str
        What the path stands for, such as ``model``.
    vouched : callable
        Whether a plugin vouches for the path.

    Raises
    ------
    ConfigError
        While a file is read, if the path is neither trusted nor vouched for; nothing was imported for it.
    """
    trusted = _TRUSTED.get()
    if trusted is None or any(path == one or path.startswith(f"{one}.") for one in trusted) or vouched(path):
        return
    raise ConfigError(
        f"The file names a Python object as {what}: {path!r}. Loading a file runs no code that it names.",
        expected="a registered component, or a class that an installed plugin claims",
        hint=f"If you know the code, load with trusted=[{path.rpartition('.')[0]!r}].",
    )
