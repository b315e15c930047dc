"""`RolePartners`: the partners of one role, with what takes their place where no row fulfils everything."""

from __future__ import annotations

import numpy as np

from mml.data import FeatureSetView
from mml.processing.batch_view import MASKED
from mml.processing.samplers.matching import Matching
from mml.processing.samplers.similarity import NEAREST, Conditions


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
        self._strict = Matching(view, conditions)
        self._relaxed: Matching | None = None
        self.matched = self._strict.matched
        if not self.matched.all() and any(one.fallback for one in conditions):
            kept = [one for one in conditions if one.fallback in (None, NEAREST)]
            self._relaxed = Matching(view, kept, nearest=True)
            self.matched = self.matched | self._relaxed.matched

    def draw(self, positions: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return for each position ``(k,)`` that of a partner, -1 where there is none: int64 ``(k,)``."""
        strictly = self._strict.matched[positions]
        if strictly.all():
            return self._strict.draw(positions, rng)
        drawn = np.full(len(positions), MASKED, dtype=np.int64)
        drawn[strictly] = self._strict.draw(positions[strictly], rng)
        if self._relaxed is not None:
            relaxed = ~strictly & self._relaxed.matched[positions]
            drawn[relaxed] = self._relaxed.draw(positions[relaxed], rng)
        return drawn
