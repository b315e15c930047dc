"""`SimilarityCondition`: what makes a row a partner of another; and how users write several of them.

Declarations only: which rows fulfil them is found in `candidates` and `matching`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

import numpy as np

from mml.configuration import made_with
from mml.errors import ConfigError, MMLError, SamplerError, did_you_mean, listed
from mml.processing.samplers.settings import checked_choice, refuse_set
from mml.protocols import Config

ANCHOR = "anchor"
SIMILAR, DISSIMILAR = "similar", "dissimilar"
ANY, NEAREST = "any", "nearest"

# Up to here a float holds every whole number.
_WHOLE = 1 << 53

Conditions: TypeAlias = "tuple[SimilarityCondition, ...]"


@dataclass(frozen=True)
class SimilarityCondition:
    """A partner has the same value in a column as its anchor, or another one.

    Parameters
    ----------
    column : str
        A scalar column, read as it was ingested unless the name says ``.transformed``.
    mode : {"similar", "dissimilar"}
        Whether the values must agree or differ.
    tolerance : float, optional
        For numbers: up to which distance two values agree, the distance itself included. Without one, values
        agree where they are equal, whatever they are.
    fallback : {"any", "nearest"}, optional
        What happens to an anchor that no row fulfils all conditions for. ``"any"`` leaves this condition
        out; ``"nearest"`` takes the rows at the least distance, needs a tolerance and ``"similar"``, and
        stands beside similar tags and one dissimilar tag. Without one the condition stays.

    Examples
    --------
    >>> SimilarityCondition("temperature", tolerance=2.5).mode
    'similar'
    """

    column: str
    mode: str = field(default=SIMILAR, kw_only=True)
    tolerance: float | None = field(default=None, kw_only=True)
    fallback: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.column, str) or not self.column:
            raise SamplerError("A condition names a column.", found=repr(self.column))
        try:
            checked_choice("mode", self.mode, (SIMILAR, DISSIMILAR))
            if self.tolerance is not None:
                object.__setattr__(self, "tolerance", _checked_tolerance(self.tolerance))
            if self.fallback is not None:
                checked_choice("fallback", self.fallback, (ANY, NEAREST))
        except SamplerError as error:
            raise error.located({"column": self.column}) from None
        if self.fallback == NEAREST and (self.tolerance is None or self.mode != SIMILAR):
            raise SamplerError(
                "Only similar numbers have a nearest one.",
                where={"column": self.column},
                expected="fallback='nearest' with mode='similar' and a tolerance",
            )

    @property
    def is_similar(self) -> bool:
        """Whether the values must agree."""
        return self.mode == SIMILAR

    @property
    def is_tag(self) -> bool:
        """Whether values agree only where they are equal."""
        return self.tolerance is None

    def get_config(self) -> Config:
        """Return the settings as JSON-compatible values."""
        return {
            "column": self.column,
            "mode": self.mode,
            "tolerance": self.tolerance,
            "fallback": self.fallback,
        }

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal condition."""
        if not isinstance(config, Mapping):
            raise ConfigError("The settings of a condition are no mapping.", found=repr(config))
        return made_with(cls, dict(config))


class RoleConditions(Mapping[str, Conditions]):
    """Role → its conditions, all of which hold; an immutable mapping that can be a key.

    Parameters
    ----------
    given : mapping of str to conditions
        As `as_conditions` reads them.
    """

    __slots__ = ("_roles",)

    def __init__(self, given: Any) -> None:
        if not isinstance(given, Mapping) or not given:
            raise SamplerError(
                "The conditions are given by role.",
                expected="such as {'pair': {'cell': 'similar'}}",
                found=repr(given),
            )
        self._roles: dict[str, Conditions] = {}
        for role, conditions in given.items():
            _check_role(role)
            try:
                self._roles[role] = as_conditions(conditions)
            except MMLError as error:
                raise error.located({"role": role}) from error.__cause__

    def __getitem__(self, role: str) -> Conditions:
        if role not in self._roles:
            raise SamplerError(f"There is no role {role!r}.", hint=did_you_mean(str(role), self._roles))
        return self._roles[role]

    def __iter__(self) -> Iterator[str]:
        return iter(self._roles)

    def __len__(self) -> int:
        return len(self._roles)

    def __contains__(self, role: object) -> bool:
        return role in self._roles

    def __eq__(self, other: object) -> bool:
        # The order of the roles is part of a sampler: nodes run once a role, in that order.
        return isinstance(other, RoleConditions) and list(self._roles.items()) == list(other._roles.items())

    def __hash__(self) -> int:
        return hash(tuple(self._roles.items()))

    def __repr__(self) -> str:
        return repr(self._roles)


