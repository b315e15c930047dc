"""Fitting, undoing and inverting scalers: functions from one tuple of records to the next.

Nothing here changes an object that is in use: a function either returns complete new records or raises, so
that a FeatureSet swaps them in one assignment or stays as it was.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mml.data.components import scaler_config, scaler_factory
from mml.data.protocols import ScalerLike
from mml.data.records import FittedColumn, ScalerRecord
from mml.data.rows import Rows, count
from mml.data.schema import FEATURES, RAW, TARGETS, TRANSFORMED, ColumnName, ColumnSpec, Schema, Selection
from mml.data.source import ColumnSource
from mml.data.view import FeatureSetView
from mml.errors import (
    ColumnError,
    ConfigError,
    DataError,
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
    columns = scalable_columns(source.schema, domain=domain, keys=keys)
    _require_rows(view)
    make = scaler_factory(scaler)
    fitted: dict[str, FittedColumn] = {}
    config, reason = None, None
    for spec in columns:
        one = make()
        if config is None and reason is None:
            config, reason = _written_down(one)
        fitted[spec.name.key] = _fit(one, source, spec, view)
    names = tuple(fitted)
    return ScalerRecord(config, domain, names, view.split_name, view.lineage(), fitted, reason)


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


def invert(source: ColumnSource, data: np.ndarray, *, column: str) -> np.ndarray:
    """Return transformed values of a column in raw units.

    Parameters
    ----------
    source : ColumnSource
        Whose scalers are inverted, the last one first.
    data : numpy.ndarray
        ``(n, *shape)`` of the column; for scalars and single elements also ``(n,)`` or ``(n, 1)``.
    column : str
        A name or short form of one column.

    Returns
    -------
    numpy.ndarray
        Of the shape of ``data``.
    """
    names = source.schema.select(column)
    if len(names) != 1:
        raise ColumnError(f"One column is inverted at a time; {column!r} fits {len(names)}.")
    name = ColumnName.parse(names[0]).with_representation(TRANSFORMED)
    if str(name) not in source.schema or not source.chain(str(name)):
        raise ScalerError(f"The column '{column}' has no transform to invert.")
    spec = source.spec(str(name))
    values = np.asarray(data)
    single = math.prod(spec.shape) == 1 and values.ndim >= 1 and values.size == len(values)
    if values.dtype.kind not in "biuf" or (values.shape[1:] != spec.shape and not single):
        raise DataError(
            f"These values do not fit the column '{name}'.",
            expected=f"numbers of shape (n, {', '.join(map(str, spec.shape))})".replace(", )", ",)"),
            found=f"{values.dtype} of shape {values.shape}",
        )
    result = values.reshape(len(values), *spec.shape)
    for record in reversed(source.chain(str(name))):
        result = record.scaler(name.key).inverse_transform(result)
    return np.asarray(result).reshape(values.shape)


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
        sample = np.asarray(scaler.transform(source.take(column, view.rows[:1])))
    except MMLError as error:
        error.located(where)
        raise
    except Exception as cause:
        raise ScalerError(f"The scaler {scaler!r} failed: {cause}", where=where) from cause
    if sample.shape[:1] != (1,) or sample.dtype.kind not in "biuf":
        raise ScalerError(
            f"The scaler {scaler!r} does not return numbers row by row.",
            where=where,
            expected="one sample for one sample",
            found=f"{sample.dtype} of shape {sample.shape}",
        )
    return FittedColumn(scaler, sample.dtype, sample.shape[1:])
