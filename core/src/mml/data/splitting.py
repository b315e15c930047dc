"""Turning what a splitter returns into splits of a FeatureSet: checked, named, and recorded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import numpy as np

from mml.configuration import made_with
from mml.data.protocols import SplitterLike
from mml.data.records import SplitterRecord
from mml.data.rows import Rows, as_array, checked_positions, compact, count, distinct, pick
from mml.data.view import FeatureSetView
from mml.errors import ConfigError, MMLError, SplitError, listed
from mml.plugins import registry


def resolve_splitter(splitter: Any, settings: Mapping[str, Any]) -> SplitterLike:
    """Return a splitter given as such, or by name or class with its settings.

    Raises
    ------
    SplitError
        If it is no splitter, or does not take these settings.
    UnknownComponentError
        If no splitter has that name; near misses are listed.
    """
    given = repr(splitter)[:80]
    if isinstance(splitter, str):
        splitter = registry("splitters").load(splitter)
    if isinstance(splitter, type) and callable(getattr(splitter, "split", None)):
        try:
            splitter = made_with(splitter, dict(settings))
        except ConfigError as cause:
            what = f"The splitter {given} does not take these settings: {cause.what}"
            raise SplitError(what, hint=cause.hint) from cause
        except MMLError:
            raise
        except (TypeError, ValueError) as cause:
            raise SplitError(f"The splitter {given} does not take these settings: {cause}") from cause
    elif settings:
        raise SplitError("Settings go with the name of a splitter.", found=listed(settings))
    if isinstance(splitter, type) or not callable(getattr(splitter, "split", None)):
        raise SplitError(f"{given} is no splitter.", expected="a name, or an object with split(view)")
    return cast("SplitterLike", splitter)


def make_splits(splitter: SplitterLike, view: FeatureSetView) -> dict[str, Rows]:
    """Return absolute rows per split, after checking what the splitter returns.

    Raises
    ------
    SplitError
        If the view is empty or has a row twice, the splitter fails, a part is empty or has no proper name, or
        the parts are not disjoint. Unless the splitter's class says ``leaves_rows_out = True``, also if they
        are not complete.
    """
    if not view.n_samples:
        raise SplitError("There are no samples to split.", where={"view": view.label})
    _require_distinct(view)
    parts = dict(_checked_parts(splitter, view))
    _require_division(splitter, view, parts)
    return {name: pick(view.row_index, positions) for name, positions in parts.items()}


def _require_distinct(view: FeatureSetView) -> None:
    """Refuse a view with repeated rows: positions that differ would put one sample into two splits."""
    rows = view.row_index
    if isinstance(rows, slice) or len(distinct(rows, len(view.featureset))) == len(rows):
        return
    is_again = np.ones(len(rows), dtype=bool)
    is_again[np.unique(rows, return_index=True)[1]] = False
    raise SplitError(
        f"The row {int(rows[np.argmax(is_again)])} stands twice in the view and could go to two splits.",
        where={"view": view.label},
        expected="each row once",
        found=f"{int(np.count_nonzero(is_again))} of {len(rows)} rows are repetitions",
        hint="Split first and resample a split afterwards, or drop the repetitions: view.take_union(view).",
    )


def _checked_parts(splitter: SplitterLike, view: FeatureSetView) -> Iterator[tuple[str, Rows]]:
    try:
        made = splitter.split(view)
    except MMLError:
        raise
    except Exception as cause:
        raise SplitError(
            f"The splitter {_name(splitter)} failed: {type(cause).__name__}: {cause}",
            where={"view": view.label},
            hint=_registered_namesake(splitter),
        ) from cause
    if not isinstance(made, Mapping) or not made:
        raise SplitError(
            f"The splitter {_name(splitter)} made no splits.",
            expected="a mapping from names to positions within the view",
            found=repr(made)[:80],
            hint=_registered_namesake(splitter),
        )
    for name, positions in made.items():
        if not isinstance(name, str) or not name.strip():
            raise SplitError("A split needs a name.", expected="a non-empty string", found=repr(name))
        checked = _positions(positions, view.n_samples, where={"splitter": _name(splitter), "split": name})
        if not count(checked):
            raise SplitError(f"The split {name!r} would be empty.", where={"view": view.label})
        yield name, checked


def _registered_namesake(splitter: SplitterLike) -> str | None:
    """Point from another library's splitter to the registered one that carries the name of its class."""
    cls = type(splitter)
    itself = (cls, f"{cls.__module__}:{cls.__qualname__}")
    for one in registry("splitters"):
        if one.name == cls.__name__ and one.target not in itself:
            return f"Did you mean the registered splitter {one.qualified!r}? Pass its name."
    return None


def _positions(positions: Any, n_rows: int, *, where: dict[str, Any]) -> Rows:
    try:
        if isinstance(positions, slice) or np.asarray(positions).dtype == bool:
            return checked_positions(positions, n_rows)
        array = np.asarray(positions)
    except (MMLError, ValueError, TypeError) as cause:
        raise SplitError("A split is no flat list of positions.", where=where, found=str(cause)) from cause
    if array.size == 0:
        return slice(0, 0)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise SplitError(
            "A split is no flat list of positions.",
            where=where,
            expected="integers of shape (n,)",
            found=f"{array.dtype} of shape {array.shape}",
        )
    lowest, highest = int(array.min()), int(array.max())
    if lowest < 0 or highest >= n_rows:
        raise SplitError(
            f"There is no row {lowest if lowest < 0 else highest} in the view.",
            where=where,
            expected=f"positions from 0 to {n_rows - 1}",
        )
    # A copy, so that what the splitter keeps and changes later is not ours.
    return compact(array.astype(np.int64))


