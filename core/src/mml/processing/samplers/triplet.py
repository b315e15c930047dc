"""`TripletSampler`: every row with one like it and one unlike it, as triplet losses compare them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

from mml.errors import SamplerError, listed
from mml.processing.samplers.role_sampler import RoleSampler
from mml.processing.samplers.similarity import DISSIMILAR, SIMILAR, RoleConditions

POSITIVE, NEGATIVE = "positive", "negative"


@final
@dataclass(frozen=True, kw_only=True)
class TripletSampler(RoleSampler):
    """Batches with the roles ``"anchor"``, ``"positive"`` and ``"negative"``.

    Parameters
    ----------
    by : str, optional
        A column: the positive has the anchor's value in it, the negative another one.
    conditions : mapping, optional
        In place of `by`: the conditions of ``"positive"`` and of ``"negative"``, as for `NSampler`.
    batch_size, shuffle, seed, drop_last, group_by, stratify_by, weights, unmatched
        See `RoleSampler`.

    Examples
    --------
    >>> TripletSampler(batch_size=8, by="cell").roles
    ('anchor', 'positive', 'negative')
    """

    by: str | None = None
    conditions: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.by is None) == (self.conditions is None):
            raise SamplerError(
                "Triplets are made by one column or by conditions.",
                expected="either by='cell' or conditions={'positive': ..., 'negative': ...}",
                found="both" if self.by is not None else "neither",
            )
        if self.by is not None and (not isinstance(self.by, str) or not self.by):
            raise SamplerError("`by` names one column.", found=repr(self.by))
        if self.conditions is None:
            return
        conditions = RoleConditions(self.conditions)
        if set(conditions) != {POSITIVE, NEGATIVE}:
            raise SamplerError(
                "Triplets have a positive and a negative.",
                expected=listed((POSITIVE, NEGATIVE)),
                found=listed(conditions),
                hint="NSampler takes any roles.",
            )
        ordered = RoleConditions({role: conditions[role] for role in (POSITIVE, NEGATIVE)})
        object.__setattr__(self, "conditions", ordered)

    @property
    def registered_name(self) -> str:
        """The name in configurations."""
        return "mml/triplet"

    @property
    def role_conditions(self) -> RoleConditions:
        """The conditions of every role but the anchor."""
        if self.conditions is not None:
            found: RoleConditions = self.conditions
            return found
        return RoleConditions({POSITIVE: {self.by: SIMILAR}, NEGATIVE: {self.by: DISSIMILAR}})
