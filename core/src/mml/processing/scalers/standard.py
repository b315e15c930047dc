"""`StandardScaler`: mean 0 and standard deviation 1 per feature element."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np

from mml.configuration import made_with, settings_beside
from mml.processing.scalers.elementwise import apply_steps, divided_by, read_statistics, require_fitted
from mml.processing.scalers.settings import checked_flag
from mml.processing.scalers.statistics import moments
from mml.protocols import Config, State


@dataclass
class StandardScaler:
    """Subtracts the mean and divides by the standard deviation, each per feature element.

    Statistics are float64 over all rows (NaN left out); a constant element is only centred. Values are mapped
    in float64 and returned in the dtype that came in (integers as the smallest float that holds them).

    Parameters
    ----------
    with_mean, with_std : bool
        Whether to centre, and whether to scale.

    Examples
    --------
    >>> StandardScaler().fit(np.array([1.0, 3.0])).transform(np.array([1.0, 2.0, 3.0])).tolist()
    [-1.0, 0.0, 1.0]
    """

    thread_safe: ClassVar[bool] = True

    with_mean: bool = True
    with_std: bool = True
    mean_: np.ndarray | None = field(default=None, init=False, repr=False, compare=False)
    scale_: np.ndarray | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.with_mean = checked_flag(self.with_mean, name="with_mean")
        self.with_std = checked_flag(self.with_std, name="with_std")

    def fit(self, values: np.ndarray) -> Self:
        """Learn from values ``(n, *shape)``."""
        return self.fit_blocks([values])

    def fit_blocks(self, blocks: Iterable[np.ndarray]) -> Self:
        """Learn from blocks of rows that can be iterated twice; the bits do not depend on their borders."""
        found = moments(blocks)
        scale = np.where(found.is_constant, 1.0, np.sqrt(found.variance))
        zeros, ones = np.zeros_like(found.mean), np.ones_like(found.mean)
        self.mean_ = np.asarray(found.mean if self.with_mean else zeros)
        self.scale_ = np.asarray(scale if self.with_std else ones)
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Return ``(values - mean) / scale``, of the same shape."""
        mean, scale = require_fitted(self, self.mean_, self.scale_)
        values = np.asarray(values)
        steps = (np.subtract, mean), divided_by(scale, values.dtype)
        return apply_steps(values, *steps, shape=mean.shape)

    def inverse_transform(self, values: np.ndarray) -> np.ndarray:
        """Return ``values * scale + mean``, of the same shape."""
        mean, scale = require_fitted(self, self.mean_, self.scale_)
        return apply_steps(values, (np.multiply, scale), (np.add, mean), shape=mean.shape)

    def get_config(self) -> Config:
        """Return the settings as JSON-compatible values."""
        return {"scaler": "mml/standard", "with_mean": self.with_mean, "with_std": self.with_std}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal scaler, not fitted."""
        return made_with(cls, settings_beside(config, "scaler"))

    def get_state(self) -> State:
        """Return what was learnt; empty before fitting."""
        if self.mean_ is None or self.scale_ is None:
            return {}
        return {"mean": self.mean_.copy(), "scale": self.scale_.copy()}

    def set_state(self, state: State) -> None:
        """Put back what :meth:`get_state` returned."""
        self.mean_, self.scale_ = read_statistics(self, state, ("mean", "scale"))
