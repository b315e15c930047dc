"""Trying a fitted scaler on a few rows, before anything is read through it.

A column is evaluated in blocks of any rows, so a scaler must map each row by itself, and return numbers that
a column can hold. Whether it does shows on a few rows; later it would spoil results in silence.
"""

from __future__ import annotations

import numpy as np

from mml.data.protocols import ScalerLike, is_per_sample
from mml.data.records import FittedColumn
from mml.data.rows import Rows, count, pick
from mml.data.scaler_calls import mapped
from mml.data.source import ColumnSource
from mml.errors import ScalerError

_TRIED_ROWS = 32


def few(source: ColumnSource, column: str, rows: Rows) -> np.ndarray:
    """Return the values of some rows, from the first to the last."""
    n_rows = count(rows)
    places = np.linspace(0, n_rows - 1, min(n_rows, _TRIED_ROWS)).astype(np.int64)
    return source.take(column, pick(rows, places))


def tried(scaler: ScalerLike, values: np.ndarray) -> FittedColumn:
    """Return a fitted scaler with what it makes of samples, tried on a few.

    Parameters
    ----------
    scaler : scaler
        Fitted.
    values : numpy.ndarray
        Samples ``(n, *shape)``, at least one.

    Raises
    ------
    ScalerError
        If it does not return numbers row by row, each by itself, and finite ones for finite ones, or lacks
        what a scaler needs that says it works per sample.
    """
    if is_per_sample(scaler) and not callable(getattr(scaler, "sample_state", None)):
        raise ScalerError(
            f"The scaler {scaler!r} says that it works per sample, but has no sample_state.",
            expected="sample_state(values), and inverse_transform(values, state)",
        )
    values = values.view()
    values.flags.writeable = False
    alone, together = mapped(scaler, values[:1]), mapped(scaler, values)
    _require_samples(scaler, alone, together, n_rows=len(values))
    _require_own_rows(scaler, values, together)
    spoiled = _finite_rows(values) & ~_finite_rows(together)
    if spoiled.any():
        raise ScalerError(
            f"The scaler {scaler!r} makes finite values infinite or NaN.",
            found=f"{values[spoiled][0]!r:.80} becomes {together[spoiled][0]!r:.80}",
        )
    return FittedColumn(scaler, alone.dtype, alone.shape[1:])


def _require_samples(scaler: ScalerLike, alone: np.ndarray, together: np.ndarray, *, n_rows: int) -> None:
    if alone.shape[:1] != (1,) or together.shape != (n_rows, *alone.shape[1:]):
        raise ScalerError(
            f"The scaler {scaler!r} does not return numbers row by row.",
            expected="one sample for one sample",
            found=f"{alone.dtype} of shape {alone.shape} for 1, {together.dtype} of shape {together.shape} "
            f"for {n_rows}",
        )
    dtype = alone.dtype
    if dtype.kind not in "biuf" or dtype.itemsize > 8 or not dtype.isnative:
        raise ScalerError(
            f"The scaler {scaler!r} returns no numbers that a column holds.",
            expected="booleans, integers or floats of at most 64 bits, in the byte order of this machine",
            found=repr(dtype),
        )
    if not alone.size:
        raise ScalerError(
            f"The scaler {scaler!r} returns samples without values.", found=f"samples of {alone.shape[1:]}"
        )


def _require_own_rows(scaler: ScalerLike, values: np.ndarray, together: np.ndarray) -> None:
    """Refuse a scaler whose result for a row depends on the rows before, behind or beside it."""
    last = len(values) - 1
    with np.errstate(invalid="ignore"):
        size = float(np.abs(together).max(initial=0, where=np.isfinite(together)))
    for rows in (slice(0, 1), slice(last // 2, last // 2 + 1), slice(last, None), slice(None, None, -1)):
        again, expected = mapped(scaler, np.ascontiguousarray(values[rows])), together[rows]
        if again.shape != expected.shape or not np.allclose(
            again, expected, rtol=1e-3, atol=1e-4 * size, equal_nan=True
        ):
            raise ScalerError(
                f"The scaler {scaler!r} maps a row differently when others stand beside it.",
                expected="the same result for a row, whichever rows are transformed together, in any order",
                hint="Learn in fit what depends on several rows, and only apply it in transform.",
            )


def _finite_rows(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.isfinite(values).reshape(len(values), -1).all(axis=1))
