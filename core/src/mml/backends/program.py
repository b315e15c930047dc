"""A program is a segment made executable; a block is the data of several steps of it.

Core gathers a block on the host, stages it once, and runs any range of its steps. Results never depend on
how steps are cut into blocks or ranges.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(slots=True)
class Block:
    """The inputs of consecutive steps of one segment.

    Parameters
    ----------
    values : mapping of str to array or list
        By input name: a host array of shape ``(steps, capacity, ...)``, live rows first in each step, or a
        list with one native array of live rows a step (None where there are none), as another program of
        the same backend returned it.
    rows : ndarray of int64, shape (steps, n_rows)
        Counts of live rows; the columns that inputs, calls and losses name.
    """

    values: Mapping[str, np.ndarray | list[Any]]
    rows: np.ndarray

    @property
    def n_steps(self) -> int:
        """How many steps the block holds."""
        return len(self.rows)


@dataclass(slots=True)
class Controls:
    """What changes from step to step besides the data.

    Parameters
    ----------
    seeds : ndarray of int64, shape (steps,)
        Seed of each step's random numbers.
    rates : ndarray of float64, shape (steps, n_optimizers)
        Learning rates.
    apply : ndarray of bool, shape (steps, n_optimizers)
        Whether the step ends with an update, or only accumulates.
    accumulated : ndarray of int64, shape (steps, n_losses)
        For each loss, the live rows of the whole accumulation window that the step belongs to; None where
        every step stands alone.
    contexts : sequence or None
        For each step, what losses with `SegmentLoss.context` receive; None where there are none.
    """

    seeds: np.ndarray
    rates: np.ndarray
    apply: np.ndarray | None = None
    accumulated: np.ndarray | None = None
    contexts: Sequence[Any] | None = None


@dataclass(slots=True)
class BlockResult:
    """What a range of steps gave.

    Parameters
    ----------
    losses : native array or None, shape (steps, n_losses)
        Loss values before weighting, on the device; NaN where a loss had no live row.
    outputs : dict of str to list
        By call key, one native array of live rows a step, None where the call did not run.
    """

    losses: Any
    outputs: dict[str, list[Any]]


class Program(ABC):
    """A segment, ready to run on staged blocks."""

    @abstractmethod
    def stage(self, block: Block) -> Any:
        """Bring a block to the device.

        Returns only when the host buffers of the block may be overwritten; except in mode ``fit``, where
        the one step's arrays are handed over uncopied and stay as they are until `run` has returned.
        """

    @abstractmethod
    def run(self, staged: Any, start: int, stop: int, controls: Controls) -> BlockResult:
        """Execute the steps ``start`` to ``stop - 1`` of a staged block.

        Reads the models' variables when it starts and has written them back when it returns. `controls`
        covers the whole block, not the range.
        """