def as_conditions(given: Any) -> Conditions:
    """Return the conditions of one role.

    Parameters
    ----------
    given : SimilarityCondition, sequence or mapping
        One condition; several, as objects or their settings; or column → ``"similar"``, ``"dissimilar"`` or
        the settings of a condition.

    Raises
    ------
    SamplerError
        If there are none, or one is wrong.
    """
    if isinstance(given, SimilarityCondition):
        return (given,)
    refuse_set("`conditions`", given)
    if isinstance(given, Mapping):
        made = [_condition_on(column, one) for column, one in given.items()]
    elif isinstance(given, Iterable) and not isinstance(given, str):
        made = [_condition(one) for one in given]
    else:
        raise SamplerError(
            "These are no conditions.",
            expected="SimilarityCondition objects, or such as {'cell': 'similar'}",
            found=repr(given),
        )
    if not made:
        raise SamplerError(
            "A role needs a condition: without one every row would do.",
            expected="such as SimilarityCondition('cell')",
        )
    _check_nearest(made)
    return tuple(made)


def _check_nearest(conditions: Sequence[SimilarityCondition]) -> None:
    """Refuse conditions beside which the nearest row would be looked for among all pairs."""
    n_nearest = sum(one.fallback == NEAREST for one in conditions)
    if n_nearest > 1:
        raise SamplerError("Only one condition of a role can fall back to the nearest value.")
    kept = [one for one in conditions if one.fallback is None and not (one.is_similar and one.is_tag)]
    if n_nearest and kept and not (len(kept) == 1 and kept[0].is_tag):
        raise SamplerError(
            "The nearest value is looked for among rows of similar tags and of one dissimilar tag.",
            expected="beside fallback='nearest' only such conditions, or others with fallback='any'",
            found=listed(f"{one.mode} {one.column}" for one in kept),
        )


def _condition(given: Any) -> SimilarityCondition:
    if isinstance(given, SimilarityCondition):
        return given
    if isinstance(given, Mapping):
        return SimilarityCondition.from_config(dict(given))
    raise SamplerError(
        "This is no condition.",
        expected="a SimilarityCondition, or its settings: {'column': 'cell', 'mode': 'similar'}",
        found=repr(given),
    )


def _condition_on(column: Any, given: Any) -> SimilarityCondition:
    if isinstance(given, SimilarityCondition):
        if given.column != column:
            raise SamplerError(
                "A condition stands under another column than its own.",
                expected=repr(given.column),
                found=repr(column),
            )
        return given
    if isinstance(given, str):
        return SimilarityCondition(column, mode=given)
    if isinstance(given, Mapping):
        if given.get("column", column) != column:
            raise SamplerError(
                "A condition stands under another column than its own.",
                expected=repr(given["column"]),
                found=repr(column),
            )
        return SimilarityCondition.from_config({**given, "column": column})
    raise SamplerError(
        "This is no condition.",
        where={"column": column},
        expected="'similar', 'dissimilar' or the settings of a SimilarityCondition",
        found=repr(given),
    )


def _check_role(role: Any) -> None:
    if not isinstance(role, str) or not role or not role.replace("_", "a").replace("-", "a").isalnum():
        raise SamplerError(
            "A role is named by letters, digits, '_' and '-'.",
            found=repr(role),
        )
    if role in (ANCHOR, "default"):
        raise SamplerError(
            f"The role {role!r} is taken: the rows that partners are drawn for are the role {ANCHOR!r}."
            if role == ANCHOR
            else "A role besides others cannot be called 'default'.",
            hint="Name it for what it is to its anchor, such as 'positive'.",
        )


def _checked_tolerance(value: Any) -> float | int:
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    # Whole numbers compare with infinity whatever their size.
    if not number or not 0 <= value < math.inf:
        raise SamplerError("A tolerance is a finite number from 0.", found=repr(value)[:80])
    if isinstance(value, (int, np.integer)) and value > _WHOLE:
        return int(value)
    return float(value)
