"""The base of everything that has a label and stands in a context: data sets, nodes, graphs."""

from __future__ import annotations

from uuid import UUID, uuid4

from mml.context.experiment_context import ExperimentContext
from mml.errors import ConfigError


class ExperimentNode:
    """Something with a label and a UUID that registers itself in the active context.

    Parameters
    ----------
    label : str
        What people and references call it; unique in its context.
    uuid : str, optional
        Its identity as 32 hexadecimal digits, given when it is rebuilt from a file; by default a new one.

    Notes
    -----
    A subclass calls :meth:`_register` last in its ``__init__``, so that a constructor that fails leaves
    nothing behind.
    """

    def __init__(self, label: str, *, uuid: str | None = None) -> None:
        if not isinstance(label, str) or not label.strip() or not label.isprintable():
            raise ConfigError(
                f"{type(self).__name__} needs a label.",
                expected="a string of printable characters that is not blank",
                found=repr(label),
            )
        self._label = label
        self._uuid = uuid4().hex if uuid is None else _uuid_hex(uuid, label=label)

    @property
    def label(self) -> str:
        """What people and references call it."""
        return self._label

    @property
    def uuid(self) -> str:
        """Its identity: 32 hexadecimal digits."""
        return self._uuid

    def _register(self) -> None:
        """Register this finished object in the active context."""
        ExperimentContext.active().register(self)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._label!r})"


def _uuid_hex(uuid: str, *, label: str) -> str:
    try:
        return UUID(str(uuid)).hex
    except ValueError as cause:
        raise ConfigError(
            f"The UUID of {label!r} is not one.", expected="32 hexadecimal digits", found=repr(uuid)
        ) from cause
