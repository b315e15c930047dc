"""``mml doctor``: this environment, its plugins and their frameworks, what is broken, and what mends it."""

from mml.cli.doctor.command import show_doctor
from mml.cli.doctor.diagnosis import Diagnosis, PluginHealth
from mml.cli.doctor.plugin_health import plugin_health

__all__ = ["Diagnosis", "PluginHealth", "plugin_health", "show_doctor"]
