"""The conformance suite: what it means to be an MML backend.

Names are imported when they are asked for, because finding the reference plugin imports this package.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mml_conformance.declaration import CAPABILITIES, Declaration, ExpectedFailure
    from mml_conformance.registry import Check, all_checks
    from mml_conformance.runner import Outcome, Report, run, run_checks

_HOMES = {
    "CAPABILITIES": "declaration",
    "Check": "registry",
    "Declaration": "declaration",
    "ExpectedFailure": "declaration",
    "Outcome": "runner",
    "Report": "runner",
    "all_checks": "registry",
    "run": "runner",
    "run_checks": "runner",
}

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


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
