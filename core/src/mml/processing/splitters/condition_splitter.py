"""`ConditionSplitter`: rows by what their columns say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from mml.configuration import checked_config
from mml.data import FeatureSetView
from mml.errors import ConfigError, SplitError
from mml.plugins import registry
from mml.protocols import Config

_SETS = (set, frozenset, tuple, list, np.ndarray)


@dataclass(frozen=True)
class ConditionSplitter:
    """Divides rows by conditions on columns.

    Parameters
    ----------
    conditions : mapping of str to conditions
        Split → column → a scalar, a set of allowed values or a callable; or a pyarrow expression. No row may
        fulfil those of two splits.
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
        if self.rest is not None and self.rest in self.conditions:
            raise SplitError(f"The split {self.rest!r} has conditions of its own and cannot take the rest.")
        object.__setattr__(self, "conditions", dict(self.conditions))

    def split(self, view: FeatureSetView) -> dict[str, np.ndarray]:
        """Return ascending positions within the view per split; disjoint and complete.

        Raises
        ------
        SplitError
            If a row fulfils the conditions of two splits, or of none and there is no `rest`.
        """
        labels = np.full(view.n_samples, -1, dtype=np.int64)
        names = list(self.conditions)
        own = view.rows
        for number, (name, conditions) in enumerate(self.conditions.items()):
            mask = np.isin(own, view.filter(conditions).rows)
            twice = mask & (labels >= 0)
            if twice.any():
                row = int(np.argmax(twice))
                raise SplitError(
                    f"{int(twice.sum())} rows belong to both {names[labels[row]]!r} and {name!r}.",
                    where={"view": view.label, "row": int(own[row])},
                    expected="conditions that exclude each other",
                )
            labels[mask] = number
        left = labels < 0
        if left.any() and self.rest is None:
            raise SplitError(
                f"{int(left.sum())} of {view.n_samples} rows fulfil no condition.",
                where={"view": view.label, "row": int(own[int(np.argmax(left))])},
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
        conditions = {name: _written_all(name, one) for name, one in self.conditions.items()}
        return {"splitter": "mml/condition", "conditions": conditions, "rest": self.rest}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal splitter."""
        written = checked_config(
            config, "a ConditionSplitter", required=("conditions",), optional=("splitter", "rest")
        )
        try:
            conditions = {
                name: {column: _read(one) for column, one in columns.items()}
                for name, columns in written["conditions"].items()
            }
            return cls(conditions, rest=written.get("rest"))
        except (KeyError, TypeError, AttributeError) as cause:
            raise ConfigError("This is no config of a ConditionSplitter.", found=repr(config)[:80]) from cause


def _written_all(name: str, conditions: Any) -> dict[str, Any]:
    if not isinstance(conditions, Mapping):
        raise ConfigError(
            f"The condition of the split {name!r} is an expression and cannot be written down.",
            hint="Use scalars, sets or a registered function.",
        )
    return {column: _written(condition, name) for column, condition in conditions.items()}


def _written(condition: Any, name: str) -> Any:
    if isinstance(condition, _SETS):
        values = [one.item() if isinstance(one, np.generic) else one for one in condition]
        if isinstance(condition, (set, frozenset)):
            # Sets have no order; a config must not depend on the hash seed.
            values = sorted(values, key=lambda one: (type(one).__name__, one))
        return {"one_of": [_scalar(one, name) for one in values]}
    if callable(condition):
        return {"function": registry("splitters").name_of(condition)}
    return {"equals": _scalar(condition, name)}


def _scalar(value: Any, name: str) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise ConfigError(
            f"A condition of the split {name!r} cannot be written down.", found=repr(value)[:80]
        )
    return value


def _read(written: Mapping[str, Any]) -> Any:
    if "one_of" in written:
        return set(written["one_of"])
    if "function" in written:
        return registry("splitters").load(written["function"])
    return written["equals"]
