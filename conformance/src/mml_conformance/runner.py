"""Runs the checks against a backend and counts them. Nothing is skipped because it raised."""

from __future__ import annotations

import json as json_format
import random
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import numpy as np

from mml.backends import ComputeBackend, get_backend
from mml.errors import ConfigError, MMLError, did_you_mean
from mml.plugins import get_manager
from mml_conformance.declaration import Declaration, ExpectedFailure, declaration_of
from mml_conformance.expect import RequirementError
from mml_conformance.registry import Check, all_checks
from mml_conformance.subject import Subject

PASSED, FAILED, EXPECTED, UNSUPPORTED, BLOCKED = (
    "passed",
    "failed",
    "expected failure",
    "unsupported",
    "blocked",
)


@dataclass(frozen=True)
class Outcome:
    """What came of one check."""

    id: str
    requirement: str
    status: str
    expected: str = ""
    seen: str = ""
    given: str = ""
    tolerance: str = ""
    reproduce: str = ""

    def __str__(self) -> str:
        lines = [f"{self.status.upper()} {self.id}: {self.requirement}"]
        for name in ("given", "expected", "seen", "tolerance", "reproduce"):
            if getattr(self, name):
                lines.append(f"  {name}: {getattr(self, name)}")
        return "\n".join(lines)


