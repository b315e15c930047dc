"""Dividing samples into named splits: what a FeatureSet and its views have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mml.data.conditions import Conditions
from mml.data.protocols import SplitterLike

if TYPE_CHECKING:
    from mml.data.view import FeatureSetView


class Splittable(ABC):
    """Something whose samples can be divided."""

    __slots__ = ()

    @abstractmethod
    def split(
        self, splitter: SplitterLike | str, *, overwrite: bool = False, **settings: Any
    ) -> dict[str, FeatureSetView]:
        """Divide the samples into named splits of the FeatureSet.

        Parameters
        ----------
        splitter : splitter or str
            A splitter, or the name of one with its ``settings``.
        overwrite : bool
            Whether names that exist may be used again. The other splits of the same earlier splitter, and
            splits of those splits, are then dropped: they belong to a division that no longer exists. So are
            splits of rows that were taken from it, as by a filter: they lie within the division, but not in
            all of its parts.

        Returns
        -------
        dict of str to FeatureSetView
            The new splits.

        Raises
        ------
        SplitError
            If a name exists, a part is empty, a row is in two parts or in none, rows stand twice in a view,
            or the splitter cannot do what it was asked for. The FeatureSet is then as it was.
        """

    def split_random(
        self,
        *,
        ratios: Mapping[str, float],
        seed: int,
        group_by: str | Iterable[str] | None = None,
        stratify_by: str | Iterable[str] | None = None,
        overwrite: bool = False,
    ) -> dict[str, FeatureSetView]:
        """Divide the samples at random.

        Parameters
        ----------
        ratios : mapping of str to float
            Split → share; they sum to 1. Sizes are exact by largest remainder.
        seed : int
            Equal seeds give equal splits.
        group_by : str or iterable of str, optional
            Columns whose equal values stay together; sizes are then as near as exchanging whole groups brings
            them. A group larger than every share is an error.
        stratify_by : str or iterable of str, optional
            Columns whose values keep their shares in every split.
        overwrite : bool
            See :meth:`split`.

        Warns
        -----
        SplitSizeWarning
            If whole groups leave a split more than one row, and more than 5 % of its size, off that size.
        StrataWarning
            If a stratum cannot keep its share within one sample, or is missing from a split.
        """
        return self.split(
            "mml/random",
            overwrite=overwrite,
            ratios=ratios,
            seed=seed,
            group_by=group_by,
            stratify_by=stratify_by,
        )

    def split_by_condition(
        self, conditions: Mapping[str, Conditions], *, rest: str | None = None, overwrite: bool = False
    ) -> dict[str, FeatureSetView]:
        """Divide the samples by conditions.

        Parameters
        ----------
        conditions : mapping of str to conditions
            Split → what its samples fulfil, as in ``filter``; no sample may fulfil those of two splits.
        rest : str, optional
            The split for samples that fulfil none; without it, such samples are an error.
        overwrite : bool
            See :meth:`split`.
        """
        return self.split("mml/condition", overwrite=overwrite, conditions=conditions, rest=rest)
