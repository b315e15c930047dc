"""The conformance suite: what it means to be an MML backend."""

from mml_conformance.declaration import CAPABILITIES, Declaration, ExpectedFailure
from mml_conformance.registry import Check, all_checks
from mml_conformance.runner import Outcome, Report, run, run_checks

__all__ = [
    "CAPABILITIES",
    "Check",
    "Declaration",
    "ExpectedFailure",
    "Outcome",
    "Report",
    "all_checks",
    "run",
    "run_checks",
]
