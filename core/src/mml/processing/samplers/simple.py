"""`SimpleSampler`: one role, batches of one view, in order or shuffled anew each epoch."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

from mml.data import FeatureSet, FeatureSetView
from mml.errors import SamplerError
from mml.processing.samplers.bound import BoundSampler, chosen_seed
from mml.processing.samplers.row_order import RowOrder
from mml.processing.samplers.settings import (
    as_view,
    checked_batch_size,
    checked_columns,
    checked_flag,
    checked_seed,
    config_of,
    key_of,
    made_from,
    told_as_sampler_error,
)
from mml.protocols import Config


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
        Columns whose values every batch holds in their overall shares, or in those of its group, within one
        row at each of its two ends. Takes half a second to bind for each million rows.
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
        checked = {
            "batch_size": checked_batch_size(self.batch_size),
            "shuffle": checked_flag("shuffle", self.shuffle),
            "seed": checked_seed(self.seed),
            "drop_last": checked_flag("drop_last", self.drop_last),
            "group_by": checked_columns("group_by", self.group_by),
            "stratify_by": checked_columns("stratify_by", self.stratify_by),
        }
        for name, value in checked.items():
            object.__setattr__(self, name, value)
        if self.weights is None:
            return
        if not isinstance(self.weights, str):
            raise SamplerError("`weights` names one column.", found=repr(self.weights))
        if self.group_by or self.stratify_by or not self.shuffle:
            raise SamplerError(
                "Weighted rows are drawn at random over the whole view.",
                expected="weights with shuffle=True and without group_by and stratify_by",
            )

    def bind(self, view: FeatureSetView | FeatureSet, *, seed: int | None = None) -> BoundSampler:
        """Return the sampler with the rows of a view.

        Parameters
        ----------
        view : FeatureSetView or FeatureSet
            Where rows come from; all rows of a FeatureSet.
        seed : int, optional
            Used where the sampler has none of its own; 0 where neither is given.

        Raises
        ------
        SamplerError
            If there are no rows, no full batch with ``drop_last``, or a column does not fit.

        Warns
        -----
        UnmatchedRowsWarning
            If groups are smaller than a batch, and ``drop_last`` leaves them out of every epoch.
        """
        rows = as_view(view)
        chosen = chosen_seed(self.seed, seed)
        with told_as_sampler_error(rows):
            order = RowOrder(self, rows, chosen)
        return BoundSampler(rows, order=order, seed=chosen, n_batches=order.n_batches, settings=self.key())

    def key(self) -> tuple[Any, ...]:
        """Return the settings as a hashable key: samplers of one key on one view are one sampler."""
        return key_of(self)

    def get_config(self) -> Config:
        """Return the settings as JSON-compatible values."""
        return config_of(self, "mml/simple")

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal sampler."""
        return made_from(cls, config)
