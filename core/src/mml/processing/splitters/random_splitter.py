"""`RandomSplitter`: rows at random, with exact sizes, whole groups and even strata."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from mml.configuration import made_with, settings_beside
from mml.data import FeatureSetView
from mml.errors import SplitError, SplitSizeWarning, StrataWarning
from mml.processing.group_codes import as_columns, count_pairs, group_codes, group_values
from mml.processing.splitters.allocation import deal_rows, deal_strata, largest_remainder
from mml.processing.splitters.group_allocation import deal_groups
from mml.processing.splitters.stratified_groups import deal_stratified_groups
from mml.protocols import Config
from mml.random import generator
from mml.user_warning import warn_user

_TOLERATED = 0.05


@dataclass(frozen=True)
class RandomSplitter:
    """Divides rows at random.

    Parameters
    ----------
    ratios : mapping of str to float
        Split → share. They sum to 1; sizes are exact by largest remainder.
    seed : int
        Equal seeds give equal splits.
    group_by : str or iterable of str, optional
        Columns whose equal values stay together. Shares are of rows, not of groups; sizes are as near to them
        as exchanging whole groups brings them.
    stratify_by : str or iterable of str, optional
        Columns whose values keep their shares in every split, within one sample (without groups).

    Examples
    --------
    >>> RandomSplitter({"train": 0.8, "test": 0.2}, seed=0).ratios
    {'train': 0.8, 'test': 0.2}
    """

    ratios: Mapping[str, float]
    seed: int
    group_by: str | Iterable[str] | None = field(default=None, kw_only=True)
    stratify_by: str | Iterable[str] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratios", _checked_ratios(self.ratios))
        if isinstance(self.seed, bool) or not isinstance(self.seed, (int, np.integer)) or self.seed < 0:
            raise SplitError(
                "A random split needs a seed.", expected="an integer from 0", found=repr(self.seed)
            )
        object.__setattr__(self, "seed", int(self.seed))
        for setting in ("group_by", "stratify_by"):
            object.__setattr__(self, setting, as_columns(getattr(self, setting), setting=setting) or None)

    def split(self, view: FeatureSetView) -> dict[str, np.ndarray]:
        """Return ascending positions within the view per split; disjoint and complete.

        Raises
        ------
        SplitError
            If a split would be empty, there are fewer groups than splits, or a group has more rows than any
            split may hold.
        DataError
            If a column to group or stratify by has tensors or missing values.

        Warns
        -----
        SplitSizeWarning
            If whole groups leave a split more than one row, and more than 5 % of its size, off that size.
        StrataWarning
            If some stratum cannot keep its share within one sample, or is missing from a split.
        """
        shares = np.array(list(self.ratios.values()), dtype=np.float64)
        shares = shares / math.fsum(shares)
        sizes = largest_remainder(view.n_samples, shares)
        names = list(self.ratios)
        if (sizes == 0).any():
            raise SplitError(
                f"The split {names[int(np.argmin(sizes))]!r} would be empty.",
                where={"view": view.label},
                found=f"{view.n_samples} samples for ratios {dict(self.ratios)}",
                hint="Give it a larger share, or make fewer splits.",
            )
        labels = self._labels(view, sizes, shares)
        return {name: np.flatnonzero(labels == number) for number, name in enumerate(names)}

    def _labels(self, view: FeatureSetView, sizes: np.ndarray, shares: np.ndarray) -> np.ndarray:
        rng = generator(self.seed, "splitter", "random")
        strata = group_codes(view, as_columns(self.stratify_by)) if self.stratify_by else None
        groups = group_codes(view, as_columns(self.group_by)) if self.group_by else None
        # Groups of one row each are no groups, and without groups sizes and strata are exact.
        if groups is not None and int(groups.max()) + 1 < len(groups):
            labels = self._group_labels(view, groups, strata, sizes=sizes, shares=shares, rng=rng)
            self._report_sizes(view, groups, labels, sizes)
        elif strata is None:
            return deal_rows(sizes, rng)
        else:
            labels = deal_strata(strata, sizes, shares, rng)
        if strata is not None:
            self._report_strata(view, strata, labels, shares)
        return labels

    def _group_labels(
        self,
        view: FeatureSetView,
        groups: np.ndarray,
        strata: np.ndarray | None,
        *,
        sizes: np.ndarray,
        shares: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        group_sizes = np.bincount(groups)
        if len(group_sizes) < len(sizes):
            raise SplitError(
                f"{len(group_sizes)} groups cannot fill {len(sizes)} splits.",
                where={"view": view.label, "group_by": list(as_columns(self.group_by))},
                expected="at least one group per split, because a group is never divided",
            )
        self._require_room(view, groups, group_sizes)
        if strata is None:
            of_group = deal_groups(group_sizes, sizes, rng)
        else:
            of_group = deal_stratified_groups(count_pairs(groups, strata), group_sizes, sizes, shares, rng)
        return of_group.astype(np.min_scalar_type(len(sizes))).take(groups)

    def _require_room(self, view: FeatureSetView, groups: np.ndarray, group_sizes: np.ndarray) -> None:
        largest, name = int(np.argmax(group_sizes)), max(self.ratios, key=lambda one: self.ratios[one])
        rows = int(group_sizes[largest])
        room = math.ceil(self.ratios[name] * len(groups) - 1e-9)
        if rows <= room:
            return
        raise SplitError(
            f"A group has {rows} of {len(groups)} rows, more than any split holds, and is never divided.",
            where={"view": view.label, "group": _values_at(view, groups == largest, self.group_by)},
            expected=f"at most {room} rows, the share of {name!r}",
            hint=f"Give one split a share of at least {math.ceil(1000 * rows / len(groups)) / 1000:g}, group "
            "by something finer, or leave some of these rows out.",
        )

    def _report_sizes(
        self, view: FeatureSetView, groups: np.ndarray, labels: np.ndarray, sizes: np.ndarray
    ) -> None:
        found = np.bincount(labels, minlength=len(sizes))
        if (np.abs(found - sizes) <= np.maximum(1, _TOLERATED * sizes)).all():
            return
        group_sizes = np.bincount(groups)
        warn_user(
            f"Splitting {view.label!r} by whole groups of {list(as_columns(self.group_by))}: "
            f"{list(self.ratios)} have {found.tolist()} samples instead of {sizes.tolist()}; "
            f"the largest of {len(group_sizes)} groups has {int(group_sizes.max())}.",
            SplitSizeWarning,
        )

    def _report_strata(
        self, view: FeatureSetView, strata: np.ndarray, labels: np.ndarray, shares: np.ndarray
    ) -> None:
        n_splits, n_strata = len(shares), int(strata.max()) + 1
        held = np.bincount(strata * n_splits + labels, minlength=n_strata * n_splits).reshape(-1, n_splits)
        off = np.abs(held - held.sum(axis=1, keepdims=True) * shares).max(axis=1)
        uneven, absent = off > 1 + 1e-9, (held == 0).any(axis=1)
        if not (uneven | absent).any():
            return
        worst = int(np.argmax(np.where(uneven | absent, off + absent, -1)))
        warn_user(
            f"Splitting {view.label!r} by {list(as_columns(self.stratify_by))}: {int(uneven.sum())} of "
            f"{n_strata} strata are more than one sample off their share, {int(absent.sum())} are missing "
            f"from a split; for example {_values_at(view, strata == worst, self.stratify_by)} has "
            f"{held[worst].tolist()} samples in {list(self.ratios)}.",
            StrataWarning,
        )

    def get_config(self) -> Config:
        """Return the settings as JSON-compatible values."""
        return {
            "splitter": "mml/random",
            "ratios": dict(self.ratios),
            "seed": self.seed,
            "group_by": _json(self.group_by),
            "stratify_by": _json(self.stratify_by),
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal splitter."""
        return made_with(cls, settings_beside(config, "splitter"))


