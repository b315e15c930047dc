"""`RandomSplitter`: rows at random, with exact sizes, whole groups and even strata."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

import numpy as np

from mml.configuration import made_with, settings_beside
from mml.data import FeatureSetView
from mml.errors import SplitError, StrataWarning
from mml.processing.group_codes import as_columns, group_codes
from mml.processing.splitters.allocation import (
    deal_groups,
    deal_rows,
    deal_strata,
    deal_stratified_groups,
    largest_remainder,
)
from mml.protocols import Config
from mml.random import generator
from mml.user_warning import warn_user


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
        Columns whose equal values stay together. Sizes count rows and are as near as whole groups allow.
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
            object.__setattr__(self, setting, as_columns(getattr(self, setting)) or None)

    def split(self, view: FeatureSetView) -> dict[str, np.ndarray]:
        """Return ascending positions within the view per split; disjoint and complete.

        Raises
        ------
        SplitError
            If a split would be empty, or there are fewer groups than splits.

        Warns
        -----
        StrataWarning
            If some stratum cannot keep its share within one sample, or is missing from a split.
        """
        shares = np.array(list(self.ratios.values()), dtype=np.float64)
        shares = shares / shares.sum()
        sizes = largest_remainder(view.n_samples, shares)
        names = list(self.ratios)
        if (sizes == 0).any():
            raise SplitError(
                f"The split {names[int(np.argmin(sizes))]!r} would be empty.",
                where={"view": view.label},
                found=f"{view.n_samples} samples for ratios {dict(self.ratios)}",
            )
        labels = self._labels(view, sizes, shares)
        return {name: np.flatnonzero(labels == number) for number, name in enumerate(names)}

    def _labels(self, view: FeatureSetView, sizes: np.ndarray, shares: np.ndarray) -> np.ndarray:
        rng = generator(self.seed, "splitter", "random")
        strata = group_codes(view, as_columns(self.stratify_by)) if self.stratify_by else None
        if not self.group_by:
            if strata is None:
                return deal_rows(sizes, rng)
            labels = deal_strata(strata, sizes, shares, rng)
        else:
            groups = group_codes(view, as_columns(self.group_by))
            labels = self._group_labels(view, groups, strata, shares, rng)
        if strata is not None:
            self._report_strata(view, strata, labels, shares)
        return labels

    def _group_labels(
        self,
        view: FeatureSetView,
        groups: np.ndarray,
        strata: np.ndarray | None,
        shares: np.ndarray,
        rng: np.random.Generator,
    ) -> np.ndarray:
        group_sizes = np.bincount(groups)
        if len(group_sizes) < len(shares):
            raise SplitError(
                f"{len(group_sizes)} groups cannot fill {len(shares)} splits.",
                where={"view": view.label, "group_by": self.group_by},
                expected="at least one group per split, because a group is never divided",
            )
        if strata is None:
            of_group = deal_groups(group_sizes, shares, rng)
        else:
            n_strata = int(strata.max()) + 1
            table = np.bincount(groups * n_strata + strata, minlength=len(group_sizes) * n_strata)
            of_group = deal_stratified_groups(table.reshape(-1, n_strata), shares, rng)
        return np.asarray(of_group[groups])

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
        first = view.take([int(np.argmax(strata == worst))])
        example = first.get_data(as_columns(self.stratify_by), fmt="list")
        warn_user(
            f"Splitting {view.label!r} by {self.stratify_by}: {int(uneven.sum())} of {n_strata} strata are "
            f"more than one sample off their share, {int(absent.sum())} are missing from a split; for "
            f"example {example} has {held[worst].tolist()} samples in {list(self.ratios)}.",
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


def _json(columns: str | Iterable[str] | None) -> list[str] | None:
    return None if columns is None else list(as_columns(columns))


def _checked_ratios(ratios: Mapping[str, float]) -> dict[str, float]:
    if not isinstance(ratios, Mapping) or not ratios:
        raise SplitError("Ratios are a mapping from split names to shares.", found=repr(ratios))
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
        raise SplitError("The ratios do not sum to 1.", found=f"{dict(ratios)}, together {total:.12g}")
    return {name: float(share) for name, share in ratios.items()}
