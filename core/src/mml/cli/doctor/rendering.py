"""The doctor's findings for people: sections of two columns, problems in the place where they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mml.plugins import Finding

if TYPE_CHECKING:
    from rich.console import Console

    from mml.cli.doctor.diagnosis import Diagnosis, Missing, PluginHealth

_WIDTH = 22


def show_environment(screen: Console, environment: Sequence[Finding]) -> None:
    """Print the section of the environment."""
    _section(screen, "environment", environment)


def show_plugin(screen: Console, plugin: PluginHealth) -> None:
    """Print the section of one plugin."""
    origin = f"{plugin.distribution} {plugin.version}".strip()
    capable = [Finding(f"backend {name}", _told(can)) for name, can in plugin.backends.items()]
    loaded = [Finding("components", f"{plugin.n_components} can be loaded")] if plugin.n_components else []
    _section(
        screen,
        f"plugin {plugin.name}",
        (*plugin.frameworks, *capable, *plugin.findings, *loaded),
        note=f"{origin}, {plugin.state}",
    )


def show_missing(screen: Console, missing: Sequence[Missing]) -> None:
    """Print what could be installed and is not."""
    if missing:
        _section(screen, "not installed", [Finding(one.extra, one.install) for one in missing])


def show_verdict(screen: Console, diagnosis: Diagnosis) -> None:
    """Print the last line."""
    from rich.text import Text

    problems = diagnosis.problems
    if not problems:
        screen.print(Text("Healthy: nothing is broken.", style="green"))
        return
    places = sorted({plugin or "environment" for plugin, _ in problems})
    number = "1 thing is" if len(problems) == 1 else f"{len(problems)} things are"
    screen.print(Text(f"{number} broken: see {', '.join(places)} above.", style="red"))


def _section(screen: Console, title: str, findings: Iterable[Finding], *, note: str = "") -> None:
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    screen.print(Text.assemble((title, "bold"), f" ({note})" if note else ""))
    table = Table.grid(padding=(0, 2))
    table.add_column(min_width=_WIDTH, max_width=screen.width // 2, overflow="fold", style="cyan")
    table.add_column(overflow="fold")
    for one in findings:
        table.add_row(Text(f"  {one.name}"), _value(one))
    screen.print(Padding(table, (0, 0, 1, 0)))


def _value(finding: Finding) -> Any:
    from rich.text import Text

    # As text: what others wrote may hold square brackets, which rich would take for markup.
    lines = [Text(finding.value)] if finding.value else []
    lines += [Text(f"broken: {finding.problem}", style="red")] if finding.problem else []
    lines += [Text(f"try: {finding.hint}", style="yellow")] if finding.hint else []
    return Text("\n").join(lines)


def _told(capabilities: Mapping[str, Any]) -> str:
    """Write what a backend declares: its abilities by name, then what it lists."""
    able = [name for name, value in capabilities.items() if value is True]
    lists = [
        f"{name}: {', '.join(map(str, value))}"
        for name, value in capabilities.items()
        if isinstance(value, list | tuple)
    ]
    return "; ".join([", ".join(able) or "none of the abilities", *lists])
