"""Turning what a splitter returns into splits of a FeatureSet: checked, named, and recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from mml.data.protocols import SplitterLike
from mml.data.records import SplitterRecord
from mml.data.rows import Rows, checked_positions, count, pick
from mml.data.view import FeatureSetView
from mml.errors import MMLError, SplitError, listed
from mml.plugins import registry


def resolve_splitter(splitter: Any, settings: Mapping[str, Any]) -> SplitterLike:
    """Return a splitter given as such, or by name or class with its settings."""
    if isinstance(splitter, str):
        splitter = registry("splitters").load(splitter)
    if isinstance(splitter, type):
        try:
            splitter = splitter(**settings)
        except MMLError:
            raise
        except TypeError as cause:
            raise SplitError(f"The splitter does not take these settings: {cause}") from cause
    elif settings:
        raise SplitError("Settings go with the name of a splitter.", found=listed(settings))
    if not callable(getattr(splitter, "split", None)):
        raise SplitError(f"{splitter!r} is no splitter.", expected="a name, or an object with split(view)")
    return cast("SplitterLike", splitter)


def make_splits(splitter: SplitterLike, view: FeatureSetView) -> dict[str, Rows]:
    """Return absolute rows per split.

    Raises
    ------
    SplitError
        If the view is empty, or a part is empty or has no proper name.
    """
    if not view.n_samples:
        raise SplitError("There are no samples to split.", where={"view": view.label})
    parts: dict[str, Rows] = {}
    for name, positions in splitter.split(view).items():
        if not isinstance(name, str) or not name.strip():
            raise SplitError("A split needs a name.", expected="a non-empty string", found=repr(name))
        rows = pick(view.row_index, checked_positions(positions, view.n_samples))
        if not count(rows):
            raise SplitError(f"The split {name!r} would be empty.", where={"view": view.label})
        parts[name] = rows
    if not parts:
        raise SplitError("The splitter made no splits.", found=repr(splitter))
    return parts


def with_splits(
    splits: Mapping[str, Rows],
    records: tuple[SplitterRecord, ...],
    parts: Mapping[str, Rows],
    *,
    record: SplitterRecord,
    overwrite: bool,
) -> tuple[dict[str, Rows], tuple[SplitterRecord, ...]]:
    """Return splits and records with new ones added.

    Overwriting a name drops its whole division, and divisions of its parts: kept, they would overlap the new
    splits and leak between them.
    """
    taken = [name for name in parts if name in splits]
    if taken and not overwrite:
        raise SplitError(
            f"The split {listed(taken)} exists already.",
            hint="Pass overwrite=True to divide again, or choose other names.",
        )
    dropped = _dependants(records, set(taken))
    if record.source in dropped:
        raise SplitError(f"The split {record.source!r} cannot be divided into a part of its own name.")
    kept = {name: rows for name, rows in splits.items() if name not in dropped}
    kept_records = tuple(one for one in records if not dropped & set(one.names))
    return {**kept, **parts}, (*kept_records, record)


def _dependants(records: tuple[SplitterRecord, ...], names: set[str]) -> set[str]:
    dropped = set(names)
    while True:
        more = {
            name
            for record in records
            if record.source in dropped or dropped & set(record.names)
            for name in record.names
        }
        if more <= dropped:
            return dropped
        dropped |= more
