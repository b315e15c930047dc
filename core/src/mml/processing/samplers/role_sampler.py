"""`RoleSampler`: batches of anchors, and for every anchor a partner in each further role.

The one implementation behind pairs, triplets and any number of roles. Anchors are ordered as `SimpleSampler`
orders rows; partners are drawn anew in every epoch.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from mml.data import FeatureSet, FeatureSetView
from mml.errors import SamplerError, UnmatchedRowsWarning
from mml.processing.batch_view import DEFAULT_ROLE, MASKED
from mml.processing.samplers.bound import BoundSampler, chosen_seed
from mml.processing.samplers.epoch import Epoch
from mml.processing.samplers.role_partners import RolePartners
from mml.processing.samplers.row_order import RowOrder
from mml.processing.samplers.settings import (
    as_view,
    checked_choice,
    config_of,
    key_of,
    made_from,
    told_as_sampler_error,
)
from mml.processing.samplers.similarity import ANCHOR, RoleConditions
from mml.processing.samplers.simple import SimpleSampler
from mml.protocols import Config
from mml.random import generator
from mml.user_warning import warn_user

DROP, MASK, ERROR = "drop", "mask", "error"
UNMATCHED = (DROP, MASK, ERROR)
_ANCHOR_SETTINGS = ("batch_size", "shuffle", "seed", "drop_last", "group_by", "stratify_by", "weights")


@dataclass(frozen=True, kw_only=True)
class RoleSampler(ABC):
    """Base of the samplers with several roles.

    Parameters
    ----------
    batch_size, shuffle, seed, drop_last, group_by, stratify_by, weights
        How anchors are ordered and cut into batches, as for `SimpleSampler`. Partners derive from the seed
        too, and differ from epoch to epoch whether or not anchors are shuffled.
    unmatched : {"drop", "mask", "error"}
        What happens to anchors for which no row fulfils the conditions: they are left out, kept with a masked
        partner, or refused.
    """

    batch_size: int
    shuffle: bool = False
    seed: int | None = None
    drop_last: bool = False
    group_by: str | Iterable[str] | None = None
    stratify_by: str | Iterable[str] | None = None
    weights: str | None = None
    unmatched: str = DROP

    def __post_init__(self) -> None:
        anchors = self._anchors()
        for name in _ANCHOR_SETTINGS:
            object.__setattr__(self, name, getattr(anchors, name))
        checked_choice("unmatched", self.unmatched, UNMATCHED)

    @property
    @abstractmethod
    def registered_name(self) -> str:
        """The name in configurations."""

    @property
    @abstractmethod
    def role_conditions(self) -> RoleConditions:
        """The conditions of every role but the anchor."""

    @property
    def roles(self) -> tuple[str, ...]:
        """The roles, in the order in which nodes run them."""
        return (ANCHOR, *self.role_conditions)

    def bind(self, view: FeatureSetView | FeatureSet, *, seed: int | None = None) -> BoundSampler:
        """Return the sampler with the rows of a view.

        Parameters
        ----------
        view : FeatureSetView or FeatureSet
            Where anchors and partners come from; all rows of a FeatureSet.
        seed : int, optional
            Used where the sampler has none of its own; 0 where neither is given.

        Raises
        ------
        SamplerError
            If there are no rows, a column does not exist or cannot be compared, no row fulfils the
            conditions of a role, or some do not and ``unmatched="error"``.

        Warns
        -----
        UnmatchedRowsWarning
            If some anchors are left out or masked.
        """
        rows = as_view(view)
        chosen = chosen_seed(self.seed, seed)
        with told_as_sampler_error(rows):
            _check_distinct(rows)
            partners = {
                role: RolePartners(rows, conditions) for role, conditions in self.role_conditions.items()
            }
            anchors = self._matched(rows, partners)
            order = RowOrder(self._anchors(), anchors, chosen)
        made = _RoleOrder(order, partners=partners, rows=rows.rows, seed=chosen)
        return BoundSampler(rows, order=made, seed=chosen, n_batches=order.n_batches, settings=self.key())

    def key(self) -> tuple[Any, ...]:
        """Return the settings as a hashable key: samplers of one key on one view are one sampler."""
        return key_of(self)

    def get_config(self) -> Config:
        """Return the settings as JSON-compatible values."""
        return config_of(self, self.registered_name)

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal sampler."""
        return made_from(cls, config)

    def _anchors(self) -> SimpleSampler:
        return SimpleSampler(**{name: getattr(self, name) for name in _ANCHOR_SETTINGS})

    def _matched(self, view: FeatureSetView, partners: Mapping[str, RolePartners]) -> FeatureSetView:
        """Return the rows that are anchors; tell, or refuse, those without a partner."""
        everywhere = np.ones(view.n_samples, dtype=bool)
        for role, found in partners.items():
            lacking = ~found.matched
            everywhere &= found.matched
            if lacking.any():
                conditions = ", ".join(f"{one.mode} {one.column!r}" for one in self.role_conditions[role])
                report_unmatched(
                    view,
                    lacking,
                    what=f"no partner for the role {role!r} ({conditions})",
                    how=self.unmatched,
                    hint="Use unmatched='drop' or 'mask', or a fallback.",
                )
        if self.unmatched == MASK:
            return view
        if not everywhere.any():
            raise SamplerError("No row has a partner in every role.", found=", ".join(map(repr, partners)))
        return view if everywhere.all() else view.take(everywhere)


