"""What holds for every test of the workspace: it repeats, and it leaves the process as it found it.

Each test gets an experiment context of its own, so that labels may repeat from test to test. What it
changes in the process and does not change back fails it at teardown, named piece by piece.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from mml.context import ExperimentContext
from mml.plugins import KINDS, get_manager

_GRACE_S = 2.0

# The same examples on every run, and no test fails for being slow: a failure that CI sees can be seen again.
# `pytest --hypothesis-profile=explore` looks for new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=1000, deadline=None)
settings.load_profile("repeatable")

# A shell starts what runs in its background with Ctrl-C ignored, and every child inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# pytest writes the current test there; the others are set by libraries when they are first imported.
_NOT_OURS = ("PYTEST_CURRENT_TEST", "KMP_", "TORCHINDUCTOR_")


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_NOT_OURS)}


def _threads() -> dict[int, str]:
    return {thread.ident: thread.name for thread in threading.enumerate() if thread.ident is not None}


def _numpy_random_state() -> dict[str, str]:
    state: dict[str, Any] = np.random.get_state(legacy=False)
    return {"state": repr((state["state"]["key"].tobytes(), state["state"]["pos"], state["has_gauss"]))}


def _registered() -> dict[str, str]:
    manager = get_manager()
    names = {f"{kind}: {name}": "" for kind in KINDS for name in manager.registry(kind).names()}
    return names | {f"plugin {status.name}": status.state for status in manager.scan()}


def _default_context() -> dict[str, str]:
    return {node.label: node.uuid for node in ExperimentContext.process_default()}


# Python's own generator is not among them: libraries draw from it when they are imported.
_WATCHES: dict[str, Callable[[], dict[Any, str]]] = {
    "environment variables": _environment,
    "threads": _threads,
    "NumPy's global random state": _numpy_random_state,
    "registered components": _registered,
    "nodes in the default context": _default_context,
}


@pytest.fixture(autouse=True)
def leaves_no_trace() -> Iterator[None]:
    """Fail a test that leaves a trace in the process, and give it an experiment context of its own."""
    before = {what: watch() for what, watch in _WATCHES.items()}
    with ExperimentContext().activate():
        yield
    _wait_for_threads(before["threads"])
    leaks = {what: _difference(before[what], watch()) for what, watch in _WATCHES.items()}
    listed = "\n".join(f"  {what}: {', '.join(changes)}" for what, changes in leaks.items() if changes)
    assert not listed, f"This test leaves traces in its process:\n{listed}"


def _wait_for_threads(before: dict[Any, str]) -> None:
    # A thread that was told to stop may need a moment; one that was not will still be there.
    deadline = time.monotonic() + _GRACE_S
    while _threads().keys() - before.keys() and time.monotonic() < deadline:
        time.sleep(0.01)


def _difference(before: dict[Any, str], after: dict[Any, str]) -> list[str]:
    added = [f"new {after[key] if isinstance(key, int) else key!r}" for key in after.keys() - before.keys()]
    # A thread that ended is no trace.
    gone = [f"gone {key!r}" for key in before.keys() - after.keys() if not isinstance(key, int)]
    changed = [f"changed {key!r}" for key in before.keys() & after.keys() if before[key] != after[key]]
    return sorted(added + gone + changed)
