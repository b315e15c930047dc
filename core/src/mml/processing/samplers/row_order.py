"""`RowOrder`: the order of a view's rows in each epoch, and how it is cut into batches of one role."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mml.data import FeatureSetView
from mml.errors import SamplerError, UnmatchedRowsWarning
from mml.processing.batch_view import DEFAULT_ROLE
from mml.processing.group_codes import as_columns, group_codes
from mml.processing.samplers.columns import numbers_of
from mml.processing.samplers.epoch import Epoch
from mml.processing.samplers.even_spread import EvenSpread
from mml.processing.samplers.ordering import borders_of, grouped_order, single_run, weighted_draw
from mml.random import generator
from mml.user_warning import warn_user

if TYPE_CHECKING:
    from mml.processing.samplers.simple import SimpleSampler


class RowOrder:
    """Epoch number → its batches, over the rows of one view; a pure function of the seed.

    Parameters
    ----------
    sampler : SimpleSampler
    view : FeatureSetView
    seed : int

    Raises
    ------
    SamplerError
        If no batch is full and shorter ones are left out, or the weights are none.
    DataError
        If a column does not exist or cannot tell groups apart.

    Warns
    -----
    UnmatchedRowsWarning
        If groups are too small for a batch and shorter ones are left out.
    """

    def __init__(self, sampler: SimpleSampler, view: FeatureSetView, seed: int) -> None:
        self._sampler, self._seed = sampler, seed
        self._rows = view.rows
        groups = as_columns(sampler.group_by)
        self._groups = _codes(view, groups) if groups else None
        self._spread = self._evenly(view)
        self._weights = None if sampler.weights is None else _weights(view, sampler.weights)
        # Beyond all rows, sizes of batches differ in nothing, and NumPy's integers end somewhere.
        self._size = min(sampler.batch_size, len(self._rows) + 1)
        self._group_sizes = np.array([len(self._rows)]) if self._groups is None else np.bincount(self._groups)
        if not self.n_batches:
            raise SamplerError(
                f"No batch has {sampler.batch_size} rows, and drop_last leaves shorter ones out.",
                found=f"{len(self._rows)} rows",
            )
        if sampler.drop_last:
            self._report_small_groups(view)

    @property
    def n_batches(self) -> int:
        """The number of batches, which a new order of rows does not change."""
        sizes, size = self._group_sizes, self._size
        return int((sizes // size if self._sampler.drop_last else -(-sizes // size)).sum())

    def __call__(self, epoch: int) -> Epoch:
        """Return the batches of an epoch."""
        sampler = self._sampler
        rng = generator(self._seed, "sampler", "epoch", epoch) if sampler.shuffle else None
        positions = self._positions(rng)
        size, drop_last = self._size, sampler.drop_last
        if self._groups is None:
            order, borders = single_run(self._rows[positions], batch_size=size, drop_last=drop_last)
            return Epoch({DEFAULT_ROLE: order}, borders)
        positions, sizes = grouped_order(self._groups, positions, rng)
        keep, borders = borders_of(sizes, batch_size=size, drop_last=drop_last)
        return Epoch({DEFAULT_ROLE: self._rows[positions[keep]]}, borders)

    def _evenly(self, view: FeatureSetView) -> EvenSpread | None:
        """Return what spreads strata; where there are groups, over each group by itself."""
        strata = self._sampler.stratify_by
        if not strata:
            return None
        codes = _codes(view, (*as_columns(self._sampler.group_by), *as_columns(strata)))
        return EvenSpread(codes, self._groups)

    def _report_small_groups(self, view: FeatureSetView) -> None:
        small = self._group_sizes[self._group_sizes < self._size]
        if len(small):
            warn_user(
                f"{int(small.sum())} of {len(self._rows)} rows of {view.label} are in {len(small)} groups of "
                f"fewer than {self._size} rows, which drop_last=True leaves out of every epoch.",
                UnmatchedRowsWarning,
            )

    def _positions(self, rng: np.random.Generator | None) -> np.ndarray:
        if self._spread is not None:
            return self._spread.order(rng)
        if rng is None:
            return np.arange(len(self._rows))
        if self._weights is not None:
            return weighted_draw(*self._weights, n_draws=len(self._rows), rng=rng)
        return rng.permutation(len(self._rows))


def _codes(view: FeatureSetView, columns: tuple[str, ...]) -> np.ndarray:
    """Return the group of each row as the narrowest integers, which NumPy sorts several times as fast."""
    codes = group_codes(view, columns)
    return codes.astype(np.min_scalar_type(int(codes.max(initial=0))))


def _weights(view: FeatureSetView, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the positions that can be drawn, int64 ``(k,)``, and their cumulative weights, the largest 1."""
    weights = numbers_of(view, column, what="weights")
    wrong = weights < 0
    if wrong.any():
        first = int(np.argmax(wrong))
        raise SamplerError(
            f"A weight in {column!r} is negative.",
            where={"row": int(view.rows[first])},
            expected="a finite number from 0",
            found=repr(float(weights[first])),
        )
    if not weights.any():
        raise SamplerError(f"All weights in {column!r} are 0.")
    # Very small ones could not be told apart where they are drawn, nor very large ones be added up.
    weights = weights / weights.max()
    positions = np.flatnonzero(weights)
    return positions, np.cumsum(weights[positions])
