"""`SimpleSampler`: one role, batches of one view, in order or shuffled anew each epoch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from mml.configuration import made_with, settings_beside
from mml.data import FeatureSet, FeatureSetView
from mml.data.schema import RAW
from mml.errors import MMLError, SamplerError
from mml.processing.batch_view import DEFAULT_ROLE
from mml.processing.group_codes import as_columns, group_codes
from mml.processing.samplers.bound import BoundSampler, single_run
from mml.processing.samplers.epoch import Epoch
from mml.processing.samplers.ordering import borders_of, grouped_order, stratified_order, weighted_draw
from mml.protocols import Config
from mml.random import generator


@dataclass(frozen=True, kw_only=True)
class SimpleSampler:
    """Batches of one view.

    Parameters
    ----------
    batch_size : int
        Rows per batch; the last one may be shorter.
    shuffle : bool
        Whether every epoch has a new random order.
    seed : int, optional
        Where the orders derive from; None means that whoever binds the sampler gives one.
    drop_last : bool
        Whether a shorter last batch is left out.
    group_by : str or iterable of str, optional
        Columns; every batch then holds rows of one group only.
    stratify_by : str or iterable of str, optional
        Columns whose values every batch holds in about their overall shares.
    weights : str, optional
        A column of non-negative numbers; every epoch then draws as many rows as there are, with replacement
        and by weight. Needs ``shuffle=True``; not with groups or strata.

    Examples
    --------
    >>> SimpleSampler(batch_size=32, shuffle=True, seed=0).batch_size
    32
    """

    batch_size: int
    shuffle: bool = False
    seed: int | None = None
    drop_last: bool = False
    group_by: str | Iterable[str] | None = None
    stratify_by: str | Iterable[str] | None = None
    weights: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.batch_size, bool) or not isinstance(self.batch_size, (int, np.integer)):
            raise SamplerError("A batch size is a whole number.", found=repr(self.batch_size))
        if self.batch_size < 1:
            raise SamplerError("A batch has at least one row.", found=f"batch_size={self.batch_size}")
        object.__setattr__(self, "batch_size", int(self.batch_size))
        if self.seed is not None:
            if isinstance(self.seed, bool) or not isinstance(self.seed, (int, np.integer)) or self.seed < 0:
                raise SamplerError("A seed is an integer from 0.", found=repr(self.seed))
            object.__setattr__(self, "seed", int(self.seed))
        for setting in ("group_by", "stratify_by"):
            object.__setattr__(self, setting, as_columns(getattr(self, setting)) or None)
        if self.weights is not None and (self.group_by or self.stratify_by or not self.shuffle):
            raise SamplerError(
                "Weighted rows are drawn at random over the whole view.",
                expected="weights with shuffle=True and without group_by and stratify_by",
            )

    def bind(
        self, view: FeatureSetView | FeatureSet, *, seed: int | None = None, stream: str | None = None
    ) -> BoundSampler:
        """Return the sampler with the rows of a view.

        Parameters
        ----------
        view : FeatureSetView or FeatureSet
            Where rows come from; all rows of a FeatureSet.
        seed : int, optional
            Used where the sampler has none of its own; 0 where neither is given.
        stream : str, optional
            This sampler has one stream, ``"default"``.

        Raises
        ------
        SamplerError
            If there are no rows, no full batch with ``drop_last``, or no such stream.
        """
        if stream not in (None, DEFAULT_ROLE):
            raise SamplerError(f"SimpleSampler has no stream {stream!r}.", expected=repr(DEFAULT_ROLE))
        if isinstance(view, FeatureSet):
            view = view.view()
        if not isinstance(view, FeatureSetView):
            raise SamplerError(
                "A sampler draws from the rows of a view.",
                expected="a FeatureSetView such as featureset['train']",
                found=f"{type(view).__name__}: {view!r}",
            )
        if not view.n_samples:
            raise SamplerError("There are no rows to sample.", where={"view": view.label})
        chosen = self.seed if self.seed is not None else (0 if seed is None else int(seed))
        try:
            order = _Order(self, view, chosen)
            bound = BoundSampler(view, order=order, seed=chosen, n_batches=order.n_batches)
        except MMLError as error:
            error.located({"view": view.label})
            raise
        if not bound.n_batches():
            raise SamplerError(
                f"No batch has {self.batch_size} rows, and drop_last leaves shorter ones out.",
                where={"view": view.label},
                found=f"{view.n_samples} rows",
            )
        return bound

    def key(self) -> tuple[Any, ...]:
        """Return the settings as a hashable key: samplers of one key on one view are one sampler."""
        return (type(self).__qualname__, *(getattr(self, name) for name in self.__dataclass_fields__))

    def get_config(self) -> Config:
        """Return the settings as JSON-compatible values."""
        config: Config = {"sampler": "mml/simple"}
        for name in self.__dataclass_fields__:
            value = getattr(self, name)
            config[name] = list(value) if isinstance(value, tuple) else value
        return config

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal sampler."""
        return made_with(cls, settings_beside(config, "sampler"))


class _Order:
    """Epoch number → its batches, over the rows of one view."""

    def __init__(self, sampler: SimpleSampler, view: FeatureSetView, seed: int) -> None:
        self._sampler, self._seed = sampler, seed
        self._rows = view.rows
        self._groups = group_codes(view, as_columns(sampler.group_by)) if sampler.group_by else None
        self._strata = group_codes(view, as_columns(sampler.stratify_by)) if sampler.stratify_by else None
        self._cumulative = None if sampler.weights is None else _cumulative(view, sampler.weights)

    @property
    def n_batches(self) -> int:
        """The number of batches, which a new order of rows does not change."""
        sizes = np.array([len(self._rows)]) if self._groups is None else np.bincount(self._groups)
        size = self._sampler.batch_size
        return int((sizes // size if self._sampler.drop_last else -(-sizes // size)).sum())

    def __call__(self, epoch: int) -> Epoch:
        sampler = self._sampler
        rng = generator(self._seed, "sampler", "epoch", epoch) if sampler.shuffle else None
        positions = self._positions(rng)
        size, drop_last = sampler.batch_size, sampler.drop_last
        if self._groups is None:
            order, borders = single_run(self._rows[positions], batch_size=size, drop_last=drop_last)
            return Epoch({DEFAULT_ROLE: order}, borders)
        positions, sizes = grouped_order(self._groups, positions, rng)
        keep, borders = borders_of(sizes, batch_size=size, drop_last=drop_last)
        return Epoch({DEFAULT_ROLE: self._rows[positions[keep]]}, borders)

    def _positions(self, rng: np.random.Generator | None) -> np.ndarray:
        if self._strata is not None:
            return stratified_order(self._strata, rng)
        if rng is None:
            return np.arange(len(self._rows))
        if self._cumulative is not None:
            return weighted_draw(self._cumulative, rng)
        return rng.permutation(len(self._rows))


def _cumulative(view: FeatureSetView, column: str) -> np.ndarray:
    data = view.get_data([column], RAW, fmt="dict_numpy")
    values: np.ndarray = next(iter(data.values()))
    if len(data) != 1 or values.dtype.kind not in "biuf" or values.size != len(values):
        raise SamplerError(f"The weights {column!r} are not one number per row.")
    weights = values.reshape(-1).astype(np.float64)
    wrong = ~np.isfinite(weights) | (weights < 0)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise SamplerError(
            f"A weight in {column!r} is not a finite number from 0.",
            where={"row": int(view.rows[row])},
            found=repr(float(weights[row])),
        )
    if not weights.any():
        raise SamplerError(f"All weights in {column!r} are 0.")
    return np.cumsum(weights)
