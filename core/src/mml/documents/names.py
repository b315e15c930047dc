"""What a document defines, so that what refers to it can be checked wherever it stands."""

from __future__ import annotations

from typing import Any


def defined_names(tree: Any) -> dict[str, frozenset[str] | None]:
    """Return the names that a tree defines, by section; None where they cannot be known."""
    root = tree if isinstance(tree, dict) else {}
    graph = root.get("graph")
    names = {section: _keys(root.get(section)) for section in ("data", "losses", "evaluations")}
    names["nodes"] = _keys(graph.get("nodes") if isinstance(graph, dict) else None)
    upstreams = names["nodes"] | names["data"]
    clashes = names["nodes"] & names["data"]
    return {**names, "upstreams": upstreams, "clashes": clashes, "splits": _splits(root.get("data"))}


def _keys(section: Any) -> frozenset[str]:
    return frozenset(section) if isinstance(section, dict) else frozenset()


def _splits(data: Any) -> frozenset[str] | None:
    """Return the splits that the data will have; None where only building it can tell."""
    names: set[str] = set()
    for one in data.values() if isinstance(data, dict) else ():
        if not isinstance(one, dict) or str(one.get("file")).endswith(".mml"):
            return None
        for split in one.get("splits") or ():
            use = split.get("splitter") if isinstance(split, dict) else None
            made = _split_names(use)
            if made is None:
                return None
            names |= made
    return frozenset(names)


def _split_names(use: Any) -> set[str] | None:
    if not isinstance(use, dict) or len(use) != 1:
        return None
    name, settings = next(iter(use.items()))
    key = {"random": "ratios", "condition": "conditions"}.get(str(name).removeprefix("mml/"))
    if key is None or not isinstance(settings, dict) or not isinstance(settings.get(key), dict):
        return None
    rest = settings.get("rest")
    return {*settings[key], *([rest] if isinstance(rest, str) else [])}
