"""What a callback's hook may return: a value for the record, or a named metric."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final


@dataclass(frozen=True)
class CallbackResult:
    """A value that a callback leaves in the results of its phase.

    Parameters
    ----------
    callback : str
        Name of the callback; filled in by whoever dispatches the hook.
    value : object
        Anything. To be saved with a run it must consist of JSON values, arrays and phase results.
    """

    callback: str = ""
    value: Any = None


@final
@dataclass(frozen=True, init=False)
class MetricResult(CallbackResult):
    """A named scalar; it is also logged to the phase's metric store.

    Parameters
    ----------
    name : str
        Name of the metric, such as ``val_loss``.
    value : float
        Its value.
    callback : str
        As in :class:`CallbackResult`.
    """

    name: str = ""

    def __init__(self, name: str, value: float, *, callback: str = "") -> None:
        # The base declares its fields in another order, and a metric reads as name, value.
        object.__setattr__(self, "callback", callback)
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "name", name)