def _values_at(view: FeatureSetView, mask: np.ndarray, columns: str | Iterable[str] | None) -> dict[str, Any]:
    """Return what the first row of a mask holds in some columns, to name a group by."""
    row = view.take([int(np.argmax(mask))])
    return {column: group_values(row, column).tolist()[0] for column in as_columns(columns)}


def _json(columns: str | Iterable[str] | None) -> list[str] | None:
    return None if columns is None else list(as_columns(columns))


def _checked_ratios(ratios: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(ratios, Mapping) or not ratios:
        raise SplitError(
            "Ratios are a mapping from split names to shares.",
            found=repr(ratios),
            hint="Name the splits: ratios={'train': 0.8, 'test': 0.2}.",
        )
    for name, share in ratios.items():
        if not isinstance(name, str) or not name.strip():
            raise SplitError("A split needs a name.", expected="a non-empty string", found=repr(name))
        is_number = isinstance(share, (int, float, np.integer, np.floating)) and not isinstance(share, bool)
        if not is_number or not math.isfinite(share) or share <= 0:
            raise SplitError(
                f"The share of {name!r} is not a positive number.",
                expected="above 0, up to 1",
                found=repr(share),
            )
    total = math.fsum(float(share) for share in ratios.values())
    if abs(total - 1) > 1e-9:
        shares = {name: round(float(share) / total, 12) for name, share in ratios.items()}
        raise SplitError(
            "The ratios do not sum to 1.",
            found=f"{dict(ratios)}, together {total:.12g}",
            hint=f"Shares in this proportion are ratios={shares}.",
        )
    return {name: float(share) for name, share in ratios.items()}
