"""What callbacks returned during a phase, by epoch, batch and callback."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from mml.errors import StateError
from mml.experiment.results.callback_result import CallbackResult
from mml.experiment.results.data_series import CallbackDataSeries
from mml.experiment.results.recorded_value import decode_result, encode_result
from mml.experiment.results.state_fields import field
from mml.protocols import State


@final
class CallbackLog:
    """Callback results in the order in which they were returned."""

    def __init__(self) -> None:
        self._entries: list[tuple[int, int | None, CallbackResult]] = []
        self._series: CallbackDataSeries | None = None

    def add(self, result: CallbackResult, *, epoch: int, batch: int | None) -> None:
        """Append a result."""
        self._entries.append((epoch, batch, result))
        self._series = None

    def series(self) -> CallbackDataSeries:
        """Return all results with axes (epoch, batch, callback)."""
        if self._series is None:
            axes: dict[str, list[Any]] = {
                "epoch": [epoch for epoch, _, _ in self._entries],
                "batch": [batch for _, batch, _ in self._entries],
                "callback": [result.callback for _, _, result in self._entries],
            }
            self._series = CallbackDataSeries(axes, [result for _, _, result in self._entries])
        return self._series

    def get_state(self) -> State:
        """Return all results; a value that cannot be saved is a `StateError` naming its callback."""
        return {
            "epoch": [int(epoch) for epoch, _, _ in self._entries],
            "batch": [None if batch is None else int(batch) for _, batch, _ in self._entries],
            "results": [encode_result(result) for _, _, result in self._entries],
        }

    @classmethod
    def from_state(cls, state: State, *, results: Callable[[State], Any]) -> CallbackLog:
        """Build a log from what :meth:`get_state` returned; `results` builds nested phase results."""
        epochs, batches = field(state, "epoch", kind=list), field(state, "batch", kind=list)
        entries = field(state, "results", kind=list)
        if not len(epochs) == len(batches) == len(entries):
            raise StateError("The columns of recorded callback results differ in length.")
        numbers = all(isinstance(one, int) for one in epochs)
        if not numbers or not all(one is None or isinstance(one, int) for one in batches):
            raise StateError("An epoch or batch of recorded callback results is not an integer.")
        log = cls()
        decoded = [decode_result(entry, results=results) for entry in entries]
        log._entries = list(zip(epochs, batches, decoded, strict=True))
        return log
