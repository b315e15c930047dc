"""`MaxAbsScaler`: the largest absolute value per feature element becomes 1; zero stays zero."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np

from mml.configuration import made_with, settings_beside
from mml.processing.scalers.elementwise import apply_steps, divided_by, read_statistics, require_fitted
from mml.processing.scalers.statistics import extremes
from mml.protocols import Config, State


@dataclass
class MaxAbsScaler:
    """Divides by the largest absolute value that it saw, per feature element.

    An element that is zero throughout stays as it is. NaN is left out of what is learnt and kept in the
    values. Dtypes are as in `StandardScaler`.

    Examples
    --------
    >>> MaxAbsScaler().fit(np.array([1.0, -4.0])).transform(np.array([2.0, -4.0])).tolist()
    [0.5, -1.0]
    """

    thread_safe: ClassVar[bool] = True

    scale_: np.ndarray | None = field(default=None, init=False, repr=False, compare=False)

    def fit(self, values: np.ndarray) -> Self:
        """Learn from values ``(n, *shape)``."""
        return self.fit_blocks([values])

    def fit_blocks(self, blocks: Iterable[np.ndarray]) -> Self:
        """Learn from blocks of rows."""
        low, high = extremes(blocks)
        largest = np.maximum(np.abs(low), np.abs(high))
        self.scale_ = np.asarray(np.where(largest == 0, 1.0, largest))
        return self

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Return ``values / scale``, of the same shape."""
        (scale,) = require_fitted(self, self.scale_)
        values = np.asarray(values)
        return apply_steps(values, divided_by(scale, values.dtype), shape=scale.shape)

    def inverse_transform(self, values: np.ndarray) -> np.ndarray:
        """Return ``values * scale``, of the same shape."""
        (scale,) = require_fitted(self, self.scale_)
        return apply_steps(values, (np.multiply, scale), shape=scale.shape)

    def get_config(self) -> Config:
        """Return the settings as JSON-compatible values."""
        return {"scaler": "mml/maxabs"}

    @classmethod
    def from_config(cls, config: Config) -> Self:
        """Build an equal scaler, not fitted."""
        return made_with(cls, settings_beside(config, "scaler"))

    def get_state(self) -> State:
        """Return what was learnt; empty before fitting."""
        return {} if self.scale_ is None else {"scale": self.scale_.copy()}

    def set_state(self, state: State) -> None:
        """Put back what :meth:`get_state` returned."""
        (self.scale_,) = read_statistics(self, state, ("scale",))
