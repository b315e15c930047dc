"""What a mutant is: it runs without raising and passes most checks, since one that crashes proves nothing."""

from __future__ import annotations

from dataclasses import dataclass

from mml.backends import ComputeBackend


@dataclass(frozen=True)
class Mutant:
    """A backend with one fault.

    Parameters
    ----------
    name : str
        The fault.
    backend : type
    killed_by : tuple of str
        Checks that must fail, among others.
    """

    name: str
    backend: type[ComputeBackend]
    killed_by: tuple[str, ...]


def all_mutants() -> tuple[Mutant, ...]:
    """Return every mutant."""
    from mml_conformance.mutants import arrays, models, programs, rules, steps

    return (*arrays.MUTANTS, *models.MUTANTS, *programs.MUTANTS, *rules.MUTANTS, *steps.MUTANTS)
