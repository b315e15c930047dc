"""What happens when a label is registered twice, and the default for where the code runs."""

from __future__ import annotations

import sys
from enum import Enum
from typing import Self

from mml.errors import ConfigError, did_you_mean

_NOTEBOOK_SHELL = "ZMQInteractiveShell"


class RegistrationPolicy(Enum):
    """How a context treats a node whose label it already has.

    Examples
    --------
    >>> RegistrationPolicy("overwrite_warn")
    <RegistrationPolicy.OVERWRITE_WARN: 'overwrite_warn'>
    """

    ERROR = "error"
    """Raise: in a script a repeated label is almost certainly a mistake."""
    OVERWRITE = "overwrite"
    """Replace the earlier node silently."""
    OVERWRITE_WARN = "overwrite_warn"
    """Replace it with a warning: in a notebook, running a cell again is routine."""
    NO_REGISTER = "no_register"
    """Register nothing, as when objects are rebuilt from files."""

    @classmethod
    def default(cls) -> Self:
        """Return OVERWRITE_WARN in a notebook and ERROR elsewhere, a terminal's IPython included."""
        return cls.OVERWRITE_WARN if _in_notebook() else cls.ERROR

    @classmethod
    def _missing_(cls, value: object) -> Self:
        names = [one.value for one in cls]
        if isinstance(value, str) and value.lower() in names:
            return cls(value.lower())
        raise ConfigError(
            "That is no registration policy.", found=repr(value), hint=did_you_mean(str(value), names)
        )


def _in_notebook() -> bool:
    # Only a process that runs in IPython has it imported; importing it to ask would be costly elsewhere.
    get_shell = getattr(sys.modules.get("IPython"), "get_ipython", None)
    shell = get_shell() if callable(get_shell) else None
    return any(cls.__name__ == _NOTEBOOK_SHELL for cls in type(shell).__mro__)
