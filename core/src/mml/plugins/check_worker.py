"""The subprocess of ``mml plugins --check``: loads one plugin's targets, and says so before and after each.

Run as ``python -m mml.plugins.check_worker PLUGIN REPORT SKIP``. Every line is flushed at once, so that the
report is true up to the moment at which a target takes the interpreter down.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from mml.errors import PluginError
from mml.plugins.manager import get_manager
from mml.plugins.report import PluginState
from mml.registry import Component, describe


def main(arguments: list[str]) -> None:
    """Check one plugin.

    Parameters
    ----------
    arguments : list of str
        The plugin's name, the file to append the report to, and a JSON file of what is done already.
    """
    name, report_path, skip_path = arguments
    done = set(json.loads(Path(skip_path).read_text(encoding="utf-8")))
    with Path(report_path).open("a", encoding="utf-8") as report:
        try:
            status = get_manager().status(name)
        except PluginError as fault:
            _say(
                report, "row", {"plugin": name, "problem": f"a fresh process does not find it: {fault.what}"}
            )
            return
        components = [one for kind in status.components.values() for one in kind]
        if status.state is not PluginState.LOADED or not components:
            problem = None if status.state is PluginState.LOADED else f"{status.state}: {status.cause}"
            _say(report, "row", {"plugin": name, "problem": problem})
            components = []
        for component in components:
            if f"{component.kind}:{component.qualified}" not in done:
                _check(report, component)
        _say(report, "end", {})


def _check(report: TextIO, component: Component) -> None:
    place = {"kind": component.kind, "component": component.qualified, "target": str(component.target)}
    _say(report, "start", place)
    started, problem = time.perf_counter(), None
    try:
        component.load()
    except PluginError as fault:
        problem = fault.found or describe(fault)
    seconds = time.perf_counter() - started
    _say(
        report, "row", {"plugin": component.plugin, **place, "problem": problem, "seconds": round(seconds, 3)}
    )


def _say(report: TextIO, event: str, row: Mapping[str, object]) -> None:
    report.write(json.dumps({"event": event, "row": row}) + "\n")
    report.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
