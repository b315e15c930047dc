"""``mml plugins``: what is installed, what it brings, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mml.cli.errors import FAILED, SUCCESS
from mml.cli.output import console, print_json
from mml.plugins import PluginState, PluginStatus, TargetCheck, check_plugins, get_manager
from mml.registry import KINDS

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

_MOST_NAMES = 8
_COLOURS = {PluginState.LOADED: "green", PluginState.DISCOVERED: "green", PluginState.BLOCKED: "yellow"}


def show_plugins(*, check: bool, as_json: bool) -> int:
    """Print the plugins; return the exit status, which is 0 as long as listing them worked.

    With `check` it is 1 where something of a plugin cannot be loaded.
    """
    plugins = get_manager().plugins
    checks = check_plugins() if check else []
    failed = [one for one in checks if not one.ok]
    if as_json:
        print_json([_with_checks(one, checks) if check else one.to_dict() for one in plugins])
    else:
        _show(console(), plugins, checks, failed, check=check)
    return FAILED if failed else SUCCESS


def _with_checks(status: PluginStatus, checks: Sequence[TargetCheck]) -> dict[str, Any]:
    return {**status.to_dict(), "checks": [one.to_dict() for one in checks if one.plugin == status.name]}


def _show(
    screen: Console,
    plugins: Sequence[PluginStatus],
    checks: Sequence[TargetCheck],
    failed: Sequence[TargetCheck],
    *,
    check: bool,
) -> None:
    screen.print(_plugin_table(plugins))
    for one in plugins:
        if one.cause or one.hint:
            screen.print(_trouble(one))
    for one in plugins:
        if one.components:
            screen.print(_component_table(one))
    for row in failed:
        screen.print(_failure(row))
    if any(len(names) > _MOST_NAMES + 1 for one in plugins for names in one.components.values()):
        screen.print("`mml plugins --json` lists every component.", style="dim", markup=False)
    if check:
        screen.print(f"{len(checks) - len(failed)} of {len(checks)} components loaded.")


def _plugin_table(plugins: Sequence[PluginStatus]) -> RenderableType:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("plugin", "distribution", "state", "components"):
        table.add_column(column, justify="right" if column == "components" else "left")
    for one in plugins:
        number = sum(map(len, one.components.values()))
        state = Text(str(one.state), style=_COLOURS.get(one.state, "red"))
        table.add_row(one.name, one.origin, state, str(number))
    return table


def _trouble(status: PluginStatus) -> RenderableType:
    from rich.padding import Padding
    from rich.text import Text

    lines = [f"{status.name} is {status.state}: {status.cause or 'no cause is known'}"]
    lines += [f"  try: {status.hint}"] if status.hint else []
    # As text: a message may hold square brackets, which rich would take for markup.
    return Padding(Text("\n".join(lines), style="yellow"), (0, 0, 1, 0))


def _component_table(status: PluginStatus) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.title, table.title_justify, table.title_style = Text(status.name), "left", "bold"
    table.add_column(no_wrap=True, style="cyan", min_width=max(map(len, KINDS)) + 2)
    table.add_column(overflow="fold")
    for kind, components in status.components.items():
        names = sorted((one.name for one in components), key=str.lower)
        more = f" … and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES + 1 else ""
        shown = names[:_MOST_NAMES] if more else names
        table.add_row(Text(f"  {kind}"), Text(", ".join(shown) + more))
    return _spaced(table)


def _failure(row: TargetCheck) -> RenderableType:
    from rich.text import Text

    what = f"{row.plugin}/{row.component} ({row.kind}, {row.target})" if row.component else row.plugin
    return Text(f"{what}: {row.problem}", style="red")


def _spaced(table: RenderableType) -> RenderableType:
    from rich.padding import Padding

    return Padding(table, (0, 0, 1, 0))
