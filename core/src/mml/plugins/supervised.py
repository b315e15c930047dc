"""Asking a plugin in a process of its own, where it may abort the interpreter, hang, or exit.

The worker says what it is about to do before it does it, so that whatever ends it becomes a row, and the rest
is tried in a fresh one. A worker is a module run as ``python -m WORKER PLUGIN REPORT SKIP``.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TextIO

from mml.plugins.manager import STRICT_VARIABLE

Row = dict[str, Any]

_LAST_WORDS = 400
_KEY = "key"


def supervised(worker: str, plugin: str, *, timeout_s: float) -> Iterator[Row]:
    """Run a worker until it has come to its end, in a fresh process after each one that died.

    Parameters
    ----------
    worker : str
        The module to run.
    plugin : str
        The plugin that it is to ask.
    timeout_s : float
        How long it may say nothing.

    Yields
    ------
    dict
        The worker's rows; for what ended a process, the row that it had started, with ``problem``. Where it
        had started none, that row has nothing but ``problem``, and is the last.
    """
    done: list[str] = []
    while True:
        finished = False
        for row in _run(worker, plugin, done, timeout_s):
            if row is None:
                finished = True
                continue
            key = row.pop(_KEY, "")
            yield row
            done.append(key)
            # Where nothing had been started the plugin itself is at fault: another attempt would end alike.
            finished = finished or not key
        if finished:
            return


class Report:
    """What a worker says to the process that started it; every line is there before the next thing happens.

    Parameters
    ----------
    file : text file
    skip : set of str
        Keys of what an earlier process did.
    """

    def __init__(self, file: TextIO, skip: set[str]) -> None:
        self._file = file
        self._skip = skip

    @classmethod
    @contextmanager
    def opened(cls, report_path: str, skip_path: str) -> Iterator[Self]:
        """Open the files that a worker is given."""
        skip = set(json.loads(Path(skip_path).read_text(encoding="utf-8")))
        with Path(report_path).open("a", encoding="utf-8") as file:
            yield cls(file, skip)

    def did(self, key: str) -> bool:
        """Whether an earlier process said what came of something."""
        return key in self._skip

    def begins(self, key: str, row: Mapping[str, Any]) -> bool:
        """Say what is about to be done, and whether it is still to do."""
        if key in self._skip:
            return False
        self._say("start", {_KEY: key, **row})
        return True

    def row(self, key: str, row: Mapping[str, Any]) -> None:
        """Say what came of it."""
        self._say("row", {_KEY: key, **row})

    def end(self) -> None:
        """Say that everything was done."""
        self._say("end", {})

    def _say(self, event: str, row: Mapping[str, Any]) -> None:
        self._file.write(json.dumps({"event": event, "row": row}) + "\n")
        self._file.flush()


def _run(worker: str, plugin: str, done: list[str], timeout_s: float) -> Iterator[Row | None]:
    """Run one process; yield its rows, a row for what killed it, and None if it came to its end."""
    import subprocess
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        report, skip, words = (Path(folder, part) for part in ("report.jsonl", "skip.json", "stderr"))
        skip.write_text(json.dumps(done), encoding="utf-8")
        report.touch()
        with words.open("wb") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", worker, plugin, str(report), str(skip)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                env=_environment(),
            )
            timed_out = _wait(process, report, timeout_s)
        last_words = words.read_text(encoding="utf-8", errors="replace").strip()[-_LAST_WORDS:]
        started: Row | None = {}
        for line in report.read_text(encoding="utf-8").splitlines():
            event = json.loads(line)
            if event["event"] == "start":
                started = event["row"]
            elif event["event"] == "row":
                started = None
                yield event["row"]
            else:
                yield None
                return
    problem = f"no result within {timeout_s:g} s" if timed_out else _death(process.returncode)
    problem += f": {' '.join(last_words.split())}" if last_words and not timed_out else ""
    yield {**(started or {}), "problem": problem}


def _wait(process: Any, report: Any, timeout_s: float) -> bool:
    """Wait for the end of a process, or kill it once it has said nothing for the time allowed."""
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
