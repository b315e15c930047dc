"""Learning-rate schedules: the rate as a pure function of the step, restarted with each TrainPhase.

Each schedule is a frozen dataclass and gives the factor by which the base rate is multiplied, for a whole
block of steps at once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
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

    def factors(self, start: int, count: int, *, total: int) -> np.ndarray:  # noqa: ARG002 -- open end
        """Return ``gamma ** (step // step_size)``."""
        return np.asarray(self.gamma ** (np.arange(start, start + count) // self.step_size), dtype=np.float64)


@dataclass(frozen=True)
class CosineSchedule(Schedule):
    """Fall to `minimum` along half a cosine over the phase (Loshchilov and Hutter 2017, without restarts)."""

    name: ClassVar[str] = "cosine"
    minimum: float = 0.0

    def factors(self, start: int, count: int, *, total: int) -> np.ndarray:
        """Return the cosine from 1 to `minimum`."""
        progress = np.minimum(np.arange(start, start + count) / max(total, 1), 1.0)
        return self.minimum + (1 - self.minimum) * 0.5 * (1 + np.cos(np.pi * progress))


@dataclass(frozen=True)
class WarmupSchedule(Schedule):
    """Rise linearly over `steps` steps, then stay."""

    name: ClassVar[str] = "warmup"
    steps: int = 100

    def factors(self, start: int, count: int, *, total: int) -> np.ndarray:  # noqa: ARG002 -- own length
        """Return ``min(1, (step + 1) / steps)``."""
        return np.minimum((np.arange(start, start + count) + 1) / max(self.steps, 1), 1.0)


@dataclass(frozen=True)
class OneCycleSchedule(Schedule):
    """Rise along a cosine from ``1 / div_factor`` to 1, then fall to ``1 / final_div_factor``.

    References
    ----------
    Smith and Topin, "Super-convergence", 2018.
    """

    name: ClassVar[str] = "one_cycle"
    rise: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4

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
    settings = {"schedule": schedule} if isinstance(schedule, str) else dict(schedule)
    name = str(settings.pop("schedule", ""))
    if name not in _SCHEDULES:
        raise OptimizerError(f"Unknown schedule {name!r}.", hint=did_you_mean(name, _SCHEDULES))
    try:
        return _SCHEDULES[name](**settings)
    except TypeError as cause:
        raise OptimizerError(f"The schedule {name!r} does not take these settings: {cause}") from cause
