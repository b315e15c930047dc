"""Fitting, undoing and taking over scalers: functions from one tuple of records to the next.

Nothing here changes an object that is in use: a function either returns complete new records or raises, so
that a FeatureSet swaps them in one assignment or stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mml.configuration import require_settings
from mml.data.components import scaler_config, scaler_factory
from mml.data.protocols import ScalerLike
from mml.data.records import FittedColumn, ScalerRecord
from mml.data.rows import Rows, count
from mml.data.scaler_calls import explained, learns
from mml.data.schema import FEATURES, RAW, TAGS, TARGETS, TRANSFORMED, ColumnName, ColumnSpec, Selection
from mml.data.source import ColumnSource
from mml.data.trial import few, tried
from mml.data.view import FeatureSetView
from mml.errors import (
    ColumnError,
    ConfigError,
    MMLError,
    ScalerError,
    did_you_mean,
    listed,
)
from mml.strictness import report_leakage

_BLOCK_BYTES = 4 << 20
_TRAIN = "train"


class FitBlocks:
    """One column's values at some rows, in blocks; can be iterated more than once."""

    def __init__(self, source: ColumnSource, column: str, rows: Rows) -> None:
        spec = source.spec(column)
        row_bytes = 1 if spec.dtype is None else spec.dtype.itemsize * max(int(np.prod(spec.shape)), 1)
        self._source, self._column, self._rows = source, column, rows
        self._step = max(1, _BLOCK_BYTES // row_bytes)

    def __iter__(self) -> Iterator[np.ndarray]:
        for start in range(0, count(self._rows), self._step):
            stop = min(start + self._step, count(self._rows))
            rows = self._rows
            block = (
                slice(rows.start + start, rows.start + stop) if isinstance(rows, slice) else rows[start:stop]
            )
            yield self._source.take(self._column, block)


def fit_record(
    source: ColumnSource, scaler: Any, *, domain: str, keys: Selection, view: FeatureSetView
) -> ScalerRecord:
    """Return the record of a scaler fitted on the rows of a view, on each column by itself.

    Parameters
    ----------
    source : ColumnSource
        The columns as they are; a chain goes on where a column is transformed already.
    scaler : str, class, instance or Scaler
        See `mml.data.components.scaler_factory`.
    domain : str
        ``features`` or ``targets``.
    keys : str or iterable of str
        Which columns of the domain.
    view : FeatureSetView
        The rows to learn from.
    """
    columns = scalable_columns(source, domain=domain, keys=keys)
    _require_rows(view)
    make = _factory(scaler, columns)
    fitted: dict[str, FittedColumn] = {}
    config, reason = None, None
    for spec in columns:
        one = _made(make, column=str(spec.name))
        if config is None and reason is None:
            config, reason = _written_down(one)
        fitted[spec.name.key] = _fit(one, source, spec, view)
    # What learns nothing carries nothing from one row to another, so that no row counts as seen.
    learnt_from = view if any(_learns(key, one.scaler) for key, one in fitted.items()) else view.take([])
    names = tuple(fitted)
    return ScalerRecord(config, domain, names, view.split_name, learnt_from.lineage(), fitted, reason)


def scalable_columns(source: ColumnSource, *, domain: str, keys: Selection) -> list[ColumnSpec]:
    """Return the columns that a scaler would work on next: transformed where they are, else raw."""
    if domain not in (FEATURES, TARGETS):
        raise ScalerError(
            f"Scalers work on features and targets, not on {domain!r}.",
            hint="Tags stay as they are; ingest the column as a feature or target to scale it."
            if domain == TAGS
            else did_you_mean(str(domain), (FEATURES, TARGETS)),
        )
    specs = [source.spec(name) for name in source.schema.select(keys, domain=domain)]
    if not specs:
        raise ScalerError(f"There is no column among the {domain} to scale.", found=repr(keys))
    for spec in specs:
        _refuse_stored(source, spec.name)
        if not spec.is_numeric:
            raise ScalerError(
                f"The column '{spec.name}' does not hold numbers.",
                expected="booleans, integers or floats",
                found=spec.describe(),
                hint=f"Name the columns to scale: keys={[s.name.key for s in specs if s.is_numeric]}",
            )
        if spec.name.representation not in (RAW, TRANSFORMED):
            raise ScalerError(f"Scalers work on raw columns, not on '{spec.name}'.")
    return specs


def _refuse_stored(source: ColumnSource, name: ColumnName) -> None:
    """Refuse a column whose transformed values came with the data: nobody knows what made them of the raw."""
    stored = str(name.with_representation(TRANSFORMED))
    if stored in source.collection.schema:
        raise ScalerError(
            f"The column '{stored}' came with the data as it is; a transform from raw values would hide it.",
            hint="Leave it out when the data is read, e.g. table.drop_columns([...]), or undo the transforms "
            "before the data is exported.",
        )


def without_transforms(
    source: ColumnSource, *, domain: str | None, keys: Selection
) -> tuple[ScalerRecord, ...]:
    """Return the records without the last one of each column that is meant.

    Parameters
    ----------
    source : ColumnSource
        The columns as they are.
    domain : str or None
        ``features`` or ``targets``; None for both.
    keys : str or iterable of str
        Names, and patterns among the transformed columns. All columns of all domains mean the last record.

    Raises
    ------
    ScalerError
        If there is nothing to undo for one of them.
    ColumnError
        If a name is unknown.
    """
    transforms = source.transforms
    if not transforms:
        raise ScalerError("There is no transform to undo.")
    if domain not in (None, FEATURES, TARGETS):
        raise ScalerError(f"{domain!r} has no transforms.", hint=did_you_mean(domain, (FEATURES, TARGETS)))
    patterns = _patterns(keys)
    if domain is None and patterns == ["*"]:
        return transforms[:-1]
    remaining, plain = _transformed_among(source, patterns, domain=domain)
    if plain or not remaining:
        known = sorted(key for place, key in _transformed(source) if domain in (None, place))
        raise ScalerError(
            f"There is no transform to undo for {_keys_of(plain) or domain or 'these columns'}.",
            found=f"transformed: {listed(known) or 'none'}",
        )
    rest = list(transforms)
    for position in range(len(rest) - 1, -1, -1):
        record = rest[position]
        mine = {key for key in record.keys if (record.domain, key) in remaining}
        if mine:
            remaining -= {(record.domain, key) for key in mine}
            shorter = record.without(mine)
            rest[position : position + 1] = [] if shorter is None else [shorter]
    return tuple(rest)


def taken_over(
    source: ColumnSource, other: ColumnSource, *, label: str, keys: Selection
) -> tuple[ScalerRecord, ...]:
    """Return the records with another source's fitted transforms behind them, matched by domain and key.

    What was learnt and from which rows stays as it is; only the dtype of results follows these columns.

    Raises
    ------
    ScalerError
        If there is nothing to take over, a column is transformed already, or it does not fit its scaler.
    ColumnError
        If columns are missing; all are listed.
    """
    wanted, plain = _transformed_among(other, _patterns(keys))
    if plain:
        raise ScalerError(f"These columns have no transform to take over: {_keys_of(plain)}.")
    if not wanted:
        raise ScalerError(f"{label!r} has no transforms to take over.")
    _require_untransformed(source, wanted)
    raw = {
        (one.name.domain, one.name.key): one
        for one in source.collection.schema
        if one.name.representation == RAW
    }
    missing = sorted(f"{domain}.{key}" for domain, key in wanted if (domain, key) not in raw)
    if missing:
        raise ColumnError(
            f"Columns that {label!r} transforms are missing here: {listed(missing)}.",
            found=listed(f"{domain}.{key}" for domain, key in raw if domain in (FEATURES, TARGETS)),
            hint="Name those to transform: keys=[...].",
        )
    for column in sorted(wanted):
        _require_alike(raw[column], other.spec(str(raw[column].name)), label)
    records = source.transforms
    for record in other.transforms:
        shorter = record.without({key for key in record.keys if (record.domain, key) not in wanted})
        if shorter is not None:
            before = ColumnSource(source.collection, records)
            fitted = {key: _refitted(before, shorter, key) for key in shorter.keys}
            records = (*records, replace(shorter, fitted=fitted))
    return records


def _require_untransformed(source: ColumnSource, wanted: set[tuple[str, str]]) -> None:
    already = wanted & _transformed(source)
    if already:
        raise ScalerError(
            "The columns are transformed already; what was fitted to raw values would see transformed ones.",
            found=f"transformed: {listed(sorted(map('.'.join, already)))}",
            hint="Take that back first, with undo_last_transform(keys=[...]) or undo_all_transforms().",
        )
    for domain, key in sorted(wanted):
        _refuse_stored(source, ColumnName(domain, key))


def _refitted(source: ColumnSource, record: ScalerRecord, key: str) -> FittedColumn:
    scaler = record.scaler(key)
    name = ColumnName(record.domain, key, TRANSFORMED)
    column = str(name) if str(name) in source.schema else str(name.with_representation(RAW))
    with explained(scaler, "transform", {"column": column}):
        return tried(scaler, few(source, column, slice(0, source.n_rows)))


def _require_alike(mine: ColumnSpec, theirs: ColumnSpec, label: str) -> None:
    if not mine.is_numeric or mine.shape != theirs.shape:
        raise ScalerError(
            f"The column '{mine.name}' does not fit the scaler of {label!r}.",
            expected=theirs.describe(),
            found=mine.describe(),
        )


def _transformed(source: ColumnSource) -> set[tuple[str, str]]:
    return {(record.domain, key) for record in source.transforms for key in record.keys}


def _patterns(keys: Selection) -> list[Any]:
    """Return a selection one by one; what is no name is refused where it is looked up."""
    return list(keys) if isinstance(keys, Iterable) and not isinstance(keys, str) else [keys]


def _transformed_among(
    source: ColumnSource, patterns: list[Any], *, domain: str | None = None
) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """Return the transformed columns that patterns and names mean, and the others that are named."""
    transformed = _transformed(source)
    wanted: set[tuple[str, str]] = set()
    plain: set[tuple[str, str]] = set()
    for pattern in patterns:
        names = map(ColumnName.parse, source.schema.select(pattern, domain=domain))
        found = {(name.domain, name.key) for name in names}
        wanted |= found & transformed
        plain |= set() if "*" in pattern else found - transformed
    return wanted, plain


def _keys_of(columns: set[tuple[str, str]]) -> str:
    return listed(sorted(key for _, key in columns))


def warn_of_leakage(splits: Mapping[str, Rows], *, view: FeatureSetView, what: str) -> None:
    """Warn where something is fitted on rows outside ``train`` while splits exist.

    Without a split named ``train``, only fitting on everything counts as a leak: which of the others is held
    out, MML cannot know.
    """
    if not splits:
        return
    if _TRAIN in splits:
        outside = view.take_difference(FeatureSetView(view.featureset, splits[_TRAIN])).rows
    elif view.split_name is None:
        outside = view.rows
    else:
        return
    if len(outside):
        held_out = sorted(name for name, rows in splits.items() if name != _TRAIN and _overlap(rows, outside))
        report_leakage(
            f"{what} was fitted on {len(outside)} of {view.n_samples} rows outside the training split of "
            f"{view.featureset.label!r}{f' ({held_out})' if held_out else ''}; first row {int(outside[0])}. "
            "Scores on them are too good.",
            hint="Pass fit_to_split='train', or the split that you mean.",
        )


def _overlap(rows: Rows, others: np.ndarray) -> bool:
    if isinstance(rows, slice):
        return bool(((others >= rows.start) & (others < rows.stop)).any())
    return bool(np.isin(rows, others).any())


def _require_rows(view: FeatureSetView) -> None:
    if not view.n_samples:
        raise ScalerError("A scaler cannot be fitted on no rows.", where={"view": view.label})


def _learns(key: str, scaler: ScalerLike) -> bool:
    try:
        return learns(scaler)
    except MMLError as error:
        error.located({"column": key})
        raise


def _factory(scaler: Any, columns: Iterable[ColumnSpec]) -> Callable[[], ScalerLike]:
    try:
        return scaler_factory(scaler)
    except MMLError as error:
        error.located({"column": ", ".join(str(spec.name) for spec in columns)})
        raise


def _made(make: Callable[[], ScalerLike], *, column: str) -> ScalerLike:
    title, where = getattr(make, "__name__", "scaler"), {"column": column}
    if isinstance(make, type):
        _require_no_settings(make, where)
    try:
        return make()
    except MMLError as error:
        error.located(where)
        raise
    except Exception as cause:
        raise ScalerError(f"The scaler {title!r} cannot be made: {cause}", where=where) from cause


def _require_no_settings(scaler: type, where: dict[str, Any]) -> None:
    try:
        require_settings(scaler, {})
    except ConfigError as cause:
        raise ScalerError(
            f"This scaler needs settings: {cause.what}",
            where=where,
            hint='Declare it with them, e.g. mml.Scaler("minmax", feature_range=(-1, 1)).',
        ) from cause


def _written_down(scaler: ScalerLike) -> tuple[dict[str, Any] | None, str | None]:
    try:
        return scaler_config(scaler), None
    except ConfigError as error:
        return None, str(error)


def _fit(scaler: ScalerLike, source: ColumnSource, spec: ColumnSpec, view: FeatureSetView) -> FittedColumn:
    column = str(spec.name)
    where = {"column": column, "view": view.label}
    with explained(scaler, "fit", where):
        fit_blocks = getattr(scaler, "fit_blocks", None)
        if fit_blocks is not None:
            fit_blocks(FitBlocks(source, column, view.row_index))
        else:
            scaler.fit(source.take(column, view.row_index))
    with explained(scaler, "transform", where):
        return tried(scaler, few(source, column, view.row_index))
