"""Backends that are wrong in one small way: the suite must find each, by the check that names the fault."""

from mml_conformance.mutants.mutant import Mutant, all_mutants

__all__ = ["Mutant", "all_mutants"]
