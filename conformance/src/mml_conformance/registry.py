"""What a check is, and where the checks are found.

A check is a function of a `Subject` that raises `RequirementError`. There is no subclassing and no list to
keep: a module of `checks` holds `Check` objects, and all of them count.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass

from mml_conformance.subject import Subject

CheckFunction = Callable[[Subject], None]


@dataclass(frozen=True)
class Check:
    """One requirement that a backend is held to.

    Parameters
    ----------
    id : str
        ``GROUP-what``, stable for ever: declarations name it.
    requirement : str
        What must hold, in one sentence.
    function : callable
        Takes a `Subject`; returns if the requirement holds, raises `RequirementError` if not.
    needs : str
        The capability that it is about; empty where every backend has it.
    blocked_by : tuple of str
        Checks without which this one proves nothing.
    since : str
        The version of the suite that brought it.
    """

    id: str
    requirement: str
    function: CheckFunction
    needs: str = ""
    blocked_by: tuple[str, ...] = ()
    since: str = "0.1"

    @property
    def group(self) -> str:
        """The part of the id before the first dash."""
        return self.id.partition("-")[0]


def check(
    id: str,  # noqa: A002 -- the field's own name
    requirement: str,
    *,
    needs: str = "",
    blocked_by: tuple[str, ...] = (),
) -> Callable[[CheckFunction], Check]:
    """Make a check of the function below."""

    def made(function: CheckFunction) -> Check:
        return Check(id, requirement, function, needs=needs, blocked_by=blocked_by)

    return made


def all_checks() -> tuple[Check, ...]:
    """Return every check of the suite: in the order of the modules' names, then of their definition.

    A module may hold checks by name, or tuples of them where one requirement is told for many names.
    """
    package = importlib.import_module("mml_conformance.checks")
    found: dict[str, Check] = {}
    for entry in sorted(pkgutil.iter_modules(package.__path__), key=lambda one: one.name):
        module = importlib.import_module(f"{package.__name__}.{entry.name}")
        for value in vars(module).values():
            for one in value if isinstance(value, tuple) else (value,):
                if isinstance(one, Check):
                    found.setdefault(one.id, one)
    return tuple(found.values())
