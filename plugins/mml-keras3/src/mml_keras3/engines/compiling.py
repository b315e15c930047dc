"""What an engine that compiles brings beyond the common protocol: to differentiate, choose, loop, compile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from mml_keras3.engines.engine import Engine


class Differentiated(Protocol):
    """A function with its gradient.

    Attributes
    ----------
    reached : list of bool
        For each parameter, whether any gradient flows to it, whatever the values are.
    """

    reached: list[bool]

    def run(self, parameters: Sequence[Any], rest: Any) -> tuple[list[Any], Any]:
        """Return the gradients, None for what is not reached, and what the function returned beside."""
        ...

    def once(self, parameters: Sequence[Any], rest: Any) -> tuple[list[Any], Any]:
        """Return the same, outside of any executable."""
        ...


class CompilingEngine(Engine, Protocol):
    """An engine that turns a pure function into an executable."""

    def differentiate(
        self, function: Callable[..., Any], parameters: Sequence[Any], rest: Any, *, learns: bool, eager: bool
    ) -> Differentiated:
        """Trace ``function(parameters, rest) -> (total, more)`` and its gradient for arrays like these."""
        ...

    def at(self, array: Any, number: Any) -> Any:
        """Return one row of an array; the number may be traced."""
        ...

    def cond(self, condition: Any, then: Callable[[], Any], otherwise: Callable[[], Any]) -> Any:
        """Return what one of two functions gives; only that one runs."""
        ...

    def executable(
        self, step: Callable[..., Any], differentiated: Any, *, device: str | None, compiler: bool
    ) -> Callable[..., Any]:
        """Return ``(start, stop, held, fixed) -> (held, losses, outputs)`` over a range of steps.

        Losses come as parts for `joined`; outputs as a list for each step. Whether the steps stand in a loop
        inside one executable or are called from Python is fixed here, by what the step is made of.
        """
        ...

    def stage(self, array: np.ndarray, device: str | None) -> Any:
        """Take over a host array that nobody else will write to."""
        ...

    def joined(self, parts: Sequence[tuple[Any, int, int]]) -> Any:
        """Return rows of several arrays, from and to a number each, as one array."""
        ...
