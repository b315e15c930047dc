"""Fitting, undoing and taking over scalers: functions from one tuple of records to the next.

Nothing here changes an object that is in use: a function either returns complete new records or raises, so
that a FeatureSet swaps them in one assignment or stays as it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from mml.data.components import scaler_config, scaler_factory
from mml.data.protocols import ScalerLike, is_per_sample
from mml.data.records import FittedColumn, ScalerRecord
from mml.data.rows import Rows, count, pick
from mml.data.schema import FEATURES, RAW, TARGETS, TRANSFORMED, ColumnName, ColumnSpec, Schema, Selection
from mml.data.source import ColumnSource
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
_TRIED_ROWS = 32
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
    columns = scalable_columns(source.schema, domain=domain, keys=keys)
    _require_rows(view)
    make = scaler_factory(scaler)
    fitted: dict[str, FittedColumn] = {}
    config, reason = None, None
    for spec in columns:
        one = _made(make)
        if config is None and reason is None:
            config, reason = _written_down(one)
        fitted[spec.name.key] = _fit(one, source, spec, view)
    # What learns nothing carries nothing from one row to another, so that no row counts as seen.
    learnt_from = view if any(_learns(one.scaler) for one in fitted.values()) else view.take([])
    names = tuple(fitted)
    return ScalerRecord(config, domain, names, view.split_name, learnt_from.lineage(), fitted, reason)


def scalable_columns(schema: Schema, *, domain: str, keys: Selection) -> list[ColumnSpec]:
    """Return the columns that a scaler would work on next: transformed where they are, else raw."""
    if domain not in (FEATURES, TARGETS):
        raise ScalerError(
            f"Scalers work on features and targets, not on {domain!r}.",
            hint=did_you_mean(str(domain), (FEATURES, TARGETS)),
        )
    specs = [schema[name] for name in schema.select(keys, domain=domain)]
    if not specs:
        raise ScalerError(f"There is no column among the {domain} to scale.", found=repr(keys))
    for spec in specs:
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


def without_transforms(
    source: ColumnSource, *, domain: str | None, keys: Selection
) -> tuple[ScalerRecord, ...]:
    """Return the records without the last one of each key (of the last record where no domain is given).

    Raises
    ------
    ScalerError
        If there is nothing to undo for one of them.
    """
    transforms = source.transforms
    if not transforms:
        raise ScalerError("There is no transform to undo.")
    if domain is None:
        return transforms[:-1]
    if domain not in (FEATURES, TARGETS):
        raise ScalerError(f"{domain!r} has no transforms.", hint=did_you_mean(domain, (FEATURES, TARGETS)))
    transformed = {key for record in transforms if record.domain == domain for key in record.keys}
    names = source.schema.select(keys, domain=domain)
    wanted = transformed if keys == "*" else {ColumnName.parse(name).key for name in names}
    if not wanted or wanted - transformed:
        raise ScalerError(
            f"There is no transform to undo for {listed(sorted(wanted - transformed)) or domain}.",
            found=f"transformed: {listed(sorted(transformed)) or 'none'}",
        )
    remaining, rest = set(wanted), list(transforms)
    for position in range(len(rest) - 1, -1, -1):
        record = rest[position]
        mine = remaining & set(record.keys) if record.domain == domain else set()
        if mine:
            remaining -= mine
            shorter = record.without(mine)
            rest[position : position + 1] = [] if shorter is None else [shorter]
    return tuple(rest)


def taken_over(
    source: ColumnSource, other: ColumnSource, *, label: str, keys: Selection
) -> tuple[ScalerRecord, ...]:
    """Return another source's fitted transforms for the columns of this one, matched by domain and key.

    What was learnt and from which rows stays as it is; only the dtype of results follows these columns.

    Raises
    ------
    ScalerError
        If there is nothing to take over, or a column does not fit its scaler.
    ColumnError
        If columns are missing; all are listed.
    """
    if source.transforms:
        raise ScalerError(
            "The columns are transformed already; what was fitted to raw values would see transformed ones.",
            found=f"transformed: {listed(sorted(map('.'.join, _transformed(source))))}",
            hint="Take that back first, with undo_all_transforms().",
        )
    wanted = _transformed(other) if keys == "*" else _named(other, keys)
    if not wanted:
        raise ScalerError(f"{label!r} has no transforms to take over.")
    raw = {(spec.name.domain, spec.name.key): spec for spec in source.collection.schema}
    missing = sorted(f"{domain}.{key}" for domain, key in wanted if (domain, key) not in raw)
    if missing:
        raise ColumnError(
            f"Columns that {label!r} transforms are missing here: {listed(missing)}.",
            found=listed(f"{domain}.{key}" for domain, key in raw if domain in (FEATURES, TARGETS)),
            hint="Name those to transform: keys=[...].",
        )
    for column in sorted(wanted):
        _require_alike(raw[column], other.spec(str(raw[column].name)), label)
    records: tuple[ScalerRecord, ...] = ()
    for record in other.transforms:
        shorter = record.without({key for key in record.keys if (record.domain, key) not in wanted})
        if shorter is not None:
            before = ColumnSource(source.collection, records)
            fitted = {key: _refitted(before, shorter, key) for key in shorter.keys}
            records = (*records, replace(shorter, fitted=fitted))
    return records


def _refitted(source: ColumnSource, record: ScalerRecord, key: str) -> FittedColumn:
    scaler = record.scaler(key)
    name = ColumnName(record.domain, key, TRANSFORMED)
    column = str(name) if str(name) in source.schema else str(name.with_representation(RAW))
    try:
        return _tried(scaler, _few(source, column, slice(0, source.n_rows)))
    except MMLError as error:
        error.located({"column": column})
        raise
    except Exception as cause:
        raise ScalerError(f"The scaler {scaler!r} failed: {cause}", where={"column": column}) from cause


def _require_alike(mine: ColumnSpec, theirs: ColumnSpec, label: str) -> None:
    if not mine.is_numeric or mine.shape != theirs.shape:
        raise ScalerError(
            f"The column '{mine.name}' does not fit the scaler of {label!r}.",
            expected=theirs.describe(),
            found=mine.describe(),
        )


def _transformed(source: ColumnSource) -> set[tuple[str, str]]:
    return {(record.domain, key) for record in source.transforms for key in record.keys}


def _named(source: ColumnSource, keys: Selection) -> set[tuple[str, str]]:
    named = {(name.domain, name.key) for name in map(ColumnName.parse, source.schema.select(keys))}
    plain = named - _transformed(source)
    if plain:
        raise ScalerError(
            f"These columns have no transform to take over: {listed(sorted(key for _, key in plain))}."
        )
    return named


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


def _learns(scaler: ScalerLike) -> bool:
    return not is_per_sample(scaler) and bool(scaler.get_state())


def _made(make: Callable[[], ScalerLike]) -> ScalerLike:
    try:
        return make()
    except TypeError as cause:
        raise ScalerError(
            f"This scaler needs settings: {cause}",
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
    try:
        fit_blocks = getattr(scaler, "fit_blocks", None)
        if fit_blocks is not None:
            fit_blocks(FitBlocks(source, column, view.row_index))
        else:
            scaler.fit(source.take(column, view.row_index))
        return _tried(scaler, _few(source, column, view.row_index))
    except MMLError as error:
        error.located(where)
        raise
    except Exception as cause:
        raise ScalerError(f"The scaler {scaler!r} failed: {cause}", where=where) from cause


def _few(source: ColumnSource, column: str, rows: Rows) -> np.ndarray:
    """Return the values of some rows, from the first to the last."""
    n_rows = count(rows)
    places = np.linspace(0, n_rows - 1, min(n_rows, _TRIED_ROWS)).astype(np.int64)
    return source.take(column, pick(rows, places))


def _tried(scaler: ScalerLike, values: np.ndarray) -> FittedColumn:
    """Return a fitted scaler with what it makes of samples, tried on a few.

    Raises
    ------
    ScalerError
        If it does not return numbers row by row, each by itself, and finite ones for finite ones.
    """
    alone, together = np.asarray(scaler.transform(values[:1])), np.asarray(scaler.transform(values))
    shape, kind = alone.shape[1:], alone.dtype
    if alone.shape[:1] != (1,) or kind.kind not in "biuf" or together.shape != (len(values), *shape):
        raise ScalerError(
            f"The scaler {scaler!r} does not return numbers row by row.",
            expected="one sample for one sample",
            found=f"{kind} of shape {alone.shape} for 1, {together.dtype} of shape {together.shape} for "
            f"{len(values)}",
        )
    with np.errstate(invalid="ignore"):
        size = float(np.abs(together).max(initial=0, where=np.isfinite(together)))
    if not np.allclose(alone[0], together[0], rtol=1e-3, atol=1e-4 * size, equal_nan=True):
        raise ScalerError(
            f"The scaler {scaler!r} maps a row differently when others stand beside it.",
            expected="the same result for a row, whichever rows are transformed together",
            hint="Learn in fit what depends on several rows, and only apply it in transform.",
        )
    spoiled = _finite_rows(values) & ~_finite_rows(together)
    if spoiled.any():
        raise ScalerError(
            f"The scaler {scaler!r} makes finite values infinite or NaN.",
            found=f"{values[spoiled][0]!r:.80} becomes {together[spoiled][0]!r:.80}",
        )
    return FittedColumn(scaler, kind, shape)


def _finite_rows(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.isfinite(values).reshape(len(values), -1).all(axis=1))
