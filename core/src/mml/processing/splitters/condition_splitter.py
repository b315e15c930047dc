"""`ConditionSplitter`: rows by what their columns say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from mml.configuration import checked_config
from mml.data import FeatureSetView
from mml.data.conditions import matches
from mml.errors import ConfigError, MMLError, SplitError
from mml.processing.splitters.written_conditions import read_conditions, written_conditions
from mml.protocols import Config


@dataclass(frozen=True, eq=False)
class ConditionSplitter:
    """Divides rows by conditions on columns.

    Parameters
    ----------
    conditions : mapping of str to conditions
        Split → column → a scalar, a set of allowed values or a callable; or a pyarrow expression. What they
        mean is as in `FeatureSetView.filter`. No row may fulfil those of two splits.
    rest : str, optional
        The split for rows that fulfil none; without it, such rows are an error.

    Examples
    --------
    >>> ConditionSplitter({"train": {"cell": {"A", "B"}}}, rest="test").rest
    'test'
    """

    conditions: Mapping[str, Any]
    rest: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not isinstance(self.conditions, Mapping) or not self.conditions:
            raise SplitError(
                "Conditions are a mapping from split names to conditions.", found=repr(self.conditions)[:80]
            )
        if self.rest is not None and (not isinstance(self.rest, str) or not self.rest.strip()):
            raise SplitError(
                "The split for the rest needs a name.", expected="a non-empty string", found=repr(self.rest)
            )
        if self.rest in self.conditions:
            raise SplitError(f"The split {self.rest!r} has conditions of its own and cannot take the rest.")
        object.__setattr__(self, "conditions", dict(self.conditions))

    def split(self, view: FeatureSetView) -> dict[str, np.ndarray]:
        """Return ascending positions within the view per split; disjoint and complete.

        Raises
        ------
        SplitError
            If a row fulfils the conditions of two splits, or of none and there is no `rest`.
        """
        names = list(self.conditions)
        labels = np.full(view.n_samples, len(names), dtype=np.min_scalar_type(len(names)))
        for number, (name, conditions) in enumerate(self.conditions.items()):
            try:
                mask = matches(view, conditions)
            except MMLError as error:
                error.located({"split": name})
                raise
            twice = mask & (labels < len(names))
            if twice.any():
                position = int(np.argmax(twice))
                raise SplitError(
                    f"{int(twice.sum())} rows belong to both {names[labels[position]]!r} and {name!r}.",
                    where={"view": view.label, "row": int(view.rows[position])},
                    expected="conditions that exclude each other",
                )
            labels[mask] = number
        left = labels == len(names)
        if left.any() and self.rest is None:
            raise SplitError(
                f"{int(left.sum())} of {view.n_samples} rows fulfil no condition.",
                where={"view": view.label, "row": int(view.rows[int(np.argmax(left))])},
                hint="Name a split for them: rest='other'.",
            )
        parts = {name: np.flatnonzero(labels == number) for number, name in enumerate(names)}
        return parts if self.rest is None else {**parts, self.rest: np.flatnonzero(left)}

    def get_config(self) -> Config:
        """Return the settings as JSON-compatible values.

        Raises
        ------
        ConfigError
            If a condition is a lambda or an expression, which cannot be written down.
        """
        conditions = {name: written_conditions(one, split=name) for name, one in self.conditions.items()}
        return {"splitter": "mml/condition", "conditions": conditions, "rest": self.rest}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal splitter."""
        written = checked_config(
            config, "a ConditionSplitter", required=("conditions",), optional=("splitter", "rest")
        )
        conditions = written["conditions"]
        if not isinstance(conditions, Mapping):
            raise ConfigError(
                "The conditions of a ConditionSplitter are no mapping.", found=repr(conditions)[:80]
            )
        read = {name: read_conditions(one, split=name) for name, one in conditions.items()}
        return cls(read, rest=written.get("rest"))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ConditionSplitter):
            return NotImplemented
        if self.rest != other.rest or list(self.conditions) != list(other.conditions):
            return False
        try:
            return self.get_config() == other.get_config()
        except ConfigError:
            # Lambdas and expressions have no form to compare: they are equal where they are the same.
            return self is other

    __hash__ = None  # type: ignore[assignment]  # equality is by content, and nothing needs it as a key
