"""The process of ``mml plugins --check``: loads one plugin's targets, and says so before and after each."""

from __future__ import annotations

import sys
import time

from mml.errors import PluginError
from mml.plugins.manager import get_manager
from mml.plugins.report import PluginState
from mml.plugins.supervised import Report
from mml.registry import Component, describe


def main(arguments: list[str]) -> None:
    """Check one plugin.

    Parameters
    ----------
    arguments : list of str
        The plugin's name, the file to append the report to, and a JSON file of what is done already.
    """
    name, *files = arguments
    with Report.opened(*files) as report:
        try:
            status = get_manager().status(name)
        except PluginError as fault:
            report.row("", {"problem": f"a fresh process does not find it: {fault.what}"})
            return
        components = [one for kind in status.components.values() for one in kind]
        if status.state is not PluginState.LOADED or not components:
            problem = None if status.state is PluginState.LOADED else f"{status.state}: {status.cause}"
            report.row("", {"problem": problem})
            components = []
        for component in components:
            check_component(report, component)
        report.end()


def check_component(report: Report, component: Component) -> None:
    """Load a component, unless an earlier process tried it, and report what came of it."""
    key = f"{component.kind}:{component.qualified}"
    place = {"kind": component.kind, "component": component.qualified, "target": str(component.target)}
    if not report.begins(key, place):
        return
    started, problem = time.perf_counter(), None
    try:
        component.load()
    except PluginError as fault:
        problem = fault.found or describe(fault)
    seconds = round(time.perf_counter() - started, 3)
    report.row(key, {**place, "problem": problem, "seconds": seconds})


if __name__ == "__main__":
    main(sys.argv[1:])
