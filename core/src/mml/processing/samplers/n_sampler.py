"""`NSampler`: anchors with any number of partners, each role with conditions of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from mml.processing.samplers.role_sampler import RoleSampler
from mml.processing.samplers.similarity import RoleConditions


@final
@dataclass(frozen=True, kw_only=True)
class NSampler(RoleSampler):
    """Batches with the role ``"anchor"`` and every role that has conditions.

    Parameters
    ----------
    conditions : mapping
        Role → its conditions, all of which hold: a `SimilarityCondition`, several of them, or column →
        ``"similar"``, ``"dissimilar"`` or the settings of a condition.
    batch_size, shuffle, seed, drop_last, group_by, stratify_by, weights, unmatched
        See `RoleSampler`.

    Examples
    --------
    >>> conditions = {"later": {"cell": "similar", "day": "dissimilar"}, "other": {"cell": "dissimilar"}}
    >>> NSampler(batch_size=8, conditions=conditions).roles
    ('anchor', 'later', 'other')
    """

    conditions: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "conditions", RoleConditions(self.conditions))

    @property
    def registered_name(self) -> str:
        """The name in configurations."""
        return "mml/n"

    @property
    def role_conditions(self) -> RoleConditions:
        """The conditions of every role but the anchor."""
        found: RoleConditions = self.conditions
        return found
