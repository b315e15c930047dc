"""``mml plugins --check``: every target of every plugin is loaded, in a subprocess per plugin.

A framework may abort the interpreter, hang, or exit. The subprocess says what it is about to load before it
does, so that whatever kills it becomes a row, and the rest is tried in a fresh one.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from mml.errors import PluginError, did_you_mean
from mml.plugins.manager import STRICT_VARIABLE, PluginManager, get_manager
from mml.plugins.report import PluginState, PluginStatus, TargetCheck

_WORKER = "mml.plugins.check_worker"
_LAST_WORDS = 400


def check_plugins(
    names: Iterable[str] | None = None, *, manager: PluginManager | None = None, timeout_s: float = 120.0
) -> list[TargetCheck]:
    """Load every component of every plugin, and report what came of each.

    Parameters
    ----------
    names : iterable of str, optional
        The plugins to check; by default all that are installed.
    manager : PluginManager, optional
        Whose plugins; by default this process's.
    timeout_s : float
        How long one component may take, its plugin's own import included.

    Returns
    -------
    list of TargetCheck
        At least one row per plugin; a plugin that cannot be loaded at all has one row that says why.

    Raises
    ------
    PluginError
        If `names` holds a name that no plugin has.
    """
    known = {status.name: status for status in reversed((manager or get_manager()).scan())}
    chosen = list(reversed(known)) if names is None else list(dict.fromkeys(names))
    for name in chosen:
        if name not in known:
            raise PluginError(f"There is no plugin {name!r}.", hint=did_you_mean(name, known))
    return [row for name in chosen for row in _check(known[name], timeout_s)]


def _check(status: PluginStatus, timeout_s: float) -> Iterator[TargetCheck]:
    if status.state in (PluginState.BLOCKED, PluginState.BROKEN, PluginState.INCOMPATIBLE):
        yield TargetCheck(status.name, problem=f"{status.state}: {status.cause}")
        return
    done: list[str] = []
    while True:
        finished = False
        for row in _run(status.name, done, timeout_s):
            if row is None:
                finished = True
                continue
            yield row
            done.append(f"{row.kind}:{row.component}")
            # Without a component the plugin itself is at fault, and another attempt would end alike.
            finished = finished or not row.component
        if finished:
            return


def _run(name: str, done: list[str], timeout_s: float) -> Iterator[TargetCheck | None]:
    """Run one subprocess; yield its rows, a row for what killed it, and None if it came to its end."""
    import subprocess
    import tempfile
    from pathlib import Path

    with tempfile.TemporaryDirectory() as folder:
        report, skip, words = (Path(folder, part) for part in ("report.jsonl", "skip.json", "stderr"))
        skip.write_text(json.dumps(done), encoding="utf-8")
        report.touch()
        command = [sys.executable, "-P", "-m", _WORKER, name, str(report), str(skip)]
        with words.open("wb") as stderr:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=_environment(),
            )
            timed_out = _wait(process, report, timeout_s)
        last_words = words.read_text(encoding="utf-8", errors="replace").strip()[-_LAST_WORDS:]
        started: dict[str, Any] | None = {}
        for line in report.read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            if event["event"] == "start":
                started = event["row"]
            elif event["event"] == "row":
                started = None
                yield TargetCheck(**event["row"])
            else:
                yield None
                return
    problem = f"no result within {timeout_s:g} s" if timed_out else _death(process.returncode)
    problem += f": {' '.join(last_words.split())}" if last_words and not timed_out else ""
    yield TargetCheck(name, **(started or {}), problem=problem)


def _wait(process: Any, report: Any, timeout_s: float) -> bool:
    """Wait for the end of a subprocess, or kill it once it has said nothing for the time allowed."""
    import subprocess

    said = 0
    while True:
        try:
            process.wait(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            size = report.stat().st_size
            if size != said:
                said = size
                continue
            process.kill()
            process.wait()
            return True
        return False


def _environment() -> dict[str, str]:
    """Return this process's environment and import path; strictness would hide the other plugins' rows."""
    environment = {key: value for key, value in os.environ.items() if key != STRICT_VARIABLE}
    environment["PYTHONPATH"] = os.pathsep.join(path or os.getcwd() for path in sys.path)
    return environment


def _death(status: int) -> str:
    if status >= 0:
        return f"it ended the interpreter with status {status}"
    try:
        return f"it killed the interpreter: {signal.Signals(-status).name}"
    except ValueError:
        return f"it killed the interpreter: signal {-status}"
