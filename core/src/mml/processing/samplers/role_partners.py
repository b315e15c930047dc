"""`RolePartners`: the partners of one role, with what takes their place where no row fulfils everything.

Similar tags are groups of rows. Inside them one condition is solved by a sorted order (`Candidates`), and one
beside another tag by counting in it (`OtherTags`), in O(n log n); more of them are left to `Matching`.
"""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np

from mml.data import FeatureSetView
from mml.processing.batch_view import MASKED
from mml.processing.group_codes import group_codes
from mml.processing.samplers.candidates import Candidates, Rule
from mml.processing.samplers.columns import comparable_numbers_of
from mml.processing.samplers.matching import Matching
from mml.processing.samplers.other_tags import OtherTags
from mml.processing.samplers.similarity import NEAREST, Conditions, SimilarityCondition

_LARGEST, _LARGEST_WHOLE = float(np.finfo(np.float64).max), int(np.iinfo(np.uint64).max)
Partners: TypeAlias = Candidates | OtherTags | Matching


class RolePartners:
    """Draws the rows of one role for anchors of a view.

    Parameters
    ----------
    view : FeatureSetView
    conditions : tuple of SimilarityCondition

    Attributes
    ----------
    matched : numpy.ndarray
        Which positions of the view have a partner, by the conditions or by their fallback, bool ``(n,)``.
    """

    def __init__(self, view: FeatureSetView, conditions: Conditions) -> None:
        self._strict = _partners(view, conditions)
        self._strictly = self.matched = self._strict.matched()
        self._relaxed: Partners | None = None
        if not self.matched.all() and any(one.fallback for one in conditions):
            kept = tuple(one for one in conditions if one.fallback in (None, NEAREST))
            self._relaxed = _partners(view, kept, nearest=True)
            self.matched = self.matched | self._relaxed.matched()

    def draw(self, positions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return for each position ``(k,)`` that of a partner, -1 where there is none: int64 ``(k,)``."""
        strictly = self._strictly[positions]
        if strictly.all():
            return self._strict.draw(positions, rng)
        drawn = np.full(len(positions), MASKED, dtype=np.int64)
        drawn[strictly] = self._strict.draw(positions[strictly], rng)
        if self._relaxed is not None:
            relaxed = ~strictly & self.matched[positions]
            drawn[relaxed] = self._relaxed.draw(positions[relaxed], rng)
        return drawn


def _partners(view: FeatureSetView, conditions: Conditions, *, nearest: bool = False) -> Partners:
    """Return what draws partners that fulfil all conditions, or the nearest ones where one says so."""
    same = tuple(one.column for one in conditions if one.is_similar and one.is_tag)
    groups = group_codes(view, same) if same else np.zeros(view.n_samples, dtype=np.int64)
    rules = [_rule(view, one, nearest) for one in conditions if not (one.is_similar and one.is_tag)]
    if not rules:
        rules = [Rule(np.zeros_like(groups), np.int64(0), is_similar=True, is_tag=True)]
    if len(rules) == 1:
        return Candidates(groups, rules[0])
    tags = [one for one in rules if one.is_tag]
    if len(rules) == 2 and tags:
        (other,) = (one for one in rules if one is not tags[0])
        return OtherTags.beside(other, groups, tags[0].values)
    return Matching(groups, rules)


def _rule(view: FeatureSetView, condition: SimilarityCondition, nearest: bool) -> Rule:
    if condition.tolerance is None:
        codes = group_codes(view, (condition.column,))
        return Rule(codes, np.int64(0), condition.is_similar, is_tag=True)
    values = comparable_numbers_of(view, condition.column)
    if nearest and condition.fallback == NEAREST:
        return Rule(values, None, condition.is_similar)
    if values.dtype.kind == "f":
        return Rule(values, np.float64(min(condition.tolerance, _LARGEST)), condition.is_similar)
    # Differences of whole numbers are whole.
    return Rule(values, np.uint64(min(math.floor(condition.tolerance), _LARGEST_WHOLE)), condition.is_similar)
