"""Bringing transformed values back to raw units: predictions of a model, mostly.

Scalers that work per sample need to know which sample a row is. Their state is not stored: the sample's raw
row is found, by position or by UUID, and the chain up to the scaler evaluated on it again.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from mml.data.protocols import is_per_sample
from mml.data.records import ScalerRecord
from mml.data.rows import Rows, count
from mml.data.scaler_calls import explained
from mml.data.schema import RAW, TRANSFORMED, ColumnName, ColumnSpec
from mml.data.source import ColumnSource, block_rows, evaluate
from mml.errors import ColumnError, DataError, MMLError, ScalerError
from mml.protocols import State

if TYPE_CHECKING:
    from mml.data.featureset import FeatureSet

_BLOCK_BYTES = 1 << 20


class Invertible(ABC):
    """Something whose rows have transformed values: what a view adds to reading."""

    __slots__ = ()

    @property
    @abstractmethod
    def label(self) -> str:
        """Its name in messages."""

    @property
    @abstractmethod
    def featureset(self) -> FeatureSet:
        """The FeatureSet of the rows."""

    @property
    @abstractmethod
    def row_index(self) -> Rows:
        """The row numbers in it."""

    def inverse_transform(self, data: Any, column: str) -> np.ndarray:
        """Return transformed values of these very rows, such as predictions for them, in raw units.

        Parameters
        ----------
        data : array-like
            ``(n, *shape)`` of the column: value i belongs to row i of the view.
        column : str
            A name or short form of the column.

        Returns
        -------
        numpy.ndarray
            See `invert`: a float that holds both the values given and the raw column's.

        Raises
        ------
        ScalerError
            If a scaler cannot be inverted.
        DataError
            If the values do not fit the column, or there are not as many as rows.
        """
        try:
            return invert(self.featureset.snapshot(), data, column=column, rows=self.row_index)
        except MMLError as error:
            error.located({"view": self.label})
            raise


def invert(source: ColumnSource, data: Any, *, column: str, rows: Rows | None) -> np.ndarray:
    """Return transformed values of a column in raw units.

    Parameters
    ----------
    source : ColumnSource
        Whose scalers are inverted, the last one first.
    data : array-like
        ``(n, *shape)`` of the column; for scalars and single elements also ``(n,)`` or ``(n, 1)``.
    column : str
        A name or short form of one column.
    rows : slice or numpy.ndarray, optional
        The absolute rows ``(n,)`` that the values belong to. Only scalers that work per sample need them.

    Returns
    -------
    numpy.ndarray
        Of the shape of ``data``; where the chain changed the shape of samples, ``(n, *shape)`` of the raw
        column. A float that holds both the values given and the raw column's, so that neither narrow
        predictions nor wide raw units overflow or lose digits: float64 for float32 predictions of int64.
    """
    name = _transformed_name(source, column)
    spec, chain = source.spec(str(name)), source.chain(str(name))
    values = _fitting(data, spec)
    if rows is None and any(is_per_sample(record.scaler(name.key)) for record in chain):
        raise ScalerError(
            f"The scalers of '{column}' work per sample; inversion needs to know which samples these are.",
            found=f"{len(values)} values without sample UUIDs",
            hint="Pass sample_uuids=..., or ask the view of those rows: fs['test'].inverse_transform(...).",
        )
    if rows is not None and count(rows) != len(values):
        raise DataError(
            "There is one value for each sample.",
            expected=f"{count(rows)} values",
            found=f"{len(values)} values",
        )
    raw = source.spec(str(name.with_representation(RAW)))
    dtype = _holding(values.dtype, raw.dtype)
    if not len(values):
        return np.empty(values.shape if raw.shape == spec.shape else (0, *raw.shape), dtype)
    shaped = values.reshape(len(values), *spec.shape)
    widest = max(math.prod(shape) for shape in (spec.shape, raw.shape))
    step = block_rows(dtype.itemsize * widest, _BLOCK_BYTES)
    parts = []
    for start in range(0, len(shaped), step):
        block = slice(start, start + step)
        states = _sample_states(source, name, chain, None if rows is None else _part(rows, block))
        inverted = _inverted(shaped[block].astype(dtype), name, chain, states, raw_shape=raw.shape)
        with np.errstate(over="ignore"):
            parts.append(inverted.astype(dtype, copy=False))
    result = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return result.reshape(values.shape) if raw.shape == spec.shape else result


def _holding(given: np.dtype, raw: np.dtype | None) -> np.dtype:
    """Return the float that holds values of both dtypes."""
    both = given if raw is None else np.result_type(given, raw)
    return both if both.kind == "f" else np.result_type(both, np.float32)


def _inverted(
    values: np.ndarray,
    name: ColumnName,
    chain: Sequence[ScalerRecord],
    states: Sequence[State | None],
    *,
    raw_shape: tuple[int, ...],
) -> np.ndarray:
    where = {"column": str(name)}
    for place in reversed(range(len(chain))):
        scaler: Any = chain[place].scaler(name.key)
        state = [] if states[place] is None else [states[place]]
        with explained(scaler, "inverse_transform", where):
            made = np.asarray(scaler.inverse_transform(values, *state))
        before = chain[place - 1].fitted[name.key].shape if place else raw_shape
        if made.shape != (len(values), *before) or made.dtype.kind not in "biuf":
            raise ScalerError(
                f"The scaler {scaler!r} does not invert row by row.",
                where=where,
                expected=f"numbers of shape {(len(values), *before)}",
                found=f"{made.dtype} of shape {made.shape}",
            )
        values = made
    return values


def _sample_states(
    source: ColumnSource, name: ColumnName, chain: Sequence[ScalerRecord], rows: Rows | None
) -> list[State | None]:
    """Return for each scaler of a chain what it needs to know of the samples, None where it works without."""
    scalers: list[Any] = [record.scaler(name.key) for record in chain]
    states: list[State | None] = [None] * len(chain)
    places = [place for place, scaler in enumerate(scalers) if is_per_sample(scaler)]
    if rows is None or not places:
        return states
    values, done = source.take(str(name.with_representation(RAW)), rows), 0
    for place in places:
        values, done = evaluate(values, chain[done:place], name.key), place
        states[place] = _state_of_samples(scalers[place], values, {"column": str(name)})
    return states


def _state_of_samples(scaler: Any, values: np.ndarray, where: dict[str, Any]) -> State:
    with explained(scaler, "sample_state", where):
        state = scaler.sample_state(values)
    if not isinstance(state, Mapping):
        raise ScalerError(
            f"The scaler {scaler!r} has a sample_state that is no mapping.",
            where=where,
            found=repr(state)[:80],
        )
    return dict(state)


def _part(rows: Rows, block: slice) -> Rows:
    if isinstance(rows, slice):
        return slice(rows.start + block.start, min(rows.start + block.stop, rows.stop))
    return rows[block]


def _transformed_name(source: ColumnSource, column: str) -> ColumnName:
    names = source.schema.select(column)
    if len(names) != 1:
        raise ColumnError(f"One column is inverted at a time; {column!r} fits {len(names)}.")
    given = ColumnName.parse(names[0])
    name = given.with_representation(TRANSFORMED)
    if str(name) not in source.schema or not source.chain(str(name)):
        raise ScalerError(
            f"The column '{column}' has no transform to invert.",
            hint="Its values are in raw units as they are.",
        )
    if given.representation == RAW:
        raise ScalerError(
            f"'{column}' names raw values, which need no inversion.",
            hint=f"Name the column that the values are of: '{given.key}' or '{name}'.",
        )
    return name


def _fitting(data: Any, spec: ColumnSpec) -> np.ndarray:
    try:
        values = np.asarray(data)
    except (TypeError, ValueError, RuntimeError) as cause:
        raise DataError(f"NumPy cannot read these values: {cause}", found=type(data).__name__) from cause
    single = math.prod(spec.shape) == 1 and values.ndim >= 1 and values.size == len(values)
    if values.dtype.kind not in "biuf" or not values.ndim or (values.shape[1:] != spec.shape and not single):
        raise DataError(
            f"These values do not fit the column '{spec.name}'.",
            expected=f"numbers of shape (n, {', '.join(map(str, spec.shape))})".replace(", )", ",)"),
            found=f"{values.dtype} of shape {values.shape}",
        )
    return values