@dataclass(frozen=True)
class Report:
    """What came of a run.

    Parameters
    ----------
    backend : str
    outcomes : tuple of Outcome
    problems : tuple of str
        What is wrong with the declaration itself.
    """

    backend: str
    outcomes: tuple[Outcome, ...]
    problems: tuple[str, ...] = ()
    counts: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        by_status = {
            status: self._count(status) for status in (PASSED, FAILED, EXPECTED, UNSUPPORTED, BLOCKED)
        }
        run = by_status[PASSED] + by_status[FAILED] + by_status[EXPECTED]
        object.__setattr__(self, "counts", {"applicable": run + by_status[BLOCKED], "run": run, **by_status})

    def _count(self, status: str) -> int:
        return sum(one.status == status for one in self.outcomes)

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The checks that failed."""
        return tuple(one for one in self.outcomes if one.status == FAILED)

    @property
    def is_conformant(self) -> bool:
        """Whether everything that was declared holds, and everything applicable was run."""
        whole = self.counts["run"] > 0 and self.counts["run"] == self.counts["applicable"]
        return whole and not self.failed and not self.problems

    def to_json(self) -> str:
        """Return the report as JSON."""
        document = {
            "backend": self.backend,
            "conformant": self.is_conformant,
            "counts": self.counts,
            "problems": list(self.problems),
            "outcomes": [asdict(one) for one in self.outcomes],
        }
        return json_format.dumps(document, indent=2)

    def __str__(self) -> str:
        told = [str(one) for one in self.outcomes if one.status not in (PASSED, UNSUPPORTED)]
        counts = ", ".join(f"{number} {name}" for name, number in self.counts.items())
        verdict = "conforms" if self.is_conformant else "does not conform"
        return "\n".join([*told, *self.problems, f"The backend {self.backend!r} {verdict}: {counts}."])


def run_checks(
    backend: str | ComputeBackend,
    *,
    declaration: Declaration | None = None,
    only: Collection[str] | None = None,
) -> Report:
    """Run the suite against a backend.

    Parameters
    ----------
    backend : str or ComputeBackend
        A backend's name, or a backend itself.
    declaration : Declaration, optional
        By default the one that ships with the backend.
    only : collection of str, optional
        Ids or groups to run; by default all.

    Raises
    ------
    ConfigError
        If `only` names what does not exist.
    """
    subject_backend = get_backend(backend) if isinstance(backend, str) else backend
    declared = declaration_of(subject_backend) if declaration is None else declaration
    checks = all_checks()
    chosen = _chosen(checks, only)
    subject = Subject(subject_backend, declared)
    forgiven = {one.id: one for one in declared.expected_failures}
    outcomes: dict[str, Outcome] = {}
    for one in chosen:
        blocking = [name for name in one.blocked_by if outcomes.get(name, _NONE).status in (FAILED, BLOCKED)]
        outcomes[one.id] = _blocked(one, blocking) if blocking else _tried(one, subject, forgiven)
    unknown = sorted(set(forgiven) - {one.id for one in checks})
    problems = [f"The declaration expects a failure of {name!r}, which is no check." for name in unknown]
    problems += _expired(subject_backend, declared.expected_failures)
    return Report(subject_backend.name, tuple(outcomes.values()), tuple(problems))


def run(name: str, json: bool = False, *, only: Collection[str] | None = None) -> int:
    """Run the suite and print its report: what ``mml conformance NAME`` does.

    Parameters
    ----------
    name : str
        The backend's name.
    json : bool
        Print JSON.
    only : collection of str, optional
        Ids or groups to run.

    Returns
    -------
    int
        0 if the backend conforms, 1 if not, 2 if there is no such backend or check.
    """
    try:
        report = run_checks(name, only=only)
    except MMLError as refusal:
        sys.stderr.write(f"{refusal}\n")
        return 2
    sys.stdout.write(f"{report.to_json() if json else report}\n")
    return 0 if report.is_conformant else 1


def _expired(backend: ComputeBackend, failures: tuple[ExpectedFailure, ...]) -> list[str]:
    """Name the expected failures that were to be gone in the installed version of the plugin."""
    if not failures:
        return []
    manager = get_manager()
    version = manager.status(manager.registry("backends").resolve(backend.name).plugin).version
    return [
        f"The failure of {one.id!r} was to be gone in version {one.expires}; this is {version}."
        for one in failures
        if _numbers(version) >= _numbers(one.expires)
    ]


def _numbers(version: str) -> tuple[int, ...]:
    """Return a version as numbers to compare; a development version counts for the one that it leads to."""
    return tuple(int(one) for one in re.findall(r"\d+", version))


def _chosen(checks: tuple[Check, ...], only: Collection[str] | None) -> tuple[Check, ...]:
    if only is None:
        return checks
    known = {one.id for one in checks} | {one.group for one in checks}
    for name in only:
        if name not in known:
            raise ConfigError(f"There is no check {name!r}.", hint=did_you_mean(name, known))
    return tuple(one for one in checks if one.id in only or one.group in only)


def _tried(one: Check, subject: Subject, forgiven: dict[str, ExpectedFailure]) -> Outcome:
    reproduce = (
        f'python -c "from mml_conformance import run; run({subject.backend.name!r}, only=[{one.id!r}])"'
    )
    level = subject.declaration.level(one.needs)
    failure = _failure(one, subject)
    told = (
        {}
        if failure is None
        else {
            "expected": failure.expected,
            "seen": failure.seen,
            "given": failure.given,
            "tolerance": failure.tolerance,
        }
    )
    if level != "full":
        return _refused(one, level, failure, reproduce)
    if one.id in forgiven:
        if failure is None:
            told = {"expected": f"a failure, as declared: {forgiven[one.id].reason}", "seen": "it passes"}
        return Outcome(
            one.id, one.requirement, FAILED if failure is None else EXPECTED, **told, reproduce=reproduce
        )
    if failure is None:
        return Outcome(one.id, one.requirement, PASSED)
    return Outcome(one.id, one.requirement, FAILED, **told, reproduce=reproduce)


def _refused(one: Check, level: str, failure: RequirementError | None, reproduce: str) -> Outcome:
    """Hold a backend to refusing politely what it declares not to do."""
    if isinstance(failure, _RaisedError) and isinstance(failure.__cause__, MMLError):
        return Outcome(one.id, one.requirement, UNSUPPORTED)
    return Outcome(
        one.id,
        one.requirement,
        FAILED,
        expected=f"an MMLError, since {one.needs!r} is declared as {level!r}",
        seen="it passes" if failure is None else failure.seen,
        reproduce=reproduce,
    )


class _RaisedError(RequirementError):
    """A check that ended in an error of the backend's."""


def _failure(one: Check, subject: Subject) -> RequirementError | None:
    try:
        with _generators_kept():
            one.function(subject)
    except RequirementError as failure:
        return failure
    except Exception as cause:  # noqa: BLE001 -- whatever the backend raises is a failure and told as one
        raised = _RaisedError(expected="no error", seen=f"{type(cause).__name__}: {cause}")
        raised.__cause__ = cause
        return raised
    return None


@contextmanager
def _generators_kept() -> Iterator[None]:
    """Put the global generators back: a check or a faulty backend that draws from them leaves no trace."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _blocked(one: Check, blocking: list[str]) -> Outcome:
    return Outcome(one.id, one.requirement, BLOCKED, seen=f"failed: {', '.join(blocking)}")


_NONE = Outcome("", "", PASSED)