class _RoleOrder:
    """Epoch number → its batches of anchors and partners."""

    def __init__(
        self,
        anchors: Callable[[int], Epoch],
        *,
        partners: Mapping[str, RolePartners],
        rows: np.ndarray,
        seed: int,
    ) -> None:
        self._anchors, self._partners, self._rows, self._seed = anchors, partners, rows, seed
        self._position = np.full(int(rows.max()) + 1, MASKED, dtype=np.int64)
        self._position[rows] = np.arange(len(rows))

    def __call__(self, epoch: int) -> Epoch:
        anchors = self._anchors(epoch)
        order = {ANCHOR: anchors.order[DEFAULT_ROLE]}
        positions = self._position[order[ANCHOR]]
        for role, partners in self._partners.items():
            rng = generator(self._seed, "sampler", "epoch", epoch, "role", role)
            drawn = partners.draw(positions, rng)
            order[role] = np.where(drawn >= 0, self._rows[drawn], MASKED)
        return Epoch(order, anchors.borders)


def report_unmatched(view: FeatureSetView, lacking: np.ndarray, *, what: str, how: str, hint: str) -> None:
    """Warn of rows without a match, or refuse them.

    Parameters
    ----------
    view : FeatureSetView
    lacking : numpy.ndarray
        Which rows of the view, bool ``(n,)``, at least one.
    what : str
        What they have not.
    how : {"drop", "mask", "error"}
    hint : str
        What to do about an error.

    Raises
    ------
    SamplerError
        If it is all of them, or an error was asked for.
    """
    number, first = int(lacking.sum()), int(view.rows[int(np.argmax(lacking))])
    if number == len(lacking):
        raise SamplerError(f"No row has a match: all of them have {what}.", found=f"{number} rows")
    told = f"{number} of {len(lacking)} rows of {view.label} have {what}; first row {first}"
    if how == ERROR:
        raise SamplerError(f"{told}.", hint=hint)
    ending = "they are left out" if how == DROP else "they are masked"
    warn_user(f"{told}: {ending}.", UnmatchedRowsWarning)


def _check_distinct(view: FeatureSetView) -> None:
    if isinstance(view.row_index, slice):
        return
    if len(np.unique(view.rows)) < view.n_samples:
        raise SamplerError(
            "The view holds a row more than once, which could become its own partner.",
            found=f"{view.n_samples} rows, {len(np.unique(view.rows))} different ones",
        )
