"""Asking every plugin how it fares, each in a process of its own; nothing of a plugin is imported here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from mml.cli.doctor.diagnosis import PluginHealth
from mml.cli.doctor.requirements import unmet_requirements
from mml.errors import listed
from mml.plugins import Finding, PluginManager, PluginState, PluginStatus, get_manager
from mml.plugins.supervised import supervised

_WORKER = "mml.cli.doctor.worker"


def plugin_health(
    names: Iterable[str] | None = None, *, manager: PluginManager | None = None, timeout_s: float = 60.0
) -> Iterator[PluginHealth]:
    """Yield how each plugin fares, core first.

    Parameters
    ----------
    names : iterable of str, optional
        The plugins to ask; by default all that are installed.
    manager : PluginManager, optional
        Whose plugins; by default this process's.
    timeout_s : float
        How long one question to a plugin may take, such as importing its framework.
    """
    chosen = None if names is None else set(names)
    for status in (manager or get_manager()).scan():
        if chosen is not None and status.name not in chosen:
            continue
        if status.state is PluginState.BLOCKED:
            yield PluginHealth(status.name, status.distribution, status.version, str(status.state))
        elif status.state in (PluginState.BROKEN, PluginState.INCOMPATIBLE):
            trouble = Finding(str(status.state), "", status.cause or "no cause is known", status.hint)
            yield PluginHealth(
                status.name, status.distribution, status.version, str(status.state), findings=(trouble,)
            )
        else:
            yield _asked(status, timeout_s)


def _asked(status: PluginStatus, timeout_s: float) -> PluginHealth:
    answers = _Answers()
    try:
        for row in supervised(_WORKER, status.name, timeout_s=timeout_s):
            answers.take(row)
    except OSError as fault:
        # No process, or no folder for its report: what the environment says tells more.
        answers.take({"problem": f"no process can be started for it: {fault}"})
    return PluginHealth(
        status.name,
        status.distribution,
        status.version,
        str(answers.state or status.state),
        frameworks=tuple(answers.frameworks),
        backends=answers.backends,
        findings=(
            *unmet_requirements(status.distribution),
            *answers.findings,
            *answers.unloadable(),
        ),
        n_components=answers.n_components,
    )


class _Answers:
    """The rows of one plugin, sorted out as they come in."""

    def __init__(self) -> None:
        self.state: str | None = None
        self.frameworks: list[Finding] = []
        self.backends: dict[str, dict[str, Any]] = {}
        self.findings: list[Finding] = []
        self.n_components = 0
        self._failed: dict[str, list[dict[str, Any]]] = {}

    def unloadable(self) -> Iterator[Finding]:
        """Yield the components that cannot be loaded, those that fail alike together."""
        for problem, rows in self._failed.items():
            first = rows[0]
            if len(rows) > 1:
                names = listed(row["component"] for row in rows)
                yield Finding(f"{len(rows)} components", names, problem)
            else:
                yield Finding(f"{first['component']} ({first['kind']}, {first['target']})", problem=problem)

    def take(self, row: dict[str, Any]) -> None:
        group = row.get("group")
        if "component" in row:
            self._component(row)
        elif group == "plugin":
            self._plugin(row)
        elif group == "frameworks":
            self.frameworks.append(_finding(row))
        elif group == "backends" and not row.get("problem"):
            self.backends[row["name"]] = row["data"]
        elif group != "done":
            self.findings.append(_finding(row))

    def _plugin(self, row: dict[str, Any]) -> None:
        # Said again by every process; the first is enough.
        first, self.state = self.state is None, row.get("name")
        if first and row.get("problem"):
            self.findings.append(_finding(row))

    def _component(self, row: dict[str, Any]) -> None:
        if row.get("problem"):
            self._failed.setdefault(row["problem"], []).append(row)
        else:
            self.n_components += 1


def _finding(row: dict[str, Any]) -> Finding:
    return Finding(row.get("name", "process"), row.get("value", ""), row.get("problem"), row.get("hint"))
