"""Learning-rate schedules: the rate as a pure function of the step, restarted with each TrainPhase.

Each schedule is a frozen dataclass and gives the factor by which the base rate is multiplied, for a whole
block of steps at once.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import ClassVar

import numpy as np

from mml.errors import OptimizerError, did_you_mean
from mml.protocols import Config


class Schedule(ABC):
    """A factor of the learning rate for each step."""

    name: ClassVar[str]

    @abstractmethod
    def factors(self, start: int, count: int, *, total: int) -> np.ndarray:
        """Return the factors of steps ``start`` to ``start + count - 1``, float64 of shape ``(count,)``.

        Parameters
        ----------
        start, count : int
            The range of steps, counted from the start of the phase.
        total : int
            How many steps the phase has.
        """

    def get_config(self) -> Config:
        """Return name and settings."""
        return {"schedule": self.name, **asdict(self)}  # type: ignore[call-overload]  # all are dataclasses

    @classmethod
    def from_config(cls, config: Config) -> Schedule:
        """Build an equal schedule."""
        return as_schedule(config)

    def _require(self, setting: str, wanted: str, *, met: bool) -> None:
        if not met:
            raise OptimizerError(
                f"The schedule {self.name!r} got a bad {setting}.",
                expected=f"{setting}: {wanted}",
                found=repr(getattr(self, setting)),
            )


@dataclass(frozen=True)
class ConstantSchedule(Schedule):
    """The base rate throughout."""

    name: ClassVar[str] = "constant"

    def factors(self, start: int, count: int, *, total: int) -> np.ndarray:  # noqa: ARG002 -- constant
        """Return ones."""
        return np.ones(count)


@dataclass(frozen=True)
class StepSchedule(Schedule):
    """Multiply by `gamma` every `step_size` steps."""

    name: ClassVar[str] = "step"
    step_size: int = 1000
    gamma: float = 0.1

    def __post_init__(self) -> None:
        self._require("step_size", "a whole number above 0", met=_is_count(self.step_size))
        self._require("gamma", "a number above 0", met=_is_number(self.gamma, above=0.0))

    def factors(self, start: int, count: int, *, total: int) -> np.ndarray:  # noqa: ARG002 -- open end
        """Return ``gamma ** (step // step_size)``."""
        return np.asarray(self.gamma ** (np.arange(start, start + count) // self.step_size), dtype=np.float64)


@dataclass(frozen=True)
class CosineSchedule(Schedule):
    """Fall to `minimum` along half a cosine over the phase (Loshchilov and Hutter 2017, without restarts)."""

    name: ClassVar[str] = "cosine"
    minimum: float = 0.0

    def __post_init__(self) -> None:
        within = _is_number(self.minimum) and 0 <= self.minimum <= 1
        self._require("minimum", "a factor from 0 to 1", met=within)

    def factors(self, start: int, count: int, *, total: int) -> np.ndarray:
        """Return the cosine from 1 to `minimum`."""
        progress = np.minimum(np.arange(start, start + count) / max(total, 1), 1.0)
        return self.minimum + (1 - self.minimum) * 0.5 * (1 + np.cos(np.pi * progress))


@dataclass(frozen=True)
class WarmupSchedule(Schedule):
    """Rise linearly over `steps` steps, then stay."""

    name: ClassVar[str] = "warmup"
    steps: int = 100

    def __post_init__(self) -> None:
        self._require("steps", "a whole number above 0", met=_is_count(self.steps))

    def factors(self, start: int, count: int, *, total: int) -> np.ndarray:  # noqa: ARG002 -- own length
        """Return ``min(1, (step + 1) / steps)``."""
        return np.minimum((np.arange(start, start + count) + 1) / self.steps, 1.0)


@dataclass(frozen=True)
class OneCycleSchedule(Schedule):
    """Rise along a cosine from ``1 / div_factor`` to 1, then fall to that divided by `final_div_factor`.

    Parameters
    ----------
    rise : float
        Share of the phase that rises.
    div_factor : float
        The peak over the first rate.
    final_div_factor : float
        The first rate over the last one.

    References
    ----------
    Smith and Topin, "Super-convergence", 2018.
    """

    name: ClassVar[str] = "one_cycle"
    rise: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4

    def __post_init__(self) -> None:
        within = _is_number(self.rise) and 0 < self.rise < 1
        self._require("rise", "a share between 0 and 1", met=within)
        for setting in ("div_factor", "final_div_factor"):
            self._require(setting, "a number above 0", met=_is_number(getattr(self, setting), above=0.0))

    def factors(self, start: int, count: int, *, total: int) -> np.ndarray:
        """Return the cycle's factors; the base rate is its peak."""
        progress = np.minimum(np.arange(start, start + count) / max(total - 1, 1), 1.0)
        low, last = 1 / self.div_factor, 1 / (self.div_factor * self.final_div_factor)
        rising = low + (1 - low) * 0.5 * (1 - np.cos(np.pi * progress / self.rise))
        fall = np.clip((progress - self.rise) / (1 - self.rise), 0.0, 1.0)
        falling = last + (1 - last) * 0.5 * (1 + np.cos(np.pi * fall))
        return np.where(progress < self.rise, rising, falling)


_SCHEDULES: dict[str, type[Schedule]] = {
    cls.name: cls
    for cls in (ConstantSchedule, StepSchedule, CosineSchedule, WarmupSchedule, OneCycleSchedule)
}


def as_schedule(schedule: Schedule | str | Config | None) -> Schedule:
    """Accept a schedule, its name, its configuration, or None for a constant rate.

    Raises
    ------
    OptimizerError
        If the name or a setting is unknown.
    """
    if schedule is None:
        return ConstantSchedule()
    if isinstance(schedule, Schedule):
        return schedule
    if not isinstance(schedule, str) and not (isinstance(schedule, Mapping) and "schedule" in schedule):
        raise OptimizerError(
            "A schedule is a name, or a mapping with a name under 'schedule'.",
            expected="such as 'cosine' or {'schedule': 'step', 'step_size': 100}",
            found=repr(schedule),
        )
    settings = {"schedule": schedule} if isinstance(schedule, str) else dict(schedule)
    name = str(settings.pop("schedule"))
    if name not in _SCHEDULES:
        raise OptimizerError(f"Unknown schedule {name!r}.", hint=did_you_mean(name, _SCHEDULES))
    known = [one.name for one in fields(_SCHEDULES[name])]  # type: ignore[arg-type]  # all are dataclasses
    for setting in settings:
        if setting not in known:
            raise OptimizerError(
                f"The schedule {name!r} has no setting {setting!r}.", hint=did_you_mean(str(setting), known)
            )
    return _SCHEDULES[name](**settings)


def _is_number(value: object, *, above: float = -math.inf) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and above < value < math.inf  # type: ignore[operator]  # it is a number


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
