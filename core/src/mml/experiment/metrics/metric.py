"""Metric: a number about outputs and targets that is gathered batch by batch and merged.

A metric keeps what is needed to combine partial results exactly, never a mean of means, so that its value
does not depend on the batch size. It knows rows and weights; it does not know phases or nodes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal, Self

from numpy.typing import ArrayLike

from mml.configuration import made_with, settings_beside
from mml.errors import ConfigError, ResultError
from mml.plugins import registry
from mml.protocols import Config, State


class Metric(ABC):
    """Base of all metrics. Two metrics are equal if their settings are, whatever they have gathered.

    Subclasses take their settings as keywords and return them from :meth:`settings`.

    Attributes
    ----------
    name : str
        Name under which the value is logged, possibly with a prefix.
    mode : {"min", "max"}
        Whether lower or higher is better.
    """

    name: ClassVar[str]
    mode: ClassVar[Literal["min", "max"]]

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Return the constructor's keywords: JSON only."""

    @abstractmethod
    def update(self, outputs: ArrayLike, targets: ArrayLike, *, weights: ArrayLike | None = None) -> None:
        """Take in a batch.

        Parameters
        ----------
        outputs, targets : array-like, shape (n_rows, ...)
            What a node returned, and what was expected.
        weights : array-like of float, shape (n_rows,), optional
            How much each row counts; a row of weight 0 is ignored, whatever it holds.
        """

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Take in what another metric of equal settings has gathered."""

    @abstractmethod
    def compute(self) -> float:
        """Return the value over everything gathered.

        Raises
        ------
        ResultError
            If nothing was gathered, or the value is not defined for it.
        """

    @abstractmethod
    def get_state(self) -> State:
        """Return what was gathered: arrays and JSON only."""

    @abstractmethod
    def set_state(self, state: State) -> None:
        """Put back what :meth:`get_state` returned; a state that does not fit changes nothing."""

    @property
    def needs_logits(self) -> bool:
        """Whether somebody must still say if outputs are logits, through :meth:`with_logits`."""
        settings = self.settings()
        return "from_logits" in settings and settings["from_logits"] is None

    def with_logits(self, from_logits: bool) -> Self:
        """Return an empty copy told whether outputs are logits or probabilities.

        A metric to which that makes no difference returns a plain empty copy.
        """
        settings = self.settings()
        if "from_logits" in settings:
            settings["from_logits"] = from_logits
        return type(self)(**settings)

    def fresh(self) -> Self:
        """Return an empty copy with the same settings."""
        return type(self)(**self.settings())

    def get_config(self) -> Config:
        """Return the registered name and the settings: JSON only."""
        return {"metric": registry("metrics").name_of(type(self)), **self.settings()}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal, empty metric.

        Raises
        ------
        ConfigError
            If the configuration has a key or value that the metric does not take.
        """
        return made_with(cls, settings_beside(config, "metric"))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Metric):
            return NotImplemented
        return type(self) is type(other) and self.settings() == other.settings()

    def __hash__(self) -> int:
        return hash((type(self), *sorted(self.settings().items(), key=lambda item: item[0])))

    def __repr__(self) -> str:
        settings = ", ".join(f"{key}={value!r}" for key, value in self.settings().items())
        return f"{type(self).__name__}({settings})"

    def _check_mergeable(self, other: Metric) -> None:
        if self != other:
            raise ConfigError(
                "Only metrics with equal settings can be merged.", expected=repr(self), found=repr(other)
            )

    def _nothing_gathered(self) -> ResultError:
        return ResultError(
            f"Metric {self.name!r} has no rows to compute a value from.",
            hint="Update it with at least one row of positive weight.",
        )
