"""``mml plugins --check``: every target of every plugin is loaded, in a process per plugin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mml.errors import PluginError, did_you_mean
from mml.plugins.manager import PluginManager, get_manager
from mml.plugins.report import PluginState, PluginStatus, TargetCheck
from mml.plugins.supervised import supervised

_WORKER = "mml.plugins.check_worker"


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
    for row in supervised(_WORKER, status.name, timeout_s=timeout_s):
        yield TargetCheck(**{"plugin": status.name, **row})
