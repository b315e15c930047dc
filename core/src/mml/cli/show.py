"""``mml show FILE.mml``: the manifest and a summary. Only JSON documents are read: no component is made."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mml.cli.errors import SUCCESS
from mml.cli.output import print_json, print_text
from mml.files import Archive, ArchiveKind, read_archive

_UNITS = ("B", "kB", "MB", "GB", "TB")


def show_file(file: Path, *, as_json: bool) -> int:
    """Print what a file holds; return the exit status."""
    with read_archive(file) as archive:
        manifest = archive.manifest
        found = {
            "file": str(file),
            "kind": str(manifest.kind),
            "mml": manifest.mml,
            "created": manifest.created,
            "plugins": dict(manifest.plugins),
            "summary": _SUMMARIES.get(manifest.kind, _nothing)(archive),
            "members": {name: one.size for name, one in sorted(manifest.members.items())},
        }
    if as_json:
        print_json(found)
    else:
        print_text("\n".join(_lines(found)))
    return SUCCESS


def _lines(found: Mapping[str, Any]) -> list[str]:
    plugins = ", ".join(f"{name} {version}" for name, version in found["plugins"].items()) or "none"
    lines = [f"{found['file']}: {found['kind']}, written by mml {found['mml']}", f"  plugins: {plugins}"]
    for name, value in found["summary"].items():
        if isinstance(value, list):
            lines += [f"  {name}:", *(f"    {one}" for one in value)]
        else:
            lines.append(f"  {name}: {value}")
    lines.append("  members:")
    width = max((len(name) for name in found["members"]), default=0)
    return [*lines, *(f"    {name:<{width}}  {_size(size):>9}" for name, size in found["members"].items())]


def _experiment(archive: Archive) -> dict[str, Any]:
    config = archive.json("config")["experiment"]
    nodes = (config.get("graph") or {}).get("nodes", [])
    return {
        "experiment": config["label"],
        "seed": config["seed"],
        "nodes": [_node(one) for one in nodes],
        "phases": _phases(config["execution_plan"], ()),
        "runs": [_run(one) for one in archive.state("state")["history"]],
    }


def _node(config: Mapping[str, Any]) -> str:
    upstreams = [config["upstream"]] if "upstream" in config else config.get("upstreams", [])
    names = ", ".join(str(one.get("node") or one.get("label")) for one in upstreams)
    what = config.get("model", {}).get("model") or config["node"]
    return f"{config['label']}: {what} <- {names}" + (" (frozen)" if config.get("frozen") else "")


def _phases(config: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    lines = []
    for one in config["phases"]:
        if "group" in one:
            lines += _phases(one, (*path, one["group"]))
        else:
            epochs = f", {one['n_epochs']} epochs" if "n_epochs" in one else ""
            lines.append(f"{'/'.join((*path, one['label']))}: {one['phase']}{epochs}")
    return lines


def _run(state: Mapping[str, Any]) -> str:
    failure = state.get("failure")
    told = f", {failure['type']}: {failure['message']}" if failure else ""
    return f"{state['started_at']} to {state['ended_at']}: {state['status']}{told}"


def _featureset(archive: Archive) -> dict[str, Any]:
    config = archive.json("config")
    return {"label": config["label"], "rows": archive.table("data").num_rows}


def _nothing(archive: Archive) -> dict[str, Any]:  # noqa: ARG001 -- what is in the manifest is all there is
    return {}


_SUMMARIES = {ArchiveKind.EXPERIMENT: _experiment, ArchiveKind.FEATURESET: _featureset}


def _size(number: int) -> str:
    value = float(number)
    for unit in _UNITS[:-1]:
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} {_UNITS[-1]}"
