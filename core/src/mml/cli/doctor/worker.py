"""The process in which the doctor asks one plugin: its frameworks, backends, devices, findings, components.

Whatever it asks, it says so before; see `mml.plugins.supervised`.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Callable
from typing import Any

from mml.backends import ComputeBackend, get_backend
from mml.cli.doctor.requirements import version_of_module
from mml.errors import MMLError, PluginError
from mml.plugins import PluginState, PluginStatus, get_manager
from mml.plugins.check_worker import check_component
from mml.plugins.supervised import Report
from mml.registry import Component, describe

Fields = dict[str, Any]


def main(arguments: list[str]) -> None:
    """Ask one plugin.

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
            report.row("", {"group": "plugin", "problem": f"a fresh process does not find it: {fault.what}"})
            return
        report.row("plugin", {"group": "plugin", **_state(status)})
        if status.state in (PluginState.LOADED, PluginState.MISSING_DEPENDENCY):
            _ask(report, status)
        report.end()


def _state(status: PluginStatus) -> Fields:
    return {
        "name": str(status.state),
        "value": status.origin,
        "problem": None if status.healthy else (status.cause or str(status.state)),
        "hint": status.hint,
    }


def _ask(report: Report, status: PluginStatus) -> None:
    for module in status.requires:
        if not _is_there(module):
            # What the plugin misses stands in its state, with the command that brings it.
            continue
        _row(report, "frameworks", module, lambda module=module: _framework(module))  # type: ignore[misc]
    if status.state is not PluginState.LOADED:
        return
    for component in status.components.get("backends", ()):
        _backend(report, component)
    _findings(report, status.name)
    for components in status.components.values():
        for component in components:
            check_component(report, component)


def _row(report: Report, group: str, name: str, ask: Callable[[], Fields]) -> None:
    """Ask one thing, unless an earlier process tried to; whatever goes wrong is its problem."""
    key, place = f"{group}:{name}", {"group": group, "name": name}
    if not report.begins(key, place):
        return
    try:
        found = ask()
    except KeyboardInterrupt:
        raise
    except BaseException as fault:  # noqa: BLE001 - SystemExit too: it is what the doctor is looking for
        found = _told(fault)
    report.row(key, {**place, **found})


def _told(fault: BaseException) -> Fields:
    if not isinstance(fault, MMLError):
        return {"problem": describe(fault)}
    told = [fault.what, *([f"Found: {fault.found}"] if fault.found else [])]
    return {"problem": " ".join(" ".join(told).split()), "hint": fault.hint}


def _is_there(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        # A module that another one put in place without saying where it is from: importing it tells.
        return module in sys.modules


def _framework(module: str) -> Fields:
    return {"value": version_of_module(module, importlib.import_module(module))}


def _backend(report: Report, component: Component) -> None:
    name, key = component.name, f"backends:{component.name}"
    place, declared = {"group": "backends", "name": name}, f"{key}:declared"
    # A device may have ended the process that had it declared: it is loaded again, for the other devices.
    if not report.did(declared) and not report.begins(key, place):
        return
    try:
        capabilities = dataclasses.asdict(_loaded(component).capabilities)
    except PluginError:
        # That it cannot be loaded is told among the components, with the reason.
        report.row(key, {"group": "done"})
        return
    except Exception as fault:  # noqa: BLE001 - whatever a plugin declares instead is its row
        report.row(key, {**place, **_told(fault)})
        return
    if not report.did(declared):
        report.row(declared, {**place, "data": capabilities})
    for device in capabilities["devices"]:
        _row(report, "devices", f"{name} on {device}", lambda device=device: _round_trip(name, device))  # type: ignore[misc]


def _loaded(component: Component) -> type[ComputeBackend]:
    backend: type[ComputeBackend] = component.load()
    return backend


def _round_trip(name: str, device: str) -> Fields:
    """Send numbers to a device and back: a device that is listed and does not work is the worst of all."""
    import numpy as np

    backend = get_backend(name)
    sent = np.arange(6, dtype=np.float32).reshape(2, 3)
    back = backend.to_numpy(backend.to_array(sent, device=device))
    if not np.array_equal(back, sent):
        return {"problem": "Numbers that were sent there came back changed."}
    return {"value": "works"}


def _findings(report: Report, name: str) -> None:
    key, place = "findings", {"group": "findings", "name": "health"}
    if not report.begins(key, place):
        return
    try:
        findings = get_manager().health(name)
    except KeyboardInterrupt:
        raise
    except BaseException as fault:  # noqa: BLE001 - whatever a plugin's own hook does is its row
        report.row(key, {**place, **_told(fault)})
        return
    for number, one in enumerate(findings):
        report.row(f"findings:{number}", {"group": "findings", **dataclasses.asdict(one)})
    report.row(key, {"group": "done"})


if __name__ == "__main__":
    main(sys.argv[1:])
