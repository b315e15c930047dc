"""The suite is not empty: every mutant dies of the check that names it, every check kills a mutant."""

import functools

import pytest

from mml_conformance import all_checks, run_checks
from mml_conformance.mutants import all_mutants
from mml_conformance.reference.conformance import DECLARATION

MUTANTS = all_mutants()


@functools.cache
def failed_by(name):
    (mutant,) = [one for one in MUTANTS if one.name == name]
    return frozenset(outcome.id for outcome in run_checks(mutant.backend(), declaration=DECLARATION).failed)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda one: one.name)
def test_a_mutant_dies_of_the_checks_that_name_its_fault(mutant):
    failed = failed_by(mutant.name)
    assert set(mutant.killed_by) <= failed
    # One that fails nearly everything merely crashes, and proves nothing.
    assert len(failed) < 0.7 * len(all_checks())


def test_every_check_kills_a_mutant():
    killing = frozenset().union(*(failed_by(mutant.name) for mutant in MUTANTS))
    assert {one.id for one in all_checks()} - killing == set()