def _require_division(splitter: SplitterLike, view: FeatureSetView, parts: Mapping[str, Rows]) -> None:
    taken = np.zeros(view.n_samples, dtype=bool)
    for positions in parts.values():
        taken[positions] = True
    n_taken = int(np.count_nonzero(taken))
    if n_taken != sum(map(count, parts.values())):
        raise _overlap(splitter, view, parts)
    if n_taken == view.n_samples or getattr(splitter, "leaves_rows_out", False):
        return
    position = int(np.argmin(taken))
    raise SplitError(
        f"The splitter {_name(splitter)} leaves {view.n_samples - n_taken} of {view.n_samples} rows out.",
        where={"view": view.label, "row": int(view.rows[position])},
        expected="each row in one split",
        hint="A splitter that means to leave rows out says so: leaves_rows_out = True in its class.",
    )


def _overlap(splitter: SplitterLike, view: FeatureSetView, parts: Mapping[str, Rows]) -> SplitError:
    """Say which row is the first that two splits hold, or one split twice."""
    owner = np.full(view.n_samples, -1, dtype=np.int64)
    found: list[tuple[int, int, str]] = []
    for number, (name, positions) in enumerate(parts.items()):
        times = np.bincount(np.arange(view.n_samples)[positions], minlength=view.n_samples)
        again = np.flatnonzero((times > 1) | ((times > 0) & (owner >= 0)))
        if len(again):
            found.append((int(again[0]), number, name))
        owner[(times > 0) & (owner < 0)] = number
    position, number, name = min(found)
    first = list(parts)[int(owner[position])]
    what = "twice in" if owner[position] == number else f"in {first!r} and in"
    return SplitError(
        f"A row is {what} {name!r}.",
        where={"view": view.label, "row": int(view.rows[position]), "splitter": _name(splitter)},
        expected="splits without common rows",
    )


def _name(splitter: SplitterLike) -> str:
    return type(splitter).__name__


def with_splits(
    splits: Mapping[str, Rows],
    records: tuple[SplitterRecord, ...],
    parts: Mapping[str, Rows],
    *,
    record: SplitterRecord,
    overwrite: bool,
) -> tuple[dict[str, Rows], tuple[SplitterRecord, ...]]:
    """Return splits and records with new ones added.

    Overwriting a name drops its whole division, divisions of its parts, and of rows taken from them: kept,
    they would overlap the new splits and leak between them.
    """
    taken = [name for name in parts if name in splits]
    if taken and not overwrite:
        raise SplitError(
            f"The split {listed(taken)} exists already."
            if len(taken) == 1
            else f"The splits {listed(taken)} exist already.",
            hint="Pass overwrite=True to divide again, or choose other names.",
        )
    kept, kept_records = without_splits(splits, records, set(taken))
    if record.source and record.source not in kept:
        raise SplitError(f"The split {record.source!r} cannot be divided into a part of its own name.")
    return {**kept, **parts}, (*kept_records, record)


def without_splits(
    splits: Mapping[str, Rows], records: tuple[SplitterRecord, ...], names: set[str]
) -> tuple[dict[str, Rows], tuple[SplitterRecord, ...]]:
    """Return splits and records without the divisions that made these names, and what was taken from them."""
    dropped = names & set(splits)
    while more := {
        name
        for record in records
        if not dropped.issuperset(record.names) and _depends_on(dropped, record, splits, records)
        for name in record.names
    }:
        dropped |= more
    kept = {name: rows for name, rows in splits.items() if name not in dropped}
    return kept, tuple(one for one in records if not dropped & set(one.names))


def _depends_on(
    dropped: set[str], record: SplitterRecord, splits: Mapping[str, Rows], records: tuple[SplitterRecord, ...]
) -> bool:
    if record.source in dropped or dropped & set(record.names):
        return True
    divisions = [one for one in records if dropped.issuperset(one.names)]
    return record.source == "" and any(_is_taken_from(one, record, splits) for one in divisions)


def _is_taken_from(division: SplitterRecord, record: SplitterRecord, splits: Mapping[str, Rows]) -> bool:
    """Tell by the rows, since records name no view: within the division, but not in all of its parts."""
    parts, taken = (
        [as_array(splits[name]) for name in one.names if name in splits] for one in (division, record)
    )
    rows = np.concatenate([np.empty(0, dtype=np.int64), *taken])
    part_of = np.full(1 + max(int(one.max(initial=0)) for one in (rows, *parts)), -1)
    for number, part in enumerate(parts):
        part_of[part] = number
    met = np.unique(part_of[rows])
    # Of a single part it takes none to be elsewhere.
    return bool(len(met) and met[0] >= 0 and len(met) < max(2, len(parts)))
