"""Measure contenders fairly: one process, alternating rounds, medians of the rounds' own ratios.

This module knows nothing of what is measured; a contender is a name and a function that runs some units of
work and returns the seconds that one unit took.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True)
class Settings:
    """How a benchmark runs.

    Parameters
    ----------
    rounds : int
        Measured rounds; each contender runs once in each.
    threads : int
        Threads that a framework may use.
    """

    rounds: int = 9
    threads: int = 1


@dataclass(frozen=True)
class Contender:
    """One way to do the same work.

    Parameters
    ----------
    name : str
    run : callable
        Does the work of one round and returns the seconds for one unit of it. It is called once before the
        rounds, to warm up, and prepares itself outside of what it times.
    """

    name: str
    run: Callable[[], float]


@dataclass(frozen=True)
class Budget:
    """What one contender may cost, as a multiple of another's time."""

    name: str
    reference: str
    ratio: float


@dataclass
class Report:
    """What a benchmark found.

    Parameters
    ----------
    title : str
    unit : str
        What a number in the table is, for example ``"µs a step"``.
    scale : float
        From seconds to that unit.
    times : dict of str to list of float
        Contender → seconds for one unit in each round.
    reference : str
        The contender that the others are compared with.
    budgets : list of Budget
    notes : list of str
        Lines under the table: what was left out, what was checked.
    packages : tuple of str
        Distributions whose versions belong to the result.
    section : str
        Name of its part of RESULTS.md; that of the benchmark where it is empty.
    """

    title: str
    unit: str
    scale: float
    times: dict[str, list[float]]
    reference: str
    budgets: list[Budget] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    packages: tuple[str, ...] = ()
    section: str = ""

    def typical(self, name: str) -> float:
        """Return the median seconds of one unit."""
        return median(self.times[name])

    def ratio(self, name: str, reference: str) -> float:
        """Return the median over the rounds of one contender's time divided by another's."""
        return median(a / b for a, b in zip(self.times[name], self.times[reference], strict=True))


def measure(contenders: Sequence[Contender], *, rounds: int) -> dict[str, list[float]]:
    """Run the contenders in alternating rounds.

    Parameters
    ----------
    contenders : sequence of Contender
    rounds : int
        Each contender runs `rounds` times, after one run that does not count.

    Returns
    -------
    dict of str to list of float
        Contender → seconds for one unit, by round.
    """
    times: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for contender in contenders:
        contender.run()
    for turn in range(rounds):
        start = turn % len(contenders)
        # Whoever comes after a heavy one would pay for its garbage and its caches: everyone takes each place.
        for contender in [*contenders[start:], *contenders[:start]]:
            gc.collect()
            times[contender.name].append(contender.run())
    return times
