"""`PairedSampler`: every row with one partner, as contrastive losses compare them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from mml.processing.samplers.role_sampler import RoleSampler
from mml.processing.samplers.similarity import RoleConditions, as_conditions

PAIR = "pair"


@final
@dataclass(frozen=True, kw_only=True)
class PairedSampler(RoleSampler):
    """Batches with the roles ``"anchor"`` and ``"pair"``.

    Parameters
    ----------
    conditions : SimilarityCondition, sequence or mapping
        What makes a row a partner; all of them hold. One condition, several, or column → ``"similar"``,
        ``"dissimilar"`` or the settings of a condition.
    batch_size, shuffle, seed, drop_last, group_by, stratify_by, weights, unmatched
        See `RoleSampler`.

    Examples
    --------
    >>> sampler = PairedSampler(batch_size=8, conditions={"cell": "similar", "day": "dissimilar"})
    >>> [condition.column for condition in sampler.conditions]
    ['cell', 'day']
    """

    conditions: Any

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "conditions", as_conditions(self.conditions))

    @property
    def registered_name(self) -> str:
        """The name in configurations."""
        return "mml/paired"

    @property
    def role_conditions(self) -> RoleConditions:
        """The conditions of every role but the anchor."""
        return RoleConditions({PAIR: self.conditions})
