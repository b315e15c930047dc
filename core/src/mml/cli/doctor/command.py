"""The command: asks section by section, and prints each as soon as it is known."""

from __future__ import annotations

from pathlib import Path

from mml.cli.doctor.diagnosis import Diagnosis
from mml.cli.doctor.environment import examine_environment
from mml.cli.doctor.plugin_health import plugin_health
from mml.cli.doctor.rendering import show_environment, show_missing, show_plugin, show_verdict
from mml.cli.doctor.requirements import missing_extras
from mml.cli.errors import FAILED, SUCCESS
from mml.cli.output import console, print_json


def show_doctor(*, folder: Path, timeout_s: float, as_json: bool) -> int:
    """Print how this environment fares; return the exit status, 1 where something is broken."""
    screen = None if as_json else console()
    environment = tuple(examine_environment(folder))
    if screen is not None:
        show_environment(screen, environment)
    plugins = []
    for plugin in plugin_health(timeout_s=timeout_s):
        plugins.append(plugin)
        if screen is not None:
            show_plugin(screen, plugin)
    diagnosis = Diagnosis(environment, tuple(plugins), tuple(missing_extras()))
    if screen is None:
        print_json(diagnosis.to_dict())
    else:
        show_missing(screen, diagnosis.missing)
        show_verdict(screen, diagnosis)
    return FAILED if diagnosis.problems else SUCCESS
